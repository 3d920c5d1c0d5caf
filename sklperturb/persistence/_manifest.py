"""What a model file says of itself: fields of the manifest, and who may read it."""

import json
from dataclasses import dataclass, fields

from sklperturb._version import __version__
from sklperturb.files._documents import parse_json
from sklperturb.files._fields import (
    Fields,
    Listed,
    Mapping,
    Maybe,
    Number,
    Plain,
    Source,
    Text,
)
from sklperturb.files._reading import FileError, reading, short
from sklperturb.persistence._archive import CARD, MANIFEST, WHAT, Archive

FORMAT, VERSION = "sklperturb model", 2
# What each version says of a member. That of the zip is enough to tell damage, and is
# made while the member is written.
_MEMBER = {
    1: {"sha256": Text()},
    2: {"crc32": Number(0, 2**32 - 1, whole=True)},
}


class _Model:
    """The estimator itself, which the decoder checks."""

    def read(self, value, where, source):
        if not isinstance(value, dict):
            source.refuse(where, value, "an estimator")
        return value


_NAMES = Maybe(Listed(Plain()))


def _fields_of(version):
    """Return what a manifest of a version holds."""
    member = Fields(_MEMBER[version] | {"size": Number(0, whole=True)})
    return Fields(
        _FIELDS | {"members": Mapping(member)},
        optional=("columns_read", "contexts"),  # which the first files do not have
    )


_FIELDS = {
    "format": Text((FORMAT,)),
    "version": Number(1, VERSION, whole=True),
    "written_by": Text(),
    "model_class": Text(),
    "parameters": Mapping(Text()),
    "classes": Listed(Text(), unique=True),
    "foreign": Listed(Text(), unique=True),
    "libraries": Mapping(Text()),
    "columns": _NAMES,
    "columns_read": _NAMES,
    "contexts": _NAMES,
    "genes": Maybe(Listed(Text())),
    "schema": Maybe(Mapping(Plain())),
    "n_samples": Maybe(Number(0, whole=True)),
    "fingerprint": Maybe(Text()),
    "scores": Listed(Mapping(Plain())),
    "model": _Model(),
}


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says of itself, read without loading the model.

    Attributes
    ----------
    path : Path
    written_by : str
        The version of sklperturb that saved it.
    model_class : str
        The class of the estimator.
    parameters : dict of str to str
        Its parameters, as code.
    classes : list of str
        All classes that the model is made of.
    foreign : list of str
        Of these, those that `load` opens only if they are `trusted`.
    libraries : dict of str to str
        Versions of the packages that it was fitted with.
    columns : list of str or None
        Columns of the conditions that it was fitted on.
    columns_read : list of str or None
        Of these, those that `predict` needs, where the model can tell.
    contexts : list of str or None
        Contexts that it was fitted on, in order, the first 200.
    genes : list of str or None
        Names of what it predicts, in order.
    schema : dict of str to str or None
        Which column plays which role.
    n_samples : int or None
        Conditions that it was fitted on.
    fingerprint : str or None
        SHA-256 of the training data; see `data_fingerprint`.
    scores : list of dict
        What was said of how good it is.

    Examples
    --------
    >>> import tempfile
    >>> import sklperturb
    >>> from sklperturb.baseline import NoChangeRegressor
    >>> from sklperturb.persistence import read_info
    >>> model = NoChangeRegressor().fit([[0]], [[1.0, 2.0]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sklperturb.save(model, f"{folder}/m.skpt")
    ...     read_info(f"{folder}/m.skpt").classes
    ['sklperturb.baseline.NoChangeRegressor']
    """

    path: object
    written_by: str
    model_class: str
    parameters: dict
    classes: list
    foreign: list
    libraries: dict
    columns: list | None
    columns_read: list | None
    contexts: list | None
    genes: list | None
    schema: dict | None
    n_samples: int | None
    fingerprint: str | None
    scores: list


def manifest_bytes(**entries):
    """Return the manifest with these entries."""
    whole = {"format": FORMAT, "version": VERSION, "written_by": __version__} | entries
    text = json.dumps(whole, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8")


def read_manifest(archive):
    """Return the manifest of an open archive as a dictionary.

    Raises
    ------
    FileError
        If it is damaged, of a version that is not known, or does not list the members
        that are there.
    """
    path = archive.path
    with reading(path, WHAT):
        text = archive.read(MANIFEST).decode("utf-8")
        found = parse_json(text, path)
        expected = _fields_of(_version_of(found, path))
        manifest = expected.read(found, MANIFEST, Source(path))
        if sorted(manifest["members"]) != sorted(archive.names()):
            raise FileError(
                f"{path} is damaged or was changed: it holds {short(archive.names())}, "
                f"and lists {short(list(manifest['members']))}. Get the file again."
            )
    return manifest


def _version_of(found, path):
    kind = found.get("format") if isinstance(found, dict) else None
    if kind != FORMAT:
        raise FileError(
            f"{path} is not {WHAT}: its format is {short(kind)}, not {FORMAT!r}."
        )
    version = found.get("version")
    if type(version) is not int or version not in _MEMBER:
        raise FileError(
            f"{path} has version {short(version)} of the format, which sklperturb "
            f"{short(found.get('written_by'))} wrote; this is sklperturb "
            f"{__version__}, which reads versions 1 to {VERSION}. Install that "
            "version, or a newer one."
        )
    return version


def read_info(path):
    """Return what a model file says of itself; the model is not loaded.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    info : ModelInfo

    Raises
    ------
    OSError
        If the file does not exist or may not be read.
    FileError
        If it is no model file, or its manifest is damaged.

    See Also
    --------
    sklperturb.load : Reads the model.

    Examples
    --------
    >>> import tempfile
    >>> import sklperturb
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.linear_model import ProductKernelRidge
    >>> from sklperturb.persistence import read_info
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> model = ProductKernelRidge().fit(screen.X, screen.y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sklperturb.save(model, f"{folder}/m.skpt", X=screen.X, y=screen.y)
    ...     info = read_info(f"{folder}/m.skpt")
    >>> info.model_class, len(info.genes)
    ('sklperturb.linear_model.ProductKernelRidge', 50)
    """
    with Archive(path) as archive:
        manifest = read_manifest(archive)
    names = {f.name for f in fields(ModelInfo)} - {"path"}
    return ModelInfo(archive.path, **{name: manifest.get(name) for name in names})


def read_card(path):
    """Return the card of a model file: what it was trained on, and what it is for.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    card : str
        As Markdown.

    Raises
    ------
    OSError
        If the file does not exist or may not be read.
    FileError
        If it is no model file, or the card was changed.

    Examples
    --------
    >>> import tempfile
    >>> import sklperturb
    >>> from sklperturb.baseline import NoChangeRegressor
    >>> from sklperturb.persistence import read_card
    >>> model = NoChangeRegressor().fit([[0]], [[1.0, 2.0]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sklperturb.save(model, f"{folder}/m.skpt")
    ...     read_card(f"{folder}/m.skpt").splitlines()[0]
    '# NoChangeRegressor'
    """
    with Archive(path) as archive:
        manifest = read_manifest(archive)
        with reading(archive.path, WHAT):
            return archive.read(CARD, manifest["members"][CARD]).decode("utf-8")
