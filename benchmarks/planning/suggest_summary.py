"""What the curves of `suggest.py` come to: ratios, areas, tables and the picture."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from sklperturb.inspection import DesignCurveDisplay

CHOSEN, AT_ONCE, RANDOM = "chosen", "chosen at once", "random"
ASKED = "random, contexts asked"
N_RESAMPLES = 500


@dataclass
class Curves:
    """Errors by deal, design, draw and step.

    Attributes
    ----------
    steps : list of list of int
        Of each deal; the last one is all candidates.
    errors : dict of {(deal, design, draw): ndarray of shape (n_steps, n_targets)}
    rest : dict of {(deal, design, draw): ndarray of shape (n_steps,)}
        Mean over targets and candidates, of which those that are measured count zero.
    expected : dict of {(deal, step): tuple of float}
        Error of the targets that was expected, and the measured one; what the first
        was multiplied by, and the rows that this was learnt from.
    units : dict of {deal: ndarray of str}
        Perturbation of each target.
    seconds : dict of {design: list of float}
        Processor time of all choices.
    """

    steps: list = field(default_factory=list)
    errors: dict = field(default_factory=dict)
    rest: dict = field(default_factory=dict)
    expected: dict = field(default_factory=dict)
    units: dict = field(default_factory=dict)
    seconds: dict = field(default_factory=dict)


class Summary:
    """Mean errors of the designs of a question, and what they are worth."""

    def __init__(self, curves, n_draws):
        self.curves, self.n_draws, self._drawn = curves, n_draws, {}
        self.errors = {}  # (deal, design): (draws, steps, targets)
        for (deal, design, _), errors in curves.errors.items():
            self.errors.setdefault((deal, design), []).append(errors)
        n_steps = min(map(len, curves.steps))
        # The last step is all candidates, of which deals have different numbers.
        self.kept = [*range(n_steps - 1), -1]
        steps = [[own[k] for k in self.kept] for own in curves.steps]
        self.steps = np.mean(steps, axis=0)

    def curve(self, design, weights=None):
        """Return the mean error at each step, over deals, draws and targets.

        Parameters
        ----------
        weights : tuple, default=None
            Of deals, and by deal of targets and of draws.
        """
        of_deals, n_deals = [], len(self.curves.steps)
        for deal in range(n_deals):
            errors = np.array(self.errors[deal, design])[:, self.kept]
            targets = draws = None
            if weights:
                targets, draws = weights[1][deal], weights[2][deal, : len(errors)]
                draws = draws if draws.any() else None
            of_targets = np.average(errors, axis=0, weights=draws)
            of_deals.append(np.average(of_targets, axis=1, weights=targets))
        return np.average(of_deals, axis=0, weights=weights and weights[0])

    def drawn(self, design):
        """Return the curve, and below it that of each resample."""
        if design not in self._drawn:
            weights = None, *self.resampled()
            curves = [self.curve(design, w) for w in weights]
            self._drawn[design] = np.array(curves)
        return self._drawn[design]

    def resampled(self):
        """Yield weights of deals, targets and draws, drawn with replacement."""
        rng = np.random.RandomState(0)
        n_deals, n_draws = len(self.curves.steps), self.n_draws

        def times(n):
            return np.bincount(rng.randint(n, size=n), minlength=n)

        codes = [np.unique(u, return_inverse=True)[1] for u in self.units]
        for _ in range(N_RESAMPLES):
            deals = times(n_deals)
            targets = [times(own.max() + 1)[own] for own in codes]
            yield deals, targets, np.array([times(n_draws) for _ in range(n_deals)])

    @property
    def units(self):
        return [self.curves.units[deal] for deal in range(len(self.curves.steps))]

    def worth(self, design, reference=RANDOM):
        """Return what a design is worth, each number with its interval.

        Returns
        -------
        found : dict of {str: tuple of three floats}
            "ratio": how many times as many experiments the reference takes to the
            same error, a geometric mean over steps; "area": the mean error over
            numbers of experiments, and "difference" of it from the reference.
        """
        names = "ratio", "area", "difference"
        pairs = zip(self.drawn(design), self.drawn(reference), strict=True)
        values = np.array([self._compare(*pair) for pair in pairs])
        low, high = np.quantile(values[1:], [0.025, 0.975], axis=0)
        stacked = np.stack([values[0], low, high], axis=1)
        return dict(zip(names, stacked.tolist(), strict=True))

    def _compare(self, curve, reference):
        of_steps = ratios(self.steps, curve, reference)
        widths = self.steps[-1] - self.steps[0]
        areas = [np.trapezoid(c, self.steps) / widths for c in (curve, reference)]
        return np.exp(np.log(of_steps).mean()), areas[0], areas[0] - areas[1]

    def banded(self, design):
        """Return the curve with the ends of its intervals, (3, n_steps).

        By how much a resample is harder at all steps, as the random curve tells, is
        taken off: it tells nothing of the shape, and is the same for all designs.
        """
        level = self.drawn(RANDOM).mean(axis=1, keepdims=True)
        drawn = self.drawn(design) - level + level[0]
        return np.array([drawn[0], *np.quantile(drawn[1:], [0.025, 0.975], axis=0)])

    def rest(self, design):
        """Return the mean over all, of which those that are measured count zero.

        Returns
        -------
        curves : ndarray of shape (n_deals, n_steps)
        """
        rest = self.curves.rest.items()
        return np.array(
            [
                np.mean([r for (d, x, _), r in rest if (d, x) == (deal, design)], 0)
                for deal in range(len(self.curves.steps))
            ]
        )[:, self.kept]

    def worth_of_all(self):
        """Return the ratio of chosen to random by these, and its range over deals."""
        pairs = zip(self.rest(CHOSEN), self.rest(RANDOM), strict=True)
        found = [np.exp(np.log(ratios(self.steps, *p)).mean()) for p in pairs]
        return np.exp(np.log(found).mean()), min(found), max(found)

    def expected(self):
        """Return the ratio of measured to expected error at each step.

        Returns
        -------
        found : dict of {int: tuple of two floats}
            With the calibration, and without.
        """
        by_step = {}
        for (_, n), (said, measured, ratio, _) in self.curves.expected.items():
            by_step.setdefault(n, []).append((measured, said, said / ratio))
        means = {n: np.mean(rows, axis=0) for n, rows in sorted(by_step.items())}
        return {
            n: (float(measured / said), float(measured / raw))
            for n, (measured, said, raw) in means.items()
        }


def ratios(steps, curve, reference):
    """Return how many times as many experiments the reference takes, at each step.

    Of the error that the reference has after each number of experiments, but none and
    all. Between steps curves are straight, and what is measured later is never worse.
    """
    curve, reference = np.minimum.accumulate([curve, reference], axis=1)
    found = []
    for n, error in zip(steps[1:-1], reference[1:-1], strict=True):
        needed = np.interp(-error, -curve, steps)
        found.append(n / max(needed, 1.0))
    return np.array(found)


def tables(questions, found):
    """Return {name: Markdown} of the tables that the guide shows."""
    screens = {n: s for n, s in found.items() if not n.startswith("line")}
    lines = {n: s for n, s in found.items() if n.startswith("line")}
    parts = {}
    if screens:
        parts["screens"] = _table(
            ["screen", "what is known, can be measured, and is predicted"],
            [[questions[n].title, questions[n].says] for n in screens],
        )
        parts["ratios"] = _ratios_table(questions, screens)
        parts["curves"] = _curves_table(questions, screens)
        parts["areas"] = _areas_table(questions, screens)
        parts["expected"] = _expected_table(questions, screens)
    if lines:
        parts["lines"] = _curves_table(questions, lines)
    return parts


def _table(header, rows, numbers=()):
    align = ["---:" if i in numbers else "---" for i in range(len(header))]
    lines = [header, align, *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _designs(screens):
    found = {}
    for summary in screens.values():
        found |= dict.fromkeys(design for _, design in summary.errors)
    return list(found)


def _has(summary, design):
    return (0, design) in summary.errors


def _between(values, digits=2, form=""):
    value, low, high = (
        f"{v:{form}.{digits}f}".replace("-", "\N{MINUS SIGN}") for v in values
    )
    return f"{value} ({low} to {high})"


def _ratios_table(questions, screens):
    designs = [d for d in _designs(screens) if d != RANDOM]
    rows = []
    for name, summary in screens.items():
        cells = [
            _between(summary.worth(d)["ratio"]) if _has(summary, d) else ""
            for d in designs
        ]
        cells += [] if _has(summary, ASKED) else [""]
        if _has(summary, ASKED):
            cells.append(_between(summary.worth(CHOSEN, ASKED)["ratio"]))
        cells.append(_between(summary.worth_of_all()))
        rows.append([questions[name].title, *cells])
    header = ["screen", *designs, f"{CHOSEN}, against {ASKED}"]
    header += [f"{CHOSEN}, all conditions"]
    return _table(header, rows, range(1, len(header)))


def _curves_table(questions, screens):
    """Return errors, with half the width of their intervals."""
    steps = sorted({n for s in screens.values() for n in s.steps[:-1]})
    rows = []
    for name, summary in screens.items():
        for design in (RANDOM, CHOSEN):
            value, low, high = summary.banded(design)
            cells = [
                f"{v:.3f} \N{PLUS-MINUS SIGN} {h:.3f}"
                for v, h in zip(value, (high - low) / 2, strict=True)
            ]
            known = dict(zip(summary.steps[:-1], cells[:-1], strict=True))
            shown = [known.get(n, "") for n in steps]
            last = f"{cells[-1]} ({summary.steps[-1]:.0f})"
            rows.append([questions[name].title, design, *shown, last])
    header = ["screen", "design", *(f"{n:.0f}" for n in steps), "all"]
    return _table(header, rows, range(2, len(header)))


def _areas_table(questions, screens):
    designs = _designs(screens)
    rows = []
    for name, summary in screens.items():
        cells = []
        for design in designs:
            if not _has(summary, design):
                cells.append("")
                continue
            worth = summary.worth(design)
            text = f"{worth['area'][0]:.3f}"
            if design == CHOSEN:
                text += f", {_between(worth['difference'], 3, '+')}"
            cells.append(text)
        seconds = np.mean(summary.curves.seconds[CHOSEN])
        rows.append([questions[name].title, *cells, f"{seconds:.1f}"])
    header = ["screen", *designs, "s"]
    return _table(header, rows, range(1, len(header)))


def _expected_table(questions, screens):
    steps = sorted({n for s in screens.values() for n in s.expected()})
    rows = []
    for name, summary in screens.items():
        known = summary.expected()
        for i, calibrated in enumerate(("yes", "no")):
            cells = [f"{known[n][i]:.2f}" if n in known else "" for n in steps]
            rows.append([questions[name].title, calibrated, *cells])
    header = ["screen", "calibrated", *(f"after {n}" for n in steps)]
    return _table(header, rows, range(2, len(header)))


def as_json(questions, found):
    """Return all numbers of the tables, and those behind the picture."""
    content = {}
    for name, summary in found.items():
        designs = _designs({name: summary})
        content[name] = {
            "title": questions[name].title,
            "says": questions[name].says,
            "steps": summary.steps.tolist(),
            "curves": {d: summary.banded(d).tolist() for d in designs},
            "worth": {d: summary.worth(d) for d in designs if d != RANDOM},
            "all, measured ones zero": {d: summary.rest(d).tolist() for d in designs},
            "measured / expected": summary.expected(),
            "seconds": {
                d: float(np.mean(v)) for d, v in summary.curves.seconds.items()
            },
        }
    return content


def draw(path, questions, found):
    """Draw errors against numbers of experiments, one axis for each screen."""
    from matplotlib import pyplot

    names = [name for name in found if not name.startswith("line")]
    shown = RANDOM, ASKED, CHOSEN, "k-centre", "one of each cluster"
    n_rows = -(-len(names) // 2)
    figure, axes = pyplot.subplots(
        n_rows, 2, figsize=(9, 3.4 * n_rows), layout="constrained", squeeze=False
    )
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    for ax, name in zip(axes.flat, names, strict=False):
        summary, parts = found[name], []
        for design in shown:
            # One that was not asked for keeps its colour.
            value = low = high = np.nan
            if _has(summary, design):
                value, low, high = summary.banded(design)
            curve = {"n": summary.steps, "value": value}
            if design in (RANDOM, CHOSEN):
                curve |= {"low": low, "high": high}
            parts.append(pd.DataFrame(curve).assign(design=design))
        DesignCurveDisplay(table=pd.concat(parts, ignore_index=True)).plot(ax)
        ax.set_title(questions[name].title, loc="left", fontsize="medium")
        if ax is not axes.flat[0]:
            ax.get_legend().remove()
    figure.savefig(path)
