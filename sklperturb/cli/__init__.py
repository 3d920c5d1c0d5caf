"""The command line; each module beside this one holds some commands."""

import sys
import warnings

from sklperturb.cli import (  # noqa: F401  (each registers its commands)
    _cells,
    _describe,
    _embed,
    _evaluate,
    _screens,
    _signatures,
    _tuning,
)
from sklperturb.cli._app import app, log


def main():
    """Run the command line; errors of the user's input are one line, exit code 2."""
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        app()
    except (ValueError, OSError, ImportError) as error:
        log.print(f"error: {error}", markup=False)
        sys.exit(2)
    except KeyboardInterrupt:
        log.print("stopped; the same command goes on where it was", markup=False)
        sys.exit(130)
