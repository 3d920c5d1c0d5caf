"""Strategies of hypothesis for changes of files, by kind of change.

Each draws a function of a path, which changes what is there. Places are shares of the
whole, so that they fit files of any size.
"""

import hashlib
import json
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import yaml
from hypothesis import strategies as st

from tests.robustness.damage import arrays, changed, in_store, members, put

_share = st.floats(0, 1, exclude_max=True)
_NUMBERS = [
    0, 1, -1, 2, 7, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, -(2**31), 2**31,
    2**32 - 1, 2**53 + 1, 2**63 - 1, -(2**63),
]  # fmt: skip
_FLOATS = [0.5, -0.0, 1e-320, 1e30, -1e300, float("nan"), float("inf"), -float("inf")]
_TEXTS = [
    "", " ", "nan", "NA", "None", "null", "control", "non-targeting", "GENE1", "GENE2+",
    "+", "GENE1+GENE2", "ctrl", "0", "-1", "1e999", "1_000", "0x10", "true", "../x",
    "/etc/passwd", "a\tb", "a\nb", "a\r\nb", "a\0b", "\x1b[31mred", "[b]x[/]", "[/b]",
    "\ufeff", "\u202eabc", "\ud7ff", "é", "😀", '"', "'", ",", ";", "=1+1", "x" * 5000,
    "sparse", "csr_matrix", "csc_matrix", "dataframe", "categorical", "array", "_index",
]  # fmt: skip
_plain = st.one_of(
    st.sampled_from([*_NUMBERS, *_FLOATS, *_TEXTS, None, True, False]),
    st.integers(),
    st.text(max_size=20),
)
_value = st.recursive(
    _plain,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(_TEXTS) | st.text(max_size=8), inner)
    ),
    max_leaves=8,
)  # fmt: skip


class Edits:
    """Some changes of bytes, one after the other."""

    def __init__(self, steps):
        self.steps = steps
        self.only_flips = all(step[0] == "flip" for step in steps)

    def __call__(self, path):
        if path.is_file():
            changed(self.apply)(path)

    def apply(self, data):
        data = bytearray(data)
        for name, where, what in self.steps:
            place = int(where * len(data)) if where < 1 else len(data)
            if name == "flip" and data:
                data[place] ^= 1 << what
            elif name == "cut":
                del data[place:]
            elif name == "remove":
                del data[place : place + what]
            elif name == "zero":
                data[place : place + what] = bytes(min(what, len(data) - place))
            elif name == "insert":
                data[place:place] = what
            elif name == "write":
                data[place : place + len(what)] = what
            elif name == "move":
                data[place:place] = data[int(what * len(data)) :][:64]
        return bytes(data)

    def __repr__(self):
        return f"Edits({self.steps!r})"


_packed = st.builds(
    lambda form, number: struct.pack(form, number % 2 ** (8 * struct.calcsize(form))),
    st.sampled_from(["<B", "<H", ">H", "<I", ">I", "<Q"]),
    st.sampled_from(_NUMBERS),
)
_flip = st.tuples(st.just("flip"), _share, st.integers(0, 7))
_step = st.one_of(
    _flip,
    st.tuples(st.just("cut"), _share, st.none()),
    st.tuples(st.sampled_from(["remove", "zero"]), _share, st.integers(1, 600)),
    st.tuples(st.just("insert"), _share, st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("write"), _share, st.binary(min_size=1, max_size=40) | _packed),
    st.tuples(st.just("move"), _share, _share),
)
_bytes = st.builds(
    Edits,
    st.lists(_flip, min_size=1, max_size=4) | st.lists(_step, min_size=1, max_size=4),
)


class Text:
    """Changes of fields and lines of a text, and then of how it is written."""

    def __init__(self, steps, separator, ending, encoding):
        self.steps = steps
        self.separator, self.ending, self.encoding = separator, ending, encoding

    def __call__(self, path):
        found = next((s for s in "\t,:" if s in path.read_text("utf-8")), " ")
        rows = [line.split(found) for line in path.read_text("utf-8").splitlines()]
        for name, row, column, value in self.steps:
            self._apply(rows, name, int(row * len(rows)), column, value)
        lines = [(self.separator or found).join(fields) for fields in rows]
        text = self.ending.join(lines) + self.ending
        path.write_bytes(text.encode(self.encoding, errors="surrogatepass"))

    def _apply(self, rows, name, row, column, value):
        if not rows:
            return
        fields = rows[row]
        place = int(column * len(fields))
        if name == "replace" and fields:
            fields[place] = value
        elif name == "insert":
            fields.insert(place, value)
        elif name == "remove" and fields:
            del fields[place]
        elif name == "row":
            rows.insert(row, [value])
        elif name == "repeat":
            rows.insert(int(column * len(rows)), list(fields))
        elif name == "drop":
            del rows[row]
        elif name == "column":
            for fields in rows:
                fields.insert(int(column * len(fields)), value)
        elif name == "quote" and fields:
            fields[place] = f'"{fields[place]}'

    def __repr__(self):
        return f"Text({vars(self)!r})"


_names = "replace", "insert", "remove", "row", "repeat", "drop", "column", "quote"
_text_step = st.tuples(
    st.sampled_from(_names),
    _share,
    _share,
    st.sampled_from(_TEXTS) | st.text(st.characters(codec="utf-8"), max_size=20),
)
_text = st.builds(
    Text,
    st.lists(_text_step, min_size=1, max_size=4),
    st.sampled_from([None] * 6 + [";", "\t", ",", "|", " "]),
    st.sampled_from(["\n"] * 4 + ["\r\n", "\r", "\n\n"]),
    st.sampled_from(["utf-8"] * 5 + ["utf-8-sig", "utf-16", "utf-32", "utf-7"]),
)


def replaced(tree, where, value, how):
    """Return a document with one of its values, chosen by a share, changed."""
    places = list(_places(tree))
    if not places:
        return value
    holder, key = places[int(where * len(places))]
    if how == "replace":
        holder[key] = value
    elif how == "remove":
        del holder[key]
    elif how == "wrap":
        holder[key] = [holder[key]]
    elif how == "rename" and isinstance(holder, dict):
        holder[str(value)[:50]] = holder.pop(key)
    return tree


def _places(tree):
    keys = list(tree) if isinstance(tree, dict) else range(len(tree))
    for key in keys:
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from _places(tree[key])


_tree_step = st.tuples(
    _share, _value, st.sampled_from(["replace", "replace", "remove", "wrap", "rename"])
)


class Document:
    """Changes of values of a JSON or YAML file."""

    def __init__(self, steps):
        self.steps = steps

    def __call__(self, path):
        read, write = json.loads, json.dumps
        if path.suffix == ".yaml":
            read, write = yaml.safe_load, yaml.safe_dump
        tree = read(path.read_text())
        for step in self.steps:
            tree = replaced(tree, *step) if isinstance(tree, dict | list) else tree
        path.write_text(write(tree), errors="surrogatepass")

    def __repr__(self):
        return f"{type(self).__name__}({self.steps!r})"


class Model:
    """Changes of a model file: of its manifest or its boosted trees, and of arrays.

    Checksums are right again.
    """

    def __init__(self, steps, texts, flips):
        self.steps, self.texts, self.flips = steps, texts, flips

    def __call__(self, path):
        with zipfile.ZipFile(path) as archive:
            found = {name: archive.read(name) for name in archive.namelist()}
        manifest = json.loads(found.pop("manifest.json"))
        for where, value, how in self.steps:
            part = "model" if isinstance(manifest.get("model"), dict) else None
            tree = manifest[part] if part and where > 0.1 else manifest
            replaced(tree, (where * 37) % 1, value, how)
        for name in found:
            if name.startswith("boosters/"):
                found[name] = self._text(found[name])
            elif name == "arrays.safetensors" and self.flips:
                found[name] = self.flips.apply(found[name])
        for name, data in found.items():
            digest = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
            if isinstance(manifest.get("members"), dict):
                manifest["members"][name] = digest
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("manifest.json", json.dumps(manifest))
            for name, data in found.items():
                archive.writestr(name, data)

    def _text(self, data):
        """Change numbers of some lines of boosted trees."""
        lines = data.decode("latin-1").split("\n")
        for where, place, value in self.texts:
            i = int(where * len(lines))
            name, equals, numbers = lines[i].partition("=")
            numbers = numbers.split(" ")
            numbers[int(place * len(numbers))] = str(value)
            lines[i] = f"{name}{equals}{' '.join(numbers)}"
        return "\n".join(lines).encode("latin-1", "replace")

    def __repr__(self):
        return f"Model({vars(self)!r})"


class Tensors(Document):
    """Changes of the description in a safetensors file."""

    def __call__(self, path):
        def change(data):
            size = struct.unpack("<Q", data[:8])[0]
            tree = json.loads(data[8 : 8 + size])
            for step in self.steps:
                tree = replaced(tree, *step) if isinstance(tree, dict | list) else tree
            text = json.dumps(tree).encode()
            return struct.pack("<Q", len(text)) + text + data[8 + size :]

        changed(change)(path)


def new_array(found, how, where, value):
    """Return an array that is changed in values, type or shape."""
    found = np.array(found)
    if how == "value" and found.size:
        flat = found.ravel().copy()
        try:
            flat[int(where * flat.size)] = value
        except (OverflowError, TypeError, ValueError):
            return found
        return flat.reshape(found.shape)
    if how == "all" and found.size and isinstance(value, int | float):
        return np.full(found.shape, value)
    if how == "shorter" and found.ndim:
        return found[: int(where * len(found))]
    if how == "longer" and found.ndim:
        return np.concatenate([found, found[: int(where * len(found)) + 1]])
    if how == "flat":
        return found.ravel()
    if how == "deeper":
        return found[..., None]
    if how == "reversed" and found.ndim:
        return found[::-1].copy()
    if how == "turned":
        return found.T.copy()
    if how in ("f2", "f4", "f8", "i1", "u1", "i4", "u8", "c16", "?", "S8", ">i4"):
        try:
            return found.astype(how)
        except (TypeError, ValueError):
            return found
    return found


_how = st.sampled_from(
    ["value"] * 6
    + ["all", "shorter", "longer", "flat", "deeper", "reversed", "turned"]
    + ["f2", "f4", "f8", "i1", "u1", "i4", "u8", "c16", "?", "S8", ">i4"]
)
_number = st.sampled_from([*_NUMBERS, *_FLOATS]) | st.integers(-3, 99)


class Arrays:
    """Changes of arrays in an .npz file."""

    def __init__(self, steps):
        self.steps = steps

    def __call__(self, path):
        def change(found):
            for where, how, place, value in self.steps:
                names = sorted(found)
                name = names[int(where * len(names))]
                found[name] = new_array(found[name], how, place, value)

        arrays(change)(path)

    def __repr__(self):
        return f"Arrays({self.steps!r})"


class Members:
    """Changes of the files in a zip archive, whose checksums are right again."""

    def __init__(self, where, how, edits, other):
        self.where, self.how, self.edits, self.other = where, how, edits, other

    def __call__(self, path):
        def change(found):
            names = sorted(found)
            name = names[int(self.where * len(names))]
            if self.how == "edit":
                found[name] = self.edits.apply(found[name])
            elif self.how == "remove":
                del found[name]
            elif self.how == "swap":
                other = names[int(self.other * len(names))]
                found[name], found[other] = found[other], found[name]
            elif self.how == "rename":
                found[f"{name}x"] = found.pop(name)

        members(change)(path)

    def __repr__(self):
        return f"Members({vars(self)!r})"


class Store:
    """Changes of data sets, groups and attributes of an .h5ad or a .zarr."""

    def __init__(self, steps):
        self.steps = steps

    def __call__(self, path):
        for step in self.steps:
            in_store(lambda store, step=step: self._apply(store, *step))(path)

    def _apply(self, store, what, where, how, place, value, other):
        nodes = _nodes(store)
        if not nodes:
            return
        name = nodes[int(where * len(nodes))]
        node = store[name]
        if what == "array" and hasattr(node, "dtype"):
            found = np.array(node[...])
            if found.dtype.kind in "OT" and how in ("value", "all"):
                import h5py

                texts = [x.decode() if isinstance(x, bytes) else str(x) for x in found]
                texts[int(place * len(texts))] = str(other)
                kind = h5py.string_dtype() if hasattr(store, "file") else str
                put(store, name, np.array(texts, dtype=kind))
            elif found.dtype.kind != "O":
                put(store, name, new_array(found, how, place, value))
        elif what == "remove":
            del store[name]
        elif what == "attribute":
            keys = sorted(node.attrs)
            if keys:
                key = keys[int(place * len(keys))]
                if how == "shorter":
                    del node.attrs[key]
                else:
                    node.attrs[key] = other if how == "all" else str(other)[:100]
        elif what == "link" and hasattr(store, "file"):
            target = nodes[int(place * len(nodes))]
            found = store[target]
            del store[name]
            store[name] = found

    def __repr__(self):
        return f"Store({self.steps!r})"


def _nodes(store):
    """Return the names of all data sets and groups."""
    names = []
    if hasattr(store, "visit"):
        store.visit(names.append)
    else:
        names = [name for name, _ in store.members(max_depth=None)]
    return sorted(names)


class Folder:
    """Changes of the bytes of one file of a .zarr, or its loss."""

    def __init__(self, where, edits, removed):
        self.where, self.edits, self.removed = where, edits, removed

    def __call__(self, path):
        (path / ".zmetadata").unlink(missing_ok=True)
        files = sorted(
            Path(place, name) for place, _, names in os.walk(path) for name in names
        )
        file = files[int(self.where * len(files))]
        if self.removed:
            file.unlink()
        else:
            self.edits(file)

    def __repr__(self):
        return f"Folder({vars(self)!r})"


_tree = st.lists(_tree_step, min_size=1, max_size=3)
EDITS = {
    "bytes": _bytes,
    "text": _text,
    "document": st.builds(Document, _tree),
    "tensors": st.builds(Tensors, _tree),
    "model": st.builds(Model, _tree, st.just(()), st.none() | _bytes),
    "boosters": st.builds(
        Model,
        st.just(()),
        st.lists(
            st.tuples(_share, _share, st.sampled_from([*_NUMBERS, *_FLOATS, *_TEXTS])),
            min_size=1,
            max_size=3,
        ),
        st.none(),
    ),
    "arrays": st.builds(
        Arrays,
        st.lists(
            st.tuples(_share, _how, _share, _number), min_size=1, max_size=2
        ),
    ),
    "members": st.builds(
        Members,
        _share,
        st.sampled_from(["edit"] * 5 + ["remove", "swap", "rename"]),
        _bytes,
        _share,
    ),
    "store": st.builds(
        Store,
        st.lists(
            st.tuples(
                st.sampled_from(["array"] * 5 + ["attribute"] * 2 + ["remove", "link"]),
                _share,
                _how,
                _share,
                _number,
                _plain,
            ),
            min_size=1,
            max_size=2,
        ),
    ),
    "folder": st.builds(Folder, _share, _bytes, st.sampled_from([False] * 5 + [True])),
}  # fmt: skip
