"""The names that parameters choose from, for estimators and the command line alike.

They stand on the ground floor, so that the command line can show them without loading
what they name.
"""

import difflib
import reprlib
from enum import StrEnum


class Names(StrEnum):
    """Strings to choose from; in a message, they look like any other string."""

    __repr__ = str.__repr__


def did_you_mean(name, names):
    """Return a question after the `names` that look like `name`; may be empty."""
    known = {str(each).lower(): each for each in names}
    near = difflib.get_close_matches(str(name).lower(), known, n=3)
    found = " or ".join(repr(known[each]) for each in near)
    return f"Did you mean {found}?" if found else ""


def one_of(name, names, what):
    """Return `name` if it is one of `names`.

    Parameters
    ----------
    name : object
        What the user gave.
    names : iterable of str
        What is allowed.
    what : str
        What it names, such as "model".

    Raises
    ------
    ValueError
        If it is none of them; the message lists them, the near ones first.

    Examples
    --------
    >>> from sklperturb.utils._choices import one_of
    >>> one_of("rigde", ["conv", "ridge"], "model")
    Traceback (most recent call last):
    ValueError: 'rigde' is no model. Did you mean 'ridge'? There are ['conv', 'ridge'].
    """
    names = list(names)
    if isinstance(name, str) and name in names:
        return name
    question = f"{did_you_mean(name, names)} ".lstrip()
    names = [str(each) for each in names]
    raise ValueError(f"{reprlib.repr(name)} is no {what}. {question}There are {names}.")


def _names(title, *values):
    return Names(title, values, module=__name__)


Scoring = _names("Scoring", "mrrmse", "mrmae", "pearson", "spearman", "cosine", "wmse")
# What scikit-learn would call their scorers, of which greater is better.
SCORER_NAMES = {
    "neg_mrrmse": "mrrmse",
    "neg_mrmae": "mrmae",
    "rowwise_pearson": "pearson",
    "rowwise_spearman": "spearman",
    "rowwise_cosine": "cosine",
    "neg_wmse": "wmse",
}
# Of the convention "populations".
CellScoring = _names(
    "CellScoring",
    "energy",
    "sliced_wasserstein",
    "variance_error",
    "discrimination",
    "pearson_delta",
)
AnyScoring = _names("AnyScoring", *Scoring, *CellScoring)
Convention = _names(
    "Convention", "robust", "vcc2025", "cell_eval", "vcc2026", "populations"
)
Amplitude = _names("Amplitude", "expected", "typical")
Pruner = _names("Pruner", "auto", "hyperband", "wilcoxon")
OnNonfinite = _names("OnNonfinite", "error", "replace")

# Of experiments that are to be done next.
DesignStrategy = _names(
    "DesignStrategy",
    *("expected_error", "disagreement", "distance", "k_centre", "clusters"),
    *("one_context_first", "random"),
)
DesignCriterion = _names("DesignCriterion", "error", "remaining", "variance")
DesignUnit = _names("DesignUnit", "pair", "perturbation")

Normalization = _names("Normalization", "tmm", "size_factors", "none")
Method = _names("Method", "voom", "trend")
Contexts = _names("Contexts", "together", "apart")
ExpressedIn = _names("ExpressedIn", "every", "any")

PlotFormat = _names("PlotFormat", "png", "svg", "pdf")
Precision = _names("Precision", "auto", "float32", "bfloat16")
CountScale = _names("CountScale", "auto", "raw", "log1p")
