"""Generate a compound screen of the shape and difficulty of OP2."""

from numbers import Integral, Real

import numpy as np
import pandas as pd
from scipy.special import log_ndtr
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from sklperturb.conditions._schema import PerturbationSchema
from sklperturb.datasets._invented import MAX_COMPOUNDS, invent_compounds

# The contexts of OP2: those measured for all compounds, and the two to predict.
_DENSE = ("NK cells", "T cells CD4+", "T regulatory cells", "T cells CD8+")
_TARGET = ("B cells", "Myeloid cells")
# Ranks by strength, strongest 0, that OP2 measured in every context: all of the
# five strongest but the fourth, which so remains as a strong one to predict.
_SHARED_RANKS = (1, 2, 4)

# Calibrated to OP2; the Notes of make_chemical_screen show how well it fits.
_NOISE_SD = 0.87  # below 1: OP2's weakest compounds vary less than a uniform p
_WEAK_EFFECT = 0.4  # t-score RMS of a typical weak compound
_STRESS_SHARE = 0.3  # variance that goes to the programme all compounds share
_STRESS_SHIFT = 0.8  # mean of that programme over genes, in its own sd
_TARGET_POWER = 0.8  # the contexts to predict have fewer cells, so smaller scores
_ROW_SPREAD = 0.15  # log sd of one compound's strength between contexts
_GENE_SPREAD = 0.12  # log sd of responsiveness between genes
_CONTEXT_GENE_SPREAD = 0.1  # log sd of one gene's responsiveness between contexts
_SATURATION = 60.0  # scores flatten towards this: counts are finite

# What conditions say of compounds.
_DESCRIBED = ["sm_name", "sm_lincs_id", "SMILES", "moa"]
_SHARE = [Interval(Real, 0, 1, closed="both")]


@validate_params(
    {
        "n_contexts": [Interval(Integral, 2, None, closed="left")],
        "n_compounds": [Interval(Integral, 2, MAX_COMPOUNDS, closed="both")],
        "n_genes": [Interval(Integral, 1, None, closed="left")],
        "n_target_contexts": [Interval(Integral, 1, None, closed="left")],
        "n_shared": [Interval(Integral, 0, None, closed="left"), None],
        "n_test_compounds": [Interval(Integral, 1, None, closed="left"), None],
        "n_lost": [tuple, None],
        "effect_strength": [Interval(Real, 0, None, closed="left")],
        **dict.fromkeys(("strong_fraction", "context_specificity"), _SHARE),
        **dict.fromkeys(("scaffold_share", "control_noise_share"), _SHARE),
        "mechanism_share": _SHARE,
        "n_programmes": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_chemical_screen(
    n_contexts=6,
    n_compounds=146,
    n_genes=18211,
    *,
    n_target_contexts=2,
    n_shared=None,
    n_test_compounds=None,
    n_lost=None,
    effect_strength=4.9,
    strong_fraction=0.09,
    context_specificity=0.3,
    scaffold_share=0.3,
    control_noise_share=0.1,
    n_programmes=20,
    mechanism_share=0.0,
    random_state=None,
):
    """Generate a screen in which two contexts were seen for few compounds only.

    The defaults give the size and shape of the OP2 task [1]_: 614 signatures to
    learn from and 255 to predict, of 18,211 genes. Every compound was measured
    in the dense contexts; in the target contexts only the shared compounds were,
    and the response to the others is to be predicted.

    Parameters
    ----------
    n_contexts : int, default=6
        Cell types, target contexts included.
    n_compounds : int, default=146
        Compounds; at most 5,184 structures can be invented.
    n_genes : int, default=18211
        Genes, the columns of `y`.
    n_target_contexts : int, default=2
        Contexts measured for the shared compounds only.
    n_shared : int, default=None
        Compounds measured in every context, up to two positive controls
        included. By default OP2's 17 of 146, scaled, and at least 4. With 0,
        the target contexts occur nowhere in training.
    n_test_compounds : int, default=None
        Compounds to predict in the target contexts; all that are not shared by
        default.
    n_lost : tuple of two ints, default=None
        Conditions lost because a toxic compound left too few cells: of the last
        dense context, and of those to predict. By default (4, 3) as in OP2,
        scaled to the number of compounds.
    effect_strength : float, default=4.9
        Root mean square t-score of the strongest compound over genes.
    strong_fraction : float, default=0.09
        How fast strength falls with rank: after this fraction of the compounds
        it has fallen by a factor e.
    context_specificity : float, default=0.3
        Share, from 0 to 1, of a compound's programme loadings that differs
        between contexts. The differing part is alike in similar contexts.
    scaffold_share : float, default=0.3
        Share, from 0 to 1, of a compound's loadings common to its scaffold:
        what chemistry can tell about an unseen compound.
    control_noise_share : float, default=0.1
        Share, from 0 to 1, of noise that all signatures of a context have in
        common, because they were compared with the same control samples.
    n_programmes : int, default=20
        Gene programmes, the rank of the noise-free scores within a context.
    mechanism_share : float, default=0
        Share, from 0 to 1, of a compound's loadings common to its mechanism of action,
        which about four compounds share whatever their scaffold. With more than 0,
        conditions have a column `moa`.
    random_state : int, RandomState instance or None, default=None
        Seed of everything that is drawn; the same seed gives the same bits.

    Returns
    -------
    screen : :class:`~sklearn.utils.Bunch`
        The fields of :func:`load_op2`: `X`, `y`, `X_test`, `y_test` (known
        here), `schema`, `target_names`, `id_map` and `DESCR`.

    Raises
    ------
    ValueError
        If a parameter is out of range, or the request is impossible, such as more
        shared compounds than compounds.

    See Also
    --------
    load_op2 : Read real data of the same layout.
    write_screen : Write a screen to files.

    Notes
    -----
    Scores are t-like: a compound's loadings on gene programmes, times its
    strength, plus noise. `y` is their signed -log10 two-sided normal p-value. One
    stress programme, which raises more genes than it lowers, is common to all
    compounds. Measured on the training rows with ``random_state=0``, against the
    competition data as described by its participants:

    ======================================  ==========  ==========
    Statistic                               OP2         Generated
    ======================================  ==========  ==========
    Mean                                    0.3         0.31
    Standard deviation (sd)                 2.4         2.35
    Within mean +- 3 sd                     98.6 %      98.5 %
    sd of those within                      1.06        1.06
    MRRMSE of predicting zeros              1.2815      1.291
    Largest magnitude                       180.5       180.2
    Smallest of the genes' largest          2.53        2.71
    RMS of the strongest compound           11.67       11.91
    RMS of the second                       8.72        11.64
    RMS of the third                        7.95        9.80
    RMS of the fourth                       7.20        7.03
    RMS of the fifth                        6.82        6.61
    RMS of the weakest compound             0.52        0.51
    The strongest's share of all RMS        6.5 %       6.4 %
    ======================================  ==========  ==========

    RMS is the root mean square over genes, averaged over a compound's contexts.
    Seeds 0 to 4 give standard deviations of 2.25 to 2.46, 1.25 to 1.31 for zeros,
    and largest magnitudes of 137 to 180. Test rows are milder than training rows,
    as in OP2: zeros score 0.83. The screen differs from OP2 in that strength falls
    smoothly from compound to compound, which makes the second and third compound
    too strong with this seed, and in that no gene is unexpressed in a context and
    no scores lean with the number of cells. What a model scores here says nothing
    about OP2's leaderboard.

    References
    ----------
    .. [1] Szalata et al., "A benchmark for prediction of transcriptomic responses to
       chemical perturbations across cell types", NeurIPS Datasets and Benchmarks
       Track, 2024; data: GEO GSE279945.

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> screen.X.shape, screen.y.shape, screen.X_test.shape
    ((47, 5), (47, 50), (32, 5))
    """
    n_shared, n_test_compounds = _check_counts(
        n_contexts, n_compounds, n_target_contexts, n_shared, n_test_compounds
    )
    rng = np.random.default_rng(check_random_state(random_state).randint(2**31 - 1))
    compounds = invent_compounds(n_compounds, rng)
    rank = rng.permutation(n_compounds)  # by strength, strongest 0
    n_dense = n_contexts - n_target_contexts
    counts = (n_dense, n_target_contexts, n_shared, n_test_compounds, n_lost)
    design = _lay_out(rank, *counts, strong_fraction, rng)
    groups = {"scaffold": scaffold_share}
    if mechanism_share:
        n_mechanisms = max(n_compounds // 4, 1)
        compounds["mechanism"] = rng.permutation(np.arange(n_compounds) % n_mechanisms)
        compounds["moa"] = [f"T{n + 1:03d} inhibitor" for n in compounds["mechanism"]]
        groups["mechanism"] = mechanism_share
    groups = [(compounds[name].to_numpy(), share) for name, share in groups.items()]
    shape = (n_contexts, n_programmes)
    loadings = _draw_loadings(groups, *shape, context_specificity, rng)
    strength = effect_strength * np.exp(-rank / max(strong_fraction * n_compounds, 1.0))
    strength += _WEAK_EFFECT * np.exp(0.4 * rng.standard_normal(n_compounds))
    power = np.ones(n_contexts)
    power[n_dense:] = _TARGET_POWER
    spread = np.exp(_ROW_SPREAD * rng.standard_normal((n_contexts, n_compounds)))
    loadings *= (power[:, None] * strength * spread)[:, :, None]

    frames = [_conditions(compounds, design, rows) for rows in ("train", "test")]
    y, y_test = (np.empty((len(frame), n_genes)) for frame in frames)
    programmes = _draw_programmes(n_programmes, n_genes, rng)
    for context in range(n_contexts):
        scores = _draw_scores(loadings[context], programmes, control_noise_share, rng)
        response = signed_log10_p(scores)
        for frame, values in zip(frames, (y, y_test), strict=True):
            rows = np.flatnonzero(frame["context"] == context)
            values[rows] = response[frame["compound"].to_numpy()[rows]]
    return _bundle(frames, y, y_test, design, n_compounds)


def signed_log10_p(scores):
    """Turn t-like scores into signed -log10 of the two-sided normal p-value.

    The tail is taken in logarithms, so that a score of 40 does not underflow.
    """
    log_p = log_ndtr(-np.abs(scores)) + np.log(2.0)
    return np.sign(scores) * log_p / -np.log(10.0)


def _check_counts(n_contexts, n_compounds, n_target, n_shared, n_test):
    """Check the counts against each other and fill in the defaults."""
    if n_target >= n_contexts:
        raise ValueError(
            f"n_target_contexts={n_target} leaves none of the n_contexts={n_contexts} "
            "contexts to be measured for all compounds. Lower n_target_contexts or "
            "raise n_contexts."
        )
    if n_shared is None:
        n_shared = min(max(round(n_compounds * 17 / 146), 4), n_compounds - 1)
    if n_shared >= n_compounds:
        raise ValueError(
            f"n_shared={n_shared} leaves none of the n_compounds={n_compounds} "
            "compounds to predict. Lower n_shared or raise n_compounds."
        )
    n_unshared = n_compounds - n_shared
    if n_test is None:
        n_test = n_unshared
    if n_test > n_unshared:
        raise ValueError(
            f"n_test_compounds={n_test} exceeds the {n_unshared} compounds that are "
            f"not shared (n_compounds={n_compounds} less n_shared={n_shared})."
        )
    return n_shared, n_test


def _lay_out(rank, n_dense, n_target, n_shared, n_test, n_lost, strong_fraction, rng):
    """Decide which compound is measured, or to be predicted, in which context."""
    n_compounds = len(rank)
    second_control = max(1, round(strong_fraction * n_compounds))
    preferred = dict.fromkeys([0, second_control, *_SHARED_RANKS])
    preferred = [r for r in preferred if r < n_compounds]
    others = np.setdiff1d(np.arange(n_compounds), preferred)
    shared_ranks = [*preferred, *rng.permutation(others)][:n_shared]
    shared = np.isin(rank, shared_ranks)
    to_predict = np.zeros(n_compounds, dtype=bool)
    to_predict[rng.choice(np.flatnonzero(~shared), size=n_test, replace=False)] = True

    train = np.zeros((n_dense + n_target, n_compounds), dtype=bool)
    train[:n_dense] = True
    train[n_dense:] = shared
    test = np.zeros_like(train)
    test[n_dense:] = to_predict
    control = np.isin(rank, shared_ranks[: min(2, n_shared)])

    strongest = np.argsort(rank)
    # Losing a condition of the only dense context would leave nothing of it.
    toxic = strongest[~control[strongest]] if n_dense > 1 else strongest[:0]
    candidates = strongest[to_predict[strongest]]
    if n_lost is None:
        n_lost = (
            min(round(n_compounds * 4 / 146), len(toxic)),
            min(round(n_test * n_target * 3 / 258), len(candidates) - 1),
        )
    count = Interval(Integral, 0, None, closed="left")
    if len(n_lost) != 2 or not all(map(count.is_satisfied_by, n_lost)):
        raise ValueError(
            f"n_lost={n_lost!r} is not a tuple of two integers, 0 or more: conditions "
            "lost of the last dense context, and of those to predict."
        )
    for given, most, where in (
        (n_lost[0], len(toxic), "of the last dense context"),
        (n_lost[1], len(candidates) - (n_target == 1), "to predict"),
    ):
        if given > most:
            raise ValueError(
                f"n_lost={n_lost!r} asks to lose {given} conditions {where}, where "
                f"at most {most} can be lost. Lower that number."
            )
    train[n_dense - 1, toxic[: n_lost[0]]] = False
    lost = candidates[: n_lost[1]]
    test[n_dense + np.arange(len(lost)) % n_target, lost] = False
    names = [*_DENSE[:n_dense], *(f"Context {i}" for i in range(5, n_dense + 1))]
    names += _TARGET[:n_target]
    names += (f"Target context {i}" for i in range(3, n_target + 1))
    return Bunch(train=train, test=test, control=control, names=np.array(names, object))


def _draw_loadings(groups, n_contexts, n_programmes, specificity, rng):
    """Draw unit loadings of shape (n_contexts, n_compounds, n_programmes).

    Of each pair in `groups`, (number of each compound's group, share in common), the
    share is of what the groups before it leave.
    """
    n_compounds = len(groups[0][0])
    shape = (n_compounds, n_programmes - 1)  # the stress programme comes apart
    of_groups = [
        np.sqrt(share) * rng.standard_normal((group.max() + 1, shape[1]))[group]
        for group, share in groups
    ]
    common = rng.standard_normal(shape)
    for (_, share), of_group in zip(groups, of_groups, strict=True):
        common = of_group + np.sqrt(1 - share) * common
    # Contexts are points in a plane; the nearer two of them, the more alike their
    # deviations from the common response.
    place = rng.standard_normal((n_contexts, 2))
    distance = ((place[:, None] - place) ** 2).sum(axis=2)
    mix = np.linalg.cholesky(np.exp(-distance / 2) + 1e-6 * np.eye(n_contexts))
    specific = np.einsum("xz,zck->xck", mix, rng.standard_normal((n_contexts, *shape)))
    own = np.sqrt(1 - specificity) * common + np.sqrt(specificity) * specific
    own *= np.sqrt(1 - _STRESS_SHARE) / np.linalg.norm(own, axis=2, keepdims=True)
    stress = np.full((n_contexts, n_compounds, 1), np.sqrt(_STRESS_SHARE))
    return np.concatenate([stress, own], axis=2)


def _draw_programmes(n_programmes, n_genes, rng):
    """Draw programmes whose genes differ in how much they respond to anything."""
    programmes = rng.standard_normal((n_programmes, n_genes))
    programmes[0] += _STRESS_SHIFT
    programmes[0] /= np.sqrt(1 + _STRESS_SHIFT**2)
    responsiveness = np.exp(_GENE_SPREAD * rng.standard_normal(n_genes))
    return programmes * (responsiveness / np.sqrt(np.mean(responsiveness**2)))


def _draw_scores(loadings, programmes, control_noise_share, rng):
    """Draw the t-like scores of all compounds in one context."""
    n_genes = programmes.shape[1]
    scores = loadings @ programmes
    scores *= np.exp(_CONTEXT_GENE_SPREAD * rng.standard_normal(n_genes))
    of_control = rng.standard_normal(n_genes)
    own = rng.standard_normal(scores.shape)
    scores += _NOISE_SD * np.sqrt(control_noise_share) * of_control
    scores += _NOISE_SD * np.sqrt(1 - control_noise_share) * own
    return scores / np.sqrt(1 + (scores / _SATURATION) ** 2)


def _conditions(compounds, design, rows):
    """List the conditions of the training or of the test rows, in OP2's order."""
    compound, context = np.nonzero(design[rows].T)  # grouped by compound
    frame = pd.DataFrame({"compound": compound, "context": context})
    frame["cell_type"] = design.names[context]
    for column in compounds.columns.intersection(_DESCRIBED):
        frame[column] = compounds[column].to_numpy()[compound]
    frame["control"] = design.control[compound]
    if rows == "test":
        frame = frame.sort_values(["cell_type", "sm_name"], ignore_index=True)
        frame.index.name = "id"
    return frame


def _bundle(frames, y, y_test, design, n_compounds):
    genes = [f"GENE{i:05d}" for i in range(1, y.shape[1] + 1)]
    X, X_test = (frame.drop(columns=["compound", "context"]) for frame in frames)
    n_shared = int(design.train[-1].sum())
    return Bunch(
        X=X,
        y=pd.DataFrame(y, columns=genes),
        X_test=X_test,
        y_test=pd.DataFrame(y_test, columns=genes, index=X_test.index),
        schema=PerturbationSchema.infer(X),
        target_names=genes,
        id_map=X_test.reset_index()[["id", "cell_type", "sm_name"]],
        DESCR=(
            f"Generated chemical screen: {len(X)} training rows and {len(X_test)} "
            f"rows to predict, {len(genes)} genes, {n_compounds} compounds in "
            f"{len(design.names)} contexts ({', '.join(design.names)}), of which the "
            f"target contexts were seen for {n_shared} compounds. Values are signed "
            "-log10 p."
        ),
    )
