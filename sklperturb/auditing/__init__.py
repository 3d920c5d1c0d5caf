"""Does a comparison see what it should not: one kind of leak in each file.

What users import of it stands in `sklperturb.inspection`.
"""

__all__ = []
