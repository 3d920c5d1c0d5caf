"""Ways to damage a file."""

import gzip
import json
import os
import shutil
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np


def content(data):
    """Replace all that is in a file."""
    data = data.encode() if isinstance(data, str) else data

    def damage(path):
        path.write_bytes(data)

    return damage


def edited(function):
    """Replace the text of a file by ``function(text)``."""

    def damage(path):
        path.write_bytes(function(path.read_text("utf-8")).encode("utf-8"))

    return damage


def encoded(encoding, function=str):
    """Write the text of a file in another encoding."""

    def damage(path):
        path.write_bytes(function(path.read_text("utf-8")).encode(encoding))

    return damage


def changed(function):
    """Replace the bytes of a file by ``function(bytes)``."""

    def damage(path):
        path.write_bytes(function(path.read_bytes()))

    return damage


def cut(share):
    """Keep the first part of a file."""
    return changed(lambda data: data[: int(len(data) * share)])


def flipped(*shares, bit=3):
    """Flip a bit at some places of a file."""

    def flip(data):
        data = bytearray(data)
        for share in shares:
            data[int(share * (len(data) - 1))] ^= 1 << bit
        return bytes(data)

    return changed(flip)


def compressed(path):
    """Compress a file with gzip, without another name."""
    path.write_bytes(gzip.compress(path.read_bytes()))


def removed(path):
    """Remove a file or a folder."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def folder(path):
    """Put a folder in the place of a file."""
    removed(path)
    path.mkdir()


def pipe(path):
    """Put a named pipe, to which nobody writes, in the place of a file."""
    removed(path)
    os.mkfifo(path)


def link(target):
    """Put a symbolic link in the place of a file."""

    def damage(path):
        removed(path)
        path.symlink_to(target)

    return damage


def unreadable(path):
    """Take away the permission to read."""
    path.chmod(0)


SPECIAL = [
    ("a pipe", pipe),
    ("an endless device", link("/dev/zero")),
    ("a link to nothing", link("nowhere")),
    ("a link to itself", lambda path: link(path.name)(path)),
]


@contextmanager
def opened(path):
    """Open an .h5ad file or a .zarr folder, to change it."""
    if path.suffix == ".zarr":
        import zarr

        (path / ".zmetadata").unlink(missing_ok=True)
        yield zarr.open_group(str(path), mode="r+", use_consolidated=False)
    else:
        import h5py

        with h5py.File(path, "r+") as file:
            yield file


def in_store(function):
    """Change a file of cells by ``function(store)``."""

    def damage(path):
        with opened(path) as store:
            function(store)

    return damage


def put(store, name, values, **attributes):
    """Replace a data set, and keep its attributes."""
    kept = {}
    if name in store:
        kept = dict(store[name].attrs)
        del store[name]
    values = np.asarray(values)
    if hasattr(store, "create_array"):
        made = store.create_array(name, shape=values.shape, dtype=values.dtype)
        made[...] = values
    else:
        made = store.create_dataset(name, data=values)
    made.attrs.update(kept | attributes)


def values(name, function):
    """Replace a data set of a file of cells by ``function(its values)``."""

    def change(store):
        put(store, name, function(store[name][...]))

    return in_store(change)


def at(name, place, value):
    """Replace one value of a data set of a file of cells."""

    def change(found):
        found = np.array(found)
        found[place] = value
        return found

    return values(name, change)


def attribute(name, key, value):
    """Set an attribute in a file of cells; None removes it."""

    def change(store):
        element = store[name] if name else store
        if value is None:
            del element.attrs[key]
        else:
            element.attrs[key] = value

    return in_store(change)


def dropped(*names):
    """Remove parts of a file of cells."""

    def change(store):
        for name in names:
            del store[name]

    return in_store(change)


def members(function):
    """Rewrite a zip archive by ``function({name: bytes})``."""

    def damage(path):
        with zipfile.ZipFile(path) as archive:
            found = {name: archive.read(name) for name in archive.namelist()}
        found = function(found) or found
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in found.items():
                archive.writestr(name, data)

    return damage


def document(function):
    """Change the content of a JSON file by ``function(content)``."""

    def damage(path):
        found = json.loads(path.read_text())
        path.write_text(json.dumps(function(found) or found))

    return damage


def arrays(function):
    """Change the arrays of an .npz file by ``function({name: array})``."""

    def damage(path):
        with np.load(path) as file:
            found = dict(file)
        found = function(found) or found
        with Path(path).open("wb") as file:
            np.savez(file, **found)

    return damage
