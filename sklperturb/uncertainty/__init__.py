"""How far predictions may be off, and how well any model could do."""

__all__ = []
