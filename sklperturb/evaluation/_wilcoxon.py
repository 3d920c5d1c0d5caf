"""Differential expression of every perturbation against the control cells."""

import warnings
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import pandas as pd
from joblib import delayed
from scipy import stats
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from sklperturb.cells._blocks import (
    blocks_of_pass,
    gene_passes,
    iter_rows,
    sample_places,
    stored_values,
)
from sklperturb.cells._checks import first_not_allowed
from sklperturb.cells._counts import value_kind
from sklperturb.cells._portable import opened_again, portable
from sklperturb.evaluation._rank_sums import p_values, rank_sums
from sklperturb.evaluation._sides import opened_sides
from sklperturb.utils._calls import count_workers, run_calls
from sklperturb.utils._progress import ProgressBar


@dataclass(frozen=True)
class FoldChange:
    """How means are formed and divided, by the convention of an evaluator.

    Attributes
    ----------
    mean : str
        "geometric": expm1 of the mean of log1p. "arithmetic": the mean.
    epsilon : float
        Added to both means.
    clip : float or None
        Fold change where only one mean is 0: this, or one over it. None leaves it
        infinite.

    Examples
    --------
    >>> import numpy as np
    >>> from sklperturb.evaluation import FoldChange
    >>> FoldChange("arithmetic", epsilon=1).log2(np.array([3.0]), np.array([1.0]))
    array([1.])
    """

    mean: str
    epsilon: float = 0.0
    clip: float | None = None

    def log2(self, mean, reference):
        """Return the log2 fold change between two means.

        Parameters
        ----------
        mean, reference : ndarray of shape (n_genes,)
            Means of the perturbed cells and of the controls.

        Returns
        -------
        change : ndarray of shape (n_genes,)
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = (mean + self.epsilon) / (reference + self.epsilon)
            if self.clip is not None:
                ratio = np.where(reference == 0, self.clip, ratio)
                ratio = np.where(mean == 0, 1 / self.clip, ratio)
            return np.log2(np.where((mean == 0) & (reference == 0), 1.0, ratio))


FOLD_CHANGES = {
    "geometric": FoldChange("geometric"),
    "geometric_clipped": FoldChange("geometric", clip=20.0),
    "arithmetic": FoldChange("arithmetic", epsilon=1e-9),
}


@validate_params(
    {
        "perturbation": [str],
        "control": [str],
        "layer": [str, None],
        "values": [StrOptions({"log1p", "counts"})],
        "fold_change": [StrOptions(set(FOLD_CHANGES))],
        "fdr": [StrOptions({"perturbation", "global"})],
        "min_control_cpm": [Interval(Real, 0, None, closed="left"), None],
        "chunk_size": [Interval(Integral, 1, None, closed="left"), None],
        "n_jobs": [Integral, None],
    },
    prefer_skip_nested_validation=True,
)
def wilcoxon_de(
    adata,
    perturbation,
    *,
    control,
    layer=None,
    values="log1p",
    fold_change="geometric",
    fdr="perturbation",
    min_control_cpm=None,
    control_cells=None,
    chunk_size=None,
    n_jobs=None,
):
    """Test every gene of every perturbation against the control cells.

    Two-sided Mann-Whitney tests (Wilcoxon rank sum), by the normal approximation with
    corrections for ties and continuity, in double precision. The cells of a gene are
    sorted once for all perturbations; zeros that are not stored are never looked at.
    Genes are read block by block, so that a file larger than the memory will do.

    Parameters
    ----------
    adata : AnnData, str or path-like
        Cells by genes, sparse or dense, in memory or backed; a path names an .h5ad
        file or a .zarr folder.
    perturbation : str
        Column of `obs` with the perturbation of each cell.
    control : str
        The label of the control cells in that column.
    layer : str, default=None
        Layer to test instead of `X`.
    values : {"log1p", "counts"}, default="log1p"
        What the matrix holds. Log-normalised values are ranked as they are. Raw
        counts are first scaled to a million per cell.
    fold_change : {"geometric", "geometric_clipped", "arithmetic"}, default="geometric"
        "geometric" divides expm1 of the means of log1p; where one of them is 0 the
        fold change is infinite, and where both are, 1. "geometric_clipped" takes 20 or
        1/20 instead of infinity. "arithmetic" divides means of expm1, or of counts per
        million, plus 1e-9.
    fdr : {"perturbation", "global"}, default="perturbation"
        Whether p-values are adjusted (Benjamini-Hochberg) among the genes of each
        perturbation, or all together, by which a perturbation's result depends on
        which others were measured.
    min_control_cpm : float, default=None
        Genes whose mean in the control is at most this many counts per million are
        not tested and absent from the table. The control alone decides: a filter that
        saw the perturbed cells would give the sign of the effect away. For counts
        only.
    control_cells : AnnData, str or path-like, default=None
        Where to take the control cells from, instead of `adata`. Predicted cells are
        to be compared with measured controls: a prediction could else gain by moving
        its own. If the two differ in precision, values are rounded to the lower one.
    chunk_size : int, default=None
        Genes to read in one pass over the cells. By default as many as have 134 million
        stored values, about 1 GiB, or as many as give each process some.
    n_jobs : int, default=None
        Processes, each of which reads and tests some of the genes, and holds those of
        a pass. Within ``joblib.parallel_config("dask")`` they are the workers of the
        cluster, who open the same files.

    Returns
    -------
    table : DataFrame
        One row for each perturbation and tested gene, perturbations sorted by name and
        genes in the order of the data, with the columns "perturbation", "gene",
        "log2_fold_change", "statistic" (U of the perturbation), "p_value" and "p_adj".
        Both names are categories.

    Raises
    ------
    ValueError
        If a column, layer, option or the control label does not exist, if there is no
        perturbation, the genes of `control_cells` differ, or a value is NaN, infinite
        or, for counts, negative.

    Warns
    -----
    UserWarning
        If the cells look like counts and are tested as log1p, or the reverse.

    Notes
    -----
    Where all cells of a perturbation and of the control hold the same value, p is 1.
    A file stored by rows is read once for every 134 million stored values; one stored
    by columns is read once.

    References
    ----------
    .. [1] Mann and Whitney. "On a test of whether one of two random variables is
       stochastically larger than the other". Annals of Mathematical Statistics 18,
       1947. :doi:`10.1214/aoms/1177730491`
    .. [2] Benjamini and Hochberg. "Controlling the false discovery rate". Journal of
       the Royal Statistical Society B 57, 1995.
       :doi:`10.1111/j.2517-6161.1995.tb02031.x`

    Examples
    --------
    >>> import anndata as ad
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklperturb.evaluation import wilcoxon_de
    >>> obs = pd.DataFrame({"target_gene": ["A"] * 4 + ["control"] * 4},
    ...                    index=[f"c{i}" for i in range(8)])
    >>> X = np.log1p([[1.0, 5], [2, 6], [1, 7], [2, 8], [1, 1], [2, 2], [1, 3], [2, 4]])
    >>> cells = ad.AnnData(X, obs=obs, var=pd.DataFrame(index=["g", "h"]))
    >>> wilcoxon_de(cells, "target_gene", control="control").round(3)
      perturbation gene  log2_fold_change  statistic  p_value  p_adj
    0            A    g             0.000        8.0     1.00  1.000
    1            A    h             1.474       16.0     0.03  0.061
    """
    if min_control_cpm is not None and values != "counts":
        raise ValueError('min_control_cpm needs raw counts and values="counts".')
    given = {"adata": adata}
    if control_cells is not None:
        given["control_cells"] = control_cells
    with opened_sides(given, perturbation, layer=layer) as sides:
        for side in sides.values():
            _warn_of_scale(side, values)
        return compare_groups(
            *sides.values(),
            control=control,
            values=values,
            fold_change=fold_change,
            fdr=fdr,
            min_control_cpm=min_control_cpm,
            chunk_size=chunk_size,
            n_jobs=n_jobs,
        )


def _warn_of_scale(side, values):
    kind = value_kind(sample_places(side.matrix)[0])
    if (values, kind) in (("log1p", "counts"), ("counts", "log1p")):
        warnings.warn(
            f"{side.name} looks like {kind}, and is tested as values={values!r}: fold "
            f"changes are then wrong. Pass values={kind!r} if that is what it holds.",
            UserWarning,
            stacklevel=4,
        )


def compare_groups(
    population,
    reference=None,
    *,
    control,
    values="log1p",
    fold_change="geometric",
    fdr="perturbation",
    min_control_cpm=None,
    chunk_size=None,
    n_jobs=None,
):
    """Test the perturbations and return the table of :func:`wilcoxon_de`.

    Parameters
    ----------
    population : Population
    reference : Population, default=None
        Where to take the control cells from instead.
    """
    names = [name for name in population.rows if name != control]
    if control not in (reference or population).rows:
        raise ValueError(
            f"No cell has the label {control!r} of the control; the labels are "
            f"{names[:5]}{' ...' if len(names) > 5 else ''}."
        )
    if not names:
        raise ValueError("There are control cells only; nothing is to be tested.")
    n_groups, genes = len(names) + 1, population.genes
    # 0 is a control, and -1 left out.
    codes = population.codes([control, *names])
    sources = [(population.matrix, codes)]
    if reference is not None:
        sources = [
            (population.matrix, np.where(codes == 0, -1, codes)),
            (reference.matrix, reference.codes([control])),
        ]
    matrices = [matrix for matrix, _ in sources]
    kept = [codes >= 0 for _, codes in sources]
    codes = np.concatenate([own[own >= 0] for _, own in sources])
    sizes = np.bincount(codes, minlength=n_groups)
    n_genes = matrices[0].shape[1]
    u, ties, mean = (np.empty((n_groups, n_genes)) for _ in range(3))
    convention = FOLD_CHANGES[fold_change]
    depth = None
    if values == "counts":
        depth = np.concatenate([_depth(m)[own >= 0] for m, own in sources])
    geometric = convention.mean == "geometric"
    control_mean = np.empty(n_genes)
    n_workers = count_workers(n_jobs)
    passes = gene_passes(matrices, chunk_size, n_least=max(n_workers, 1))
    if n_workers:
        matrices = [portable(matrix) for matrix in matrices]
    of_control = min_control_cpm is not None
    cells = _Grouped(matrices, kept, codes, n_groups, depth, geometric, of_control)
    with ProgressBar(n_genes, "Wilcoxon tests") as progress:
        told = None if n_workers else progress.advance
        calls = (delayed(_rank)(cells, part, genes[part], told) for part in passes)
        for part, *ranked in run_calls(calls, n_jobs, shared=[cells]):
            u[:, part], ties[:, part], total, control = ranked
            mean[:, part] = total / sizes[:, None]
            control_mean[part] = control / sizes[0]
            if n_workers:
                progress.advance(steps=part.stop - part.start)
    if geometric:
        mean = np.expm1(mean)
    lfc = convention.log2(mean[1:], mean[0])
    p = p_values(u, ties, sizes)
    u, p = u[1:], p[1:]
    if of_control:
        tested = control_mean > min_control_cpm
        genes, u, p, lfc = genes[tested], u[:, tested], p[:, tested], lfc[:, tested]
    perturbation, gene = np.indices(p.shape).reshape(2, -1)
    return pd.DataFrame(
        {
            "perturbation": pd.Categorical.from_codes(perturbation, names),
            "gene": pd.Categorical.from_codes(gene, genes.astype(str)),
            "log2_fold_change": lfc.ravel(),
            "statistic": u.ravel(),
            "p_value": p.ravel(),
            "p_adj": _adjusted(p, fdr).ravel(),
        }
    )


@dataclass(frozen=True)
class _Grouped:
    """Cells to be ranked, as all passes over their genes need them.

    Attributes
    ----------
    matrices : list
        As they are, or as `portable` gives them.
    kept : list of ndarray of bool
        Which cells of each matrix are ranked.
    codes : ndarray of int of shape (n_kept,)
    n_groups : int
    depth : ndarray of shape (n_kept,) or None
        What the counts of a cell are divided by; None if they are logarithms.
    geometric : bool
        Whether logarithms are averaged, and not what they are logarithms of.
    of_control : bool
        Whether the sums of what the control's are logarithms of are wanted.
    """

    matrices: list
    kept: list
    codes: np.ndarray
    n_groups: int
    depth: np.ndarray | None
    geometric: bool
    of_control: bool


def _rank(cells, genes, names, told=None):
    """Return a slice of genes, and U, ties, sums, and sums of the control if wanted."""
    transforms = [np.asarray if cells.geometric else np.expm1]
    if cells.of_control and cells.geometric:
        transforms.append(np.expm1)
    shape = (cells.n_groups, genes.stop - genes.start)
    u, ties, total = (np.empty(shape) for _ in range(3))
    control = np.empty(shape[1])
    with opened_again(cells.matrices) as matrices:
        for place, block in blocks_of_pass(matrices, cells.kept, genes):
            part = slice(place.start - genes.start, place.stop - genes.start)
            found = first_not_allowed(block, "finite")
            if found is not None:
                raise ValueError(
                    f"The cells hold {found[2]}, the first of gene "
                    f"{names[part][found[1]]!s}. Correct them, or leave such cells out."
                )
            if cells.depth is not None:
                block.data = np.log1p(block.data / cells.depth[block.indices])
            u[:, part], ties[:, part], sums = rank_sums(
                block, cells.codes, cells.n_groups, transforms
            )
            total[:, part], control[part] = sums[0], sums[-1][0]
            if told is not None:
                told(steps=part.stop - part.start)
    return genes, u, ties, total, control


def _adjusted(p, fdr):
    """Adjust an (n_perturbations, n_genes) array as Benjamini and Hochberg."""
    axis = 1 if fdr == "perturbation" else None
    return stats.false_discovery_control(p, axis=axis, method="bh") if p.size else p


def _depth(matrix):
    """Return what to divide the counts of each cell by: its total, in millions."""
    totals = np.empty(matrix.shape[0])
    for rows, block in iter_rows(matrix):
        if stored_values(block).min(initial=0) < 0:
            raise ValueError(
                "Negative values were found, which counts cannot be. Pass "
                'values="log1p" if the matrix is log-normalised.'
            )
        totals[rows] = np.asarray(block.sum(axis=1), dtype=np.float64).ravel()
    return np.where(totals > 0, totals, 1.0) / 1e6
