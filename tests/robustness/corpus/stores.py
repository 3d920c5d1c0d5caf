"""Files of cells: the container, links, and the tables of cells and genes."""

import os
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np

from tests.robustness.cases import (
    accepted,
    cases,
    refused,
    reported,
    survived,
    warned,
)
from tests.robustness.damage import (
    SPECIAL,
    at,
    attribute,
    changed,
    compressed,
    content,
    cut,
    dropped,
    folder,
    in_store,
    link,
    put,
    removed,
    values,
)
from tests.robustness.inputs import GENES, N_CELLS


def _zipped(path):
    inside = path.read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(path.name, inside)


_CONTAINER = [
    ("empty", content(""), refused()),
    ("text", content("target_gene,GENE1\n"), refused()),
    ("first half", cut(0.5), refused()),
    ("first hundred bytes", changed(lambda data: data[:100]), refused()),
    ("the signature only", content(b"\x89HDF\r\n\x1a\n" + bytes(2000)), refused()),
    ("compressed", compressed, refused()),
    ("zipped", _zipped, refused()),
    ("no obs", dropped("obs"), refused("obs")),
    ("no var", dropped("var"), refused("var")),
    ("no X", dropped("X"), refused("X")),
    ("zeros in the middle", changed(
        lambda d: d[: len(d) // 3] + bytes(len(d) // 3) + d[2 * len(d) // 3 :]
    ), refused()),
    ("a folder", folder, refused()),
    *[(name, damage, refused()) for name, damage in SPECIAL],
]  # fmt: skip


def _elsewhere(path):
    """Copy a file to one that it may link to."""
    target = path.with_name("elsewhere.h5")
    shutil.copyfile(path, target)
    return target


def _external_link(name):
    def damage(path):
        _elsewhere(path)
        with h5py.File(path, "r+") as file:
            del file[name]
            file[name] = h5py.ExternalLink("elsewhere.h5", name)

    return damage


def _external_storage(name):
    def damage(path):
        with h5py.File(path, "r+") as file:
            found, kept = file[name][...], dict(file[name].attrs)
            Path(path.with_name("raw.bin")).write_bytes(found.tobytes())
            del file[name]
            made = file.create_dataset(
                name, found.shape, found.dtype, external=[("raw.bin", 0, found.nbytes)]
            )
            made.attrs.update(kept)

    return damage


def _virtual(name, missing=False):
    def damage(path):
        target = _elsewhere(path)
        with h5py.File(path, "r+") as file:
            found, kept = file[name], dict(file[name].attrs)
            layout = h5py.VirtualLayout(found.shape, found.dtype)
            layout[...] = h5py.VirtualSource("elsewhere.h5", name, found.shape)
            del file[name]
            file.create_virtual_dataset(name, layout).attrs.update(kept)
        if missing:
            target.unlink()

    return damage


def _soft_link(name, target):
    def damage(path):
        with h5py.File(path, "r+") as file:
            del file[name]
            file[name] = h5py.SoftLink(target)

    return damage


def _loop(path):
    with h5py.File(path, "r+") as file:
        file["uns/again"] = file["/"]
        del file["X"]
        file["X"] = file["uns"]


_LINKS = [
    ("an external link to X", _external_link("X"), refused()),
    ("an external link to values", _external_link("X/data"), refused()),
    ("an external link to a column", _external_link("obs/cell_type"), refused()),
    ("values in a raw file", _external_storage("X/data"), refused()),
    ("values of a virtual set", _virtual("X/data"), refused()),
    ("values of a virtual set that is lost", _virtual("X/data", True), refused()),
    ("a virtual index", _virtual("obs/_index"), refused()),
    ("a soft link to nothing", _soft_link("X", "/nowhere"), refused()),
    ("a soft link to itself", _soft_link("X", "/X"), refused()),
    ("a loop of groups", _loop, refused()),
]


def _unwritten(store):
    """Let the matrix be a data set of which no chunk was ever written."""
    del store["X"]
    made = store.create_dataset(
        "X", (N_CELLS, len(GENES)), "f4", chunks=(8, len(GENES))
    )
    made.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})


def _huge(store):
    """Let the matrix be one that no memory holds."""
    del store["X"]
    made = store.create_dataset("X", (N_CELLS, 2**44), "f4", chunks=(8, 2**12))
    made.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})


def _bomb(store):
    """Let the values be zeros that compress to nothing, one more than there are."""
    del store["X"]
    made = store.create_dataset(
        "X", (2**21, 2**10), "f4", chunks=(2**12, 2**10), compression="gzip"
    )
    made.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})


def _deep(store):
    group = store["uns"]
    for _ in range(3000):
        group = group.create_group("a")


_SIZES = [
    ("chunks that were never written", in_store(_unwritten), refused()),
    ("more genes than memory holds", in_store(_huge), refused()),
    ("more cells than the table", in_store(_bomb), refused()),
    ("three thousand groups in groups", in_store(_deep), survived()),
]


def _text(store, name, found):
    put(store, name, np.array([str(x) for x in found], dtype=h5py.string_dtype()))


def _labels(name, function):
    """Change the labels of a column that is stored as categories, or as text."""

    def change(store):
        place = f"{name}/categories" if hasattr(store[name], "keys") else name
        found = [x.decode() if isinstance(x, bytes) else x for x in store[place][...]]
        _text(store, place, function(found))

    return in_store(change)


def _codes(place, value):
    return at("obs/target_gene/codes", place, value)


def _bytes_column(store):
    """Store a column as bytes of fixed length."""
    codes = store["obs/target_gene/codes"][...]
    names = np.array([n.decode() for n in store["obs/target_gene/categories"][...]])
    del store["obs/target_gene"]
    put(store, "obs/target_gene", names[codes].astype("S"))
    store["obs/target_gene"].attrs.update(
        {"encoding-type": "array", "encoding-version": "0.2.0"}
    )


def _old_table(store):
    """Store the table of cells as records, as anndata did before 0.7."""
    names = list(store["obs/_index"][...])
    del store["obs"]
    found = np.array(
        [(n, b"control", b"K562") for n in names],
        dtype=[("index", "S8"), ("target_gene", "S8"), ("cell_type", "S8")],
    )
    store.create_dataset("obs", data=found)


def _as_matrix(store):
    del store["obs"]
    store["obs"] = store["X"]


def _old_categories(store):
    """Store a column as codes, with the categories apart, as anndata 0.7 did."""
    column = store["obs/cell_type"]
    codes, names = column["codes"][...], column["categories"][...]
    del store["obs/cell_type"]
    store["obs"].create_dataset("cell_type", data=codes)
    apart = store["obs"].create_dataset("__categories/cell_type", data=names)
    store["obs/cell_type"].attrs["categories"] = apart.ref
    store["obs"].attrs["encoding-version"] = "0.1.0"


_TABLES = [
    ("a code past the labels", _codes(3, 99), refused("target_gene")),
    ("a negative code", _codes(3, -2), refused("target_gene")),
    ("codes of floats", values("obs/target_gene/codes", lambda c: c + 0.5), refused()),
    ("a label twice", _labels("obs/target_gene", lambda n: [n[0], n[0], *n[2:]]), refused()),
    ("a column of fewer rows", values("obs/target_gene/codes", lambda c: c[:-1]), refused()),
    ("a column that is not there", dropped("obs/cell_type"), refused("cell_type")),
    ("no order of columns", attribute("obs", "column-order", None), survived()),
    ("a column outside the table", attribute("obs", "column-order", ["../X"]), refused()),
    ("no index", dropped("obs/_index"), refused("_index")),
    ("an index of fewer rows", values("obs/_index", lambda i: i[:-1]), refused()),
    ("an index that is not there", attribute("obs", "_index", "nowhere"), refused("nowhere")),
    ("fewer genes than columns", values("var/_index", lambda i: i[:-1]), refused()),
    ("repeated genes", _labels("var/_index", lambda g: [g[0], g[0], *g[2:]]), refused("GENE1")),
    ("unknown encoding of a column", attribute("obs/cell_type", "encoding-type", "odd"), refused()),
    ("a group that says nothing", in_store(lambda s: s["obs"].attrs.clear()), survived()),
    ("a table that is a matrix", in_store(_as_matrix), refused("obs")),
    ("layers that are an array", in_store(lambda s: put(s, "layers", np.ones(3))), refused("layers")),
    ("records as of old", in_store(_old_table), refused("obs")),
]  # fmt: skip
_SPELLINGS = [
    ("bytes of fixed length", in_store(_bytes_column), accepted()),
    ("categories apart", in_store(_old_categories), warned()),
    ("a perturbation called nan", _labels(
        "obs/target_gene", lambda n: ["nan" if x == "GENE2" else x for x in n]
    ), warned("nan", same=False)),
    ("controls in another case", _labels(
        "obs/target_gene", lambda n: ["Control" if x == "control" else x for x in n]
    ), accepted(same=False)),
    ("blanks around a label", _labels(
        "obs/target_gene", lambda n: [" GENE2 " if x == "GENE2" else x for x in n]
    ), survived()),
    ("two spellings of controls", _labels(
        "obs/target_gene", lambda n: ["NTC" if x == "GENE2" else x for x in n]
    ), warned("NTC", same=False)),
    ("an empty label", _labels(
        "obs/target_gene", lambda n: ["" if x == "GENE2" else x for x in n]
    ), survived()),
    ("repeated cells", _labels("obs/_index", lambda i: [i[0], i[0], *i[2:]]), survived()),
    ("all are controls", values("obs/target_gene/codes", lambda c: c * 0 + 4), survived()),
    ("missing labels", _codes(slice(1, 6), -1), survived()),
]  # fmt: skip
# What the terminal would take for orders, and rich for markup.
_NASTY = "a[/b][red]\x1b[31m\x07\n\r\x7fb"
_NAMES = [
    (f"{what} with markup and escape codes", damage, survived())
    for what, damage in [
        ("a perturbation", _labels(
            "obs/target_gene", lambda n: [_NASTY if x == "GENE2" else x for x in n])),
        ("a context", _labels("obs/cell_type", lambda n: [_NASTY, *n[1:]])),
        ("genes", _labels("var/_index", lambda g: [f"{x}{_NASTY}" for x in g])),
        ("repeated genes", _labels("var/_index", lambda g: [_NASTY, _NASTY, *g[2:]])),
        ("a perturbation of 100,000 characters", _labels(
            "obs/target_gene", lambda n: ["x" * 10**5 if x == "GENE2" else x for x in n]
        )),
    ]
]  # fmt: skip


def _member(name, data):
    """Replace or remove one file of a zarr folder."""

    def damage(path):
        place = path / name
        if data is None:
            place.unlink()
        elif callable(data):
            place.write_bytes(data(place.read_bytes()))
        else:
            place.write_bytes(data)

    return damage


def _pickled(path):
    """Let a column be pickled objects, which run something when they are read."""
    place = path / "obs" / "_index"
    about = (place / ".zarray").read_text()
    about = about.replace("vlen-utf8", "pickle")
    (place / ".zarray").write_text(about)
    (path / ".zmetadata").unlink(missing_ok=True)
    code = b"cos\nsystem\n(S'touch ../canary'\ntR."
    for chunk in place.glob("[0-9]*"):
        chunk.write_bytes(code)


def _chunk_elsewhere(path):
    outside = path.parent / "elsewhere"
    (path / "X" / "data" / "0").rename(outside)
    (path / "X" / "data" / "0").symlink_to(outside)


def _shape(shape):
    def change(data):
        import json

        about = json.loads(data)
        about["shape"] = shape
        return json.dumps(about).encode()

    return change


def _without_summary(damage):
    """Remove the copy of all descriptions, so that the damaged one is read."""

    def both(path):
        (path / ".zmetadata").unlink(missing_ok=True)
        damage(path)

    return both


def _in_zarr(name, damage, expect):
    return name, _without_summary(damage), expect


_ZARR = [
    _in_zarr("a lost chunk of values", _member("X/data/0", None), refused()),
    _in_zarr("a lost chunk of indices", _member("X/indices/0", None), refused()),
    # zarr leaves out chunks that hold nothing but zeros: this may be one of these.
    _in_zarr("a lost chunk of labels", _member("obs/target_gene/codes/0", None), survived()),
    _in_zarr("an empty chunk", _member("X/data/0", b""), refused()),
    _in_zarr("half a chunk", _member("X/data/0", lambda d: d[: len(d) // 2]), refused()),
    _in_zarr("a chunk of noise", _member("X/data/0", bytes(range(256)) * 9), refused()),
    _in_zarr("a chunk that is elsewhere", _chunk_elsewhere, refused()),
    _in_zarr("no description", _member("X/data/.zarray", None), refused()),
    _in_zarr("a description that is no JSON", _member("X/data/.zarray", b"{"), refused()),
    _in_zarr("a description in another encoding", _member("X/.zattrs", b"\xff\xfe"), refused()),
    _in_zarr("a shape of 2^60", _member("X/data/.zarray", _shape([2**60])), refused()),
    _in_zarr("a negative shape", _member("X/data/.zarray", _shape([-4])), refused()),
    _in_zarr("no root", _member(".zgroup", None), refused()),
    _in_zarr("an unknown compressor", _member(
        "X/data/.zarray", lambda d: d.replace(b'"blosc"', b'"odd"')), refused()),
    _in_zarr("pickled objects", _pickled, refused()),
    _in_zarr("a file in place of the folder", lambda p: (removed(p), p.write_text("x")), refused()),
    _in_zarr("an empty folder", folder, refused()),
    _in_zarr("a link to the root of the system", link("/"), refused()),
    _in_zarr("JSON of 100,000 brackets", _member(".zattrs", b"[" * 10**5), refused()),
]  # fmt: skip

_H5_READERS = ("load_perturbseq h5ad", "signatures h5ad")
_BACKED = "load_perturbseq backed h5ad"
CASES = [
    *cases("h5ad: container", "cells.h5ad", _H5_READERS, _CONTAINER),
    *cases("h5ad: container", "cells.h5ad", "describe h5ad", _CONTAINER[:9] + _CONTAINER[10:]),
    *cases("h5ad: container", "cells.h5ad", "describe h5ad", [("no X", dropped("X"), survived())]),
    *cases("h5ad: container", "cells.h5ad", ("embed h5ad", "fit-cells h5ad"), _CONTAINER[:11:4]),
    *cases("h5ad: container", "pred.h5ad", "evaluate pred", _CONTAINER[:12:2] + _CONTAINER[12:]),
    *cases("h5ad: links", "cells.h5ad", _H5_READERS, _LINKS),
    *cases("h5ad: links", "cells.h5ad", "describe h5ad", _LINKS[:-1]),
    *cases("h5ad: links", "cells.h5ad", ("embed h5ad", "fit-cells h5ad", _BACKED), _LINKS[1::3]),
    *cases("h5ad: links", "pred.h5ad", "evaluate pred", _LINKS[::3]),
    *cases("h5ad: sizes", "cells.h5ad", _H5_READERS, _SIZES),
    *cases("h5ad: tables", "cells.h5ad", _H5_READERS, _TABLES[:-6]),
    *cases("h5ad: tables", "cells.h5ad", "describe h5ad", _TABLES[:11] + _TABLES[13:-5] + _TABLES[-3:-1]),
    *cases("h5ad: tables", "cells.h5ad", (_BACKED, _H5_READERS[1]), _TABLES[-6:]),
    *cases("h5ad: labels", "cells.h5ad", _H5_READERS[0], _SPELLINGS),
    *cases("h5ad: labels", "cells.h5ad", "describe h5ad", [
        ("repeated genes", _TABLES[12][1], reported("GENE1")),
        ("fewer genes than columns", _TABLES[11][1], reported("23 genes")),
        ("a loop of groups", _loop, reported("X")),
        ("a perturbation called nan", _SPELLINGS[2][1], reported("nan")),
        ("blanks around a label", _SPELLINGS[4][1], survived()),
        ("two spellings of controls", _SPELLINGS[5][1], reported("NTC")),
        ("an empty label", _SPELLINGS[6][1], survived()),
        ("missing labels", _SPELLINGS[9][1], survived()),
    ]),
    *cases("h5ad: names", "cells.h5ad",
           ("describe h5ad", "signatures h5ad", "fit-cells h5ad", "embed h5ad"), _NAMES),
    *cases("zarr: container", "cells.zarr", ("load_perturbseq zarr", "signatures zarr"), _ZARR),
    *cases("zarr: container", "cells.zarr", "describe zarr", _ZARR[6::3]),
    *cases("zarr: container", "cells.zarr", "describe zarr", [
        (name, damage, reported()) for name, damage, _ in (*_ZARR[:2], *_ZARR[3:6])
    ]),
]  # fmt: skip

_TRAIN = "h5/de_train.h5ad"
_LAYER = "layers/clipped_sign_log10_pval"
CASES += cases("h5ad: signatures", _TRAIN, "load_op2 h5ad", [
    *_CONTAINER[:9],
    *_CONTAINER[10:],
    ("no layer", dropped("layers"), refused("layer")),
    ("an index past the last gene", at(f"{_LAYER}/indices", 3, 99), refused()),
    ("a negative index", at(f"{_LAYER}/indices", 3, -1), refused()),
    ("rows that begin at 1", at(f"{_LAYER}/indptr", 0, 1), refused()),
    ("rows that end before they start", at(f"{_LAYER}/indptr", 2, 0), refused()),
    ("NaN", at(f"{_LAYER}/data", 3, np.nan), refused()),
    ("complex", values(f"{_LAYER}/data", lambda d: d * 1j), refused()),
    ("values of text", values(f"{_LAYER}/data", lambda d: d.astype("S8")), refused()),
    ("a wider shape", attribute(_LAYER, "shape", [9, 99]), refused()),
    ("an external link", _external_link(_LAYER), refused()),
    ("an external link to all layers", _external_link("layers"), refused()),
    ("values in a raw file", _external_storage(f"{_LAYER}/data"), refused()),
    ("values of a virtual set that is lost", _virtual(f"{_LAYER}/data", True), refused()),
    ("repeated genes", _labels("var/_index", lambda g: [g[0], g[0], *g[2:]]), refused()),
    ("a code past the labels", at("obs/sm_name/codes", 1, 99), refused()),
    ("no compounds", dropped("obs/sm_name"), refused("sm_name")),
])  # fmt: skip
if os.geteuid() != 0:
    from tests.robustness.damage import unreadable

    CASES += cases("h5ad: container", "cells.h5ad", _H5_READERS, [
        ("no permission", unreadable, refused()),
    ])  # fmt: skip
