"""Damaged and hostile model files end in an error that names them, and do nothing."""

import copy
import io
import json
import pickle
import sys
import threading
import tracemalloc
import warnings
import zipfile
import zlib

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import sklperturb
from sklperturb.datasets import make_chemical_screen
from sklperturb.files._reading import FileError
from sklperturb.linear_model import TargetEncodedRidge
from sklperturb.metrics import neg_mrrmse_scorer
from sklperturb.neural_network import (
    ConditionalGANRegressor,
    TokenEmbeddingMLPRegressor,
)
from sklperturb.testing import public_packages

WATCH = {"on": False, "seen": [], "others": set()}
# What no file may cause, and what is written down to be looked at.
NEVER = (
    *("socket", "subprocess", "os.system", "os.exec", "os.fork", "os.posix_spawn"),
    *("os.remove", "os.rename", "os.mkdir", "os.chmod", "shutil", "pickle.find_class"),
    *("marshal", "ctypes.dlopen", "exec", "compile", "import", "open", "tempfile"),
)


def _watch(event, arguments):
    # Threads of other tests, such as those of a cluster, go on with their own work.
    if WATCH["on"] and event.startswith(NEVER):
        if threading.get_ident() not in WATCH["others"]:
            WATCH["seen"].append((event, arguments))


sys.addaudithook(_watch)


@pytest.fixture(scope="module")
def screen():
    return make_chemical_screen(3, 8, 6, random_state=0)


@pytest.fixture(scope="module")
def good(screen, tmp_path_factory):
    """Return files of small models, by name."""
    X, y = screen.X, screen.y
    one = X[["cell_type"]]
    tables = Ridge().fit(X[["control"]], y)
    tables.frame_ = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    tables.numbers_ = pd.DataFrame(np.eye(2), columns=["a", "b"])
    tables.sparse_ = sp.csr_array(np.eye(3))
    tables.category_ = pd.Categorical(["a", "b"])
    tables.text_ = np.array(["a", "bc"])
    tables.words_ = np.array(["a", "bc"], dtype=object)
    tables.mixed_ = np.array([None, 1], dtype=object)
    tables.random_ = np.random.default_rng(0)
    tables.scorer_ = neg_mrrmse_scorer
    tables.tuple_, tables.keys_ = (1, 2), {"a": 1, "b": 2}
    tables.scalar_, tables.time_ = np.float32(1), np.array([1], "datetime64[s]")
    tables.type_, tables.slice_ = np.float32, slice(1, 2)
    tables.masked_ = np.ma.array([1.0, 2.0], mask=[True, False])
    forest = RandomForestRegressor(2, max_depth=2, random_state=0)
    models = {
        "tables": tables,
        "ridge": TargetEncodedRidge().fit(X, y),
        "forest": make_pipeline(OneHotEncoder(), forest).fit(one, y),
        "net": TokenEmbeddingMLPRegressor(
            hidden_dim=4, max_epochs=1, target_components=2, random_state=0
        ).fit(X, y),
        "gan": ConditionalGANRegressor(
            4, max_epochs=1, target_components=2, random_state=0
        ).fit(X[["control"]], y),
        "search": GridSearchCV(TargetEncodedRidge(), {"smooth": [1.0]}, cv=2).fit(X, y),
    }
    try:
        from sklperturb.ensemble import BoostedTargetRegressor

        numbers = np.random.default_rng(0).normal(size=(40, 2))
        boosted = BoostedTargetRegressor(n_components=1, random_state=0)
        models["boosted"] = boosted.fit(numbers, numbers @ np.ones((2, 3)))
    except ImportError:
        pass
    public_packages()  # any of them may be imported
    folder = tmp_path_factory.mktemp("good")
    for name, model in models.items():
        sklperturb.save(model, folder / f"{name}.skpt")
        sklperturb.load(folder / f"{name}.skpt")  # imports all that it needs
    return {name: folder / f"{name}.skpt" for name in models}


class Parts:
    """A model file in parts, to change and to write again with right checksums."""

    def __init__(self, path):
        with zipfile.ZipFile(path) as archive:
            self.members = {n: archive.read(n) for n in archive.namelist()}
        self.manifest = json.loads(self.members.pop("manifest.json"))
        arrays = load_arrays(self.members.pop("arrays.safetensors"))
        self.arrays = {name: array.copy() for name, array in arrays.items()}
        self.model = self.manifest["model"]
        self.state = self.model["state"]

    def find(self, kind, **entries):
        """Return all parts of the model of one kind."""
        found = []

        def walk(value):
            if isinstance(value, dict):
                if value.get("$") == kind and entries.items() <= value.items():
                    found.append(value)
                value = list(value.values())
            if isinstance(value, list):
                for item in value:
                    walk(item)

        walk(self.model)
        return found

    def array(self, value):
        """Return the array that a part of the model names."""
        return self.arrays[value["name"]]

    def bytes(self):
        members = {"arrays.safetensors": save_arrays(self.arrays), **self.members}
        listed = {
            name: {"crc32": zlib.crc32(data), "size": len(data)}
            for name, data in members.items()
        }
        manifest = {**self.manifest, "members": listed}
        members = {"manifest.json": json.dumps(manifest).encode(), **members}
        return zipped(members)


def zipped(members, compression=zipfile.ZIP_STORED):
    made = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(made, "w", compression) as archive:
        warnings.simplefilter("ignore")  # of names that come twice
        for name, data in members.items() if isinstance(members, dict) else members:
            archive.writestr(name, data)
    return made.getvalue()


def unzipped(path):
    with zipfile.ZipFile(path) as archive:
        return [(info, archive.read(info)) for info in archive.infolist()]


def refused(path, match=None):
    """Check that a file is refused, and that nothing happened meanwhile."""
    known = set(sys.modules)
    others = {thread.ident for thread in threading.enumerate()}
    WATCH.update(on=True, seen=[], others=others - {threading.get_ident()})
    try:
        with pytest.raises(FileError, match=match) as caught:
            sklperturb.load(path)
    finally:
        WATCH["on"] = False
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 2000
    happened = [
        (event, arguments)
        for event, arguments in WATCH["seen"]
        if not (event == "open" and str(arguments[0]) == str(path))
    ]
    assert not happened
    assert set(sys.modules) == known


# Changes of the model in "tables", with right checksums.
def with_class(name):
    def change(parts):
        parts.model["class"] = name

    return change


def with_attribute(name, value=1):
    def change(parts):
        parts.state[name] = value

    return change


def with_part(kind, _place=0, **entries):
    def change(parts):
        parts.find(kind)[_place].update(entries)

    return change


def without_part(kind, key):
    def change(parts):
        del parts.find(kind)[0][key]

    return change


def with_manifest(**entries):
    def change(parts):
        parts.manifest.update(entries)

    return change


def without_manifest(key):
    def change(parts):
        del parts.manifest[key]

    return change


def with_array(kind, function, key="name", **entries):
    """Replace the array that a part of a kind names."""

    def change(parts):
        name = parts.find(kind, **entries)[0][key]
        parts.arrays[name] = np.ascontiguousarray(function(parts.arrays[name]))

    return change


def value(item):
    return with_attribute("more_", item)


def named(name):
    return value({"$": "named", "name": name})


def deep(kind, n):
    text = 1
    for _ in range(n):
        text = [text] if kind == "list" else {"$": "tuple", "items": [text]}
    return text


def cyclic(parts):
    number = parts.model["id"]
    parts.state["more_"] = {"$": "again", "id": number}


def twice(parts):
    parts.state["more_"] = copy.deepcopy(parts.model)


def unused(parts):
    parts.arrays["spare"] = np.zeros(3)


PLAIN = {"$": "object", "id": 9, "class": "sklearn.pipeline.Pipeline", "state": {}}
NAMES = (
    *(
        "os.system",
        "builtins.eval",
        "builtins.exec",
        "subprocess.Popen",
        "os.path.join",
    ),
    *("joblib.Memory", "joblib.memory.Memory", "sklearn.utils.parallel.Parallel"),
    *("sklearn.datasets.fetch_openml", "sklearn.svm.SVR", "sklearn.externals.x.Y"),
    *("skorch.NeuralNetRegressor", "skorch.regressor.NeuralNetRegressor"),
    *("torch.nn.Module", "torch.load", "pickle.Unpickler", "builtins.object"),
    *("sklperturb.files._reading.FileError", "sklperturb.cli.app", "sklperturb.save"),
    *("sklperturb.embedding.SECheckpoint", "sklperturb.flow._state._Kind"),
    *("sklperturb.datasets.load_op2", "sklperturb.baseline.__doc__", "sklearn", ""),
    *("sklperturb.linear_model._variances.np", "../../evil.Class", "a b.C", "é.C"),
    *("sklperturb.neural_network._base.torch", "sklperturb.models.__init__", "x" * 999),
)
ATTRIBUTES = (
    *("__class__", "__dict__", "__reduce__", "__setstate__", "__getattr__", "fit"),
    *("predict", "get_params", "_validate_params", "_parameter_constraints", "score"),
    *("__init__", "a.b", "a b", "", "1"),
)
EMPTY = {"$": "tuple", "items": []}
HUGE = {"$": "objects", "shape": [2**40], "items": []}
TABLES = {
    **{f"class {name[:40]!r}": with_class(name) for name in NAMES},
    "class of a number": with_class(3),
    "class of a list": with_class(["sklearn.linear_model.Ridge"]),
    **{f"attribute {name!r}": with_attribute(name) for name in ATTRIBUTES},
    "a parameter of another kind": with_attribute("alpha", "a"),
    "an unknown kind": value({"$": "code", "is": "1"}),
    "a kind of dunder": value({"$": "_init__", "items": []}),
    "no kind": value({"is": 1}),
    "a kind that is a list": value({"$": ["tuple"], "items": []}),
    "more entries": with_part("tuple", more=1),
    "an entry is lost": without_part("tuple", "items"),
    "deep lists": value(deep("list", 300)),
    "deep tuples": value(deep("tuple", 400)),
    "a cycle": cyclic,
    "an object twice": twice,
    "an object to come": value({"$": "again", "id": 77}),
    "no number of an object": value({"$": "again", "id": [1]}),
    "an array that nothing uses": unused,
    "an array that is not there": value({"$": "array", "name": "none"}),
    "an array called by a list": value({"$": "array", "name": ["0"]}),
    "items of a number": with_part("tuple", items=3),
    "pairs of three": with_part("dict", items=[[1, 2, 3]]),
    "keys that are lists": with_part("dict", items=[[[1], 2]]),
    "a key twice": with_part("dict", items=[["a", 1], ["a", 2]]),
    "a set of lists": value({"$": "set", "items": [[1]]}),
    "a float of words": value({"$": "float", "is": "ten"}),
    "a scalar of text": with_part("scalar", **{"is": "a"}),
    "a scalar of objects": with_part("scalar", dtype="|O"),
    "a type of objects": value({"$": "dtype", "is": "O8"}),
    "a type of Python": value({"$": "dtype", "is": "(8)f8"}),
    "a type that runs": value({"$": "type", "is": "eval"}),
    "a type of NumPy that reads": value({"$": "type", "is": "memmap"}),
    "a huge shape": value(HUGE),
    "a negative shape": value({"$": "objects", "shape": [-1], "items": []}),
    "a shape of NaN": value({"$": "objects", "shape": [None], "items": []}),
    "a shape of floats": value({"$": "objects", "shape": [0.0], "items": []}),
    "a shape that does not fit": with_part("text", shape=[3]),
    "text of a huge type": with_part("text", dtype="<U99999999"),
    "text of a short type": with_part("text", 2, dtype="<U0"),
    "text of a type of code": with_part("text", dtype="O4"),
    "text that is no text": with_array("text", lambda a: a[::-1] + 128),
    "text of floats": with_array("text", lambda a: a.astype(float)),
    "ends that go back": with_array("text", lambda a: a[::-1] + 1, "ends", dtype="<U2"),
    "ends too far": with_array("text", lambda a: a + 99, "ends"),
    "ends of floats": with_array("text", lambda a: a + np.nan, "ends"),
    "times of floats": with_array("array", lambda a: a * 1.0, dtype="<M8[s]"),
    "a sparse matrix of a wrong kind": with_part("sparse", **{"is": "eval"}),
    "a sparse matrix of a huge shape": with_part("sparse", shape=[2**30, 2**30]),
    "a sparse matrix of a negative shape": with_part("sparse", shape=[3, -3]),
    "sparse indices out of range": lambda p: p.array(
        p.find("sparse")[0]["indices"]
    ).__setitem__(0, 99),
    "sparse pointers out of range": lambda p: p.array(
        p.find("sparse")[0]["indptr"]
    ).__setitem__(1, -5),
    "a frame without columns": without_part("frame", "columns"),
    "a frame of other columns": with_part("frame", data=[]),
    "a frame of a number": with_part("frame", index=3),
    "an index of tuples": with_part("index", data=3),
    "a range without step": with_part("range", items=[0, 2, 0]),
    "a range of floats": with_part("range", items=[0, 2.0, 1]),
    "a huge range": with_part("range", items=[0, 2**60, 1]),
    "codes of categories out of range": lambda p: p.array(
        p.find("categorical")[0]["codes"]
    ).__setitem__(0, 7),
    "categories twice": with_part(
        "categorical", categories={"$": "tuple", "items": []}
    ),
    "a mask of another shape": with_part("masked", mask=EMPTY),
    "random numbers of a class": lambda p: p.find("random")[0]["state"]["items"][
        0
    ].__setitem__(1, "eval"),
    "random numbers of nothing": with_part("random", state=None),
    "a function of os": named("os.system"),
    "a function of builtins": named("builtins.eval"),
    "a function of NumPy": named("numpy.load"),
    "a function of metrics": value(
        {"$": "named", "name": "sklearn.metrics.get_scorer"}
    ),
    "a function of torch": named("torch.load"),
    "a function of a list": named([]),
    "a score of nothing": value(
        {
            "$": "scorer",
            "function": None,
            "greater": True,
            "of": "predict",
            "options": 1,
        }
    ),
    "a score of a class": value({"$": "own_scorer", "of": 3}),
    "trees that are not there": value(
        {"$": "booster", "name": "boosters/0.txt", "best": 0}
    ),
    "an unfinished object": value(PLAIN),
    "a search with a folder": value(
        {**PLAIN, "class": "sklperturb.tuning.PerturbationSearchCV"}
    ),
    "format of another program": with_manifest(format="pickle"),
    "a later version": with_manifest(version=3, written_by="9.9"),
    "version zero": with_manifest(version=0),
    "version true": with_manifest(version=True),
    "version NaN": with_manifest(version=float("nan")),
    "version infinite": with_manifest(version=float("inf")),
    "version of text": with_manifest(version="1"),
    "a manifest of a list": with_manifest(model=[]),
    "genes that are numbers": with_manifest(genes=[1]),
    "classes twice": with_manifest(classes=["a", "a"]),
    "more in the manifest": with_manifest(more=1),
    "no model": without_manifest("model"),
    "no version": without_manifest("version"),
    "no libraries": without_manifest("libraries"),
    "a number in place of a model": lambda p: p.manifest.update(
        model={"$": "tuple", "items": []}
    ),
    "a pickle in a value": value({"$": "pickle", "is": "gASVIAAAAA=="}),
}


@pytest.mark.parametrize("name", TABLES)
def test_models_that_were_changed(good, tmp_path, name):
    parts = Parts(good["tables"])
    TABLES[name](parts)
    path = tmp_path / "m.skpt"
    path.write_bytes(parts.bytes())
    refused(path)


def test_the_error_says_which_version_wrote_a_file(good, tmp_path):
    parts = Parts(good["tables"])
    parts.manifest.update(version=7, written_by="3.1.4")
    path = tmp_path / "m.skpt"
    path.write_bytes(parts.bytes())
    refused(path, "version 7 of the format, which sklperturb '3.1.4' wrote")


def of_net(function):
    def change(parts):
        function(parts, dict(parts.state["net_"]["items"]))

    return change


def with_argument(name, item):
    def change(parts, net):
        net["arguments"]["items"] = [
            [key, item if key == name else v] for key, v in net["arguments"]["items"]
        ]

    return of_net(change)


def reshape_weight(parts, net):
    name = net["weights"]["items"][0][1]["name"]
    parts.arrays[name] = parts.arrays[name][:-1].copy()


def retype_weight(parts, net):
    name = net["weights"]["items"][0][1]["name"]
    parts.arrays[name] = parts.arrays[name].astype(np.float64)


NETS = {
    "a huge layer": with_argument("hidden_dim", 10**9),
    "as many layers": with_argument("n_layers", 10**9),
    "layers of the regressor": of_net(
        lambda p, net: (
            p.state.update(n_layers=10**9),
            net["arguments"]["items"].remove(["n_layers", 2]),
        )
    ),
    "more layers than weights": with_argument("n_layers", 40),
    "negative layers": with_argument("n_layers", -1),
    "a NaN of neurons": with_argument("hidden_dim", {"$": "float", "is": "nan"}),
    "a list of neurons": with_argument("hidden_dim", [4]),
    "huge embeddings": with_argument("embedding_dims", [10**9, 10**9]),
    "a weight of another shape": of_net(reshape_weight),
    "a weight of another type": of_net(retype_weight),
    "a weight is lost": of_net(lambda p, net: net["weights"]["items"].pop()),
    "weights of a number": of_net(
        lambda p, net: net["weights"]["items"][0].__setitem__(1, 3)
    ),
    "an unknown argument": of_net(
        lambda p, net: net["arguments"]["items"].append(["file", "/etc/passwd"])
    ),
    "history of text": of_net(
        lambda p, net: p.state.update(
            net_={
                "$": "dict",
                "items": [[k, "ab" if k == "history" else v] for k, v in net.items()],
            }
        )
    ),
    "a network of nothing": lambda p: p.state.update(net_=None),
    "another device": lambda p: p.state.update(device="os.system"),
    "another loss": lambda p: p.state.update(loss="eval"),
}


@pytest.mark.parametrize("name", NETS)
def test_networks_that_were_changed(good, tmp_path, name):
    parts = Parts(good["net"])
    NETS[name](parts)
    path = tmp_path / "m.skpt"
    path.write_bytes(parts.bytes())
    tracemalloc.start()
    try:
        refused(path)
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


def test_what_a_network_is_built_with_starts_nothing(good, tmp_path):
    """Parameters of the next fit are kept; the net of the file is built without."""
    parts = Parts(good["net"])
    items = [
        ["compile", True],
        ["callbacks", "os.system"],
        ["dataset", "builtins.eval"],
    ]
    parts.state["net_params"] = {"$": "dict", "items": items}
    path = tmp_path / "m.skpt"
    path.write_bytes(parts.bytes())
    net = sklperturb.load(path).net_
    assert not net.compile and net.dataset != "eval"


def set_node(field, place, item):
    def change(parts):
        nodes = parts.find("tree")[0]["nodes"]
        parts.array(nodes[field])[place] = item

    return change


TREES = {
    "a child far away": set_node("left_child", 0, 10**6),
    "a child before the first": set_node("left_child", 0, -7),
    "a child that is its parent": set_node("right_child", 0, 0),
    "two of one child": set_node("right_child", 0, 1),
    "a feature that is not there": set_node("feature", 0, 999),
    "a negative feature": set_node("feature", 0, -5),
    "nodes of other lengths": lambda p: p.find("tree")[0]["nodes"].update(
        feature=p.find("tree")[1]["nodes"]["feature"],
        threshold=p.find("tree")[0]["values"],
    ),
    "no features": lambda p: p.find("tree")[0]["nodes"].pop("feature"),
    "a depth of text": lambda p: p.find("tree")[0].update(depth="3"),
    "huge outputs": lambda p: p.find("tree")[0]["sizes"].__setitem__(2, 10**9),
    "a tree of more features": lambda p: p.find("tree")[0]["sizes"].__setitem__(0, 9),
    "a forest of fewer features": lambda p: p.find(
        "object", **{"class": "sklearn.ensemble.RandomForestRegressor"}
    )[0]["state"].update(n_features_in_=1),
    "a forest of any width": lambda p: p.find(
        "object", **{"class": "sklearn.ensemble.RandomForestRegressor"}
    )[0]["state"].pop("n_features_in_"),
    "trees of any width": lambda p: p.find(
        "object", **{"class": "sklearn.tree.DecisionTreeRegressor"}
    )[1]["state"].pop("n_features_in_"),
    "huge features": lambda p: p.find("tree")[0]["sizes"].__setitem__(0, 10**12),
}


@pytest.mark.parametrize("name", TREES)
def test_trees_that_were_changed(good, tmp_path, name):
    parts = Parts(good["forest"])
    TREES[name](parts)
    path = tmp_path / "m.skpt"
    path.write_bytes(parts.bytes())
    refused(path)


BOOSTERS = {
    "a child far away": ("left_child=", "left_child=99999 "),
    "a child that is no node": ("right_child=1", "right_child=7"),
    "a circle": ("left_child=1", "left_child=0"),
    "a feature far away": ("split_feature=", "split_feature=99999 "),
    "leaves without number": ("num_leaves=", "num_leaves=x"),
    "more leaves": ("num_leaves=", "num_leaves=9"),
    "negative leaves": ("num_leaves=", "num_leaves=-"),
    "a threshold NaN": ("threshold=", "threshold=nan "),
    "a huge number": ("leaf_value=", "leaf_value=1e999 "),
    "a kind of decision": ("decision_type=2", "decision_type=1"),
    "categories": ("num_cat=0", "num_cat=3"),
    "a linear tree": ("is_linear=0", "is_linear=1"),
    "wrong sizes of trees": ("tree_sizes=", "tree_sizes=9"),
    "huge features": ("max_feature_idx=", "max_feature_idx=9999999"),
    "another objective": ("objective=regression", "objective=custom"),
    "an unknown entry": ("label_index=0", "label_index=0\ndata=/etc/passwd"),
    "parameters": (
        "end of trees\n",
        "end of trees\n\nparameters:\n[data: /etc/passwd]\n",
    ),
    "no trees": ("Tree=0", "Bush=0"),
    "another version": ("version=v4", "version=v9"),
    "not of letters": ("regression", "regressi\xf6n"),
}


@pytest.mark.parametrize("name", BOOSTERS)
def test_boosters_that_were_changed(good, tmp_path, name):
    if "boosted" not in good:
        pytest.skip("LightGBM is not installed")
    parts = Parts(good["boosted"])
    old, new = BOOSTERS[name]
    text = parts.members["boosters/0.txt"].decode()
    if old not in text:
        old, new = old.rstrip("0123456789"), new
    assert old in text
    parts.members["boosters/0.txt"] = text.replace(old, new, 1).encode("latin-1")
    path = tmp_path / "m.skpt"
    path.write_bytes(parts.bytes())
    refused(path)


class Evil:
    def __reduce__(self):
        return exec, ("open('sentinel','w').write('run')",)


PICKLE = pickle.dumps(Evil())


def replaced(name, data):
    def change(members):
        return [(i, data if i.filename == name else d) for i, d in members]

    return change


def added(name, data=b"x", **attributes):
    def change(members):
        info = zipfile.ZipInfo(name)
        for key, item in attributes.items():
            setattr(info, key, item)
        return [*members, (info, data)]

    return change


LINK = {"external_attr": 0o120777 << 16, "create_system": 3}
ZIPS = {
    "a pickle as arrays": replaced("arrays.safetensors", PICKLE),
    "a pickle as manifest": replaced("manifest.json", PICKLE),
    "a pickle as card": replaced("card.md", PICKLE),
    "a pickle besides": added("model.pkl", PICKLE),
    "no JSON": replaced("manifest.json", b"{"),
    "JSON of a number": replaced("manifest.json", b"3"),
    "JSON of brackets": replaced("manifest.json", b"[" * 10**6),
    "JSON of Latin letters": replaced("manifest.json", b'{"format":"\xe9"}'),
    "a card that was changed": replaced("card.md", b"# Other"),
    "no card": lambda m: [x for x in m if x[0].filename != "card.md"],
    "no arrays": lambda m: [x for x in m if x[0].filename != "arrays.safetensors"],
    "no manifest": lambda m: [x for x in m if x[0].filename != "manifest.json"],
    "nothing": lambda m: [],
    "one member twice": lambda m: [*m, m[0]],
    "the manifest twice": lambda m: [*m, m[-1]],
    "a path upwards": added("../../evil.txt"),
    "a path from the root": added("/tmp/evil.txt"),
    "a path of Windows": added("..\\evil.txt"),
    "a path of boosters upwards": added("boosters/../../evil.txt"),
    "a folder": added("boosters/", b""),
    "another booster": added("boosters/7.txt"),
    "a name with a null": added("card.md\0.py"),
    "a zip inside": added("inside.zip", zipped({"a": b"b"})),
    "a link": added("boosters/0.txt", b"/etc/passwd", **LINK),
    "a link as card": lambda m: [
        (
            added("card.md", b"/etc/passwd", **LINK)([])[0]
            if i.filename == "card.md"
            else (i, d)
        )
        for i, d in m
    ],
    "many members": lambda m: [
        *m,
        *((zipfile.ZipInfo(f"boosters/{i}.txt"), b"") for i in range(11_000)),
    ],
    "arrays of a huge header": replaced("arrays.safetensors", b"\xff" * 8 + b"{}"),
    "arrays of nothing": replaced("arrays.safetensors", b""),
}


@pytest.mark.parametrize("name", ZIPS)
def test_zips_that_were_changed(good, tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "m.skpt"
    path.write_bytes(zipped(ZIPS[name](unzipped(good["tables"]))))
    refused(path)
    assert [p.name for p in tmp_path.iterdir()] == ["m.skpt"]


def header(dtype, shape, start, stop, *names):
    entry = {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}
    text = json.dumps(dict.fromkeys(names or "0", entry)).encode()
    return len(text).to_bytes(8, "little") + text + b"x" * 8


SAFETENSORS = {
    "a pickle": PICKLE,
    "a huge shape": header("F64", [2**60], 0, 8),
    "an overflow": header("F64", [2**33, 2**31], 0, 0),
    "a negative shape": header("F64", [-1], 0, 8),
    "offsets outside": header("F64", [1], 800, 808),
    "an unknown type": header("PKL", [1], 0, 8),
    "a type that NumPy lacks": header("BF16", [4], 0, 8),
    "overlapping arrays": header("U8", [8], 0, 8, "0", "1"),
    "a gap": header("U8", [4], 4, 8),
    "bytes of no array": header("U8", [4], 0, 4),
    "neither true nor false": header("BOOL", [8], 0, 8),
    "half a shape": header("U8", [8, 0.5], 0, 8),
    "a list": (2).to_bytes(8, "little") + b"[]",
    "more in it": (20).to_bytes(8, "little") + b'{"0":{"dtype":"U8"} ',
    "a header past the end": (99).to_bytes(8, "little") + b"{}",
    "too short for a header": b"{}",
}


@pytest.mark.parametrize("name", SAFETENSORS)
def test_arrays_that_were_changed(good, tmp_path, name):
    parts = Parts(good["tables"])
    data = SAFETENSORS[name]
    members = dict(zipfile_members(parts.bytes()))
    manifest = json.loads(members["manifest.json"])
    digest = {"crc32": zlib.crc32(data), "size": len(data)}
    manifest["members"]["arrays.safetensors"] = digest
    members |= {"manifest.json": json.dumps(manifest), "arrays.safetensors": data}
    path = tmp_path / "m.skpt"
    path.write_bytes(zipped(members))
    refused(path)


def test_bytes_that_changed_on_the_disk(good, tmp_path):
    whole, path = good["tables"].read_bytes(), tmp_path / "m.skpt"
    with zipfile.ZipFile(good["tables"]) as archive:
        places = {i.filename: i.header_offset + 60 for i in archive.infolist()}
    for name, at in places.items():
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        refused(path, name if name == "card.md" else None)


def test_a_member_of_another_file(good, tmp_path):
    """It is right by the zip, and not what the manifest lists."""
    path, members = (
        tmp_path / "m.skpt",
        dict(zipfile_members(good["tables"].read_bytes())),
    )
    data = bytearray(members["arrays.safetensors"])
    data[-1] ^= 1
    path.write_bytes(zipped(members | {"arrays.safetensors": bytes(data)}))
    refused(path, "another checksum")


def zipfile_members(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def test_bombs(good, tmp_path):
    members = dict(zipfile_members(good["tables"].read_bytes()))
    path = tmp_path / "m.skpt"
    zeros = {**members, "arrays.safetensors": bytes(2**28)}
    path.write_bytes(zipped(zeros, zipfile.ZIP_DEFLATED))
    tracemalloc.start()
    try:
        refused(path, "compressed")
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_a_long_manifest(good, tmp_path):
    members = dict(zipfile_members(good["tables"].read_bytes()))
    path = tmp_path / "m.skpt"
    members["manifest.json"] = b"[" + b"[]," * 2**24 + b"[]]"
    path.write_bytes(zipped(members))
    refused(path, "too many")


def test_other_files(tmp_path):
    path = tmp_path / "m.skpt"
    whole = {
        "a pickle": (PICKLE, "pickle"),
        "an old pickle": (pickle.dumps(Evil(), protocol=0), "pickle"),
        "a pickled list": (pickle.dumps([Evil()], protocol=0), "pickle"),
        "text": (b"hello", "no .skpt"),
        "a table": (b"cell_type,sm_name\nB cells,a\n", "no .skpt"),
        "a gzip": (b"\x1f\x8b\x08\x00", "no .skpt"),
        "an empty zip": (zipped({}), None),
        "nothing": (b"", "empty"),
    }
    for data, match in whole.values():
        path.write_bytes(data)
        refused(path, match)
    path.unlink()
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        sklperturb.load(path)
    with pytest.raises(FileNotFoundError):
        sklperturb.load(tmp_path / "none.skpt")


def test_encrypted_members(good, tmp_path):
    data = bytearray(good["tables"].read_bytes())
    place = data.index(b"PK\x01\x02")
    data[place + 8] |= 1
    path = tmp_path / "m.skpt"
    path.write_bytes(data)
    refused(path, "encrypted")


@pytest.mark.parametrize("name", ["tables", "net", "forest", "boosted"])
def test_truncated_anywhere(good, tmp_path, name):
    if name not in good:
        pytest.skip("LightGBM is not installed")
    data, path = good[name].read_bytes(), tmp_path / "m.skpt"
    for size in np.linspace(1, len(data) - 1, 25).astype(int):
        path.write_bytes(data[:size])
        refused(path)


@pytest.mark.parametrize("name", ["ridge", "net", "gan", "search"])
def test_bits_that_fell_over(good, screen, tmp_path, name):
    """A bit that is not checked is one that says nothing, such as a date."""
    data, path = good[name].read_bytes(), tmp_path / "m.skpt"
    rng = np.random.default_rng(0)
    X = screen.X[["control"]] if name == "gan" else screen.X
    expected, n_refused = sklperturb.load(good[name]).predict(X), 0
    for place in rng.integers(0, len(data), 40):
        changed = bytearray(data)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            found = sklperturb.load(path).predict(X)
        except FileError:
            n_refused += 1
        else:
            assert np.array_equal(found, expected)
    assert n_refused > 30


def test_a_class_of_ones_own(tmp_path, screen, monkeypatch):
    code = """
from pathlib import Path
from sklearn.linear_model import Ridge
Path(__file__).with_name("sentinel").write_text("imported")
class Mine(Ridge):
    def __init__(self, alpha=1.0, *, extra=2):
        super().__init__(alpha)
        self.extra = extra
def function():
    pass
"""
    (tmp_path / "my_models.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    from my_models import Mine

    X, y = screen.X[["control"]], screen.y
    model, path = Mine(extra=5).fit(X, y), tmp_path / "m.skpt"
    sklperturb.save(model, path)
    assert sklperturb.persistence.read_info(path).foreign == ["my_models.Mine"]
    monkeypatch.delitem(sys.modules, "my_models")
    (tmp_path / "sentinel").unlink()
    refused(path, r"trusted=\['my_models.Mine'\]")
    assert not (tmp_path / "sentinel").exists()
    with pytest.raises(FileError, match="my_models"):
        sklperturb.load(path, trusted=["my_models", "my_models.Other"])
    with pytest.raises(TypeError, match="list"):
        sklperturb.load(path, trusted="my_models.Mine")
    again = sklperturb.load(path, trusted=["my_models.Mine"])
    assert again.extra == 5
    assert np.array_equal(again.predict(X), model.predict(X))
    parts = Parts(path)
    for name in ("my_models.function", "my_models.Path", "os.system"):
        parts.model["class"] = name
        path.write_bytes(parts.bytes())
        with pytest.raises(FileError):
            sklperturb.load(path, trusted=[name])


def test_what_cannot_be_saved(tmp_path, screen):
    X, y = screen.X[["control"]], screen.y
    path = tmp_path / "m.skpt"

    class Inside(Ridge):
        pass

    for item, match in {
        "a function": (lambda: 1, "model_"),
        "a class": (Evil, "cannot hold"),
        "an object": (Evil(), "cannot hold"),
        "an estimator of a function": (Inside(), "module"),
        "complex numbers": (np.ones(2, complex), "cannot hold"),
        "columns of pandas": (pd.DataFrame({"a": pd.array([1, None])}), "Int64"),
        "a generator": ((i for i in range(3)), "cannot hold"),
        "bytes": (b"abc", "cannot hold"),
    }.values():
        model = Ridge().fit(X, y)
        model.model_ = [item]
        with pytest.raises(TypeError, match=match):
            sklperturb.save(model, path)
    loop = []
    for item in (loop, (loop,), {1: loop}, model):
        loop[:], model.model_ = [item], loop
        with pytest.raises(TypeError, match="itself"):
            sklperturb.save(model, path)
    for no_model in (3, {"a": 1}, None, "text", [model], Ridge):
        with pytest.raises(TypeError, match="estimator"):
            sklperturb.save(no_model, path)
    assert not list(tmp_path.iterdir())
    sklperturb.save(Ridge(), path)
    with pytest.raises(FileExistsError):
        sklperturb.save(Ridge(), path)
    with pytest.raises(ValueError, match="skpt"):
        sklperturb.save(Ridge(), tmp_path / "m.pkl")
