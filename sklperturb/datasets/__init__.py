"""Fetch, load, generate and write perturbation screens."""

from sklperturb.conditions import PerturbationSchema
from sklperturb.datasets._describe import describe_perturbseq
from sklperturb.datasets._fetch import (
    fetch_kang_2018,
    fetch_norman_2019,
    fetch_op3,
    fetch_replogle_2022,
    fetch_sciplex3,
)
from sklperturb.datasets._genetic_screen import make_genetic_screen
from sklperturb.datasets._op2 import load_op2
from sklperturb.datasets._perturbseq import load_perturbseq
from sklperturb.datasets._screen import make_chemical_screen
from sklperturb.datasets._vcpi import load_vcpi
from sklperturb.datasets._write import (
    write_screen,
    write_signatures,
    write_submission,
    write_vcpi_submission,
)
from sklperturb.datasets._write_cells import write_cells
from sklperturb.downloads._kept import get_data_home

__all__ = [
    "PerturbationSchema",
    "describe_perturbseq",
    "fetch_kang_2018",
    "fetch_norman_2019",
    "fetch_op3",
    "fetch_replogle_2022",
    "fetch_sciplex3",
    "get_data_home",
    "load_op2",
    "load_perturbseq",
    "load_vcpi",
    "make_chemical_screen",
    "make_genetic_screen",
    "write_cells",
    "write_screen",
    "write_signatures",
    "write_submission",
    "write_vcpi_submission",
]
