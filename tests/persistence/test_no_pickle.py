"""Nothing in the package runs what a file says, but for what is named here."""

import ast
from pathlib import Path

import pytest

import sklperturb

ROOT = Path(sklperturb.__file__).parent
MODULES = {"cloudpickle", "dill", "marshal", "pickle", "shelve"}
BUILTINS = {"__import__", "compile", "eval", "exec"}
# By file: what is unpickled there, all of which the same run has written.
ALLOWED = {
    # Data that a search leaves to its workers, in a folder of its own; and whether an
    # error can travel back from one.
    "tuning/_fold_task.py": {"joblib.load", "pickle", "pickle.dumps", "pickle.loads"},
    # Whether an estimator survives it.
    "testing/_estimator_checks.py": {"pickle", "pickle.dumps", "pickle.loads"},
}


def findings(tree):
    """Yield lines of a module that could run what a file says, and what they call."""
    known = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                known[alias.asname or alias.name.partition(".")[0]] = alias.name
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [dotted(node, known)]
        elif isinstance(node, ast.Name) and node.id in BUILTINS - known.keys():
            names = [f"builtins.{node.id}"]
        else:
            names = []
        for name in names:
            if name.partition(".")[0] in MODULES or name.startswith("builtins."):
                yield node.lineno, name
            if name in ("joblib.load", "pandas.read_pickle", "skops.io.load"):
                yield node.lineno, name
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func, known)
        options = {keyword.arg: keyword.value for keyword in node.keywords}
        if name == "torch.load" and not is_constant(options.get("weights_only"), True):
            yield node.lineno, "torch.load without weights_only=True"
        pickles = options.get("allow_pickle", ast.Constant(False))
        if not is_constant(pickles, False):
            yield node.lineno, "allow_pickle"


def dotted(node, known):
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([known.get(node.id, node.id), *reversed(parts)])


def is_constant(node, value):
    return isinstance(node, ast.Constant) and node.value is value


def test_nothing_in_the_package_runs_files():
    found = {}
    for path in ROOT.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if names := {name for _, name in findings(tree)}:
            found[path.relative_to(ROOT).as_posix()] = names
    assert found == ALLOWED


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads as f",
        "import torch as t\nt.load('a')",
        "from torch import load\nload('a')",
        "import torch\ntorch.load('a', weights_only=False)",
        "import torch\ntorch.load('a', weights_only=flag)",
        "import numpy as np\nnp.load('a', allow_pickle=True)",
        "from numpy import load\nload('a', allow_pickle=yes)",
        "import joblib\njoblib.load('a')",
        "from joblib import load\nload('a')",
        "import pandas as pd\npd.read_pickle('a')",
        "eval('1')",
        "run = exec",
        "__import__('os')",
        "import skops.io as sio\nsio.load('a')",
    ],
)
def test_the_check_finds_them(code):
    assert list(findings(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "import torch\ntorch.load('a', weights_only=True)",
        "import numpy as np\nnp.load('a', allow_pickle=False)\nnp.load('b')",
        "model.eval()\nre.compile('a')\nevaluate('eval')",
        "from sklperturb.persistence import load\nload('a')",
        "import joblib\njoblib.Parallel()",
    ],
)
def test_the_check_finds_nothing_else(code):
    assert not list(findings(ast.parse(code)))
