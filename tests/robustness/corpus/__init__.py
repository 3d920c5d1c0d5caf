"""Damaged and hostile inputs, by kind of file."""

from tests.robustness.corpus import (
    arrays,
    checkpoints,
    documents,
    matrices,
    pages,
    plans,
    resumed,
    stores,
    tables,
)

CASES = [
    case
    for module in (
        tables,
        documents,
        arrays,
        checkpoints,
        stores,
        matrices,
        resumed,
        pages,
        plans,
    )
    for case in module.CASES
]
