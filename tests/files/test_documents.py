"""JSON, TOML and YAML within limits, and arrays without objects."""

import io
import warnings
import zipfile

import numpy as np
import pytest
import torch

from sklperturb.files._arrays import read_npz, read_safetensors
from sklperturb.files._documents import (
    parse_json,
    parse_toml,
    parse_yaml,
    read_json,
    read_toml,
    read_yaml,
)
from sklperturb.files._reading import FileError

BOMB = "a: &a [x, x]\n" + "".join(f"{c}: &{c} [*a, *a]\n" for c in "bcdefgh")


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (read_json, '{"a": [1, 2.5, null, "ü"]}', {"a": [1, 2.5, None, "ü"]}),
        (read_toml, "[a]\nb = ['ü']", {"a": {"b": ["ü"]}}),
        (read_yaml, "a: {b: [1, 2.5, true, ü]}", {"a": {"b": [1, 2.5, True, "ü"]}}),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_documents(tmp_path, read, text, expected, encoding):
    (tmp_path / "file").write_bytes(text.encode(encoding))
    assert read(tmp_path / "file") == expected


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (parse_json, '{"a": 1', "cannot be read as JSON"),
        (parse_json, '{"b": {"a": 1, "a": 2}}', "'a' twice"),
        (parse_json, '{"b": {"a": NaN}}', "'a' is nan; a finite number"),
        (parse_json, '{"a": [1, [-Infinity]]}', "'a' is -inf; a finite"),
        (parse_json, "[1e999]", "a value is inf"),
        (parse_json, "[" * 100_000, "recursion"),
        (parse_json, "1" * 10_000, "4300 digits"),
        (parse_toml, "a = 1\na = 2", "cannot be read as TOML"),
        (parse_toml, "a = " + "[" * 100_000, "recursion"),
        (parse_toml, "a = " + "1" * 10_000, "4300 digits"),
        (parse_yaml, BOMB, "line 1 has an anchor or an alias"),
        (parse_yaml, "a: {b: 1}\nc:\n  <<: {b: 1}", "line 3 merges keys"),
        (parse_yaml, "a: 1\nb: 2\na: 3", "names a key twice"),
        (parse_yaml, "a: " + "[" * 1200, "recursion"),
        (parse_yaml, "a: " + "1:" * 10_000 + "1", "20001 digits"),
        (parse_yaml, "!!python/object/apply:os.system [ls]", "no.* constructor"),
        (parse_yaml, "a: " + "x" * 2**20, "longer than 1 MiB"),
    ],
)
def test_no_documents(parse, text, message):
    with pytest.raises(FileError, match=message) as error:
        parse(text, "settings of x")
    assert "settings of x" in str(error.value)
    assert "\n" not in str(error.value)


def test_json_with_nan_where_it_may_occur():
    assert parse_json("[NaN, 1e999]", "x", allow_nan=True)[1] == np.inf


def _member(array, old=b"", new=b""):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue().replace(old, new)


def _zip(path, *members, method=zipfile.ZIP_STORED):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as archive:
        warnings.simplefilter("ignore")
        for name, content in members:
            archive.writestr(name, content)


def test_arrays(tmp_path):
    path = tmp_path / "a.npz"
    arrays = {"a/b": np.arange(6.0).reshape(2, 3), "c": np.array("ü"), "d": np.eye(0)}
    arrays["f"] = np.asfortranarray(arrays["a/b"])
    np.savez_compressed(path, **arrays)
    found = read_npz(path)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
    assert list(read_npz(path, ["c"])) == ["c"]
    with pytest.raises(FileError, match=r"lacks the arrays \['x'\]"):
        read_npz(path, ["c", "x"])


THREE = np.arange(3)
SHAPE = b"(3,), }         "


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.npy", _member(np.array([None])))], "pickled objects, which are never"),
        ([("a.npy", _member(THREE)), ("a.npy", _member(THREE))], "two arrays called"),
        ([("../a.txt", b"x")], "which is no array"),
        ([("a.npy", b"x")], "cannot be read as .npz"),
        ([("a.npy", _member(THREE, SHAPE, b"(999999999,), } "))], "file is damaged"),
        ([("a.npy", _member(THREE, SHAPE, b"(-3,), }        "))], "file is damaged"),
        (
            [
                (
                    "a.npy",
                    _member(np.array(["ab"]), "b".encode("utf-32-le"), b"\xff" * 4),
                )
            ],
            "characters that do not exist",
        ),
        ([("a.npy", _member(THREE)[:-8])], "takes 24 bytes and has 16"),
    ],
)
def test_no_arrays(tmp_path, members, message):
    path = tmp_path / "a.npz"
    _zip(path, *members)
    with pytest.raises(FileError, match=message) as error:
        read_npz(path)
    assert str(path) in str(error.value)


def test_damaged_and_swollen_arrays(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.arange(1000))
    content = bytearray(path.read_bytes())
    content[4000] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"Bad CRC-32 .* 'a\.npy'"):
        read_npz(path)
    _zip(path, ("a.npy", _member(THREE)), method=zipfile.ZIP_LZMA)
    with pytest.raises(FileError, match="in a way that NumPy does not use"):
        read_npz(path)
    monkeypatch.setattr("sklperturb.files._arrays._FREE_BYTES", 2**20)
    _zip(
        path,
        ("a.npy", _member(np.zeros(2**17 + 99))),
        ("b.npy", _member(THREE)),
        method=zipfile.ZIP_DEFLATED,
    )
    with pytest.raises(FileError, match="unpacks to"):
        read_npz(path)
    assert read_npz(path, ["b"])["b"].tolist() == [0, 1, 2]
    with pytest.raises(FileError, match="unpacks to"):
        read_npz(path, ["b"], max_bytes=100)


def test_safetensors(tmp_path):
    saved = pytest.importorskip("safetensors.torch")
    path = tmp_path / "a.safetensors"
    saved.save_file({"a": torch.ones(2, dtype=torch.bfloat16)}, path, {"k": "v"})
    tensors, metadata = read_safetensors(path)
    assert metadata == {"k": "v"} and tensors["a"].dtype == torch.bfloat16
    whole = path.read_bytes()
    for content, message in (
        (whole[:-1], "cannot be read as safetensors"),
        (b"\xff" * 100, "has a header of"),
        (b"\2" + bytes(7) + b"[]", "cannot be read as safetensors"),
    ):
        path.write_bytes(content)
        with pytest.raises(FileError, match=message):
            read_safetensors(path)
