"""Arrays in archives: .npz and .safetensors, and .skpt of models of cells."""

import json
import struct
import warnings
import zipfile
import zlib

import numpy as np
from safetensors.numpy import load, save

from tests.robustness.cases import accepted, cases, refused, survived
from tests.robustness.damage import (
    SPECIAL,
    arrays,
    changed,
    compressed,
    content,
    cut,
    flipped,
    folder,
    members,
)
from tests.robustness.inputs import GENES

_SPECIAL = [(name, damage, refused()) for name, damage in SPECIAL[:2]]


class _Runs:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        import os

        return os.system, ("touch ../canary",)


def _objects(name):
    """Let an array be pickled objects, which run something when they are read."""

    def damage(path):
        with np.load(path) as file:
            found = dict(file)
        hostile = np.array([_Runs()] * len(GENES), dtype=object)
        np.savez(path.open("wb"), **(found | {name: hostile}))

    return damage


def _header(text):
    """Return an array file with any text as its description."""
    text = text.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def _described(member, shape, dtype="<f8", data=b""):
    """Let an array claim a shape that it does not have."""
    about = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"

    def change(found):
        found[member] = _header(about) + data

    return members(change)


def bomb(member, size=2**30):
    """Let an array be zeros, which take no room in the archive and all the memory."""

    def damage(path):
        about = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({size // 8},), }}"
        block, packer = bytes(2**24), zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = packer.compress(_header(about)) + packer.flush(zlib.Z_FULL_FLUSH)
        zeros = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
        packed += zeros * (size // len(block)) + packer.flush()
        crc = zlib.crc32(_header(about))
        for _ in range(size // len(block)):
            crc = zlib.crc32(block, crc)
        members(lambda found: {n: d for n, d in found.items() if n != member})(path)
        with zipfile.ZipFile(path, "a") as archive:
            about_it = zipfile.ZipInfo(member)
            archive.writestr(about_it, packed)
            # What the directory at the end says of it.
            about_it.compress_type = zipfile.ZIP_DEFLATED
            about_it.file_size, about_it.CRC = size + len(_header(about)), crc

    return damage


def _twice(path):
    """Name a member twice, with different content."""
    with zipfile.ZipFile(path) as archive:
        name = archive.namelist()[0]
        other = archive.read(archive.namelist()[-1])
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr(name, other)


def _in_member(name, function):
    def change(found):
        found[name] = function(found[name])

    return members(change)


def _crc(path):
    """Change a byte of what is stored, but not its checksum."""
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        place = archive.infolist()[-1].header_offset + 200
    data[place] ^= 1
    path.write_bytes(bytes(data))


ARCHIVE = [
    ("empty", content(""), refused()),
    ("text", content("genes,v0\n"), refused()),
    ("first half", cut(0.5), refused()),
    ("without its end", cut(0.99), refused()),
    ("compressed", compressed, refused()),
    ("zeros at its end", changed(lambda d: d[:-64] + bytes(64)), refused()),
    ("an array that is no archive", content(_header(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }") + bytes(8)), refused()),
    ("pickled", content(b"cos\nsystem\n(S'touch ../canary'\ntR."), refused()),
    ("an empty archive", content(b"PK\x05\x06" + bytes(18)), refused()),
    ("another checksum", _crc, refused()),
    ("a folder", folder, refused()),
    *_SPECIAL,
]  # fmt: skip

_NPZ = [
    ("objects as genes", _objects("genes"), refused()),
    ("objects as vectors", _objects("embeddings"), refused()),
    ("objects under another name", _objects("more"), refused()),
    ("vectors of 2^60", _described("embeddings.npy", (2**60, 3)), refused()),
    ("a negative shape", _described("embeddings.npy", (-3, 3)), refused()),
    ("fewer values than it says", _described("embeddings.npy", (24, 3), data=b"abc"), refused()),
    ("a shape that is text", _described("embeddings.npy", "'ab'"), refused()),
    ("a header that is code", _in_member("embeddings.npy", lambda d: _header(
        "__import__('os').system('touch ../canary')")), refused()),
    ("a header of brackets", _in_member("embeddings.npy", lambda d: _header("(" * 100)), refused()),
    ("zeros of 1 GB", bomb("embeddings.npy"), refused()),
    ("zeros of 1 GB under another name", bomb("more.npy"), refused()),
    ("a member twice", _twice, refused()),
    ("NaN", arrays(lambda a: a["embeddings"].__setitem__((2, 1), np.nan)), refused("GENE3")),
    ("infinite", arrays(lambda a: a["embeddings"].__setitem__((2, 1), np.inf)), refused("GENE3")),
    ("complex", arrays(lambda a: a | {"embeddings": a["embeddings"] * 1j}), refused()),
    ("vectors of text", arrays(lambda a: a | {"embeddings": a["embeddings"].astype("U")}), survived()),
    ("fewer genes", arrays(lambda a: a | {"genes": a["genes"][:-1]}), refused()),
    ("no vectors", arrays(lambda a: {"genes": a["genes"]}), refused()),
    ("three dimensions", arrays(lambda a: a | {"embeddings": a["embeddings"][..., None]}), refused()),
    ("genes twice", arrays(lambda a: a | {
        "genes": np.r_[a["genes"][:1], a["genes"][:1], a["genes"][2:]]}), survived()),
    ("genes as bytes", arrays(lambda a: a | {"genes": a["genes"].astype("S")}), accepted()),
    ("single precision", arrays(lambda a: a | {"embeddings": a["embeddings"].astype("f4")}), accepted(same=False)),
    ("in the order of Fortran", arrays(
        lambda a: a | {"embeddings": np.asfortranarray(a["embeddings"])}), accepted()),
    ("other byte order", arrays(lambda a: a | {"embeddings": a["embeddings"].astype(">f8")}), accepted()),
    ("a member outside", members(lambda f: {**f, "../../canary.npy": f["genes.npy"]}), survived()),
]  # fmt: skip


def _safe(function):
    """Change the description of a safetensors file by ``function(description)``."""

    def change(data):
        size = struct.unpack("<Q", data[:8])[0]
        about = json.loads(data[8 : 8 + size])
        text = json.dumps(function(about) or about).encode()
        return struct.pack("<Q", len(text)) + text + data[8 + size :]

    return changed(change)


def _tensor(**fields):
    return _safe(lambda about: about["embeddings"].update(fields))


_SAFETENSORS = [
    ("empty", content(""), refused()),
    ("eight bytes", content(bytes(8)), refused()),
    ("first half", cut(0.5), refused()),
    ("without its end", cut(0.99), refused()),
    ("a description of 2^60 bytes", changed(
        lambda d: struct.pack("<Q", 2**60) + d[8:]), refused()),
    ("a description that is no JSON", changed(lambda d: d[:8] + b"[" * (len(d) - 8)), refused()),
    ("values past the end", _tensor(data_offsets=[0, 10**9]), refused()),
    ("values before the start", _tensor(data_offsets=[-8, 568]), refused()),
    ("values that end before they start", _tensor(data_offsets=[576, 0]), refused()),
    ("another shape", _tensor(shape=[24, 4]), refused()),
    ("a shape of 2^62", _tensor(shape=[2**62, 8]), refused()),
    ("another type", _tensor(dtype="F32"), refused()),
    ("an unknown type", _tensor(dtype="F65"), refused()),
    ("genes that are no JSON", _safe(lambda a: a["__metadata__"].update(genes="[")), refused()),
    ("genes of brackets", _safe(lambda a: a["__metadata__"].update(genes="[" * 10**5)), refused()),
    ("genes that are a number", _safe(lambda a: a["__metadata__"].update(genes="3")), refused()),
    ("genes that are null", _safe(lambda a: a["__metadata__"].update(
        genes=json.dumps([None] * len(GENES)))), refused()),
    ("fewer genes", _safe(lambda a: a["__metadata__"].update(genes=json.dumps(GENES[:3]))), refused()),
    ("genes as text", _safe(lambda a: a["__metadata__"].update(
        genes=json.dumps("abcdefghijklmnopqrstuvwx"))), refused()),
    ("a folder", folder, refused()),
    *_SPECIAL,
]  # fmt: skip


def _earlier(path):
    """Put a model of the format that fit-cells wrote once in the place of a file."""
    np.savez(path.open("wb"), state=np.array(json.dumps({"format": "cells-5"})))


def _kept(function):
    """Change a model file by ``function(model, arrays)``; its checksums are right."""

    def damage(path):
        with zipfile.ZipFile(path) as archive:
            found = {name: archive.read(name) for name in archive.namelist()}
        manifest = json.loads(found.pop("manifest.json"))
        tensors = {k: v.copy() for k, v in load(found["arrays.safetensors"]).items()}
        function(manifest["model"], tensors)
        found["arrays.safetensors"] = save(tensors)
        for name, data in found.items():
            known = {"crc32": zlib.crc32(data), "size": len(data)}
            manifest["members"][name] = known
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("manifest.json", json.dumps(manifest))
            for name, data in found.items():
                archive.writestr(name, data)

    return damage


def _object(tree, kind):
    """Return the first object of a class in a model file."""
    items = tree.values() if isinstance(tree, dict) else tree
    if isinstance(tree, dict) and str(tree.get("class")).endswith(f".{kind}"):
        return tree
    for item in items:
        if isinstance(item, dict | list) and (found := _object(item, kind)):
            return found
    return None


def _part(kind, **changes):
    """Change attributes of the object of a class."""
    return _kept(lambda model, _: _object(model, kind)["state"].update(changes))


def _architecture(**changes):
    def change(model, _):
        for pair in _object(model, "VelocityNet")["state"]["architecture"]["items"]:
            pair[1] = changes.get(pair[0], pair[1])

    return _kept(change)


def _in_array(kind, place, function):
    """Change an array of the object of a class."""

    def change(model, tensors):
        found = _object(model, kind)["state"]
        for step in place.split("/"):
            pairs = found.get("items") if found.get("$") == "dict" else None
            found = found[step] if pairs is None else dict(map(tuple, pairs))[step]
        name = found["name"]
        tensors[name] = np.ascontiguousarray(function(tensors[name].copy()))

    return _kept(change)


def _set(place, value):
    return lambda a: (a.__setitem__(place, value), a)[1]


_BIAS = "VelocityNet", "weights/head.bias"
_MODEL = [
    ("of an earlier version", _earlier, refused("Fit the model again")),
    ("another model", _kept(lambda m, _: m.update(_object(m, "CountSpace"))), refused()),
    ("an unknown class", _kept(lambda m, _: _object(m, "FittedFlow").update({"class": "subprocess.Popen"})), refused()),
    ("a class in the wrong place", _kept(lambda m, _: m["state"].update(flow_=_object(m, "CountSpace"))), refused()),
    ("no flow", _kept(lambda m, _: m["state"].pop("flow_")), refused()),
    ("a lost array", _kept(lambda _, a: a.pop("3")), refused()),
    ("an array that nothing names", _kept(lambda _, a: a.update(more=np.zeros(3))), refused()),
    ("zeros of 1 GB", bomb("more.npy"), refused()),
    ("means NaN", _in_array("CountSpace", "mean_", _set(2, np.nan)), refused()),
    ("genes out of range", _in_array("CountSpace", "top_genes_", _set(2, 10**6)), refused()),
    ("negative genes", _in_array("CountSpace", "top_genes_", _set(2, -1)), refused()),
    ("counts of 10^15", _in_array("ControlCells", "counts/data", lambda x: x.astype(int) + 10**15), refused()),
    ("negative counts", _in_array("ControlCells", "counts/data", lambda x: -x.astype(int)), refused()),
    ("counts of no gene", _in_array("ControlCells", "counts/indices", _set(2, 10**6)), refused()),
    ("cells that end before they start", _in_array("ControlCells", "counts/indptr", lambda x: x[::-1]), refused()),
    ("a decoder that is NaN", _in_array("CountSpace", "decoder_", _set((0, 0), np.nan)), refused()),
    ("a decoder of 10^30", _in_array("CountSpace", "decoder_", _set((0, 0), 1e30)), survived()),
    ("a decoder of another shape", _in_array("CountSpace", "decoder_", lambda d: d[:, :-1]), refused()),
    ("a weight of 10^30", _part("FittedFlow", shape_weight=1e30), refused()),
    ("a weight that is text", _part("FittedFlow", mean_weight="1"), refused()),
    ("weights of the net NaN", _in_array(*_BIAS, _set(0, np.nan)), refused()),
    ("weights of another shape", _in_array(*_BIAS, lambda b: b[:1]), refused()),
    ("a million hidden units", _architecture(hidden_dim=10**6), refused()),
    ("a million layers", _architecture(n_layers=10**6), refused()),
    ("10^9 steps", _part("Generator", n_steps=10**9), refused()),
    ("no steps", _part("Generator", n_steps=0), refused()),
    ("negative steps", _part("Generator", n_steps=-3), refused()),
    ("vectors NaN", _in_array("LookupEmbedding", "embedding_", _set((0, 0), np.nan)), refused()),
    ("fewer vectors", _in_array("LookupEmbedding", "embedding_", lambda v: v[:-1]), refused()),
    ("pools NaN", _in_array("ControlPools", "controls", _set((0, 0), np.nan)), refused()),
    ("no pools", _in_array("ControlPools", "controls", lambda c: c[:0]), refused()),
    ("a scale of 0", _part("Coordinates", scale=0), refused()),
    ("a schema of numbers", _part("PerturbationSchema", perturbation=3), refused()),
    ("an attribute that is a method", _part("CellScreenModel", predict=3), refused()),
    ("an unknown attribute", _part("CellScreenModel", more=3), refused()),
    ("a device that is none", _part("Generator", device="warp"), refused()),
    ("a bit", flipped(0.3), refused()),
]  # fmt: skip

CASES = [
    *cases("npz", "table.npz", "LookupEmbedding npz", ARCHIVE + _NPZ),
    *cases("safetensors", "table.safetensors", "LookupEmbedding safetensors", _SAFETENSORS),
    *cases("parquet: vectors", "table.parquet", "LookupEmbedding parquet", [
        ("empty", content(""), refused()),
        ("first half", cut(0.5), refused()),
        ("text", content("a,b\n"), refused()),
        ("a bit", flipped(0.1), survived()),
        *_SPECIAL,
    ]),
    *cases("skpt: model", "model.skpt", "predict-cells csv", ARCHIVE + _MODEL),
    *(
        case
        for name in ("kept", "trees", "boosted")
        for case in cases("skpt", f"{name}.skpt", f"load {name}", ARCHIVE[2:5] + ARCHIVE[7:10])
    ),
]  # fmt: skip
