"""Turn counts of cells into signatures of perturbations."""

from sklperturb.signatures._differential import DifferentialSignatures
from sklperturb.signatures._halves import signature_halves
from sklperturb.signatures._make_screen import make_signature_screen
from sklperturb.signatures._pseudobulk import Pseudobulk, pseudobulk
from sklperturb.signatures._signed_log_p import (
    signed_log_p,
    signed_log_p_from_t,
    t_from_signed_log_p,
)

__all__ = [
    "DifferentialSignatures",
    "Pseudobulk",
    "make_signature_screen",
    "pseudobulk",
    "signature_halves",
    "signed_log_p",
    "signed_log_p_from_t",
    "t_from_signed_log_p",
]
