"""Read the expression of cells wherever it is kept, a block at a time."""

__all__ = []
