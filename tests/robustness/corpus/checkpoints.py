"""Checkpoints of torch: the archive, the pickle in it, and the weights."""

import pickle
import struct
import sys
import zipfile

import torch

from tests.robustness.cases import cases, refused, survived
from tests.robustness.corpus.arrays import ARCHIVE, bomb
from tests.robustness.damage import (
    SPECIAL,
    changed,
    compressed,
    content,
    cut,
    folder,
    members,
    removed,
)
from tests.robustness.inputs import GENES

_SPECIAL = [(name, damage, refused()) for name, damage in SPECIAL[:2]]
_WHOLE = dict | list | torch.Tensor
_PROTO = b"\x80\x02"


def _stored(function):
    """Change what `torch.save` stored by ``function(content)``."""

    def damage(path):
        found = torch.load(path, weights_only=True)
        new = function(found)
        torch.save(new if isinstance(new, _WHOLE) else found, path)

    return damage


def _weight(name, function):
    def change(found):
        found["state_dict"][name] = function(found["state_dict"][name])

    return _stored(change)


def _without(found, name):
    del found[name]


def _record(name, function):
    """Change one record of the archive; keep all of them as torch aligns them."""

    def damage(path):
        found = torch.load(path, weights_only=True)
        torch.save(found, path)
        with zipfile.ZipFile(path) as archive:
            full = next(n for n in archive.namelist() if n.endswith(f"/{name}"))
            data = archive.read(full)
        members(lambda f: f | {full: function(data)})(path)

    return damage


def _pickled(code):
    """Put any pickle in the place of the one in the archive."""
    return _record("data.pkl", lambda data: code)


def _before(code):
    """Run more opcodes before those of the pickle, and drop what they leave."""
    return _record("data.pkl", lambda data: data[:2] + code + b"0" + data[2:])


def _runs(protocol):
    class Runs:
        def __reduce__(self):
            import os

            return os.system, ("touch ../canary",)

    return pickle.dumps({"state_dict": Runs()}, protocol)


def _deflated(path):
    """Store the records compressed, the pickle among them."""
    with zipfile.ZipFile(path) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in found.items():
            archive.writestr(name, data)


def _deflated_pickle(path):
    """Store the pickle alone compressed: a gigabyte of nothing."""
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.endswith("/data.pkl"))
    bomb(name)(path)


def _record_flip(place):
    """Flip a bit in a record, and leave its checksum."""

    def damage(path):
        data = bytearray(path.read_bytes())
        with zipfile.ZipFile(path) as archive:
            record = max(archive.infolist(), key=lambda r: r.file_size)
            if place == "pickle":
                record = archive.getinfo(
                    next(n for n in archive.namelist() if n.endswith("data.pkl"))
                )
        start = record.header_offset
        name, extra = struct.unpack("<HH", data[start + 26 : start + 30])
        data[start + 30 + name + extra + record.file_size // 2] ^= 16
        path.write_bytes(bytes(data))

    return damage


def _old_format(path):
    """Save as torch did before 1.6: pickles in a row."""
    found = torch.load(path, weights_only=True)
    torch.save(found, path, _use_new_zipfile_serialization=False)


def _expanded(size):
    """Let a weight of one number, of stride 0, claim any shape."""

    def change(found):
        found["state_dict"]["encoder.0.weight"] = torch.zeros(1).expand(size, 6)

    return _stored(change)


def _scripted(path):
    """Save a module that brings its own code."""
    torch.jit.script(torch.nn.Linear(2, 2)).save(path)


_PICKLES = [
    (f"a command, of protocol {p}", _pickled(_runs(p)), refused()) for p in (0, 2, 5)
] + [
    ("a command by INST", _pickled(b"(S'touch ../canary'\nios\nsystem\n."), refused()),
    ("a command by OBJ", _pickled(b"(cos\nsystem\nS'touch ../canary'\no."), refused()),
    ("eval", _pickled(_PROTO + b"cbuiltins\neval\n(S'open(\"../canary\",\"w\")'\ntR."), refused()),
    ("a dotted name", _pickled(b"\x80\x04\x8c\x05torch\x8c\x0b_sys.stdout\x93."), refused()),
    ("getattr", _pickled(_PROTO + b"cbuiltins\ngetattr\n(cbuiltins\ndict\nS'__class__'\ntR."), refused()),
    ("bytearray of 2 GB", _before(b"cbuiltins\nbytearray\n(J\xff\xff\xff\x7ftR"), refused()),
    ("a range as a list", _before(
        b"cbuiltins\nlist\n(cbuiltins\nrange\n(J\xff\xff\xff\x7ftRtR"), refused()),
    ("an integer of 2^31 bytes", _before(b"\x8b\xff\xff\xff\x7f"), refused()),
    ("a text of 2 GB", _before(b"\x8d\x00\x00\x00\x80\x00\x00\x00\x00"), refused()),
    ("a place of 2^31 in the memo", _before(b"Nr\xff\xff\xff\x7f"), survived()),
    ("a list of a million lists", _before(b"]" * 10**6 + b"0" * (10**6 - 1)), survived()),
    ("a hundred thousand lists in lists", _before(b"(" * 10**5 + b"l" * 10**5), survived()),
    ("tuples in tuples", _before(b")" + b"\x85" * 10**5), survived()),
    ("a tuple that doubles", _before(b")" + b"2\x86" * 40), survived()),
    ("a dictionary with itself as value", _pickled(b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s."), refused()),
    ("the memo of nothing", _before(b"h\x63"), refused()),
    ("pops from nothing", _pickled(_PROTO + b"00000."), refused()),
    ("no end", _record("data.pkl", lambda d: d[:-1]), refused()),
    ("nothing", _pickled(b""), refused()),
    ("an unknown opcode", _before(b"\xff"), refused()),
    ("a persistent id that is text", _pickled(_PROTO + b"X\x01\x00\x00\x00aQ."), refused()),
    ("attributes of a class", _before(
        b"ccollections\nOrderedDict\n}X\x08\x00\x00\x00__init__Nsb"), refused()),
    ("a set", _pickled(pickle.dumps({"state_dict": {1, 2}}, 2)), refused()),
    ("a module of code", _scripted, refused()),
]  # fmt: skip
_CONTENTS = [
    ("a tensor alone", _stored(lambda f: torch.zeros(3)), refused()),
    ("a list", _stored(lambda f: [1, 2]), refused()),
    ("no weights", _stored(lambda f: {"epoch": 3}), refused()),
    ("weights in a list", _stored(lambda f: f.update(state_dict=[torch.zeros(2)])), refused()),
    ("numbers as names", _stored(lambda f: f["state_dict"].update({3: torch.zeros(2)})), refused()),
    ("an unknown weight", _stored(lambda f: f["state_dict"].update(more=torch.zeros(2))), refused("more")),
    ("a lost weight", _stored(lambda f: _without(f["state_dict"], "encoder.0.bias")), refused("encoder.0.bias")),
    ("NaN", _weight("encoder.0.bias", lambda w: w * float("nan")), refused("encoder.0.bias")),
    ("infinite", _weight("encoder.0.bias", lambda w: w + float("inf")), refused("encoder.0.bias")),
    ("complex", _weight("encoder.0.bias", lambda w: w * 1j), refused()),
    ("whole numbers", _weight("encoder.0.bias", lambda w: w.to(torch.int64)), refused()),
    ("of another shape", _weight("encoder.0.bias", lambda w: w[:-1]), refused()),
    ("sparse", _weight("encoder.0.weight", lambda w: w.to_sparse()), refused()),
    ("double precision", _weight("encoder.0.bias", lambda w: w.double()), survived()),
    ("a million rows of stride 0", _expanded(10**6), refused()),
    ("10^12 rows of stride 0", _expanded(10**12), refused()),
    ("vectors of stride 0", _stored(lambda f: f.update(
        protein_embeds_dict={g: torch.zeros(1).expand(6) for g in GENES})), survived()),
    ("a vector NaN", _stored(
        lambda f: f["protein_embeds_dict"]["GENE3"].fill_(float("nan")).shape), refused("GENE3")),
    ("vectors of whole numbers", _stored(lambda f: f.update(protein_embeds_dict={
        g: torch.zeros(6, dtype=torch.int64) for g in GENES})), refused()),
    ("vectors of other lengths", _stored(
        lambda f: f["protein_embeds_dict"].update(GENE3=torch.zeros(5))), refused()),
    ("no vectors", _stored(lambda f: _without(f, "protein_embeds_dict")), refused()),
    ("settings that are a number", _stored(lambda f: f.update(cfg_yaml=3)), refused()),
    ("settings of brackets", _stored(lambda f: f.update(cfg_yaml="a: " + "[" * 50_000)), refused()),
    ("a name with escape codes", _stored(
        lambda f: f["state_dict"].update({"\x1b[31m[/b]\n": torch.zeros(2)})), refused()),
    ("a name of 100,000 characters", _stored(
        lambda f: f["state_dict"].update({"x" * 10**5: torch.zeros(2)})), refused()),
    ("100,000 unknown weights", _stored(lambda f: f["state_dict"].update(
        {f"more.{i}": f["state_dict"]["encoder.0.bias"] for i in range(20_000)})), refused()),
]  # fmt: skip
_RECORDS = [
    ("compressed records", _deflated, refused()),
    ("a gigabyte of pickle", _deflated_pickle, refused()),
    ("a bit of a weight", _record_flip("weight"), refused()),
    ("a bit of the pickle", _record_flip("pickle"), refused()),
    ("a record of fewer bytes", _record("data/8", lambda d: d[:-4]), refused()),
    ("a record of more bytes", _record("data/8", lambda d: d * 2), refused()),
    ("the other byte order", _record(
        "byteorder", lambda d: b"big" if sys.byteorder == "little" else b"little"), refused()),
    ("the old format", _old_format, refused()),
]  # fmt: skip

_SAFE = "checkpoint/model.safetensors"
_VECTORS = "checkpoint/protein_embeddings.pt"
CASES = [
    *cases("ckpt: archive", "small.ckpt", "SECheckpoint", ARCHIVE[:7] + ARCHIVE[8:9] + ARCHIVE[10:] + _RECORDS),
    *cases("ckpt: pickle", "small.ckpt", "SECheckpoint", _PICKLES),
    *cases("ckpt: content", "small.ckpt", "SECheckpoint", _CONTENTS),
    *cases("ckpt: content", "small.ckpt", "embed h5ad", [
        (n, d, e) for n, d, e in _CONTENTS if n in ("a vector NaN", "NaN")
    ]),
    *cases("safetensors", _SAFE, "SECheckpoint folder", [
        ("empty", content(""), refused()),
        ("first half", cut(0.5), refused()),
        ("without its end", cut(0.999), refused()),
        ("a description of 2^60 bytes", changed(
            lambda d: struct.pack("<Q", 2**60) + d[8:]), refused()),
        ("another type", changed(lambda d: d.replace(b'"F32"', b'"I32"', 1)), refused()),
        ("a folder", folder, refused()),
        ("missing", removed, refused()),
        *_SPECIAL,
    ]),
    *cases("ckpt: archive", _VECTORS, "SECheckpoint folder", [
        ("empty", content(""), refused()),
        ("a command", content(_runs(2)), refused()),
        ("compressed", compressed, refused()),
        ("no tensors", lambda p: torch.save({"a": 1}, p), refused()),
        ("a bit", _record_flip("weight"), refused()),
        ("NaN", lambda p: torch.save(
            {g: torch.full((6,), float("nan")) for g in GENES}, p), refused("GENE1")),
        *_SPECIAL,
    ]),
]  # fmt: skip
CASES = [
    # The folder is what the user named.
    case
    if case.name != "missing"
    else case.__class__(**{**vars(case), "named": "checkpoint"})
    for case in CASES
]
