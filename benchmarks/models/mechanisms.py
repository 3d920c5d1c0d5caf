"""Measure what mechanisms of action and target genes add to structures.

    python -m benchmarks.models.mechanisms
    python -m benchmarks.models.mechanisms --nelisa PROFILES.parquet --sets GO.gmt
    python -m benchmarks.models.mechanisms --op2 FOLDER --moa compounds.csv

Without a file, screens are generated, in which mechanisms tell much, something or
nothing. --nelisa takes A549 cells' secreted proteins with a target gene of each
compound (Dagher et al. 2023), in standard deviations of DMSO wells, and --sets gene
sets that link the targets. --op2 takes a screen in OP2's layout, and --moa a table with
the columns sm_name and moa. Compounds are held out, and of OP2's layout pairs too; each
deal of the folds is one seed. Printed are the MRRMSE of zeros, of `TanimotoKernelRidge`
without mechanisms, and with them its relative difference: the mean over the deals, a
bootstrap interval over compounds, and the shares that were chosen with the number of
folds. "dealt anew" gives each compound the mechanism of another one.
"""

import argparse
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from sklperturb.conditions import PerturbationSchema
from sklperturb.datasets import load_op2, make_chemical_screen
from sklperturb.linear_model import TanimotoKernelRidge
from sklperturb.metrics import rowwise_root_mean_squared_error
from sklperturb.model_selection import UnseenPerturbationKFold, suggest_cv
from sklperturb.preprocessing import read_gene_source

N_BOOTSTRAP = 2000
HEADER = (
    "| screen | held out | zeros | without | with mechanisms | "
    "difference, % (95 %) | shares |\n|---|---|---:|---:|---|---:|---|"
)


def held_out_errors(X, y, folds, schema, **params):
    """Return the error of each row when it was held out, and the chosen shares."""
    errors, shares = np.full(len(X), np.nan), []
    for train, test in folds:
        model = TanimotoKernelRidge(schema=schema, **params)
        model.fit(X.iloc[train], y.iloc[train])
        y_pred = model.predict(X.iloc[test])
        errors[test] = rowwise_root_mean_squared_error(y.iloc[test], y_pred)
        seen = (
            X[schema.perturbation].iloc[test].isin(X[schema.perturbation].iloc[train])
        )
        choice = model.seen_choice_ if seen.all() else None
        shares.append((choice or {}).get("mechanism_share", model.mechanism_share_))
    return errors, shares


def dealt_anew(X, schema, seed):
    """Give each compound what is known of another one."""
    names = X[schema.perturbation].unique()
    known = X.groupby(schema.perturbation, sort=False)[schema.mechanism].first()
    dealt = np.random.RandomState(seed).permutation(known.reindex(names).to_numpy())
    found = X[schema.perturbation].map(dict(zip(names, dealt, strict=True)))
    return X.assign(**{schema.mechanism: found})


def measure(title, X, y, schema, held_out, folds_of, n_seeds, sources=None):
    """Print a row for mechanisms, for them with sources, and for wrong ones."""
    variants = {"mechanisms": {}, "dealt anew": {}}
    if sources:
        variants["mechanisms, linked by gene sets"] = {"sources": sources}
    without, found = [], {name: ([], []) for name in variants}
    for seed in range(n_seeds):
        folds = folds_of(seed)
        base, _ = held_out_errors(X, y, folds, schema, mechanism_shares=[0])
        without.append(base)
        for name, params in variants.items():
            table = dealt_anew(X, schema, seed) if name == "dealt anew" else X
            errors, shares = held_out_errors(table, y, folds, schema, **params)
            found[name][0].append(errors)
            found[name][1].extend(shares)
    base = np.nanmean(without, axis=0)
    kept = np.isfinite(base)
    compounds = pd.factorize(X.loc[kept, schema.perturbation])[0]
    zeros = rowwise_root_mean_squared_error(y[kept], 0 * y[kept]).mean()
    for name, (errors, shares) in found.items():
        change = np.nanmean(errors, axis=0)[kept] - base[kept]
        low, high = interval(change, base[kept], compounds)
        values, counts = np.unique(shares, return_counts=True)
        shown = ", ".join(f"{v:g} ({n})" for v, n in zip(values, counts, strict=True))
        mean = 100 * change.mean() / base[kept].mean()
        print(
            f"| {title} | {held_out} | {zeros:.4f} | {base[kept].mean():.4f} "
            f"| {name} | {mean:+.2f} ({low:+.2f} to {high:+.2f}) | {shown} |",
            flush=True,
        )


def interval(change, base, compounds):
    """Return the interval of a relative difference in per cent, over compounds."""
    rng = np.random.default_rng(0)
    sums = np.array([np.bincount(compounds, part) for part in (change, base)])
    draws = rng.integers(sums.shape[1], size=(N_BOOTSTRAP, sums.shape[1]))
    top, bottom = sums[:, draws].sum(axis=2)
    return np.quantile(100 * top / bottom, [0.025, 0.975])


def of_compounds(X, schema):
    return lambda seed: list(
        UnseenPerturbationKFold(5, schema=schema, random_state=seed).split(X)
    )


def generated(n_seeds):
    """Print rows of screens whose mechanisms tell much, something or nothing."""
    for share in (0.0, 0.3, 0.6):
        # Without a share there is no column: one whose mechanisms tell nothing.
        screen = make_chemical_screen(
            4, 60, 200, mechanism_share=share or 1e-9, random_state=0
        )
        title = f"generated, share {share:g}"
        folds = of_compounds(screen.X, screen.schema)
        about = (title, screen.X, screen.y, screen.schema)
        measure(*about, "compounds", folds, n_seeds)


def nelisa(path, sets, n_seeds):
    """Print rows of secreted proteins, one for each compound, mean over its wells."""
    data = pd.read_parquet(path)
    proteins = [name for name in data if name.endswith("[NSU]")]
    plate, is_dmso = data["Metadata_Plate"], data["Metadata_pert_iname"] == "DMSO"
    means = data.loc[is_dmso, proteins].groupby(plate[is_dmso]).mean()
    y = data[proteins] - means.loc[plate].to_numpy()
    y = (y / y[is_dmso].std())[~is_dmso]
    roles = ("sm_name", "SMILES", "target")
    columns = ("Metadata_pert_iname", "Metadata_smiles", "Metadata_target")
    wells = data.loc[~is_dmso, list(columns)].set_axis(roles, axis=1)
    X = wells.groupby("sm_name").first().reset_index()
    y = y.groupby(wells["sm_name"]).mean().reset_index(drop=True)
    schema = PerturbationSchema.infer(X)
    sources = [read_gene_source(file) for file in sets]
    about = ("NELISA, 24 h", X, y, schema, "compounds", of_compounds(X, schema))
    measure(*about, n_seeds, sources)


def op2(folder, moa, n_seeds):
    """Print rows of a screen of compounds, with mechanisms by name."""
    screen = load_op2(folder)
    known = pd.read_csv(moa).set_index("sm_name")["moa"]
    schema = replace(screen.schema, mechanism="moa")
    X = screen.X.assign(moa=screen.X[schema.perturbation].map(known))
    about = (folder.name, X, screen.y, schema)
    measure(*about, "compounds", of_compounds(X, schema), n_seeds)

    def pairs(seed):
        cv = suggest_cv(X, screen.X_test, schema=schema, random_state=seed)
        return list(cv.split(X))

    measure(*about, "pairs", pairs, n_seeds)


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nelisa", type=Path)
    parser.add_argument("--sets", type=Path, nargs="*", default=[])
    parser.add_argument("--op2", type=Path)
    parser.add_argument("--moa", type=Path)
    parser.add_argument("--seeds", type=int, default=2, help="deals of the folds")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", ".*structure.*")
    print(HEADER)
    if given.nelisa:
        nelisa(given.nelisa, given.sets, given.seeds)
    if given.op2:
        op2(given.op2, given.moa, given.seeds)
    if not (given.nelisa or given.op2):
        generated(given.seeds)


if __name__ == "__main__":
    main()
