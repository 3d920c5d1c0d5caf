"""Arrays are laid out as safetensors says, and read as they were."""

import hashlib
import io
import json
import zipfile

import numpy as np
import pytest
import safetensors.numpy

import sklperturb
from sklperturb.baseline import NoChangeRegressor
from sklperturb.files._reading import FileError
from sklperturb.persistence._arrays import BLOCK, StoredArrays, read_arrays

rng = np.random.default_rng(0)
ARRAYS = {
    "large": rng.normal(size=(3, BLOCK // 16)),
    "flags": rng.random(7) < 0.5,
    "halves": rng.normal(size=(2, 3)).astype(np.float16),
    "none": np.empty((0, 4), np.float32),
    "one": np.array(5, np.uint16),
    **{f"i{k}": np.arange(3).astype(f"{k}") for k in ("i1", "u1", "i2", "i4", "i8")},
    **{f"f{k}": np.arange(3).astype(f"{k}") for k in ("u4", "u8", "f4", "f8")},
    "other order": np.arange(4, dtype=">i4"),
}


def stored(arrays):
    return b"".join(map(bytes, StoredArrays(arrays).blocks()))


def test_safetensors_reads_what_is_written():
    data = stored(ARRAYS)
    assert len(data) == len(StoredArrays(ARRAYS))
    assert all(len(block) <= BLOCK for block in StoredArrays(ARRAYS).blocks())
    found = safetensors.numpy.load(data)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].shape == array.shape
        assert found[name].dtype == array.dtype.newbyteorder("<")


@pytest.mark.parametrize("write", [stored, safetensors.numpy.save])
def test_arrays_are_read(write):
    arrays = {k: v for k, v in ARRAYS.items() if k != "other order"}
    data = write(arrays)
    found = read_arrays(io.BytesIO(data), len(data), "m.skpt")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
        assert found[name].flags.owndata and found[name].flags.writeable


@pytest.mark.parametrize("part", [0.1, 0.5, 0.999])
def test_what_ends_early_is_refused(part):
    data = stored(ARRAYS)
    size = int(part * len(data))
    with pytest.raises(FileError, match=r"m\.skpt"):
        read_arrays(io.BytesIO(data[:size]), size, "m.skpt")


def test_hashes_of_the_first_version_are_compared(tmp_path):
    path = tmp_path / "m.skpt"
    sklperturb.save(NoChangeRegressor().fit([[0]], [[1.0, 2.0]]), path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members["manifest.json"]) | {"version": 1}
    for right in (True, False):
        for name in manifest["members"]:
            data = members[name] if right else members[name] + b" "
            hashed = hashlib.sha256(data).hexdigest()
            about = {"sha256": hashed, "size": len(members[name])}
            manifest["members"][name] = about
        members["manifest.json"] = json.dumps(manifest).encode()
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        if right:
            assert sklperturb.load(path).predict([[3]]).tolist() == [[0.0, 0.0]]
    with pytest.raises(FileError, match="another hash"):
        sklperturb.load(path)
