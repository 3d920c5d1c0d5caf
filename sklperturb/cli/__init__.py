"""The command line; each module beside this one holds some commands."""

from sklperturb.cli import (  # noqa: F401  (each registers its commands)
    _cells,
    _describe,
    _embed,
    _evaluate,
    _screens,
    _signatures,
    _tuning,
)
from sklperturb.cli._app import app


def main():
    """Run the command line; errors of the user's input are one line, exit code 2."""
    app()
