"""Read JSON, TOML and YAML, which a few bytes could make endless or ambiguous."""

import json
import math
import tomllib

import yaml

from sklperturb.files._reading import FileError, reading, short
from sklperturb.files._text import read_text

_MAX_BYTES = 2**26
_MAX_YAML_BYTES = 2**20  # its parser is slow, and settings are short
_MAX_SCALAR = 1000  # of what is not text


def read_json(path, *, allow_nan=False):
    """Read a JSON file; see `parse_json`."""
    return parse_json(read_text(path, "JSON", max_bytes=_MAX_BYTES), path, allow_nan)


def read_toml(path):
    """Read a TOML file as a dictionary; see `parse_toml`."""
    return parse_toml(read_text(path, "TOML", max_bytes=_MAX_BYTES), path)


def read_yaml(path):
    """Read a YAML file; see `parse_yaml`."""
    return parse_yaml(read_text(path, "YAML", max_bytes=_MAX_YAML_BYTES), path)


def parse_json(text, origin, allow_nan=False):
    """Parse JSON.

    Parameters
    ----------
    text : str
    origin : path-like or str
        Where it is from, for messages.
    allow_nan : bool, default=False
        Whether NaN and infinite numbers may occur.

    Returns
    -------
    value : dict, list, str, int, float, bool or None

    Raises
    ------
    FileError
        If it is no JSON, nested too deeply, names a key twice in one dictionary, or
        has a number that is not finite.
    """

    def checked(pairs):
        found = _unique(pairs, origin)
        if not allow_nan:
            for name, value in pairs:
                _refuse_nan(value, short(name), origin)
        return found

    with reading(origin, "JSON"):
        _check_length(text, _MAX_BYTES, origin)
        found = json.loads(text, object_pairs_hook=checked)
        if not allow_nan:
            _refuse_nan(found, "a value", origin)
    return found


def _refuse_nan(value, name, origin):
    """Raise if a number, alone or in lists, is not finite."""
    if isinstance(value, list):
        for item in value:
            _refuse_nan(item, name, origin)
    elif isinstance(value, float) and not math.isfinite(value):
        raise FileError(f"{origin}: {name} is {value}; a finite number is needed.")


def parse_toml(text, origin):
    """Parse TOML; errors are FileErrors that name `origin`."""
    with reading(origin, "TOML"):
        _check_length(text, _MAX_BYTES, origin)
        return tomllib.loads(text)


def parse_yaml(text, origin):
    """Parse YAML of plain values.

    Parameters
    ----------
    text : str
    origin : path-like or str
        Where it is from, for messages.

    Returns
    -------
    value : dict, list, str, int, float, bool, date or None

    Raises
    ------
    FileError
        If it is no YAML or longer than a MiB, names a key twice in one dictionary, or
        has anchors, aliases, merged keys or tags of objects.
    """
    with reading(origin, "YAML"):
        _check_length(text, _MAX_YAML_BYTES, origin)
        return yaml.load(text, Loader=_PlainLoader)


class _PlainLoader(yaml.SafeLoader):
    """Load values that are written where they are: ten aliases make a billion."""

    def compose_node(self, parent, index):
        event = self.peek_event()
        if getattr(event, "anchor", None) is not None:
            raise yaml.YAMLError(
                f"line {event.start_mark.line + 1} has an anchor or an alias; write "
                "the value out"
            )
        return super().compose_node(parent, index)

    def construct_scalar(self, node):
        if len(node.value) > _MAX_SCALAR and not node.tag.endswith(":str"):
            raise yaml.YAMLError(f"a value has {len(node.value)} digits")
        return super().construct_scalar(node)

    def flatten_mapping(self, node):
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.YAMLError(
                    f"line {key.start_mark.line + 1} merges keys; write them out"
                )
        super().flatten_mapping(node)

    def construct_mapping(self, node, deep=False):
        found = super().construct_mapping(node, deep=deep)
        if len(found) < len(node.value):
            raise yaml.YAMLError(
                f"the dictionary at line {node.start_mark.line + 1} names a key twice"
            )
        return found


def _unique(pairs, origin):
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise FileError(f"{origin} names {short(twice)} twice in one dictionary.")
    return found


def _check_length(text, most, origin):
    if len(text) > most:
        raise FileError(
            f"{origin} is longer than {most // 2**20} MiB, too long for what it should "
            "be. Is it the right file?"
        )
