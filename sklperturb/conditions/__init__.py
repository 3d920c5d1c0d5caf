"""Read what a row of conditions says: roles, labels, controls, levels."""

from sklperturb.conditions._schema import PerturbationSchema

__all__ = ["PerturbationSchema"]
