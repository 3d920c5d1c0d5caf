"""What an audit returns: findings with what they are worth, and what to do."""

import html
import textwrap
from dataclasses import dataclass, field, fields

import numpy as np
import pandas as pd

from sklperturb.utils._printable import printable

_WIDTH = 88


@dataclass(frozen=True)
class Inflation:
    """How much better a score is with a leak than without it.

    Attributes
    ----------
    score, score_without : float
        Mean over `n_rows` held-out rows, in the metric's own sign.
    inflation : float
        How much better the score is with the leak; above 0 whether the metric is an
        error or a correlation. NaN where it could not be measured.
    low, high : float
        95 % bootstrap interval of `inflation`; NaN with fewer than three units.
    n_rows : int
        Held-out rows that were compared, the same ones with and without the leak.
    how : str
        What was changed to take the leak away, or why that could not be done.

    Examples
    --------
    >>> from sklperturb.inspection import Inflation
    >>> Inflation(0.8, 1.0, 0.2, 0.15, 0.24, 40, "rows left out").shown
    True
    """

    score: float = np.nan
    score_without: float = np.nan
    inflation: float = np.nan
    low: float = np.nan
    high: float = np.nan
    n_rows: int = 0
    how: str = ""

    @property
    def shown(self):
        """Whether the interval excludes 0 on the side of a better score."""
        return bool(self.low > 0)


@dataclass(frozen=True)
class LeakFinding:
    """One way in which held-out responses are known, or may be.

    Attributes
    ----------
    kind : str
        What leaks; see :func:`sklperturb.inspection.audit`.
    severity : {"high", "low", "note"}
        "high": it makes the score better by 1 % or more, with an interval above 0, or
        the score says nothing with it. "low": it is there, and the score is not shown
        to be better by as much. "note": what the folds do by design, or what the
        estimator does not use; no leak.
    found : str
        What was found, with numbers.
    advice : str
        What to do about it.
    inflation : Inflation
        How much better the score is with it.
    rows : ndarray of int
        Rows of `X` that are held out and concerned; empty where it is not about rows.
    examples : list of str
        Names of some of what was found.

    See Also
    --------
    LeakAudit : All findings of an audit.

    Examples
    --------
    >>> from sklperturb.inspection import LeakFinding
    >>> finding = LeakFinding("rows", "high", "3 rows are trained on.", "Cut again.")
    >>> finding.is_leak
    True
    """

    kind: str
    severity: str
    found: str
    advice: str
    inflation: Inflation = Inflation()
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=int))
    examples: list = field(default_factory=list)

    @property
    def is_leak(self):
        """Whether it is more than a note."""
        return self.severity != "note"


@dataclass(frozen=True, eq=False)
class LeakAudit:
    """What an audit of an estimator, its data and its folds has found.

    Attributes
    ----------
    findings : list of LeakFinding
        The leaks, those that inflate the score most first.
    notes : list of LeakFinding
        What the folds have in training by design, and what is there but not used.
    checks : dict of str to str
        Of each check "clean", "found", or why it was not run, or not on everything.
    score : float
        Mean score of the held-out rows, as the folds are.
    metric : str
    claims : dict of str to str
        What the folds hold out: by role, "new", "known", or why it is not told.
    n_folds, n_held_out : int

    See Also
    --------
    audit : Makes one.

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.inspection import audit
    >>> from sklperturb.model_selection import UnseenPairKFold
    >>> screen = make_chemical_screen(4, 20, 30, random_state=0)
    >>> cv = UnseenPairKFold(3, random_state=0)
    >>> found = audit("additive", screen.X, screen.y, cv)
    >>> found.ok, found.findings
    (True, [])
    """

    findings: list
    notes: list
    checks: dict
    score: float
    metric: str
    claims: dict
    n_folds: int
    n_held_out: int

    @property
    def ok(self):
        """Whether no leak was found."""
        return not self.findings

    def table(self):
        """Return the findings and the notes as a table.

        Returns
        -------
        table : DataFrame
            One row for each: ``kind``, ``severity``, ``found``, ``score``,
            ``score_without``, ``inflation`` with ``low`` and ``high``, ``n_rows``,
            ``how`` and ``advice``.
        """
        names = [f.name for f in fields(Inflation) if f.name != "how"]
        columns = ["kind", "severity", "found", *names, "how", "advice"]
        rows = [
            [f.kind, f.severity, f.found]
            + [getattr(f.inflation, name) for name in names]
            + [f.inflation.how, f.advice]
            for f in (*self.findings, *self.notes)
        ]
        return pd.DataFrame(rows, columns=columns)

    def to_dict(self):
        """Return the audit as numbers and text that JSON can hold.

        Returns
        -------
        content : dict
            ``ok``, ``metric``, ``score``, ``n_folds``, ``n_held_out``, ``claims``,
            ``checks``, and ``findings`` and ``notes``, each a list of the rows of
            `table`; numbers that were not measured are None.
        """
        table = self.table().astype(object)
        rows = table.where(table.notna(), None).to_dict("records")
        return {
            "ok": self.ok,
            "metric": self.metric,
            "score": self.score,
            "n_folds": self.n_folds,
            "n_held_out": self.n_held_out,
            "claims": dict(self.claims),
            "checks": dict(self.checks),
            "findings": rows[: len(self.findings)],
            "notes": rows[len(self.findings) :],
        }

    def __repr__(self):
        return "\n".join(self._lines())

    def _repr_html_(self):
        parts = [f"<p>{html.escape(self._headline())}</p>"]
        for title, group in (("Leaks", self.findings), ("Notes", self.notes)):
            if not group:
                continue
            rows = "".join(
                "<tr>"
                + "".join(f"<td>{html.escape(printable(c))}</td>" for c in _cells(f))
                + "</tr>"
                for f in group
            )
            head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
            parts.append(
                f"<h4>{title}</h4><table><thead><tr>{head}</tr></thead>"
                f"<tbody>{rows}</tbody></table>"
            )
        parts.append(f"<p>{html.escape(self._checked())}</p>")
        return "".join(parts)

    def _headline(self):
        n = len(self.findings)
        found = "No leak was found" if n == 0 else f"{n} leak{'s' * (n > 1)} found"
        return (
            f"{found}: {self.n_folds} fold{'s' * (self.n_folds > 1)}, "
            f"{self.n_held_out} held-out rows, {self.metric} {self.score:.4f}."
        )

    def _checked(self):
        ran = [name for name, state in self.checks.items() if state in _RAN]
        text = f"Checked: {', '.join(ran)}."
        for name, state in self.checks.items():
            if state not in _RAN:
                text += f" Not checked: {name}, {state}."
        return text

    def _lines(self):
        lines = [self._headline()]
        for finding in (*self.findings, *self.notes):
            kind, severity, found, worth, advice = _cells(finding)
            lines.append("")
            lines += _wrapped(f"{severity}: {kind}. {found}", "")
            lines += _wrapped(worth, "    ") if worth else []
            lines += _wrapped(advice, "    ")
        lines += ["", *_wrapped(self._checked(), "")]
        return lines


_RAN = ("clean", "found")
_COLUMNS = ("kind", "severity", "found", "inflation", "what to do")


def _cells(finding):
    """Return the texts of a finding: kind, severity, found, worth, advice."""
    return (
        finding.kind,
        finding.severity,
        printable(finding.found),
        _worth(finding.inflation),
        printable(finding.advice),
    )


def _worth(measured):
    """Return an inflation in words; nothing of a note that was not measured."""
    if np.isnan(measured.inflation):
        return f"Inflation not measured: {measured.how}." if measured.how else ""
    interval = "no interval"
    if not np.isnan(measured.low):
        interval = f"95 % interval {measured.low:+.4f} to {measured.high:+.4f}"
    rows = f"{measured.n_rows} row{'s' * (measured.n_rows != 1)}"
    return (
        f"Score {measured.score:.4f}, {measured.score_without:.4f} without "
        f"({measured.how}), on {rows}: inflation {measured.inflation:+.4f}, {interval}."
    )


def _wrapped(text, indent):
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent or "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
