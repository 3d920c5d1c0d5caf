"""From counts of cells to a screen: what to learn from, and what to predict."""

import logging

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from sklperturb.conditions import resolve_schema
from sklperturb.conditions._labels import as_text, take_labels
from sklperturb.conditions._validation import check_list
from sklperturb.signatures._differential import DifferentialSignatures
from sklperturb.signatures._pseudobulk import ROLES, Pseudobulk
from sklperturb.signatures._samples import sample_controls

logger = logging.getLogger(__name__)


def make_signature_screen(
    cells,
    groupby=None,
    *,
    schema=None,
    control=None,
    covariates=(),
    layer=None,
    hold_out_contexts=(),
    hold_out_share=0.0,
    min_cells=10,
    random_state=None,
    **params,
):
    """Compute signatures from counts, and choose the conditions to predict.

    Cells are added up by sample, and each perturbation is compared with the controls
    of its context. To predict are the conditions held out or, if none are, those of the
    perturbation by context grid that were not measured; in a single context there are
    none.

    Parameters
    ----------
    cells : AnnData, str or path-like
        Raw counts; a path names an .h5ad file or a .zarr folder, which is streamed.
    groupby : str or list of str, default=None
        Columns of `obs` whose cells form one pseudobulk sample. By default those of
        context, perturbation, dose, batch and replicate.
    schema : PerturbationSchema, default=None
        Roles of the columns of `obs`; by default inferred.
    control : str, default=None
        Label of the control in the perturbation column. By default the column that the
        schema names marks the controls, or a spelling in public use.
    covariates : list of str, default=()
        Columns of `obs` with effects to be removed, such as donor and plate.
    layer : str, default=None
        Layer with the raw counts, where `X` does not hold them.
    hold_out_contexts : list of str, default=()
        Contexts to predict. Their controls are held out too.
    hold_out_share : float, default=0.0
        Share of the other conditions to predict, from 0 to 0.9. They are drawn so that
        every perturbation and every context stays among the signatures.
    min_cells : int, default=10
        Samples of fewer cells are left out.
    random_state : int, Generator or None, default=None
        Draws the conditions of `hold_out_share`.
    **params
        Further parameters of :class:`DifferentialSignatures`.

    Returns
    -------
    screen : :class:`~sklearn.utils.Bunch`
        signatures : AnnData of shape (n_conditions, n_genes)
            To learn from.
        to_predict : DataFrame of shape (n_test, n_columns)
            Context and perturbation of the conditions to predict.
        test : AnnData of shape (n_test, n_genes) or None
            Signatures of the conditions to predict, where any were held out.
        schema : PerturbationSchema
            Roles of the columns of `obs`.
        DESCR : str
            What was computed.

    Raises
    ------
    ValueError
        If a column or label does not exist, nothing is left to predict in several
        contexts or to learn from, or the signatures cannot be estimated.
    TypeError
        If a string is given in place of a list of contexts.

    See Also
    --------
    sklperturb.datasets.write_signatures : Write the screen, for `load_op2` to read.
    DifferentialSignatures : The model of the counts.

    Notes
    -----
    Samples held out do not enter the fit of the signatures to learn from. Theirs come
    from a second fit on all samples, with the genes of the first.

    Examples
    --------
    >>> import anndata as ad
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklperturb.signatures import make_signature_screen
    >>> rng = np.random.default_rng(0)
    >>> obs = pd.MultiIndex.from_product(
    ...     [["B", "T"], ["DMSO", "a", "b"], ["1", "2"], range(20)],
    ...     names=["cell_type", "drug", "donor", "cell"],
    ... ).to_frame().set_index(np.arange(240).astype(str))
    >>> cells = ad.AnnData(rng.poisson(5.0, (240, 30)).astype(float), obs=obs)
    >>> cells = cells[(obs["cell_type"] == "B") | (obs["drug"] != "b")]
    >>> screen = make_signature_screen(
    ...     cells, ["cell_type", "drug", "donor"], control="DMSO"
    ... )
    >>> screen.signatures.shape, screen.to_predict.to_numpy().tolist()
    ((3, 30), [['T', 'b']])
    """
    if groupby is None and schema is not None:
        groupby = schema.columns(*ROLES)
    samples = Pseudobulk(groupby, layer=layer, min_cells=min_cells).fit_transform(cells)
    schema = resolve_schema(schema, samples.obs, control)
    schema.require(samples.obs, "perturbation", *["context"] * bool(schema.context))
    model = DifferentialSignatures(schema, covariates=covariates, **params)
    logger.info(
        "%d samples of %d cells; log counts ~ %s",
        samples.n_obs,
        samples.obs["n_cells"].sum(),
        " + ".join(["condition", *covariates]),
    )
    labels = samples.obs[schema.columns("context", "perturbation")].astype(str)
    treated = ~sample_controls(samples.obs, schema)
    held = _of_contexts(samples.obs, schema, hold_out_contexts)
    held |= _random_share(labels, treated & ~held, hold_out_share, random_state)
    train = model.fit_transform(samples[~held])
    if held.any():
        # A second fit, so that nothing of the answers enters the training responses.
        model.set_params(min_count=0)
        every = model.fit_transform(samples[:, train.var_names])
        wanted = _pairs(labels[held & treated])
        test = every[_pairs(every.obs[list(labels)]).isin(wanted)].copy()
        to_predict = test.obs[list(labels)]
        if len(test) == 0:
            raise ValueError("No condition that was held out has enough replicates.")
    else:
        test, to_predict = None, _not_measured(labels[treated], train.obs, schema)
    return Bunch(
        signatures=train,
        to_predict=to_predict,
        test=test,
        schema=schema,
        DESCR=f"{train.n_obs} signatures to learn from and {len(to_predict)} to "
        f"predict, {train.n_vars} genes",
    )


def _pairs(labels):
    return pd.MultiIndex.from_frame(labels.astype(str))


def _of_contexts(obs, schema, names):
    """Mark the samples of contexts to predict; their controls are set aside too."""
    check_list(names, "hold_out_contexts")
    if not len(names):
        return np.zeros(len(obs), dtype=bool)
    schema.require(obs, "context")
    contexts = take_labels(obs, [schema.context])[:, 0]
    asked = set(map(as_text, names))
    unknown = sorted(asked - set(contexts))
    if unknown:
        raise ValueError(
            f"hold_out_contexts={list(names)!r}: {unknown} are not in "
            f"{schema.context!r}, which holds {sorted(set(contexts))}."
        )
    if asked == set(contexts):
        raise ValueError(
            f"hold_out_contexts={list(names)!r} are all contexts, so that nothing is "
            "left to learn from; name fewer."
        )
    return np.isin(contexts, list(asked))


def _random_share(labels, candidates, share, random_state):
    """Mark conditions at random that leave every perturbation and context in train."""
    if not 0 <= share <= 0.9:
        raise ValueError(f"hold_out_share={share!r} must be from 0 to 0.9.")
    pairs = labels[candidates].drop_duplicates()
    wanted = round(share * len(pairs))
    chosen = []
    left = {key: pairs[key].value_counts() for key in labels}
    for row in np.random.default_rng(random_state).permutation(len(pairs)):
        if len(chosen) == wanted:
            break
        pair = pairs.iloc[row]
        if all(left[key][pair[key]] > 1 for key in labels):
            chosen.append(row)
            for key in labels:
                left[key][pair[key]] -= 1
    if len(chosen) < wanted:
        raise ValueError(
            f"hold_out_share={share}: only {len(chosen)} of {len(pairs)} conditions "
            "can be held out with every perturbation and context left to learn from."
        )
    return candidates & _pairs(labels).isin(_pairs(pairs.iloc[chosen]))


def _not_measured(treated, train, schema):
    """Return the conditions of the grid that have no signature."""
    levels = [sorted(treated[key].unique()) for key in treated]
    grid = pd.MultiIndex.from_product(levels, names=list(treated))
    missing = grid[~grid.isin(_pairs(train[list(treated)]))].to_frame(index=False)
    several = schema.context is not None and treated[schema.context].nunique() > 1
    if len(missing) == 0 and several:
        advice = "Pass hold_out_contexts."
        if min(map(len, levels)) > 1:
            advice = "Pass hold_out_contexts or hold_out_share."
        raise ValueError(
            "Every perturbation was measured in every context, so there is nothing to "
            f"predict. {advice}"
        )
    return missing
