"""Signatures from either half of the cells, to see how noisy they are."""

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import StrOptions, validate_params

from sklperturb.cells import open_cells, sum_by_group
from sklperturb.cells._files import check_unique_genes
from sklperturb.cells._halves import two_halves
from sklperturb.conditions import PerturbationSchema
from sklperturb.signatures._differential import DifferentialSignatures
from sklperturb.signatures._pseudobulk import ROLES, as_list, number_groups
from sklperturb.signatures._signed_log_p import signed_log_p_from_t

_RESPONSES = ("clipped_sign_log10_pval", "sign_log10_pval", "t", "logFC")


@validate_params(
    {
        "groupby": [str, list, tuple, None],
        "model": [DifferentialSignatures, None],
        "response": [StrOptions(set(_RESPONSES))],
        "layer": [str, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def signature_halves(
    cells,
    groupby=None,
    *,
    model=None,
    response="clipped_sign_log10_pval",
    layer=None,
    min_cells=10,
    random_state=0,
):
    r"""Compute signatures, and once more from either half of the cells of each sample.

    The halves differ by the noise of drawing cells, which is what
    :func:`~sklperturb.inspection.noise_ceiling` needs of a screen in which every
    condition has one signature. Controls are halved too.

    Parameters
    ----------
    cells : AnnData, str or path-like
        Raw counts; a path names an .h5ad file or a .zarr folder, which is streamed.
    groupby : str or list of str, default=None
        Columns of `obs` whose cells form one pseudobulk sample. By default those of
        context, perturbation, dose, batch and replicate.
    model : DifferentialSignatures, default=None
        With its parameters; not fitted. None takes the default ones.
    response : {"clipped_sign_log10_pval", "sign_log10_pval", "t", "logFC"}, \
            default="clipped_sign_log10_pval"
        Which layer of the signatures.
    layer : str, default=None
        Layer with the raw counts, where `X` does not hold them.
    min_cells : int, default=10
        Samples of fewer cells are left out.
    random_state : int, RandomState instance or None, default=0
        Deals the cells.

    Returns
    -------
    found : :class:`~sklearn.utils.Bunch`
        X : DataFrame of shape (n_conditions, n_columns)
            Conditions.
        y : DataFrame of shape (n_conditions, n_genes)
            Signatures of all cells.
        halves : tuple of two DataFrames
            Of their shape.

    Raises
    ------
    ValueError
        If the samples or their signatures cannot be made, or a sample has one cell.

    See Also
    --------
    sklperturb.inspection.noise_ceiling : Takes the halves.
    make_signature_screen : Signatures to learn from, of all cells.

    Notes
    -----
    With half the cells a standard error is larger, and a p value less extreme. Here t
    is the log fold change of a half, divided by the standard error of all cells, so
    that both halves are on the scale of the whole and their mean is near it. What the
    cells of a sample have in common, such as its donor, is in both halves.

    Examples
    --------
    >>> import anndata as ad
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklperturb.signatures import DifferentialSignatures, signature_halves
    >>> rng = np.random.default_rng(0)
    >>> obs = pd.MultiIndex.from_product(
    ...     [["DMSO", "a", "b"], ["1", "2"], range(20)], names=["drug", "donor", "cell"]
    ... ).to_frame().set_index(np.arange(120).astype(str))
    >>> cells = ad.AnnData(rng.poisson(5.0, (120, 30)).astype(float), obs=obs)
    >>> model = DifferentialSignatures(control="DMSO")
    >>> found = signature_halves(cells, ["drug", "donor"], model=model)
    >>> found.y.shape, [half.shape for half in found.halves]
    ((2, 30), [(2, 30), (2, 30)])
    """
    model = DifferentialSignatures() if model is None else model
    samples = _sum_of_thirds(cells, groupby, model, layer, min_cells, random_state)
    whole = samples[0].copy()
    whole.X = sum(sample.X for sample in samples)
    signatures = clone(model).fit_transform(whole)
    genes = signatures.var_names
    every_gene = clone(model).set_params(min_count=0)
    halves = [every_gene.fit_transform(half[:, genes]) for half in samples[:2]]
    changes = [_frame(half, half.layers["logFC"], genes) for half in halves]
    error = signatures.layers["logFC"] / np.where(
        signatures.layers["t"] == 0, np.nan, signatures.layers["t"]
    )
    df = signatures.obs["df_total"].to_numpy()[:, None]
    clip = model.clip if response.startswith("clipped") else None

    def respond(change):
        if response == "logFC":
            return change
        t = np.nan_to_num(change / error)
        return t if response == "t" else signed_log_p_from_t(t, df, clip=clip)

    return Bunch(
        X=signatures.obs,
        y=_frame(signatures, signatures.layers[response], genes),
        halves=tuple(change.pipe(_like, respond) for change in changes),
    )


def _sum_of_thirds(cells, groupby, model, layer, min_cells, random_state):
    """Return samples of two halves of the cells, and of those that are in neither."""
    from anndata import AnnData

    rng = check_random_state(random_state)
    with open_cells(cells, layer=layer, needs="counts") as opened:
        check_unique_genes(opened.genes, opened.source)
        if groupby is None:
            schema = model.schema or PerturbationSchema.infer(opened.obs)
            groupby = schema.columns(*ROLES)
        codes, obs = number_groups(opened.obs, as_list(groupby), max(min_cells, 2))
        part = np.full(len(codes), 2)
        for rows in pd.Series(np.arange(len(codes))).groupby(codes).indices.values():
            for side, half in enumerate(two_halves(rows, rng)):
                part[half] = side
        places = np.where(codes < 0, -1, 3 * codes + part)
        sums = sum_by_group(opened, places, 3 * len(obs))
        var = opened.var.copy()
    return [AnnData(sums[side::3], obs=obs.copy(), var=var) for side in range(3)]


def _frame(signatures, values, genes):
    table = pd.DataFrame(values, signatures.obs_names, signatures.var_names)
    return table.reindex(columns=genes, fill_value=0.0)


def _like(table, function):
    values = np.asarray(function(table.to_numpy()))
    return pd.DataFrame(values, table.index, table.columns)
