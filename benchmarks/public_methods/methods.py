"""Run a public method from a clone of its repository, or a model of ours.

This file is the child process of ``run.py`` and needs nothing of this package unless
the method is one of its models, so that a method can have an environment of its own:

    python methods.py NAME --clone CLONE --data FOLDER --output FILE.h5ad

A method of the clone is run by its own ``script.py``: what stands between its VIASH
START and VIASH END is replaced by the arguments, which is what viash does, and the
rest is executed as it is. README.md lists what has to be patched around it.
"""

import argparse
import importlib
import json
import os
import random
import sys
import tempfile
import time
import types
from pathlib import Path

import numpy as np
import pandas as pd

LAYER = "clipped_sign_log10_pval"
# Arguments of each method, with the defaults of its config.vsh.yaml.
DEFAULTS = {
    "jn_ap_op2": {
        "n_replica": 10,
        "submission_names": ["dl40", "dl200"],
        "n_iter": 200,  # at most so many epochs; of its train(), not of its script
    },
    "transformer_ensemble": {
        "num_train_epochs": 20000,
        "early_stopping": 5000,
        "batch_size": 32,
        "d_model": 128,
        "output_model": None,
    },
    "lgc_ensemble": {
        "epochs": 250,
        "kf_n_splits": 5,
        "schemes": ["initial", "light", "heavy"],
        "models": ["LSTM", "GRU", "Conv"],
        "folds": [0, 1, 2, 3, 4],
    },
    "nn_retraining_with_pseudolabels": {"reps": 10},
    "pyboost": {"predictor_names": ["py_boost"]},
    "scape": {
        "cell": "NK cells",
        "epochs": 300,
        "epochs_enhanced": 800,
        "n_genes": 64,
        "n_genes_enhanced": 256,
        "n_drugs": None,  # None is all compounds of the cell type
        "min_n_top_drugs": 50,
        "output_model": None,
    },
}


class Clock:
    """Seconds spent in the functions that train one network each."""

    def __init__(self):
        self.seconds = 0.0

    def wrap(self, module, name):
        inner = getattr(module, name)

        def timed(*args, **kwargs):
            start = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - start

        setattr(module, name, timed)


def amount(name, par):
    """Return the training that the arguments ask for, in epochs or repetitions.

    For scape these are the networks of all genes, one a compound; those of its second
    step have 25 times fewer outputs.
    """
    if name == "jn_ap_op2":
        epochs = {"dl40": 40, "dl200": 200}
        chosen = [min(epochs[x], par["n_iter"]) for x in par["submission_names"]]
        return par["n_replica"] * sum(chosen)
    if name == "transformer_ensemble":
        return par["num_train_epochs"]
    if name == "lgc_ensemble":
        nets = len(par["schemes"]) * len(par["models"]) * len(par["folds"])
        return nets * par["epochs"]
    if name == "pyboost":
        return 1
    if name == "scape":
        return par["epochs"] * (par["n_drugs"] or count_compounds(par))
    return par["reps"]


def count_compounds(par):
    """Return how many compounds were measured in the cell type of scape."""
    import anndata as ad

    obs = ad.read_h5ad(par["de_train"], backed="r").obs
    return obs.loc[obs["cell_type"] == par["cell"], "sm_name"].nunique()


def execute(script, par, meta):
    """Run a viash script with these arguments; return its variables."""
    source = script.read_text(encoding="utf-8")
    if "## VIASH START" in source:
        before, _, rest = source.partition("## VIASH START")
        replaced, _, after = rest.partition("## VIASH END")
        # The line count stays, so that a traceback points at the script.
        source = before + "\n" * replaced.count("\n") + after
    space = {"__name__": "__main__", "par": dict(par), "meta": dict(meta)}
    exec(compile(source, str(script), "exec"), space)
    return space


def allow_verbose():
    """Let the schedulers take `verbose`, which torch 2.7 removed."""
    import torch

    class ReduceLROnPlateau(torch.optim.lr_scheduler.ReduceLROnPlateau):
        def __init__(self, *args, verbose=None, **kwargs):
            super().__init__(*args, **kwargs)

    torch.optim.lr_scheduler.ReduceLROnPlateau = ReduceLROnPlateau


def jn_ap_op2(folder, par, clock):
    allow_verbose()
    helper = importlib.import_module("helper")
    full, limit = helper.train, par["n_iter"]
    helper.train = lambda *args, n_iter, **kwargs: full(
        *args, n_iter=min(n_iter, limit), **kwargs
    )
    clock.wrap(helper, "train")
    execute(folder / "script.py", par, {"resources_dir": str(folder), "name": "jn_ap"})


def transformer_ensemble(folder, par, clock):
    import torch

    allow_verbose()
    torch.manual_seed(0)  # the script sets no seed
    np.random.seed(0)
    clock.wrap(importlib.import_module("train"), "train_func")
    meta = {"resources_dir": str(folder), "name": "transformer_ensemble"}
    execute(folder / "script.py", par, meta)


def fingerprints(smiles_list):
    """Stand in for ChemBERTa, whose weights have to be downloaded.

    Morgan fingerprints of 600 bits, radius 1 and 2, for its two vectors of 600
    numbers; zeros without a structure.
    """
    from rdkit import Chem, RDLogger
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

    RDLogger.DisableLog("rdApp.*")  # a missing structure comes as the text "nan"
    vectors = np.zeros((2, len(smiles_list), 600), dtype=np.float32)
    for radius in (1, 2):
        generator = GetMorganGenerator(radius=radius, fpSize=600)
        for row, smiles in enumerate(smiles_list):
            molecule = Chem.MolFromSmiles(smiles) if smiles else None
            if molecule is not None:
                vectors[radius - 1, row] = generator.GetFingerprintAsNumPy(molecule)
    return vectors[0], vectors[1]


def lgc_ensemble(folder, par, clock):
    np.product = lambda shape: int(np.prod(shape))  # numpy 2 removed it
    fake = types.ModuleType("transformers")
    fake.AutoModelForMaskedLM = fake.AutoTokenizer = None
    sys.modules["transformers"] = fake
    helpers = importlib.import_module("helper_functions")
    helpers.build_ChemBERTa_features = fingerprints
    clock.wrap(helpers, "train_function")
    methods = folder.parent
    meta = {"resources_dir": str(methods / "lgc_ensemble_helpers"), "name": "lgc"}
    with tempfile.TemporaryDirectory() as work:
        par = {**par, "train_data_aug_dir": work}
        execute(methods / "lgc_ensemble_prepare" / "script.py", par, meta)
        files = []
        for scheme in par["schemes"]:
            for fold in par["folds"]:
                for model in par["models"]:
                    name = f"{work}/pytorch_{model}_{scheme}_fold{fold}"
                    files.append(f"{name}.pt")
                    train = {**par, "scheme": scheme, "model": model, "fold": fold}
                    train |= {"model_file": f"{name}.pt", "log_file": f"{name}.json"}
                    execute(methods / "lgc_ensemble_train" / "script.py", train, meta)
        if len(files) == 45:
            par["model_files"] = files
            execute(methods / "lgc_ensemble_predict" / "script.py", par, meta)
        else:
            # The weights of its script are those of all 45 networks.
            write_prediction(par, mean_of_networks(helpers, par, work, files))


def mean_of_networks(helpers, par, work, files):
    """Return the plain mean of LGC networks, by scheme and then over schemes."""
    id_map = pd.read_csv(par["id_map"])
    table = {
        name: pd.read_csv(f"{work}/{name}.csv")
        for name in (
            "mean_cell_type",
            "std_cell_type",
            "mean_sm_name",
            "std_sm_name",
            "quantiles_cell_type",
        )
    }
    means = [table["mean_cell_type"], table["mean_sm_name"]]
    inputs = {
        "light": (means,),
        "initial": (
            [means[0], table["std_cell_type"], means[1], table["std_sm_name"]],
        ),
        "heavy": ([table["quantiles_cell_type"], *means], table["quantiles_cell_type"]),
    }
    chemistry = [
        np.load(f"{work}/chemberta_test.npy"),
        np.load(f"{work}/chemberta_test_mean.npy"),
    ]
    one_hot = pd.DataFrame(np.load(f"{work}/one_hot_test.npy"))
    trained = helpers.lazy_load_trained_models(work, files, par["kf_n_splits"])
    predictions = []
    for scheme in par["schemes"]:
        frames, *quantiles = inputs[scheme]
        X = helpers.combine_features(frames, chemistry, id_map, one_hot, *quantiles)
        predictions.append(helpers.average_prediction(X, trained[scheme]))
    return np.mean(predictions, axis=0)


def nn_retraining_with_pseudolabels(folder, par, clock):
    import tensorflow as tf

    threads = int(os.environ["OMP_NUM_THREADS"])
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    for notebook in ("notebook_264", "notebook_266"):
        clock.wrap(importlib.import_module(notebook), "fit_and_predict_embedding_nn")
    meta = {"resources_dir": str(folder), "name": "nn_retraining"}
    execute(folder / "script.py", par, meta)


class GradientBoosting:
    """Stand in for that of py_boost, which trains on CUDA devices only.

    The same trees in scikit-learn: one for all outputs, on the residuals of the squared
    error, from the mean on, with py_boost's default l2 penalty of 1 in the leaves. Only
    the choice of the splits is made without that penalty, and without 256 bins.
    """

    def __init__(self, loss, *, ntrees, lr, max_depth, colsample, **fixed):
        same = {"subsample": 1, "min_data_in_leaf": 1, "min_gain_to_split": 0}
        if loss != "mse" or not same.items() <= fixed.items():
            raise SystemExit(f"py_boost's stand-in does {same} with 'mse' only.")
        self.lr, self.depth, self.columns = lr, max_depth, colsample
        self.trees = [None] * ntrees

    def fit(self, X, y):
        from sklearn.tree import DecisionTreeRegressor

        y = np.asarray(y)
        self.mean = y.mean(axis=0)
        rng = np.random.default_rng(0)
        count = round(self.columns * X.shape[1])
        residual = y - self.mean
        for number in range(len(self.trees)):
            columns = rng.permutation(X.shape[1])[:count]
            tree = DecisionTreeRegressor(max_depth=self.depth, random_state=number)
            nodes = tree.fit(X[:, columns], residual).apply(X[:, columns])
            sums = np.zeros((tree.tree_.node_count, y.shape[1]))
            np.add.at(sums, nodes, residual)
            rows = np.bincount(nodes, minlength=len(sums))[:, None]
            leaves = self.lr * sums / (rows + 1)
            residual = residual - leaves[nodes]
            self.trees[number] = (columns, tree, leaves)

    def predict(self, X):
        steps = (
            leaves[tree.apply(X[:, columns])] for columns, tree, leaves in self.trees
        )
        return self.mean + sum(steps)


def write_changed(par, work, change):
    """Write the training table after a change; return the arguments that name it."""
    import anndata as ad

    table = ad.read_h5ad(par["de_train"])
    change(table)
    path = f"{work}/de_train.h5ad"
    table.write_h5ad(path)
    return {**par, "de_train": path}


def pyboost(folder, par, clock):
    fake = types.ModuleType("py_boost")
    fake.GradientBoosting = GradientBoosting
    sys.modules["py_boost"] = fake

    def add_cells(table):
        # The script finds the cell types to learn from by this compound, and the
        # compounds seen everywhere by this cell type.
        rows = table.obs[["cell_type", "sm_name"]].astype(str)
        needed = {"sm_name": "Oxybenzone", "cell_type": "B cells"}
        for column, value in needed.items():
            if value not in set(rows[column]):
                raise SystemExit(f"pyboost needs {value!r} in {column} of the data.")
        # Its counts of cells go into the extra trees alone: one a condition.
        control = rows.drop_duplicates("cell_type").assign(sm_name="Dimethyl Sulfoxide")
        table.uns["single_cell_obs"] = pd.concat([rows, control], ignore_index=True)

    with tempfile.TemporaryDirectory() as work:
        par = write_changed(par, work, add_cells)
        execute(folder / "script.py", par, {"resources_dir": str(folder), "name": "pb"})


def scape(folder, par, clock):
    fake = types.ModuleType("tensorflow")  # the script prints its version only
    fake.__version__ = "none"
    fake.config = types.SimpleNamespace(list_physical_devices=lambda kind: [])
    sys.modules["tensorflow"] = fake
    package = importlib.import_module("scape")
    random.seed(0)  # keras draws its seeds from it; the script sets none
    np.random.seed(0)
    clock.wrap(package.SCAPE, "train")

    def repeat_layer(table):
        # The fold change is an input of its own there; these data have one layer.
        table.layers["logFC"] = table.layers[par["layer"]].copy()

    with tempfile.TemporaryDirectory() as work:
        par = write_changed(par, work, repeat_layer)
        # At its end the script removes the folder that it makes in temp_dir.
        meta = {"temp_dir": tempfile.gettempdir(), "name": "scape"}
        execute(folder / "script.py", par, meta)


def ours(name, par):
    from sklearn.utils.validation import has_fit_parameter

    from sklperturb.datasets import load_op2, write_submission
    from sklperturb.models import make_model

    screen = load_op2(Path(par["de_train"]).parent, layer=LAYER)
    options = {key: par[key] for key in par if key not in ARGUMENTS}
    model = make_model(name, schema=screen.schema, random_state=0)
    model.set_params(**options)
    # A limit in seconds is of processor time, which is what is compared.
    time.perf_counter = time.process_time
    # What is to be predicted is known, as to public methods and `sklperturb submit`.
    asked = {}
    if has_fit_parameter(model, "X_unlabeled"):
        asked["X_unlabeled"] = screen.X_test
    model.fit(screen.X, screen.y, **asked)
    y_pred = model.predict(screen.X_test)
    write_submission(par["output"], y_pred, screen.X_test, screen.target_names)


def write_prediction(par, values):
    import anndata as ad

    genes = ad.read_h5ad(par["de_train"], backed="r").var_names
    ids = pd.Index(pd.read_csv(par["id_map"])["id"].astype(str), name="id")
    tables = {"obs": pd.DataFrame(index=ids), "var": pd.DataFrame(index=genes)}
    output = ad.AnnData(layers={"prediction": np.asarray(values)}, **tables)
    output.write_h5ad(par["output"])


ARGUMENTS = ("de_train", "id_map", "layer", "output")
RUNNERS = {
    "jn_ap_op2": jn_ap_op2,
    "transformer_ensemble": transformer_ensemble,
    "lgc_ensemble": lgc_ensemble,
    "nn_retraining_with_pseudolabels": nn_retraining_with_pseudolabels,
    "pyboost": pyboost,
    "scape": scape,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--clone", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--options", type=json.loads, default={})
    args = parser.parse_args()
    par = {
        "de_train": str(args.data / "de_train.h5ad"),
        "id_map": str(args.data / "id_map.csv"),
        "layer": LAYER,
        "output": str(args.output),
    }
    report = {"training_seconds": 0.0, "training_share": 1.0}
    if args.name in RUNNERS:
        source = args.clone / "src"
        folder = source / "methods" / args.name
        sys.path[:0] = [
            str(folder),
            str(source / "utils"),
            *([str(source / "methods/lgc_ensemble_helpers")] * ("lgc" in args.name)),
        ]
        defaults = DEFAULTS[args.name]
        if unknown := sorted(set(args.options) - set(defaults)):
            parser.error(f"{args.name} has no options {unknown}, only {[*defaults]}.")
        clock = Clock()
        RUNNERS[args.name](folder, {**par, **defaults, **args.options}, clock)
        share = amount(args.name, {**par, **defaults, **args.options})
        report["training_share"] = share / amount(args.name, {**par, **defaults})
        report["training_seconds"] = clock.seconds
    else:
        ours(args.name, {**par, **args.options})
    args.output.with_suffix(".json").write_text(json.dumps(report), encoding="utf-8")


if __name__ == "__main__":
    main()
