"""Boosted trees as LightGBM writes them, checked before it reads them.

Its reader is written in C++ and believes what it reads: a child that is no node would
lead it anywhere in memory.
"""

import re

import numpy as np

from sklperturb.files._reading import FileError, short
from sklperturb.utils._optional import import_extra

_HEADER = {
    "version": ("v3", "v4"),
    "num_class": ("1",),
    "num_tree_per_iteration": ("1",),
    "label_index": ("0",),
    "max_feature_idx": None,
    "objective": None,
    "feature_names": None,
    "feature_infos": None,
    "tree_sizes": None,
}
_OBJECTIVES = (
    *("regression", "regression_l1", "huber", "fair", "poisson", "quantile", "mape"),
    *("gamma", "tweedie", "cross_entropy", "binary"),
)
# By name, kind of numbers and whether there is one for each leaf, or each split.
_OF_LEAVES = {"leaf_value": float, "leaf_weight": float, "leaf_count": int}
_OF_SPLITS = {
    "split_feature": int,
    "split_gain": float,
    "threshold": float,
    "decision_type": int,
    "left_child": int,
    "right_child": int,
    "internal_value": float,
    "internal_weight": float,
    "internal_count": int,
}
_SCALARS = {"num_leaves": int, "num_cat": int, "is_linear": int, "shrinkage": float}
_OF_CATEGORIES = {"cat_boundaries": int, "cat_threshold": int}
_WHOLE = re.compile(r"-?[0-9]+")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?")
_END = "\nend of trees\n"
_MOST_FEATURES = 10**6


def booster_text(booster):
    """Return boosted trees as text, without the parameters they were trained with."""
    text = booster.model_to_string(num_iteration=-1)
    return text[: text.index(_END) + len(_END)]


def make_booster(text, best_iteration, path):
    """Return a ``lightgbm.Booster`` of a text whose trees are trees.

    Raises
    ------
    ImportError
        If LightGBM is not installed.
    FileError
        If the text is not what `booster_text` writes.
    """
    lightgbm = import_extra("A model of boosted trees", "boost", "lightgbm")
    n_trees = _check(text, path)
    if type(best_iteration) is not int or not -1 <= best_iteration <= n_trees:
        _refuse(path, f"the best iteration {short(best_iteration)}")
    booster = lightgbm.Booster(model_str=f"{text}\npandas_categorical:null\n")
    booster.best_iteration = best_iteration
    return booster


def _refuse(path, what):
    raise FileError(
        f"{path} is damaged or was changed: its boosted trees have {what}. Get the "
        "file again, or make it again."
    )


def _check(text, path):
    """Raise unless the text holds trees; return how many."""
    head, begin, _ = text.partition("\n\n")
    first, *lines = head.split("\n")
    if first != "tree" or not text.endswith(_END) or not text.isascii():
        _refuse(path, "a beginning or an end that LightGBM does not write")
    header = _read_lines(lines, path)
    if header.keys() - _HEADER.keys() or _HEADER.keys() - header.keys() - {"objective"}:
        _refuse(path, f"the entries {short(sorted(header))}")
    for name, allowed in _HEADER.items():
        if allowed is not None and header[name] not in allowed:
            _refuse(path, f"{name}={short(header[name])}")
    objective = header.get("objective", "regression").split(" ")[0]
    if objective not in _OBJECTIVES:
        _refuse(path, f"the objective {short(objective)}")
    n_features = _numbers(header["max_feature_idx"], int, 1, path)[0] + 1
    if not 1 <= n_features <= _MOST_FEATURES:
        _refuse(path, f"{n_features} features")
    for name in ("feature_names", "feature_infos"):
        if len(header[name].split(" ")) != n_features:
            _refuse(path, f"{name} for another number than {n_features}")
    sizes = _numbers(header["tree_sizes"], int, None, path)
    place = len(head) + len(begin)
    for i, size in enumerate(sizes):
        block = text[place : place + max(size, 0)]
        if not block.startswith(f"Tree={i}\n") or not block.endswith("\n\n"):
            _refuse(path, f"no tree {i} where it should be")
        _check_tree(block.rstrip("\n").split("\n")[1:], n_features, path)
        place += size
    if text[place:].strip("\n") != _END.strip("\n"):
        _refuse(path, "more than trees")
    return len(sizes)


def _read_lines(lines, path):
    found = {}
    for line in lines:
        name, equals, value = line.partition("=")
        if not equals or name in found:
            _refuse(path, f"the line {short(line)}")
        found[name] = value
    return found


def _numbers(text, kind, size, path):
    """Return a line of finite numbers as a list."""
    items = text.split(" ") if text else []
    pattern = _WHOLE if kind is int else _NUMBER
    if not all(len(item) < 40 and pattern.fullmatch(item) for item in items):
        _refuse(path, f"{short(text)} in the place of numbers")
    numbers = list(map(kind, items))
    if size is not None and len(numbers) != size:
        _refuse(path, f"{len(numbers)} numbers in the place of {size}")
    most = 2**31 if kind is int else np.finfo(float).max
    if not all(abs(number) <= most for number in numbers):  # a NaN is refused, too
        _refuse(path, f"{short(text)}, which is not finite or too large")
    return numbers


def _check_tree(lines, n_features, path):
    found = _read_lines(lines, path)
    needed = {"num_leaves", "num_cat", "leaf_value"}
    known = {**_OF_LEAVES, **_OF_SPLITS, **_SCALARS, **_OF_CATEGORIES}
    if foreign := found.keys() - known.keys():
        _refuse(path, f"the entries {short(sorted(foreign))} in a tree")
    if absent := needed - found.keys():
        _refuse(path, f"a tree without {sorted(absent)}")
    scalars = {
        name: _numbers(found[name], kind, 1, path)[0]
        for name, kind in _SCALARS.items()
        if name in found
    }
    n_leaves, n_cat = scalars["num_leaves"], scalars["num_cat"]
    if not 1 <= n_leaves <= len(found["leaf_value"]) + 1 or n_cat < 0:
        _refuse(path, f"a tree of {n_leaves} leaves")
    if scalars.get("is_linear"):
        _refuse(path, "linear models in leaves")
    if n_leaves == 1:
        _numbers(found["leaf_value"], float, 1, path)
        if n_cat or any(found.get(name) for name in _OF_SPLITS):
            _refuse(path, "splits in a tree of one leaf")
        return
    for name, kind in _OF_LEAVES.items():
        if name in found:
            _numbers(found[name], kind, n_leaves, path)
    absent = {"split_feature", "threshold", "decision_type"} - found.keys()
    if absent or not {"left_child", "right_child"} <= found.keys():
        _refuse(path, "a tree without splits")
    splits = {
        name: _numbers(found[name], kind, n_leaves - 1, path)
        for name, kind in _OF_SPLITS.items()
        if name in found
    }
    if not all(0 <= i < n_features for i in splits["split_feature"]):
        _refuse(path, "splits of features that there are not")
    if not all(0 <= kind < 16 for kind in splits["decision_type"]):
        _refuse(path, "decisions of an unknown kind")
    _check_children(splits, n_leaves, path)
    _check_categories(found, splits, n_cat, path)


def _check_children(splits, n_leaves, path):
    """Refuse children that are no nodes, come twice, or lead in a circle."""
    seen = []
    for children in (splits["left_child"], splits["right_child"]):
        for parent, child in enumerate(children):
            if not (parent < child if child >= 0 else ~child < n_leaves):
                _refuse(path, f"the child {child} of the node {parent}")
            seen.append(child)
    if set(seen) != set(range(-n_leaves, n_leaves - 1)) - {0}:
        _refuse(path, "nodes that are in no tree, or in two")


def _check_categories(found, splits, n_cat, path):
    of_categories = [kind & 1 for kind in splits["decision_type"]]
    if not n_cat:
        if any(of_categories) or found.keys() & _OF_CATEGORIES.keys():
            _refuse(path, "splits of categories without categories")
        return
    if not _OF_CATEGORIES.keys() <= found.keys():
        _refuse(path, "no categories")
    bounds = _numbers(found["cat_boundaries"], int, n_cat + 1, path)
    words = [int(w) for w in found["cat_threshold"].split(" ") if w.isdigit()]
    ordered = all(np.diff(bounds) > 0) and bounds[0] == 0 and bounds[-1] == len(words)
    if not ordered or len(words) != len(found["cat_threshold"].split(" ")):
        _refuse(path, "categories that do not fit")
    if not all(word < 2**32 for word in words):
        _refuse(path, "categories that do not fit")
    for of_category, place in zip(of_categories, splits["threshold"], strict=True):
        if of_category and not (place == int(place) and 0 <= place < n_cat):
            _refuse(path, f"a split of the category {place}")
