"""Cells in the space of a pretrained model."""

from sklperturb.embedding._checkpoint import SECheckpoint, SEConfig
from sklperturb.embedding._se_embedding import SEEmbedding

__all__ = ["SECheckpoint", "SEConfig", "SEEmbedding"]
