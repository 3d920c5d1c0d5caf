"""Generate raw counts of a screen in which genes were knocked down."""

from numbers import Integral, Real
from os import PathLike

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from sklperturb.conditions._labels import CONTROL, join_combination
from sklperturb.conditions._schema import PerturbationSchema
from sklperturb.datasets._invented import CellModel, make_gene_network
from sklperturb.files._writing import check_output, written_whole
from sklperturb.files._writing_hdf5 import created_hdf5, put_cells
from sklperturb.utils._progress import ProgressBar

_BLOCK = 1024  # cells drawn together; what a seed gives depends on it
_BATCH_SD = 0.05  # log sd of a gene between batches
_CONTEXT_SD = 0.5  # log sd of a gene between contexts
_BASE_SD = 1.5  # log sd of abundance between genes
_SIZE_SD = 0.3  # log sd of cells between perturbations
_EMBEDDING_NOISE = 0.1
_WEAKEST = 0.3  # strength of the weak perturbations, of that of the strongest


_COUNT = [Interval(Integral, 1, None, closed="left")]
_SHARE = [Interval(Real, 0, 1, closed="both")]
_SIZE = [Interval(Real, 0, None, closed="left")]


@validate_params(
    {
        "n_genes": [Interval(Integral, 4, None, closed="left")],
        "n_controls": [Interval(Integral, 0, None, closed="left")],
        "n_combinations": [Interval(Integral, 0, None, closed="left")],
        **dict.fromkeys(("n_perturbations", "cells_per_perturbation"), _COUNT),
        **dict.fromkeys(("n_contexts", "n_batches", "n_programmes"), _COUNT),
        "embedding_dim": _COUNT,
        **dict.fromkeys(("effect_strength", "interaction", "depth"), _SIZE),
        **dict.fromkeys(("strong_fraction", "shared_effect"), _SHARE),
        **dict.fromkeys(("predictability", "nonlinearity"), _SHARE),
        **dict.fromkeys(("context_specificity", "escaper_fraction"), _SHARE),
        **dict.fromkeys(("efficiency", "dropout"), _SHARE),
        "path": [str, PathLike, None],
        "overwrite": ["boolean"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_genetic_screen(
    n_perturbations=160,
    n_genes=2000,
    *,
    cells_per_perturbation=150,
    n_controls=1500,
    n_combinations=0,
    n_contexts=1,
    n_batches=4,
    n_programmes=20,
    embedding_dim=64,
    effect_strength=1.2,
    strong_fraction=0.3,
    shared_effect=0.04,
    predictability=1.0,
    nonlinearity=0.0,
    interaction=0.2,
    context_specificity=0.3,
    escaper_fraction=0.2,
    efficiency=0.8,
    depth=5000,
    dropout=0.05,
    path=None,
    overwrite=False,
    random_state=None,
):
    """Generate raw counts of cells in which genes were knocked down.

    Unseen genes can be predicted: what a knock-down does follows a graph between
    genes, and so does the embedding of genes that comes with the screen. What makes
    real screens hard is there as well: many weak perturbations and few strong ones,
    cells in which the knock-down did not work, sequencing depth, dropout and batches.

    Parameters
    ----------
    n_perturbations : int, default=160
        Genes knocked down alone; at most half of the genes.
    n_genes : int, default=2000
        Genes measured.
    cells_per_perturbation : int, default=150
        Cells for each perturbation, on average.
    n_controls : int, default=1500
        Cells that were not perturbed.
    n_combinations : int, default=0
        Pairs of the genes above that were knocked down together.
    n_contexts : int, default=1
        Cell lines. With one, `X` has no column for it.
    n_batches : int, default=4
        Technical batches.
    n_programmes : int, default=20
        Gene programmes, along which cells vary and perturbations act.
    embedding_dim : int, default=64
        Width of the embedding of genes.
    effect_strength : float, default=1.2
        Root mean square over genes of the natural log change by the strongest
        perturbation.
    strong_fraction : float, default=0.3
        How fast strength falls with rank: after this fraction of the perturbations, by
        a factor e towards that of the weak ones.
    shared_effect : float, default=0.04
        Share, from 0 to 1, of the squared effect that all perturbations have in
        common.
    predictability : float, default=1.0
        Share, from 0 to 1, of the rest that follows the graph.
    nonlinearity : float, default=0.0
        Share, from 0 to 1, of what follows the graph that is no linear function of
        the embedding.
    interaction : float, default=0.2
        How far a pair is from the sum of its two effects, in lengths of that sum.
    context_specificity : float, default=0.3
        Share, from 0 to 1, of the squared effect that differs between contexts.
    escaper_fraction : float, default=0.2
        Share, from 0 to 1, of perturbed cells in which nothing happened.
    efficiency : float, default=0.8
        Mean share, from 0 to 1, of the target's expression that is lost in the other
        cells. The response of a cell is proportional to what it lost.
    depth : float, default=5000
        Counts of a typical cell.
    dropout : float, default=0.05
        Share, from 0 to 1, of non-zero counts that are lost.
    path : str or path-like, default=None
        Write the cells to this ``.h5ad`` file, a block at a time, and leave them
        there. Memory does not grow with the number of cells.
    overwrite : bool, default=False
        Replace the file.
    random_state : int, RandomState instance or None, default=None
        Seed of everything that is drawn; the same seed gives the same bits, in memory
        and in a file.

    Returns
    -------
    screen : :class:`~sklearn.utils.Bunch`
        X, y, is_control, schema, target_names, DESCR
            As given by :func:`load_perturbseq`; `y` holds counts.
        gene_embedding : DataFrame of shape (n_genes, embedding_dim)
            For `LookupEmbedding`.
        gene_graph : csr_array of shape (n_genes, n_genes)
            1 where genes are linked.
        effects : DataFrame of shape (n_perturbations + n_combinations, n_genes)
            True natural log change of abundance in a typical cell that responds. With
            several contexts, one such block for each, and two levels of index.
        escaped : ndarray of bool of shape (n_cells,)
            Perturbed cells in which nothing happened.

    Raises
    ------
    ValueError
        If a parameter is out of range, or the request is impossible, such as more
        perturbations than genes.
    FileExistsError
        If the file exists and `overwrite` is False.

    See Also
    --------
    load_perturbseq : Read real cells.
    make_chemical_screen : Generate signatures of compounds.

    Notes
    -----
    The abundance of a gene is log-linear in the programmes; a cell has activities of
    its own, and a perturbation moves them. Counts are negative binomial around the
    abundances times the depth of the cell. A programme, and the direction in which a
    gene moves the programmes, are drawn independently for each gene and then diffused
    over a nearest-neighbour graph, whose leading eigenvectors are the embedding.

    The defaults are made to be as hard as a Perturb-seq screen with smooth effects, in
    which a ridge from the embedding predicts most of an unseen gene's effect, and a
    mean shift little; ``benchmarks/flow/generated_screens.py`` measures it.

    The Virtual Cell Challenge has 150 perturbations of about 1,000 cells and 38,000
    controls, of 18,080 genes:
    ``make_genetic_screen(150, 18080, cells_per_perturbation=1000, n_controls=33000,
    depth=50000, path="screen.h5ad")``.

    Examples
    --------
    >>> from sklperturb.datasets import make_genetic_screen
    >>> screen = make_genetic_screen(
    ...     10, 100, cells_per_perturbation=5, n_controls=20, embedding_dim=8,
    ...     random_state=0,
    ... )
    >>> screen.y.shape, screen.effects.shape
    ((70, 100), (10, 100))
    >>> screen.X.columns.tolist()
    ['target_gene', 'batch', 'control']
    """
    _check_counts(n_perturbations, n_genes, n_combinations, embedding_dim)
    if path is not None:
        path = check_output(path, (".h5ad",), overwrite)
    seed = check_random_state(random_state).randint(2**31 - 1)
    rng = np.random.default_rng(seed)
    sizes = (n_genes, n_programmes, embedding_dim)
    shares = (predictability, nonlinearity, _EMBEDDING_NOISE)
    network = make_gene_network(*sizes, *shares, rng)
    base = _BASE_SD * rng.standard_normal(n_genes)
    # A gene that is hardly expressed cannot be knocked down.
    expressed = np.flatnonzero(base >= np.median(base))
    targets = rng.choice(expressed, n_perturbations, replace=False)
    singles = _draw_effects(
        network.response[targets], effect_strength, strong_fraction, shared_effect, rng
    )
    pairs = _draw_pairs(n_combinations, n_perturbations, rng)
    combined = singles[pairs].sum(axis=1)
    combined += interaction * _like(combined, rng)
    effects = np.concatenate([np.zeros((1, n_programmes)), singles, combined])
    effects = np.repeat(effects[None], n_contexts, axis=0)
    if n_contexts > 1:
        share = context_specificity
        own = np.stack([_like(of_context, rng) for of_context in effects])
        effects = np.sqrt(1 - share) * effects + np.sqrt(share) * own
    knocked = np.full((effects.shape[1], 2), -1)
    knocked[1 : n_perturbations + 1, 0] = targets
    knocked[n_perturbations + 1 :] = targets[pairs]
    names = [join_combination(network.genes[k[k >= 0]]) for k in knocked]
    of_context = rng.standard_normal((n_contexts, n_genes))
    model = CellModel(
        programmes=network.programmes.astype(np.float32),
        effects=effects,
        knocked=knocked,
        base=base + _CONTEXT_SD * of_context * (n_contexts > 1),
        batches=_BATCH_SD * rng.standard_normal((n_batches, n_genes)),
        dispersion=(0.5 + rng.gamma(4.0, 1.0, n_genes)).astype(np.float32),
        escaper_fraction=escaper_fraction,
        efficiency=efficiency,
        depth=depth,
        dropout=dropout,
        seed=seed,
    )
    cells = _lay_out(
        len(names) - 1, cells_per_perturbation, n_controls, n_contexts, n_batches, rng
    )
    X = _conditions(cells, names, n_contexts)
    var = pd.DataFrame(index=network.genes)
    y, escaped = _draw_cells(model, cells, X, var, network.embedding, path)
    return _bundle(X, y, escaped, network, model, names, targets)


def _draw_effects(response, strength, strong_fraction, shared, rng):
    """Return the effects on programmes, few of them strong, (n_genes, n_programmes)."""
    common = rng.standard_normal(response.shape[1])
    common /= np.linalg.norm(common)
    rank = rng.permutation(len(response))
    falling = np.exp(-rank / max(strong_fraction * len(response), 1.0))
    falling = _WEAKEST + (1 - _WEAKEST) * falling
    direction = np.sqrt(shared) * common + np.sqrt(1 - shared) * response
    # Programmes have root mean square 1 over genes, so that the length of an effect
    # is the root mean square of the log changes.
    return strength * falling[:, None] * direction


def _draw_pairs(n_pairs, n_genes, rng):
    """Return distinct pairs of positions, (n_pairs, 2)."""
    first, second = np.triu_indices(n_genes, 1)
    chosen = rng.choice(len(first), n_pairs, replace=False)
    return np.column_stack([first[chosen], second[chosen]])


def _like(effects, rng):
    """Return random effects of the same lengths."""
    noise = rng.standard_normal(effects.shape)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    return noise * np.linalg.norm(effects, axis=1, keepdims=True)


def _lay_out(n_perturbations, n_each, n_controls, n_contexts, n_batches, rng):
    """Return the perturbation, context and batch of each cell, in random order."""
    weights = np.exp(_SIZE_SD * rng.standard_normal(n_perturbations))
    spare = n_perturbations * (n_each - 1)
    sizes = 1 + rng.multinomial(spare, weights / weights.sum())
    perturbation = np.repeat(np.arange(n_perturbations + 1), [n_controls, *sizes])
    n_cells = len(perturbation)
    rng.shuffle(perturbation)
    return pd.DataFrame(
        {
            "perturbation": perturbation,
            "context": rng.integers(n_contexts, size=n_cells),
            "batch": rng.integers(n_batches, size=n_cells),
        }
    )


def _conditions(cells, names, n_contexts):
    X = pd.DataFrame(index=[f"cell{i}" for i in range(len(cells))])
    if n_contexts > 1:
        X["cell_line"] = [f"line{c + 1}" for c in cells["context"]]
    X["target_gene"] = np.array(names, dtype=object)[cells["perturbation"]]
    X["batch"] = [f"batch{b + 1}" for b in cells["batch"]]
    X["control"] = cells["perturbation"].to_numpy() == 0
    return X


def _draw_cells(model, cells, X, var, embedding, path):
    """Draw all cells a block at a time, into memory or into a file."""
    import anndata
    from anndata.io import sparse_dataset, write_elem

    drawn = _draw_blocks(model, cells)
    varm = {"embedding": embedding.to_numpy()}
    head = anndata.AnnData(obs=X.copy(), var=var, varm=varm)
    if path is None:
        counts, escaped = zip(*drawn, strict=True)
        head.X = sparse.vstack(counts, format="csr")
        return head, np.hstack(escaped)
    escaped = []
    with written_whole(path) as unfinished, created_hdf5(unfinished) as file:
        put_cells(file, head)
        for block, out in drawn:
            if escaped:
                sparse_dataset(file["X"]).append(block)
            else:
                # The file may come to hold more values than 32 bits can count.
                block.indptr = block.indptr.astype(np.int64)
                write_elem(file, "X", block)
            escaped.append(out)
    return anndata.read_h5ad(path, backed="r"), np.hstack(escaped)


def _draw_blocks(model, cells):
    starts = range(0, len(cells), _BLOCK)
    with ProgressBar(len(starts), "drawing cells") as bar:
        for block, start in enumerate(starts):
            yield model.draw(block, cells.iloc[start : start + _BLOCK])
            bar.advance()


def _bundle(X, y, escaped, network, model, names, targets):
    context = "cell_line" if "cell_line" in X else None
    roles = {"context": context, "control": "control", "batch": "batch"}
    effects = model.effects @ model.programmes
    log_knock = np.log1p(-min(model.efficiency, 0.999))
    for row, genes in enumerate(model.knocked):
        effects[:, row, genes[genes >= 0]] += log_knock
    frames = {
        f"line{c + 1}": pd.DataFrame(values[1:], names[1:], network.genes)
        for c, values in enumerate(effects)
    }
    is_control = X["control"].to_numpy()
    return Bunch(
        X=X,
        y=y,
        is_control=is_control,
        schema=PerturbationSchema("target_gene", control_labels=CONTROL, **roles),
        target_names=list(network.genes),
        gene_embedding=network.embedding,
        gene_graph=network.graph,
        effects=frames["line1"] if context is None else pd.concat(frames),
        escaped=escaped,
        DESCR=(
            f"Generated genetic screen: {len(X)} cells of {len(network.genes)} genes, "
            f"{int(is_control.sum())} of them controls; {len(targets)} genes were "
            f"knocked down alone and {len(names) - 1 - len(targets)} in pairs. Values "
            "are raw counts."
        ),
    )


def _check_counts(n_perturbations, n_genes, n_combinations, embedding_dim):
    """Check the counts against each other."""
    if n_perturbations > n_genes // 2:
        raise ValueError(
            f"n_perturbations={n_perturbations} exceeds half of n_genes={n_genes}; "
            "only genes that are well expressed are knocked down."
        )
    n_pairs = n_perturbations * (n_perturbations - 1) // 2
    if n_combinations > n_pairs:
        raise ValueError(
            f"n_combinations={n_combinations} exceeds the {n_pairs} pairs "
            f"of n_perturbations={n_perturbations}."
        )
    if embedding_dim > n_genes:
        raise ValueError(f"embedding_dim={embedding_dim} exceeds n_genes={n_genes}.")
