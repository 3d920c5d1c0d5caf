"""What is called with a file: commands, and functions of the package."""

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

SCREEN = ("op2/de_train.parquet", "op2/id_map.csv", "op2/sample_submission.csv")
VCPI = tuple(
    f"vcpi/{name}"
    for name in (
        *("test_compounds.csv", "gene_filter.csv", "weights.parquet"),
        *(f"train_{part}.parquet" for part in ("counts", "metadata", "chemistry")),
    )
)
BENCHMARK = ("h5/de_train.h5ad", "h5/id_map.csv")
MODEL = ("--n-components", "2", "--max-steps", "2")


@dataclass(frozen=True)
class Entry:
    """A way in: a command, or a function of this file with the names of its inputs.

    Attributes
    ----------
    name : str
    needs : tuple of str
        The inputs that it reads.
    resumes : tuple of str
        What an earlier run left, and it goes on with; copied to the outputs.
    keeps : str
        Where it keeps what is unfinished, for the next run to go on with.
    words : tuple of str
        Of the command; or the name of a function and its arguments.
    command : bool
    """

    name: str
    needs: tuple
    words: tuple
    command: bool = True
    resumes: tuple = ()
    keeps: str = "\0"

    def job(self):
        """Return what the process that forks is told to do."""
        if self.command:
            return {"argv": list(self.words)}
        return {"call": self.words[0], "arguments": list(self.words[1:])}


def _command(name, needs, *words):
    return Entry(name, needs, words)


def _function(name, needs, *words):
    return Entry(name, needs, words, command=False)


_ALL = [
    _function("load_op2", SCREEN, "op2", "op2"),
    _function("load_op2 h5ad", BENCHMARK, "op2", "h5"),
    _function("load_op2 csv", ("own/de_train.csv",), "op2", "own"),
    _function("load_vcpi", VCPI, "vcpi", "vcpi"),
    _command(
        *("submit", SCREEN, "submit", "--data", "op2"),
        *("--model", "ridge", "--output", "../out/sub.csv"),
    ),
    _command(
        *("submit --params", (*SCREEN, "best.json"), "submit", "--data", "op2"),
        *("--model", "ridge", "--output", "../out/sub.csv"),
        *("--params", "best.json"),
    ),
    _function("LookupEmbedding parquet", ("table.parquet",), "lookup", "table.parquet"),
    _function("LookupEmbedding npz", ("table.npz",), "lookup", "table.npz"),
    _function(
        *("LookupEmbedding safetensors", ("table.safetensors",), "lookup"),
        "table.safetensors",
    ),
    *(
        _function(f"load {name}", (f"{name}.skpt",), "kept", f"{name}.skpt")
        for name in ("kept", "trees", "boosted")
    ),
    _function("GeneSetEncoder", ("sets.gmt",), "gene_sets", "sets.gmt"),
    *(
        _function(f"load_split {kind}", (f"split.{kind}",), "split", f"split.{kind}")
        for kind in ("json", "toml", "csv")
    ),
    *(
        _command(
            *(f"predict-cells {kind}", ("model.skpt", f"wanted.{kind}")),
            *("predict-cells", "model.skpt", "--perturbations", f"wanted.{kind}"),
            *("--output", "../out/cells.h5ad", "--n-cells", "4"),
        )
        for kind in ("csv", "txt")
    ),
    _function("SECheckpoint", ("small.ckpt",), "checkpoint", "small.ckpt"),
    _function(
        "SECheckpoint folder",
        tuple(
            f"checkpoint/{name}"
            for name in ("model.safetensors", "config.yaml", "protein_embeddings.pt")
        ),
        *("checkpoint", "checkpoint"),
    ),
    _command(
        *("embed --gene-map", ("cells.h5ad", "small.ckpt", "map.tsv"), "embed"),
        *("cells.h5ad", "--checkpoint", "small.ckpt", "--gene-map", "map.tsv"),
        *("--output", "../out/embedded.h5ad"),
    ),
]
# The ways in for a file of cells; each is one for an .h5ad and for a .zarr.
_CELLS = {
    "describe": ("describe", "{}"),
    "fit-cells": (
        *("fit-cells", "{}", "--embedding", "table.parquet"),
        *("--output", "../out/model.skpt", *MODEL),
    ),
    "signatures": (
        *("signatures", "{}", "--output", "../out/de", "--min-cells", "1"),
        *("--min-count", "0", "--groupby", "cell_type,target_gene,donor"),
    ),
    "embed": (
        *("embed", "{}", "--checkpoint", "small.ckpt"),
        *("--output", "../out/embedded.h5ad"),
    ),
}
_BESIDE = {"fit-cells": ("table.parquet",), "embed": ("small.ckpt",)}
for _file in ("cells.h5ad", "cells.zarr"):
    _kind = _file.partition(".")[2]
    for _name, _words in _CELLS.items():
        _words = tuple(word.format(_file) for word in _words)
        _needs = (_file, *_BESIDE.get(_name, ()))
        _ALL.append(Entry(f"{_name} {_kind}", _needs, _words))
    _ALL += [
        _function(f"load_perturbseq {_kind}", (_file,), "perturbseq", _file),
        _function(f"load_perturbseq backed {_kind}", (_file,), "backed", _file),
        _function(f"pseudobulk {_kind}", (_file,), "pseudobulk", _file),
    ]
_ALL += [
    _command(
        *("evaluate pred", ("real.h5ad", "pred.h5ad"), "evaluate", "--no-anchors"),
        *("--real", "real.h5ad", "--pred", "pred.h5ad"),
    ),
    _command(
        *("fit-cells obsm", ("embedded.h5ad", "table.parquet"), "fit-cells"),
        *("embedded.h5ad", "--embedding", "table.parquet"),
        *("--output", "../out/model.skpt", *MODEL),
    ),
]
_ALL += [
    Entry(
        *("compare", SCREEN, ("board", "../out/folds"), False, ("folds",)),
        keeps="out/folds",
    ),
    Entry(
        *("compare predictions", SCREEN, ("board_kept", "../out/kept"), False),
        resumes=("kept",),
        keeps="out/kept",
    ),
    Entry(
        *("search", SCREEN, ("search", "../out/study.log"), False, ("study.log",)),
        keeps="out/study.log",
    ),
    Entry(
        "embed_file",
        ("cells.h5ad", "small.ckpt", "damage.json"),
        ("embed_resumed", "cells.h5ad", "small.ckpt", "../out/embedded.h5ad"),
        command=False,
        keeps="out/embedded.h5ad.unfinished",
    ),
]
_REPORT = "report", "run", "--output", "../out/report.html"
_ALL += [
    _command("report", ("run/run.json",), *_REPORT),
    _command(
        *("report --audit", ("run/run.json", "audit.json")),
        *(*_REPORT, "--audit", "audit.json"),
    ),
    _command("report, a plan kept", ("run/run.json", "run/suggestions.csv"), *_REPORT),
    _command(
        *("report --plan", ("run/run.json", "plan.parquet")),
        *(*_REPORT, "--plan", "plan.parquet"),
    ),
]
_SUGGEST = "suggest", "--data", "op2", "--n", "3", "--output", "../out/plan.csv"
for _kind in ("csv", "parquet"):
    _files = f"can.{_kind}", f"want.{_kind}"
    _ALL.append(
        _command(
            *(f"suggest {_kind}", (*SCREEN, *_files), *_SUGGEST),
            *("--candidates", _files[0], "--targets", _files[1]),
            *("--cost-column", "price", "--max-per", "plate=2"),
        )
    )
ENTRIES = {entry.name: entry for entry in _ALL}


def op2(folder):
    from sklperturb.datasets import load_op2

    screen = load_op2(folder)
    return screen.X, screen.y, screen.X_test, screen.id_map


def vcpi(folder):
    from sklperturb.datasets import load_vcpi

    screen = load_vcpi(folder)
    return screen.X, screen.y, screen.X_test, screen.id_map, screen.weights


def lookup(path):
    from sklperturb.preprocessing import LookupEmbedding

    X = pd.DataFrame({"target_gene": ["GENE1", "GENE2+GENE3", "control"]})
    return LookupEmbedding(path).fit(X).transform(X)


def kept(path):
    import sklperturb
    from sklperturb.datasets import make_chemical_screen

    model = sklperturb.load(path)
    X = make_chemical_screen(3, 10, 4, random_state=0).X
    try:  # a file may change what a model predicts, or that it can
        found = np.nan_to_num(model.predict(X))
    except Exception as error:
        found = type(error).__name__
    return found, sorted(model.get_params(deep=False))


def gene_sets(path):
    from sklperturb.preprocessing import GeneSetEncoder

    X = pd.DataFrame({"target_gene": ["GENE1", "GENE2+GENE3", "control"]})
    return GeneSetEncoder(path, n_components=None).fit(X).transform(X)


def split(path):
    from sklperturb.model_selection import load_split

    splitter = load_split(path)
    return str(vars(splitter))


def perturbseq(path):
    from sklperturb.datasets import load_perturbseq

    screen = load_perturbseq(path)
    return screen.X, screen.y.X, list(screen.y.var_names)


def backed(path):
    from sklperturb.compose import PerturbationEffectRegressor
    from sklperturb.datasets import load_perturbseq

    screen = load_perturbseq(path, backed=True)
    effects = PerturbationEffectRegressor().fit(screen.X, screen.y).effects_
    return screen.X, effects, list(screen.y.var_names)


def pseudobulk(path):
    from sklperturb.signatures import pseudobulk

    found = pseudobulk(path, ["cell_type", "target_gene"])
    return found.obs, found.X, list(found.var_names)


def checkpoint(path):
    from sklperturb.embedding import SECheckpoint

    found = SECheckpoint(path)
    weights = found.make_net().state_dict()
    values = [weights[name].numpy() for name in sorted(weights)]
    return sorted(weights), values, found.genes, found.vectors().numpy()


def board(folds):
    """Compare two models on folds, of which some are on disk."""
    found = compared(load_screen(), folds)
    return found.folds[["model", "fold", "metric", "value", "n_rows"]]


def board_kept(folds):
    """Compare as `board` does, with the predictions, of which some are on disk."""
    found = compared(load_screen(), folds, return_predictions=True)
    return [
        np.nan_to_num(found.predictions[name]) for name in sorted(found.predictions)
    ]


def load_screen():
    from sklperturb.datasets import load_op2

    return load_op2("op2")


def compared(screen, folds, **options):
    from sklperturb.comparison import compare
    from sklperturb.model_selection import UnseenPairKFold

    return compare(
        ["gene_mean", "additive"],
        screen.X,
        screen.y,
        cv=UnseenPairKFold(2, schema=screen.schema, random_state=0),
        schema=screen.schema,
        random_state=0,
        cache=Path(folds),
        **options,
    )


def search(journal):
    """Go on with a search of three trials, of which two are in the journal."""
    import optuna

    from sklperturb.datasets import load_op2
    from sklperturb.model_selection import UnseenPairKFold
    from sklperturb.models import make_model
    from sklperturb.tuning import PerturbationSearchCV

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    screen = load_op2("op2")
    found = PerturbationSearchCV(
        make_model("ridge", schema=screen.schema, random_state=0),
        cv=UnseenPairKFold(2, schema=screen.schema, random_state=0),
        n_trials=2,
        storage=Path(journal),
        refit=False,
        random_state=0,
    ).fit(screen.X, screen.y)
    return str(found.best_params_), found.best_score_


def embed_resumed(cells, checkpoint, output):
    """Embed half of the cells, damage what that left, and go on."""
    import anndata

    from sklperturb.embedding import SECheckpoint, SEEmbedding, embed_file

    model = SEEmbedding(SECheckpoint(checkpoint), device="cpu", random_state=0)
    embed_file(cells, output, model, shard=(1, 2), chunk_size=36)
    for name, data in json.loads(Path("damage.json").read_text()).items():
        Path(f"{output}.unfinished", name).write_bytes(bytes.fromhex(data))
    embed_file(cells, output, model, chunk_size=36)
    return anndata.read_h5ad(output).obsm["X_state"]


def is_named(error):
    """Whether an error is one that the package raises for a user to read."""
    kinds = (ValueError, OSError, ImportError)
    if isinstance(error, kinds):
        return True
    traceback = error.__traceback__
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return "sklperturb" in Path(traceback.tb_frame.f_code.co_filename).parts


def digest(found):
    """Return a text that is the same for equal results, and says if all is finite."""
    hashed = hashlib.sha256()
    finite = _update(hashed, found)
    return f"{hashed.hexdigest()} {'finite' if finite else 'NaN'}"


def _update(hashed, found):
    if isinstance(found, tuple | list):
        return all(list(map(partial(_update, hashed), found)))
    if isinstance(found, pd.DataFrame):
        return _update(hashed, [found[name].to_numpy() for name in found])
    if sparse.issparse(found):
        found = found.toarray()
    found = np.asarray(found)
    hashed.update(str(found.shape).encode())
    if found.dtype.kind in "fiub":
        hashed.update(found.astype(np.float64).tobytes())
        return bool(np.isfinite(found.astype(np.float64)).all())
    hashed.update("\0".join(map(str, found.ravel())).encode())
    return True
