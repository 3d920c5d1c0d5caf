"""Search for the parameters of a model, with pruning and resumption."""

from sklperturb.tuning._search import PerturbationSearchCV
from sklperturb.tuning._space import search_space

__all__ = ["PerturbationSearchCV", "search_space"]
