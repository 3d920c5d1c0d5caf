"""Does a comparison see what it should not: one kind of leak in each file."""

__all__ = []
