"""Save a fitted estimator to a file, and load it again without running its code."""

import platform
import sys
import warnings
from functools import cache
from importlib.metadata import version

import sklearn
from sklearn.exceptions import InconsistentVersionWarning

from sklperturb.files._reading import FileError, reading, short
from sklperturb.files._writing import check_output
from sklperturb.persistence._archive import (
    ARRAYS,
    CARD,
    WHAT,
    Archive,
    write_members,
)
from sklperturb.persistence._arrays import StoredArrays, read_arrays
from sklperturb.persistence._card import (
    card_text,
    column_names_of,
    columns_read_by,
    context_names_of,
    data_fingerprint,
    gene_names_of,
    plain_scores,
    schema_of,
)
from sklperturb.persistence._decode import Decoder
from sklperturb.persistence._encode import Encoder
from sklperturb.persistence._manifest import manifest_bytes, read_manifest

_LIBRARIES = {
    "lightgbm": "lightgbm",
    "numpy": "numpy",
    "pandas": "pandas",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "skorch": "skorch",
    "torch": "torch",
}


def save(
    estimator,
    path,
    *,
    X=None,
    y=None,
    schema=None,
    scores=None,
    card=None,
    overwrite=False,
):
    """Save a fitted estimator to a file that is safe to share.

    The file is a zip of JSON, arrays, and boosted trees as text. It holds no code and
    no pickle: `load` makes the model of it, and can make nothing else.

    Parameters
    ----------
    estimator : estimator
        Any estimator of sklperturb; pipelines and searches of them; and what is made
        of numbers in scikit-learn. Your own classes are saved, and opened by those who
        trust them.
    path : str or path-like
        File to write, which ends in ``.skpt``.
    X : DataFrame or array-like, default=None
        The conditions that it was fitted on. Names of columns, roles and a fingerprint
        are kept, not the rows.
    y : array-like, DataFrame or AnnData, default=None
        The responses that it was fitted on, for the names of genes and the fingerprint.
    schema : PerturbationSchema, default=None
        Roles of the columns. None takes the estimator's, if it has one.
    scores : DataFrame or list of dict, default=None
        How good it is: a row for each score, with columns such as "metric", "score",
        "low", "high" and "ceiling".
    card : dict of str to str, default=None
        Sections of the card by title, such as "Intended use" and "Failure modes". They
        replace those that the card has anyway, or come after them.
    overwrite : bool, default=False
        Whether a file that is already there may be replaced.

    Raises
    ------
    TypeError
        If the estimator holds something that a file cannot; the message says where.
    ValueError
        If the name does not end in ``.skpt``.
    OSError
        If the file exists and `overwrite` is false, or it cannot be written.

    See Also
    --------
    load : Reads it.
    sklperturb.persistence.read_info : What the file says of itself.

    Notes
    -----
    Kernel models and nearest neighbours are made of the responses they were trained on:
    who has the file has these, too. What a search ran with, such as its storage, starts
    from defaults again; networks keep weights and history, but no state of the
    optimiser. Callbacks of scikit-learn, which tell a fit to others, are left out.

    Examples
    --------
    >>> import tempfile
    >>> import sklperturb
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.linear_model import ProductKernelRidge
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> model = ProductKernelRidge().fit(screen.X, screen.y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sklperturb.save(model, f"{folder}/kernel.skpt", X=screen.X, y=screen.y)
    ...     again = sklperturb.load(f"{folder}/kernel.skpt")
    >>> bool((again.predict(screen.X_test) == model.predict(screen.X_test)).all())
    True
    """
    path = check_output(path, (".skpt",), overwrite)
    encoder = Encoder()
    if isinstance(estimator, type) or not hasattr(estimator, "get_params"):
        raise TypeError(f"{short(estimator)} is no estimator, and cannot be saved.")
    model = encoder.encode(estimator, type(estimator).__name__)
    roles = schema_of(estimator, schema)
    about = {
        "model_class": model["class"],
        "parameters": {
            name: short(value)
            for name, value in estimator.get_params(deep=False).items()
        },
        "classes": sorted(encoder.classes),
        "foreign": sorted(encoder.foreign),
        "libraries": library_versions(),
        "columns": column_names_of(estimator, X),
        "columns_read": columns_read_by(estimator),
        "contexts": context_names_of(X, roles),
        "genes": gene_names_of(y),
        "schema": roles,
        "n_samples": None if X is None else len(X),
        "fingerprint": data_fingerprint(X, y),
        "scores": plain_scores(scores),
    }
    members = {
        ARRAYS: StoredArrays(encoder.arrays),
        CARD: card_text(estimator, about, card).encode("utf-8"),
        **{name: text.encode("ascii") for name, text in encoder.texts.items()},
    }
    write_members(
        path,
        members,
        lambda said: manifest_bytes(**about, members=said, model=model),
    )


def load(path, *, trusted=()):
    """Load a model that `save` wrote.

    The file is checked before it is used, and none of it is run: it can name classes of
    sklperturb and of scikit-learn that are made of numbers and text, and nothing else.

    Parameters
    ----------
    path : str or path-like
    trusted : sequence of str, default=()
        Full names of classes of your own, such as ``"mypackage.MyRegressor"``, that
        may be imported if the file needs them. Their code runs.

    Returns
    -------
    estimator : estimator
        As it was when it was saved.

    Raises
    ------
    OSError
        If the file does not exist or may not be read.
    FileError
        If it is no model file, damaged, of another version of the format, or needs a
        class that is not trusted.
    ImportError
        If the model needs a package that is not installed.

    Warns
    -----
    InconsistentVersionWarning
        If there are parts of scikit-learn in it, from another version.

    See Also
    --------
    save : Writes it.

    Notes
    -----
    The file's checksums tell damage, not fraud: who changes a file can change them. A
    file from a stranger cannot run code, but its predictions are the stranger's.

    Examples
    --------
    >>> import tempfile
    >>> import sklperturb
    >>> from sklperturb.baseline import NoChangeRegressor
    >>> model = NoChangeRegressor().fit([[0]], [[1.0, 2.0]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sklperturb.save(model, f"{folder}/zeros.skpt")
    ...     sklperturb.load(f"{folder}/zeros.skpt").predict([[3]])
    array([[0., 0.]])
    """
    if isinstance(trusted, str):
        raise TypeError(f"trusted={trusted!r} must be a list of names of classes.")
    with Archive(path) as archive:
        manifest = read_manifest(archive)
        members = manifest["members"]
        texts = {}
        for name, said in members.items():
            if name == ARRAYS:
                arrays = archive.read(
                    name, said, lambda *opened: read_arrays(*opened, archive.path)
                )
                continue
            data = archive.read(name, said)
            if name != CARD:
                with reading(archive.path, WHAT):
                    texts[name] = data.decode("ascii")
    with reading(archive.path, WHAT):
        decoder = Decoder(archive.path, arrays, texts, set(trusted))
        estimator = decoder.decode(manifest["model"])
        if unused := (arrays.keys() | texts.keys()) - decoder.used:
            raise FileError(
                f"{archive.path} is damaged or was changed: nothing uses "
                f"{short(sorted(unused))} of it. Get the file again."
            )
        if not hasattr(estimator, "get_params"):
            raise FileError(f"{archive.path} holds no estimator.")
        if manifest["model"]["class"] != manifest["model_class"]:
            raise FileError(
                f"{archive.path} is damaged or was changed: it says that it holds a "
                f"{short(manifest['model_class'])}, and does not. Get the file again."
            )
    _compare_versions(manifest)
    return estimator


def library_versions():
    """Return the versions of Python and of the libraries that were imported."""
    found = {
        name: _version(name) for key, name in _LIBRARIES.items() if key in sys.modules
    }
    return found | {"python": platform.python_version()}


@cache
def _version(name):
    """Return the version of a package, whose metadata take long to read."""
    return version(name)


def _compare_versions(manifest):
    """Warn of parts of scikit-learn that another version of it fitted."""
    then = manifest["libraries"].get("scikit-learn", "")
    if then.split(".")[:2] == sklearn.__version__.split(".")[:2]:
        return
    for name in manifest["classes"]:
        if name.startswith("sklearn."):
            warnings.warn(
                InconsistentVersionWarning(
                    estimator_name=name.rpartition(".")[2],
                    current_sklearn_version=sklearn.__version__,
                    original_sklearn_version=then,
                ),
                stacklevel=3,
            )
