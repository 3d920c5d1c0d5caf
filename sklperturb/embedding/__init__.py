"""Cells in the space of a pretrained model."""

from sklperturb.embedding._checkpoint import SECheckpoint, SEConfig
from sklperturb.embedding._se_embedding import SEEmbedding
from sklperturb.embedding._streaming import embed_file

__all__ = ["SECheckpoint", "SEConfig", "SEEmbedding", "embed_file"]
