"""Import packages that are extras."""

from importlib import import_module


def import_extra(user, extra, *names):
    """Return the first of the modules; raise an error that says what to install.

    Parameters
    ----------
    user : str
        What needs them.
    extra : str
        The extra of the package that they belong to.
    *names : str
    """
    try:
        modules = [import_module(name) for name in names]
    except ImportError as error:
        raise ImportError(
            f"{user} needs {' and '.join(names)}, which cannot be imported; run: "
            f'pip install "sklperturb[{extra}]"'
        ) from error
    return modules[0]
