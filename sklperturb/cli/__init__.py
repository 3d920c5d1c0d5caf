"""The command line; each module beside this one holds some commands."""

from sklperturb.cli import (  # noqa: F401  (each registers its commands)
    _cells,
    _embed,
    _evaluate,
    _models,
    _screens,
    _signatures,
    _suggest,
    _tuning,
)
from sklperturb.cli._app import app
from sklperturb.cli._ending import process


def main():
    """Run the command line.

    Errors are one line: of the input, the machine or what is installed with the exit
    code 2; of the program itself with 1. A signal gives 128 and its number.
    """
    with process():
        app()
