"""scikit-learn's trees of arrays, checked before its compiled code believes them."""

import numpy as np
from sklearn.tree._tree import Tree

from sklperturb.files._reading import FileError, short

_LEAF, _MOST_FEATURES = -1, 2**31


def tree_parts(tree):
    """Return what a tree is made of, as arrays and plain numbers."""
    _, (n_features, n_classes, n_outputs), state = tree.__reduce__()
    nodes = state["nodes"]
    return {
        "sizes": [int(n_features), np.asarray(n_classes), int(n_outputs)],
        "depth": int(state["max_depth"]),
        "nodes": {n: np.ascontiguousarray(nodes[n]) for n in nodes.dtype.names},
        "values": np.asarray(state["values"]),
    }


def make_tree(sizes, depth, nodes, values, path):
    """Return a fitted tree whose nodes form one.

    Raises
    ------
    FileError
        If they do not.
    """

    def refuse(what):
        raise FileError(
            f"{path} is damaged or was changed: a tree has {what}. Get the file "
            "again, or make it again."
        )

    n_features, n_classes, n_outputs = sizes
    if type(n_features) is not int or not 0 < n_features < _MOST_FEATURES:
        refuse(f"{short(n_features)} features")
    if type(n_outputs) is not int or not isinstance(n_classes, np.ndarray):
        refuse(f"{short(n_outputs)} outputs")
    if n_classes.shape != (n_outputs,) or (n_classes != 1).any():
        refuse(f"the classes {short(n_classes)}")
    tree = Tree(n_features, n_classes.astype(np.intp), n_outputs)
    dtype = _dtype_of_nodes()
    arrays = [array for array in nodes.values() if isinstance(array, np.ndarray)]
    if nodes.keys() != set(dtype.names) or len(arrays) < len(nodes):
        refuse(f"nodes of {short(sorted(nodes))}")
    n_nodes = len(arrays[0]) if arrays[0].ndim == 1 else 0
    if not n_nodes or any(array.shape != (n_nodes,) for array in arrays):
        refuse("nodes of different lengths")
    if not isinstance(values, np.ndarray) or values.shape != (n_nodes, n_outputs, 1):
        refuse("no value for each node and output")
    table = np.zeros(n_nodes, dtype)
    for name, array in nodes.items():
        if array.dtype != dtype[name]:
            refuse(f"{name} of the type {array.dtype}")
        table[name] = array
    left, right = table["left_child"], table["right_child"]
    inner = left != _LEAF
    if ((right == _LEAF) != ~inner).any():
        refuse("nodes with one child")
    children = np.concatenate([left[inner], right[inner]])
    parents = np.concatenate([np.flatnonzero(inner)] * 2)
    if not np.array_equal(np.sort(children), np.arange(1, n_nodes)):
        refuse("children that are no nodes, or come twice")
    if (children <= parents).any():
        refuse("children before their parents")
    features = table["feature"][inner]
    if (features < 0).any() or (features >= n_features).any():
        refuse("splits of features that there are not")
    if type(depth) is not int or not 0 <= depth < n_nodes:
        refuse(f"the depth {short(depth)}")
    state = {"max_depth": depth, "node_count": n_nodes, "nodes": table}
    tree.__setstate__(state | {"values": np.ascontiguousarray(values, np.float64)})
    return tree


def check_widths(estimator, path):
    """Refuse trees that read further than the rows that their estimator lets in.

    Their compiled code does not look how long a row is.
    """
    trees = vars(estimator).get("estimators_", ())
    if not hasattr(type(estimator), "_validate_X_predict"):
        return
    widths = [getattr(tree, "n_features_in_", None) for tree in np.ravel(trees)]
    if "tree_" in vars(estimator):
        widths.append(getattr(estimator.tree_, "n_features", None))
    # A masked number is not unlike any other, so that its type counts.
    width = vars(estimator).get("n_features_in_")
    if not all(type(each) is type(width) and each == width for each in widths) or (
        widths and type(width) is not int
    ):
        raise FileError(
            f"{path} is damaged or was changed: a tree takes rows of another width "
            "than its estimator. Get the file again, or make it again."
        )


def _dtype_of_nodes():
    empty = Tree(1, np.ones(1, np.intp), 1)
    return empty.__reduce__()[2]["nodes"].dtype
