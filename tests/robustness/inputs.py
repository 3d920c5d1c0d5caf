"""Good inputs of every kind, small; the corpus damages copies of them."""

import json
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.pipeline import make_pipeline

from tests.vcpi import write_vcpi

GENES = [f"GENE{i + 1}" for i in range(24)]
TARGETS = GENES[:4]
N_CELLS = 72


def write_all(folder):
    """Write good inputs of every kind into a folder."""
    _write_screens(folder)
    write_vcpi(folder / "vcpi")
    _write_cells(folder)
    _write_embeddings(folder)
    _write_documents(folder)
    _write_checkpoints(folder)
    _write_model(folder)
    _write_kept(folder)
    _write_resumable(folder)


def copy(good, names, folder):
    """Copy some of the inputs into another folder."""
    for name in names:
        source, target = good / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def _write_screens(folder):
    """Write a screen in the layouts of Kaggle and of the benchmark."""
    from sklperturb.datasets import make_chemical_screen, write_screen

    screen = make_chemical_screen(3, 8, 6, random_state=0)
    write_screen(folder / "op2", screen)
    (folder / "op2" / "de_test.parquet").unlink(missing_ok=True)
    (folder / "own").mkdir()
    table = pd.read_parquet(folder / "op2" / "de_train.parquet")
    table.to_csv(folder / "own" / "de_train.csv", index=False)
    (folder / "h5").mkdir()
    obs = screen.X.set_axis(screen.X.index.astype(str))
    values = screen.y.to_numpy()
    anndata.AnnData(
        values,
        obs=obs,
        var=pd.DataFrame(index=screen.y.columns),
        layers={"clipped_sign_log10_pval": sparse.csr_matrix(values)},
    ).write_h5ad(folder / "h5" / "de_train.h5ad")
    screen.id_map.to_csv(folder / "h5" / "id_map.csv", index=False)


def make_cells():
    """Return counts of controls and of four perturbations, in two cell types."""
    rng = np.random.default_rng(0)
    labels = np.resize(["control", *TARGETS, "control"], N_CELLS)
    obs = pd.DataFrame(
        {
            "target_gene": labels,
            "cell_type": np.repeat(["K562", "RPE1"], N_CELLS // 2),
            "donor": np.resize(["d1", "d1", "d1", "d1", "d1", "d1", "d2"], N_CELLS),
        },
        index=[f"cell{i}" for i in range(N_CELLS)],
    )
    rate = rng.uniform(0.5, 20, len(GENES)) * np.ones((N_CELLS, 1))
    for number, target in enumerate(TARGETS):
        rate[labels == target, 4 + number] *= 4
    counts = sparse.csr_matrix(rng.poisson(rate).astype(np.float32))
    return anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=GENES))


def _write_cells(folder):
    from sklperturb.cells import log_normalise

    cells = make_cells()
    cells.write_h5ad(folder / "cells.h5ad")
    anndata.settings.zarr_write_format = 2
    cells.write_zarr(folder / "cells.zarr")
    cells.X = sparse.csr_matrix(log_normalise(cells.X, 1e4))
    cells.write_h5ad(folder / "real.h5ad")
    cells.write_h5ad(folder / "pred.h5ad")
    del cells.X
    cells.obsm["X_own"] = np.random.default_rng(0).normal(size=(N_CELLS, 3))
    cells.write_h5ad(folder / "embedded.h5ad")


def _write_embeddings(folder):
    from safetensors.numpy import save_file

    vectors = np.random.default_rng(0).normal(size=(len(GENES), 3))
    columns = [f"v{i}" for i in range(3)]
    pd.DataFrame(vectors, index=GENES, columns=columns).to_parquet(
        folder / "table.parquet"
    )
    np.savez(folder / "table.npz", genes=np.array(GENES), embeddings=vectors)
    save_file(
        {"embeddings": vectors},
        folder / "table.safetensors",
        metadata={"genes": json.dumps(GENES)},
    )
    lines = [
        "\t".join([f"set{i}", "made up", *GENES[i : i + 6]]) for i in range(0, 18, 2)
    ]
    (folder / "sets.gmt").write_text("\n".join(lines) + "\n")


def _write_documents(folder):
    parts = {"train": [f"{TARGETS[0]}+ctrl", "ctrl"], "test": [f"{TARGETS[1]}+ctrl"]}
    (folder / "split.json").write_text(json.dumps(parts | {"val": []}))
    (folder / "split.toml").write_text(
        '[zeroshot]\n"data.RPE1" = "test"\n[fewshot."data.K562"]\n'
        f'test = ["{TARGETS[0]}"]\nval = ["{TARGETS[1]}"]\n'
    )
    rows = [f"cell{i},{'test' if i % 6 == 1 else 'train'}" for i in range(N_CELLS)]
    (folder / "split.csv").write_text("\n".join(rows) + "\n")
    (folder / "wanted.csv").write_text(
        f"target_gene,n_cells\n{GENES[9]},4\n{TARGETS[0]}+{GENES[9]},3\n"
    )
    (folder / "wanted.txt").write_text(f"{GENES[9]}\n{TARGETS[0]}+{GENES[9]}\n")
    best = {"model": "ridge", "params": {}, "scoring": "mrrmse", "score": 1.0}
    (folder / "best.json").write_text(json.dumps(best))
    pairs = [f"{name}\t{name}" for name in GENES]
    (folder / "map.tsv").write_text("name\tsymbol\n" + "\n".join(pairs) + "\n")


def _write_checkpoints(folder):
    from sklperturb.embedding import SECheckpoint, SEConfig

    config = SEConfig(
        token_dim=6, width=8, n_heads=2, hidden_dim=8, n_layers=1, output_dim=6,
        dataset_dim=2, length=12,
    )  # fmt: skip
    more = {"config": config, "genes": GENES, "random_state": 0}
    SECheckpoint.create(folder / "small.ckpt", **more)
    SECheckpoint.create(folder / "checkpoint", **more)


def _write_model(folder):
    import sklperturb
    from sklperturb.datasets import load_perturbseq
    from sklperturb.flow import CellScreenModel, FlowMatchingRegressor

    screen = load_perturbseq(folder / "cells.h5ad")
    table = pd.read_parquet(folder / "table.parquet")
    flow = FlowMatchingRegressor(max_steps=2, random_state=0)
    model = CellScreenModel(
        table, space="counts", n_components=2, flow=flow, schema=screen.schema
    )
    model.fit(screen.X, screen.y)
    sklperturb.save(model, folder / "model.skpt", X=screen.X, y=screen.y)


def _write_kept(folder):
    """Save a network, trees and boosted trees, small ones."""
    import sklperturb
    from sklperturb.datasets import make_chemical_screen
    from sklperturb.ensemble import (
        BoostedTargetRegressor,
        ResidualRegressor,
        SeedEnsembleRegressor,
    )
    from sklperturb.linear_model import TargetEncodedRidge
    from sklperturb.neural_network import TokenEmbeddingMLPRegressor
    from sklperturb.preprocessing import make_condition_encoder

    screen = make_chemical_screen(3, 10, 4, random_state=0)
    network = TokenEmbeddingMLPRegressor(
        hidden_dim=4, max_epochs=2, target_components=2, random_state=0
    )
    models = {
        "kept": ResidualRegressor(TargetEncodedRidge(), network, cv=2),
        "trees": make_pipeline(
            make_condition_encoder(n_components=2),
            SeedEnsembleRegressor(n_seeds=2, random_state=0),
        ),
        "boosted": make_pipeline(
            make_condition_encoder(n_components=2),
            BoostedTargetRegressor(n_components=1, random_state=0),
        ),
    }
    if find_spec("lightgbm") is None:
        del models["boosted"]
    for name, model in models.items():
        model.fit(screen.X, screen.y)
        sklperturb.save(model, folder / f"{name}.skpt", X=screen.X, y=screen.y)


def _write_report(entries):
    """Write what a report is made of, into the folder that is open."""
    from sklperturb.inspection import audit
    from sklperturb.model_selection import UnseenPairKFold
    from sklperturb.report._content import describe
    from sklperturb.report._run import write_run

    screen = entries.load_screen()
    kept = entries.compared(screen, "kept", return_predictions=True)
    Path("run").mkdir()
    about = {"seed": 0, "command": "sklperturb leaderboard"}
    run = describe(kept, screen.X, screen.y, schema=screen.schema, about=about)
    write_run(Path("run", "run.json"), run)
    cv = UnseenPairKFold(2, schema=screen.schema, random_state=0)
    found = audit("additive", screen.X, screen.y, cv, schema=screen.schema)
    Path("audit.json").write_text(json.dumps(found.to_dict()))


def _write_plan(entries):
    """Write a plan, and what one is made of, into the folder that is open."""
    from sklperturb.linear_model import ResponseKernelRidge
    from sklperturb.model_selection import suggest_experiments

    screen = entries.load_screen()
    columns = screen.schema.columns("context", "perturbation")
    wanted = screen.X_test[columns].reset_index(drop=True)
    can = wanted.assign(plate=[f"{i % 2:03}" for i in range(len(wanted))], price=2.5)
    given = screen.X, screen.y, can, 4
    plan = suggest_experiments(ResponseKernelRidge(), *given, schema=screen.schema)
    plan.attrs = {}
    for name, table in (("can", can), ("want", wanted), ("run/suggestions", plan)):
        table.to_csv(f"{name}.csv", index=False)
        table.to_parquet(f"{name}.parquet", index=False)
    Path("run/suggestions.parquet").rename("plan.parquet")


def _write_resumable(folder):
    """Leave what finished folds and trials leave."""
    from tests.robustness import entries

    (folder / "damage.json").write_text("{}")
    before = os.getcwd()
    os.chdir(folder)
    try:
        entries.board("folds")
        _write_report(entries)
        _write_plan(entries)
        entries.search("study.log")
    finally:
        os.chdir(before)
    # As if it were of a process that has ended.
    journal = folder / "study.log"
    journal.write_text(journal.read_text().replace('"alive":true', '"alive":false'))
