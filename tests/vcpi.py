"""Files in the layout of the VCPI contest of 2026, small and generated."""

import numpy as np
import pandas as pd

GENES = [f"ENSG{i}" for i in range(5)]
_SMILES = ("CCO", "CCN", "c1ccccc1", "CC(=O)O", "CCCl", "c1ccncc1", "CCS", "CCF")


def write_vcpi(folder, n_compounds=8, n_test=3, seed=0):
    """Write a folder in the layout; a third of the genes are not scored.

    Two samples of each compound and four of the vehicle, two samples of another
    concentration, and weights of all compounds.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    test = pd.DataFrame({"compound": [str(9_000_000 + i) for i in range(n_test)]})
    test["compound_name"] = [f"name, {i}" for i in range(n_test)]
    test["compound_concentration"] = 10.0
    test["compound_concentration_unit"] = "uM"
    test["cell_line"], test["timepoint"] = "THP-1", "24h"
    test["smiles"] = [f"CC{_SMILES[i % len(_SMILES)]}" for i in range(n_test)]
    test["inchi_key"] = [f"KEY{i}" for i in range(n_test)]
    test.to_csv(folder / "test_compounds.csv", index=False)
    pd.DataFrame({"gene_id": GENES}).to_csv(folder / "gene_filter.csv", index=False)

    compounds = [str(8_000_000 + i) for i in range(n_compounds)]
    wells = [*compounds, *compounds, *["DMSO"] * 4, *compounds[:2]]
    doses = [10_000.0] * (2 * n_compounds) + [0.15] * 4 + [3_000.0] * 2
    units = ["nM"] * (2 * n_compounds) + ["%"] * 4 + ["nM"] * 2
    samples = pd.DataFrame({"sequenced_id": np.arange(101, 101 + len(wells))})
    samples["user_compound_id"] = wells
    samples["compound"] = [f"uuid-{name}" for name in wells]
    samples["compound_concentration"], samples["compound_concentration_unit"] = (
        doses,
        units,
    )
    samples["cell_line"], samples["timepoint"] = "THP-1", "24h"
    samples["is_control"] = samples["user_compound_id"] == "DMSO"
    samples.to_parquet(folder / "train_metadata.parquet")

    genes = [*GENES, "ENSG98", "ENSG99"]
    level = rng.uniform(3, 6, len(genes))
    effect = {name: rng.normal(0, 0.5, len(genes)) for name in compounds}
    rates = [np.exp(level + effect.get(name, 0)) for name in wells]
    counts = pd.DataFrame(
        rng.poisson(rates).T.astype(np.int32),
        columns=samples["sequenced_id"].astype(str).tolist(),
    )
    counts.insert(0, "gene_id", genes)
    counts.sample(frac=1, random_state=seed).reset_index(drop=True).to_parquet(
        folder / "train_counts.parquet"
    )
    pd.DataFrame(
        {
            "compound": [f"uuid-{name}" for name in compounds],
            "user_compound_id": compounds,
            "smiles": [_SMILES[i % len(_SMILES)] for i in range(n_compounds)],
        }
    ).to_parquet(folder / "train_chemistry.parquet")
    weights = rng.uniform(0.1, 1, (len(GENES), n_compounds + 1))
    columns = [*compounds[::-1], "DMSO"]
    table = pd.DataFrame(weights / weights.sum(axis=0), GENES[::-1], columns)
    table.rename_axis("gene_id").astype(np.float16).to_parquet(
        folder / "weights.parquet"
    )
    return folder
