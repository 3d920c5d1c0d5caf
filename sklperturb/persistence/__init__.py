"""A file format for fitted models that runs no code when opened."""

from sklperturb.persistence._card import data_fingerprint
from sklperturb.persistence._manifest import ModelInfo, read_card, read_info
from sklperturb.persistence._save import load, save

__all__ = ["ModelInfo", "data_fingerprint", "load", "read_card", "read_info", "save"]
