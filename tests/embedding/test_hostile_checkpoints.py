"""Small files that ask for much, and damage that only a checksum tells."""

import os
import re
import shutil
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from sklperturb.embedding import SECheckpoint, SEConfig, SEEmbedding
from sklperturb.embedding._archive import Archive
from sklperturb.files._reading import FileError

_STORE = b"ctorch\nFloatStorage\nq\x00ctorch._utils\n_rebuild_tensor_v2\nq\x01"


def archive(path, program, records=(), compression=zipfile.ZIP_STORED, names=()):
    """Write what torch.save writes, with another pickle."""
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("a/data.pkl", b"\x80\x02" + program + b".")
        for key, data in enumerate(records):
            file.writestr(f"a/data/{key}", data)
        for name in names:
            file.writestr(name, b"x")
    return path


def number(value):
    return b"\x8a\x08" + struct.pack("<q", value)


def tensor(size, stride, offset=0, numel=4, key=0):
    """Return the instructions for a tensor; the two names are in the memo."""
    text = b"X" + struct.pack("<I", len(str(key))) + str(key).encode()
    place = b"X\x07\x00\x00\x00storageh\x00" + text + b"X\x03\x00\x00\x00cpu"
    shapes = (b"(" + b"".join(map(number, axes)) + b"t" for axes in (size, stride))
    return (
        b"h\x01((" + place + number(numel) + b"tQ" + number(offset)
        + b"".join(shapes) + b"\x89)tR"
    )  # fmt: skip


def named(*tensors):
    items = (b"X\x01\x00\x00\x00" + bytes([97 + i]) + t for i, t in enumerate(tensors))
    return _STORE + b"}(" + b"".join(items) + b"u"


def nested_tuples(depth):
    """Return tuples that are each in the next twice; the last is in the memo."""
    return b")q\x05" + b"h\x05h\x05\x86q\x05" * depth


FLOATS = np.arange(4, dtype=np.float32).tobytes()
HOSTILE = {
    "far memo": (b"}r\x00\x00\x00\x08", None),
    "bytearray": (b"c__builtin__\nbytearray\n" + number(2 * 10**9) + b"\x85R", "asks"),
    "stride 0": (named(tensor([10**9], [0])), "larger than its record"),
    "overlap": (named(tensor([4, 4], [0, 1])), "larger than its record"),
    "offset": (named(tensor([2], [1], offset=3)), "larger than its record"),
    "negative offset": (named(tensor([2], [1], offset=-1)), "whole numbers"),
    "negative stride": (named(tensor([2], [-1], offset=2)), "whole numbers"),
    "huge size": (named(tensor([2**62, 2**62], [0, 0])), "larger than its record"),
    "dimensions": (named(tensor([1] * 20, [1] * 20)), "20 dimensions"),
    "numel": (named(tensor([2], [1], numel=2**40)), "another size"),
    "no record": (named(tensor([2], [1], key=7)), "no '7'"),
    "huge tensor": (b"ctorch\nTensor\n" + number(10**12) + b"\x85R", None),
    "key": (nested_tuples(100) + b"}h\x05Ns", None),
    "storage key": (
        nested_tuples(100)
        + _STORE
        + b"(X\x07\x00\x00\x00storageh\x00h\x05X\x03\x00\x00\x00cpu"
        + number(4)
        + b"tQ",
        "no known kind",
    ),
    "twice": (b"}(X\x01\x00\x00\x00aNX\x01\x00\x00\x00aNu", "'a' twice"),
    "extension": (b"\x82\x01", "EXT1"),
    "instance": (b"(ios\nsystem\n", "INST"),
    "object": (b"(cos\nsystem\no", "asks for|OBJ"),
    "persistent": (b"Pabc\n", "PERSID"),
    "long bytes": (b"\x8e" + struct.pack("<Q", 2**60), "BINBYTES8|bytes"),
    "long text": (b"X\xff\xff\xff\x7f", "read as a checkpoint"),
    "long number": (b"L" + b"9" * 100_000 + b"L\n", "read as a checkpoint"),
    "half a character": (b"X\x03\x00\x00\x00\xed\xa0\x80", "surrogates"),
    "no stack": (b"0" * 3, "POP"),
    "build": (
        b"ctorch._utils\n_rebuild_tensor_v2\n}X\x08\x00\x00\x00__call__Nsb",
        None,
    ),
}


_CHILD = """
import resource, sys, time
from pathlib import Path
import psutil
from sklperturb.embedding._archive import Archive
most = psutil.Process().memory_info().vms + 2**29
resource.setrlimit(resource.RLIMIT_AS, (most, most))
for path in sys.argv[1:]:
    start, said = time.process_time(), "opened"
    try:
        Archive(Path(path))
    except ValueError as error:
        said = str(error)
    assert time.process_time() - start < 5, path
    print(Path(path).stem, said, sep="\t")
"""


def test_what_no_checkpoint_asks_for(tmp_path):
    """Each is answered at once, within half a gigabyte."""
    paths = [
        str(archive(tmp_path / f"{name}.ckpt", program, [FLOATS]))
        for name, (program, _) in HOSTILE.items()
    ]
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, *paths],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answers = dict(line.split("\t") for line in done.stdout.splitlines())
    assert answers.keys() == HOSTILE.keys()
    for name, (_, message) in HOSTILE.items():
        if message is None:  # nothing came of it
            assert answers[name] == "opened", name
        else:
            assert f"{name}.ckpt" in answers[name]
            assert re.search(message, answers[name]), (name, answers[name])


def test_a_tensor_that_is_as_it_should_be(tmp_path):
    """The files above differ from this one in one respect each."""
    program = named(tensor([2, 2], [1, 2]), tensor([2], [1], offset=2))
    content = Archive(archive(tmp_path / "a.ckpt", program, [FLOATS])).content
    assert content["a"].tolist() == [[0, 2], [1, 3]]
    assert content["b"].tolist() == [2, 3]


def test_metadata_is_limited(tmp_path, monkeypatch):
    path = archive(tmp_path / "a.ckpt", b"}")
    for name, message in {
        "_archive._MOST_BYTES": "data.pkl is larger than 3 bytes",
        "_archive._MOST_RECORDS": "no such archive",
        "_program._MOST_INSTRUCTIONS": "more than",
    }.items():
        with monkeypatch.context() as patch:
            patch.setattr(f"sklperturb.embedding.{name}", 3 * ("BYTES" in name))
            with pytest.raises(FileError, match=message):
                Archive(path)
    assert Archive(path).content == {}


def test_archives_that_torch_does_not_write(tmp_path):
    def refused(message, path):
        with pytest.raises(FileError, match=message) as caught:
            Archive(path)
        assert str(path) in str(caught.value)

    deflated = archive(tmp_path / "deflated.ckpt", b"}", compression=8)
    refused("compressed", deflated)
    refused(
        "TorchScript", archive(tmp_path / "a.ckpt", b"}", names=["a/constants.pkl"])
    )
    refused("one data.pkl", archive(tmp_path / "b.ckpt", b"}", names=["b/data.pkl"]))
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = archive(tmp_path / "c.ckpt", b"}", names=["a/x", "a/x"])
    refused("each record once", twice)
    old = tmp_path / "old.ckpt"
    torch.save({"a": 1}, old, _use_new_zipfile_serialization=False)
    refused("before 1.6.*save it again", old)

    def patched(name, at, value):
        """Change bytes of the last entry in the central directory."""
        path = archive(tmp_path / name, named(tensor([4], [1])), [FLOATS])
        data = bytearray(path.read_bytes())
        entry = data.rindex(b"PK\x01\x02") + at
        data[entry : entry + len(value)] = value
        path.write_bytes(data)
        return path

    refused("encrypted", patched("encrypted.ckpt", 8, b"\x01"))
    refused("where it should be", patched("overlap.ckpt", 42, b"\0\0\0\0"))
    refused("where it should be", patched("long.ckpt", 24, b"\0\0\0\x40"))
    refused("where it should be", patched("both.ckpt", 20, b"\0\0\0\x40" * 2))


def test_special_files(tmp_path, checkpoint):
    os.mkfifo(tmp_path / "pipe.ckpt")
    for path in (tmp_path / "pipe.ckpt", "/dev/zero", tmp_path):
        with pytest.raises(FileError, match=r"pipe|checkpoint"):
            SECheckpoint(path)
    copy = shutil.copy(checkpoint.path, tmp_path / "a.ckpt")
    (tmp_path / "pipe.ckpt").rename(tmp_path / "config.yaml")
    for given in ({"config": tmp_path / "config.yaml"}, {"protein_embeddings": "/dev"}):
        with pytest.raises((FileError, OSError), match=r"pipe|folder"):
            SECheckpoint(copy, **given)


def flipped(checkpoint, path, of, place=0):
    """Copy a checkpoint, but for one bit of the values of a tensor."""
    data = bytearray(checkpoint.path.read_bytes())
    at = data.index(of.numpy().tobytes()) + place
    data[at] ^= 1
    path.write_bytes(data)
    return path


def test_a_bit_that_changed_is_noticed(tmp_path, checkpoint):
    weight = checkpoint.state_dict()["decoder.1.bias"]
    opened = SECheckpoint(flipped(checkpoint, tmp_path / "a.ckpt", weight))
    opened.vectors()
    with pytest.raises(FileError, match=r"a.ckpt is damaged.*checksum"):
        opened.make_net()
    vector = checkpoint.vectors(["GENE7"])
    opened = SECheckpoint(flipped(checkpoint, tmp_path / "b.ckpt", vector, 5))
    opened.make_net()
    opened.vectors(["GENE6"])
    with pytest.raises(FileError, match=r"b.ckpt is damaged.*checksum"):
        opened.vectors()
    data = checkpoint.path.read_bytes().replace(b"GENE7", b"GENEX", 1)
    (tmp_path / "c.ckpt").write_bytes(data)
    with pytest.raises(FileError, match="CRC"):
        SECheckpoint(tmp_path / "c.ckpt")


@pytest.fixture
def saved(tmp_path, checkpoint):
    """Return a function that writes the checkpoint with other parts."""
    content = torch.load(checkpoint.path, weights_only=True)

    def save(**changes):
        torch.save(content | changes, tmp_path / "changed.ckpt")
        return tmp_path / "changed.ckpt"

    save.vectors, save.settings = content["protein_embeds_dict"], content["cfg_yaml"]
    return save


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_vectors_that_are_not_finite(saved, cells, value):
    """They would make cells NaN in silence."""
    vectors = {name: vector.double() for name, vector in saved.vectors.items()}
    vectors["GENE7"][3] = value
    path = saved(protein_embeds_dict=vectors)
    with pytest.raises(
        FileError, match=r"changed.ckpt has NaN .* 1 genes, \['GENE7'\]"
    ):
        SEEmbedding(path, device="cpu").fit(cells).transform(cells)
    assert SECheckpoint(path).vectors(["GENE6"]).isfinite().all()


def test_results_that_are_not_finite(saved, cells):
    """Finite weights can be too large."""
    weights = torch.load(saved(), weights_only=True)["state_dict"]
    weights["decoder.1.weight"] *= 1e38
    weights["encoder.0.weight"] *= 1e38
    embedding = SEEmbedding(saved(state_dict=weights), device="cpu").fit(cells)
    with pytest.raises(ValueError, match="gives NaN or infinite values for"):
        embedding.transform(cells)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (lambda v: {}, "must be a dictionary of names"),
        (lambda v: {" ": v["GENE1"]}, "a gene called ' '"),
        (lambda v: {7: v["GENE1"]}, "7 has Tensor"),
        (lambda v: {(7,): v["GENE1"]}, "has Tensor"),
        (lambda v: {"A": torch.ones(0)}, "of one length"),
        (lambda v: {"A": torch.ones(40).long()}, "of floats"),
        (lambda v: {f"G{i}": v["GENE1"] for i in range(5)}, "more than twice"),
    ],
)
def test_vocabularies_that_are_refused(saved, vectors, message):
    with pytest.raises(FileError, match=message) as caught:
        SECheckpoint(saved(protein_embeds_dict=vectors(saved.vectors)))
    assert "changed.ckpt" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nhead", 10**9),
        ("nhead", "'4'"),
        ("nhead", True),
        ("pad_length", 10**12),
        ("pad_length", "[32]"),
        ("cls_token_idx", -1),
        ("emsize", '"32"'),
        ("emsize", "32.0"),
        ("nlayers", 10**9),
        ("d_hid", "x" * 10_000),
    ],
)
def test_absurd_settings(saved, name, value):
    text, n = re.subn(rf"{name}: \d+", f"{name}: {value}", saved.settings)
    assert n == 1
    with pytest.raises(FileError, match=rf"{name} .*changed.ckpt") as caught:
        SECheckpoint(saved(cfg_yaml=text))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [1]\nb: [*a, *a]",
        "a: &a {x: 1}\nb: {<<: *a}",
        "a: 1\na: 2",
        "[" * 100_000,
        f"a: {'9' * 10_000}",
        "#" * 2**21,
    ],
    ids=["anchor", "merge", "twice", "deep", "digits", "long"],
)
def test_hostile_settings(saved, tmp_path, text):
    with pytest.raises(FileError, match=r"changed.ckpt"):
        SECheckpoint(saved(cfg_yaml=text))
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(FileError, match=r"config.yaml"):
        SECheckpoint(saved(cfg_yaml=None), config=tmp_path / "config.yaml")


@pytest.mark.parametrize("names", ["ab", "a"])
def test_pickled_settings_without_end(saved, names):
    """Dictionaries that are each in the next, twice or once."""
    settings = {"x": 1}
    for _ in range(40 if len(names) > 1 else 300):
        settings = dict.fromkeys(names, settings)
    path = saved(cfg_yaml=None, hyper_parameters={"cfg": settings})
    with pytest.raises(FileError, match=r"settings of .*changed.ckpt are too many"):
        SECheckpoint(path)


def test_more_layers_than_any_model(saved):
    weights = torch.load(saved(), weights_only=True)["state_dict"]
    layers = [f"transformer_encoder.layers.{i}.norm1.bias" for i in range(10**4)]
    path = saved(state_dict=dict.fromkeys(layers, torch.ones(2)) | weights)
    with pytest.raises(FileError, match=r"changed.ckpt"):
        SECheckpoint(path)


def test_messages_are_short_and_plain(saved):
    weights = torch.load(saved(), weights_only=True)["state_dict"]
    names = [f"\x1b[31m{'x' * 1000}{i}\n" for i in range(1000)]
    weights |= {name: torch.ones(1) for name in names}
    with pytest.raises(FileError, match="Unexpected keys") as caught:
        SECheckpoint(saved(state_dict=weights))
    said = str(caught.value)
    assert len(said) < 1500 and "\x1b" not in said and "\n" not in said


def test_safetensors_are_limited(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    folder = SECheckpoint.create(tmp_path / "model", random_state=0).path
    file = folder / "model.safetensors"
    weights = safetensors.load_file(file)
    file.write_bytes(struct.pack("<Q", 2**40) + file.read_bytes()[8:])
    with pytest.raises(FileError, match=r"model.safetensors"):
        SECheckpoint(folder)
    for dtype in (torch.int32, torch.float8_e4m3fn):
        changed = weights | {"cls_token": weights["cls_token"].to(dtype)}
        safetensors.save_file(changed, file)
        with pytest.raises(FileError, match=r"cls_token.*not of floating point"):
            SECheckpoint(folder)
    empty = torch.ones(0, SEConfig().token_dim)
    safetensors.save_file(weights | {"encoder.0.weight": empty}, file)
    with pytest.raises(FileError, match=r"no matrix encoder.0.weight"):
        SECheckpoint(folder)
