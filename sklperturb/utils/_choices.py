"""The names that parameters choose from, for estimators and the command line alike.

They stand on the ground floor, so that the command line can show them without loading
what they name.
"""

from enum import StrEnum


class Names(StrEnum):
    """Strings to choose from; in a message, they look like any other string."""

    __repr__ = str.__repr__


def _names(title, *values):
    return Names(title, values, module=__name__)


Scoring = _names("Scoring", "mrrmse", "mrmae", "pearson", "spearman", "cosine")
Convention = _names(
    "Convention", "robust", "vcc2025", "cell_eval", "vcc2026", "populations"
)
Pruner = _names("Pruner", "auto", "hyperband", "wilcoxon")
Budget = _names("Budget", "fast", "thorough")
OnNonfinite = _names("OnNonfinite", "error", "replace")

Normalization = _names("Normalization", "tmm", "size_factors", "none")
Method = _names("Method", "voom", "trend")
Contexts = _names("Contexts", "together", "apart")
ExpressedIn = _names("ExpressedIn", "every", "any")

Precision = _names("Precision", "auto", "float32", "bfloat16")
CountScale = _names("CountScale", "auto", "raw", "log1p")
