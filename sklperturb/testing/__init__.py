"""Check estimators, those of the toolkit and your own."""

from sklperturb.testing._discovery import (
    all_estimators,
    public_members,
    public_packages,
)
from sklperturb.testing._estimator_checks import (
    check_perturbation_estimator,
    perturbation_checks,
)

__all__ = [
    "all_estimators",
    "check_perturbation_estimator",
    "perturbation_checks",
    "public_members",
    "public_packages",
]
