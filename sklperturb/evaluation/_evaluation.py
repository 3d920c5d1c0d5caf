"""Score predicted cells against measured ones, by a named convention."""

import logging
from contextlib import nullcontext
from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np
import pandas as pd
from joblib import parallel_config
from sklearn.utils._param_validation import StrOptions, validate_params

from sklperturb.cells._files import sole_embedding
from sklperturb.conditions import PerturbationSchema
from sklperturb.conditions._doubts import warn
from sklperturb.conditions._labels import parts_of
from sklperturb.conditions._near import spelling_hint
from sklperturb.evaluation._anchors import halves, mean_response, no_response
from sklperturb.evaluation._conventions import CONVENTIONS
from sklperturb.evaluation._paired import with_control
from sklperturb.evaluation._populations import distances_of
from sklperturb.evaluation._sides import in_one_spelling, on_one_scale, opened_sides
from sklperturb.evaluation._summary import summarise
from sklperturb.metrics._discrimination import target_mask

_logger = logging.getLogger("sklperturb")
# A ceiling that is no farther above the baseline, as a share of both, is at it; and by
# conventions of our own, one that is not by so many standard errors.
_AT_BASELINE, _STANDARD_ERRORS = 1e-6, 2


@dataclass(frozen=True)
class CellEvaluation:
    """Scores of predicted cells.

    Attributes
    ----------
    convention : str
    scores : DataFrame
        Indexed by metric: "score", "baseline" (a mean response), "ceiling" (half of
        the measured cells scored on the other half), "scaled" (between the two, by
        the convention; NaN where the ceiling is not above the baseline, by "robust" and
        "populations" not by more than two standard errors over perturbations) and
        "greater_is_better"; and "without_targets", whether target genes are left out of
        the score, which they are only where the cells have them as genes.
    per_perturbation : DataFrame
        Indexed by perturbation, one column per metric.
    overall : float
        Mean of the scaled scores; NaN without anchors.

    See Also
    --------
    evaluate_cells : Makes it.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from anndata import AnnData
    >>> from sklperturb.evaluation import evaluate_cells
    >>> obs = pd.DataFrame({"gene": np.repeat(["control", "A", "B"], 40)}, dtype=str)
    >>> values = np.random.default_rng(0).poisson(1, (120, 6))
    >>> values[40:80, 0] += 3
    >>> values[80:, 1] += 3
    >>> cells = AnnData(np.log1p(values), obs.rename(index=str))
    >>> found = evaluate_cells(cells, cells, "gene", control="control")
    >>> list(found.per_perturbation.index)
    ['A', 'B']
    """

    convention: str
    scores: pd.DataFrame
    per_perturbation: pd.DataFrame
    overall: float


@validate_params(
    {
        "perturbation": [str],
        "control": [str],
        "convention": [StrOptions(set(CONVENTIONS)), None],
        "layer": [str, None],
        "obsm": [str, None],
        "anchors": ["boolean"],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
    },
    prefer_skip_nested_validation=True,
)
def evaluate_cells(
    real,
    pred,
    perturbation,
    *,
    control,
    convention=None,
    layer=None,
    obsm=None,
    anchors=True,
    baseline=None,
    random_state=0,
    n_jobs=None,
):
    """Score predicted cells against measured ones.

    Both may be files that do not fit into memory. Beside each score stand that of a
    mean response, which knows no perturbation from another, and that of a second
    measurement: one half of the measured cells, scored on the other.

    Parameters
    ----------
    real, pred : AnnData, str or path-like
        Measured and predicted cells with the same genes in the same order and the
        same perturbations; where labels combine, ``"A+B"`` and ``"B+A"`` are one. A
        path names an .h5ad file or a .zarr folder.
    perturbation : str
        Column of `obs` with the perturbation of each cell, in both.
    control : str
        Label of the control cells. The prediction need not hold any, but for the
        conventions "vcc2025" and "cell_eval".
    convention : {"robust", "vcc2025", "cell_eval", "vcc2026", "populations"}, \
            default=None
        Whose definitions to use; see ``CONVENTIONS``. None is "populations" for an
        embedding and "robust" for genes.
    layer : str, default=None
        Layer to score instead of `X`.
    obsm : str, default=None
        Entry of `obsm` to score instead of `X`: an embedding, such as "X_state", to
        which "populations" alone applies. Where no side has an `X` and all have one
        entry in common, that is taken, and logged.
    anchors : bool, default=True
        Whether to score the baseline and the ceiling too, which takes twice the time.
    baseline : AnnData, str or path-like, default=None
        Cells to score as the baseline, such as the mean of the training perturbations
        that a challenge prescribes. None makes them of the measured response; for
        "populations" they are the measured control cells.
    random_state : int, RandomState instance or None, default=0
        Seed of the baseline's cells and of the halves.
    n_jobs : int, default=None
        Processes that test genes for differential expression, as of `wilcoxon_de`.

    Returns
    -------
    evaluation : CellEvaluation

    Raises
    ------
    ValueError
        If genes or perturbations differ, a control is missing, or the cells do not
        hold what the convention scores.

    Warns
    -----
    UserWarning
        If no target gene is among the genes, so that there is none to leave out of
        the scores that are defined without them; or if one side holds counts, and
        another fractions that are no logarithms at 10,000 counts a cell, as it seems.

    See Also
    --------
    wilcoxon_de : The tests behind the scores.
    population_scores : Distances between whole populations.

    Notes
    -----
    "vcc2026" scores counts, and "populations" what there is. The others score
    log1p-normalised cells: where one side holds counts, each cell of both is scaled to
    10,000 counts, log1p taken, and the result rounded to single precision. Logarithms
    of whole counts at another depth are scaled too; others, such as means, are kept,
    and a warning tells where they do not add up to a like number. Where counts are
    scored and a side holds their log1p, the counts are worked out if all of them come
    out whole. Both are logged. Values that are not of one precision are compared
    in single precision.

    A perturbation for which the truth leaves a score undefined is left out of the
    mean, and no prediction can change which ones these are, except in the direction
    fidelity of "vcc2026". In "cell_eval" an undefined score, such as the area under the
    curve of a perturbation without called genes, makes the mean undefined; it is then
    worth 0.

    Examples
    --------
    >>> import anndata as ad
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklperturb.evaluation import evaluate_cells
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat(["control", "A", "B"], 60)
    >>> rate = np.ones((180, 8))
    >>> rate[60:120, 0], rate[120:, 1] = 4, 4
    >>> obs = pd.DataFrame({"target_gene": labels}, index=np.arange(180).astype(str))
    >>> real, pred = (ad.AnnData(np.log1p(rng.poisson(rate) / 8), obs=obs)
    ...               for _ in range(2))
    >>> found = evaluate_cells(real, pred, "target_gene", control="control")
    >>> found.scores["score"].round(2).to_dict()["discrimination"]
    1.0
    """
    given = {"real": real, "pred": pred, "baseline": baseline if anchors else None}
    given = {name: cells for name, cells in given.items() if cells is not None}
    if obsm is None and layer is None:
        obsm = sole_embedding(*given.values())
        if obsm is not None:
            _logger.info("The cells have no X; their obsm[%r] is scored.", obsm)
    rule = _rule(convention, obsm)
    with opened_sides(given, perturbation, layer=layer, obsm=obsm) as sides:
        if obsm is None:
            rule = _without_absent_targets(sides["real"], control, rule)
        else:
            rule = replace(rule, without_targets=())  # an embedding has no genes
        sides = in_one_spelling(sides, PerturbationSchema(perturbation), control)
        sides = on_one_scale(sides, rule.values)
        many = nullcontext() if n_jobs is None else parallel_config(n_jobs=n_jobs)
        with many:
            return score_sides(
                sides, control, rule, anchors=anchors, random_state=random_state
            )


def score_sides(sides, control, rule, *, anchors, random_state=0):
    """Score populations on the scale of a convention.

    Parameters
    ----------
    sides : dict of str to Population
        "real", "pred" and, if there is one, "baseline".
    control : str
    rule : Convention
    anchors : bool
    random_state : int, RandomState instance or None, default=0

    Returns
    -------
    evaluation : CellEvaluation
    """
    _check_labels(sides["real"], sides["pred"], control, rule)
    truth = summarise(sides["real"], control, rule)
    found = {"score": _score(truth, sides["pred"], control, rule)}
    if anchors:
        baseline = sides.get("baseline")
        if baseline is None:
            if rule.de is None:
                baseline = no_response(truth, control, random_state)
            else:
                baseline = mean_response(truth, control, rule.values, random_state)
        found["baseline"] = _score(truth, baseline, control, rule)
        found["ceiling"] = score_halves(sides["real"], control, rule, random_state)
    scores = pd.DataFrame(
        {name: _aggregate(part, rule) for name, part in found.items()}
    )
    scores = scores.reindex(columns=["score", "baseline", "ceiling"])
    scores.index.name = "metric"
    scores["scaled"] = _scale(scores, found, rule)
    scores["greater_is_better"] = [name not in rule.errors for name in scores.index]
    scores["without_targets"] = scores.index.isin(rule.without_targets)
    overall = float(scores["scaled"].mean()) if anchors else np.nan
    return CellEvaluation(rule.name, scores, found["score"], overall)


def score_halves(real, control, rule, random_state=0):
    """Return the scores of half the cells of each perturbation on the other half.

    Parameters
    ----------
    real : Population
    control : str
    rule : Convention
    random_state : int, RandomState instance or None, default=0

    Returns
    -------
    scores : DataFrame
        Indexed by perturbation, without those that have a single cell.
    """
    first, second = halves(real, control, random_state)
    return _score(summarise(first, control, rule), second, control, rule)


def _rule(convention, obsm):
    """Return the convention; None takes the one that suits the cells."""
    if convention is None:
        convention = "robust" if obsm is None else "populations"
    rule = CONVENTIONS[convention]
    if obsm is not None and rule.values != "any":
        raise ValueError(
            f"convention={convention!r} scores genes, and obsm[{obsm!r}] holds an "
            "embedding. Pass convention='populations', or layer= with expression."
        )
    return rule


def _without_absent_targets(real, control, rule):
    """Return the convention; warn, and take note, where no target is a gene."""
    names = [name for name in real.rows if name != control]
    targets = [parts_of(name) if rule.combinations else [name] for name in names]
    found = target_mask(targets, real.genes.astype(str)).any(axis=1).sum()
    if found or not names or not rule.without_targets:
        _logger.info(
            "%d of %d perturbations have their target gene.", found, len(names)
        )
        return rule
    warn(
        f"No target gene is among the genes of {real.name}: perturbations are such as "
        f"{names[:3]}, and genes such as {list(real.genes[:3])}. The convention "
        f"{rule.name!r} leaves targets out of {', '.join(rule.without_targets)}; here "
        "there is none to leave out. Compare these, what is scaled and overall only "
        "with files that have no target genes either. If genes have other names than "
        "perturbations, give both the same."
    )
    return replace(rule, without_targets=())


def _check_labels(true, predicted, control, rule):
    for side, labels in (("real", true.rows), ("pred", predicted.rows)):
        if control not in labels and (side == "real" or rule.own_control):
            raise ValueError(
                f"{side} holds no control cells {control!r}; convention "
                f"{rule.name!r} needs them. Its labels are {list(labels)[:5]} ..."
                f"{spelling_hint([control], labels)}"
            )
    differing = sorted((true.rows.keys() ^ predicted.rows.keys()) - {control})
    if differing:
        near = spelling_hint(predicted.rows, true.rows)
        raise ValueError(
            f"real and pred hold different perturbations: {len(differing)} are in one "
            f"only, such as {differing[:5]}. Predict those of real, and no others."
            f"{near}"
        )


def _score(truth, population, control, rule):
    """Return the scores of some cells against a summary of the measured ones."""
    own = rule.own_control and control in population.rows
    side = summarise(population, control, rule, None if own else truth.population)
    bulks = [truth.pseudobulks, side.pseudobulks]
    if not own:
        bulks[1] = with_control(*bulks, control)
    if rule.de is None:
        distances = distances_of(truth.population, population, control)
        return rule.function(*bulks, distances, control=control)
    options = {}
    if rule.values == "counts":
        options = {"noise_true": truth.noise, "noise_pred": side.noise}
    return rule.function(*bulks, truth.de, side.de, control=control, **options)


def _aggregate(found, rule):
    """Average over perturbations, as the convention treats undefined scores."""
    scores = found.drop(columns=list(rule.unscored))
    if rule.where_called is None:
        scores = scores.mean()
    else:
        gated = scores[list(rule.where_called)][found["de_nsig_counts_real"] > 0]
        scores = scores.mean(skipna=False)
        scores[gated.columns] = gated.mean(skipna=False)
    if "mse_numerator" in found:
        total = found["mse_denominator"].sum()
        norm = found["mse_numerator"].sum() / total if total > 0 else np.nan
        scores["expr_mse_norm"] = norm
    return scores


def _scale(scores, parts, rule):
    found = parts["score"]
    best = np.where(scores.index.isin(rule.errors), 0.0, 1.0)
    if rule.normalisation == "clipped":
        gain = (scores["score"] - scores["baseline"]) / (best - scores["baseline"])
        if scores["baseline"].isna().all():
            return gain
        gain = gain.fillna(0.0).clip(lower=0.0)
        if rule.where_called is not None and not found["de_nsig_counts_real"].any():
            gain[list(rule.where_called)] = np.nan  # no score at all, and not averaged
        return gain
    # What the prediction alone leaves undefined is worth as little as can be.
    is_error = scores.index.isin(rule.errors)
    worst = scores["baseline"].where(is_error, 0.0)
    worst = worst.mask(scores.index == "lfc_nmae", np.inf)
    gain = scores["score"].fillna(worst) - scores["baseline"]
    span = scores["ceiling"] - scores["baseline"]
    size = scores[["ceiling", "baseline"]].abs().max(axis=1)
    least = _AT_BASELINE * size
    if rule.normalisation == "certain" and "ceiling" in parts:
        noise = (parts["ceiling"] - parts["baseline"]).sem().reindex(least.index)
        least = np.maximum(least, _STANDARD_ERRORS * noise.fillna(0.0))
    above = np.where(is_error, -span, span) > least
    scaled = gain / span.where(above)
    if "expr_mse_norm" in scaled:
        scaled["expr_mse_norm"] = np.clip(scaled["expr_mse_norm"], 0.0, 1.0)
        scaled["lfc_nmae"] = np.maximum(scaled["lfc_nmae"], -6.0)
    return scaled
