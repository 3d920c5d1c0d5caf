"""Which samples take part in a comparison, and which condition each belongs to."""

import warnings

import numpy as np
import pandas as pd

from sklperturb.cells import open_cells
from sklperturb.cells._blocks import to_dense
from sklperturb.cells._counts import value_kind
from sklperturb.cells._files import check_unique_genes, is_annotated
from sklperturb.conditions._frames import take_columns
from sklperturb.conditions._labels import control_rows
from sklperturb.conditions._quantities import unit_column
from sklperturb.conditions._validation import resolve_schema
from sklperturb.signatures._pseudobulk import describe_groups


def take_samples(adata, schema, control, covariates, min_replicates):
    """Return the samples that take part, and their conditions.

    Returns
    -------
    schema : PerturbationSchema
    samples : AnnData
    table : DataFrame
        Indexed like `samples`. Columns context, perturbation (empty for controls),
        control, and row, the position in `samples`.
    """
    if not is_annotated(adata):
        raise TypeError(
            f"X must be an AnnData of pseudobulks, got {type(adata).__name__}."
        )
    if not adata.obs_names.is_unique:
        raise ValueError("obs_names are not unique; call obs_names_make_unique().")
    check_unique_genes(adata.var_names, "X")
    schema = resolve_schema(schema, adata.obs, control)
    schema.require(adata.obs, "perturbation", *["context"] * bool(schema.context))
    absent = [c for c in covariates if c not in adata.obs]
    if absent:
        raise ValueError(
            f"covariates={list(covariates)!r}: obs has no {absent}; it has "
            f"{list(adata.obs)}."
        )
    labels = take_columns(adata.obs, schema.columns("context", "perturbation"))
    table = pd.DataFrame({"perturbation": labels[:, -1]}, adata.obs_names).astype(str)
    table.index.name = None  # which may be the name of a column
    table["context"] = "all" if schema.context is None else labels[:, 0].astype(str)
    table["control"] = sample_controls(adata.obs, schema)
    _check_labels(table, schema)
    _check_doses(adata.obs, table, schema)
    table.loc[table["control"], "perturbation"] = ""
    table = _with_replicates(table, min_replicates)
    samples = adata[adata.obs_names.isin(table.index)]
    table = table.loc[samples.obs_names]
    table["row"] = np.arange(len(table))
    return schema, samples, table


def sample_controls(obs, schema):
    """Return which samples are controls; refuse a table that has none."""
    flags = control_rows(obs, schema)
    if flags.any():
        return flags
    if schema.control is not None:
        raise ValueError(
            f"No sample is a control: column {schema.control!r} marks none."
        )
    wanted = "spelled as a control in public use"
    if schema.control_labels:
        wanted = f"one of the labels {list(schema.control_labels)}"
    raise ValueError(
        f"No sample is a control: of {schema.perturbation!r}, which holds "
        f"{sorted(set(obs[schema.perturbation].astype(str)))[:10]}, none is {wanted}. "
        "Pass control= with the label. A column of flags is named by schema=."
    )


def _check_labels(table, schema):
    """Raise an error where a label is empty, as it is for controls from here on."""
    empty = table.index[~table["control"] & (table["perturbation"].str.strip() == "")]
    if len(empty):
        raise ValueError(
            f"{len(empty)} samples, such as {empty[0]!r}, have an empty label in "
            f"{schema.perturbation!r} and are no controls. Fill in which perturbation "
            "they had, or remove them."
        )


def _check_doses(obs, table, schema):
    """Raise an error where different doses would be taken for replicates."""
    if schema.dose is None or schema.dose not in obs:
        return
    doses = obs[schema.dose].astype(str)
    if (unit := unit_column(obs, schema.dose)) is not None:
        doses += " " + obs[unit].astype(str)
    treated = table[~table["control"]].assign(dose=doses)
    doses = treated.groupby(["context", "perturbation"])["dose"].unique()
    several = doses[doses.map(len) > 1]
    if len(several):
        raise ValueError(
            f"{len(several)} conditions were measured at several doses, such as "
            f"{several.index[0]} at {list(several.iloc[0])[:4]}. Make dose a part of "
            "the perturbation's or the context's label, or take one dose at a time."
        )


def _with_replicates(table, min_replicates):
    """Leave out conditions with too few samples, and contexts without controls."""
    keys = ["context", "perturbation"]
    size = table.groupby(keys)["control"].transform("size")
    few = table[size < min_replicates]
    table = table[size >= min_replicates]
    by_context = table.groupby("context")["control"]
    complete = by_context.transform(lambda c: c.any() and not c.all()).astype(bool)
    lonely = sorted(table.loc[~complete, "context"].unique())
    if not complete.any():
        raise ValueError(
            "No context has controls and a perturbation with "
            f"min_replicates={min_replicates} samples each."
        )
    if len(few):
        names = few[keys].drop_duplicates().agg(tuple, axis=1).tolist()
        warnings.warn(
            f"Left out {len(names)} conditions with fewer than min_replicates="
            f"{min_replicates} samples, such as {names[0]}.",
            UserWarning,
            stacklevel=5,
        )
    if lonely:
        warnings.warn(
            f"Left out contexts without both controls and perturbations: {lonely}.",
            UserWarning,
            stacklevel=5,
        )
    return table[complete].copy()


def describe_conditions(obs, members, schema, covariates):
    """Describe each condition by what its samples have in common."""
    sizes = [len(names) for names in members]
    treated = obs.loc[np.concatenate(members)]
    keys = schema.columns("context", "perturbation")
    left_out = {*covariates, *schema.columns("control")}
    codes = np.repeat(np.arange(len(members)), sizes)
    table = describe_groups(treated, codes, keys, left_out)
    if "n_cells" in treated:
        table["n_cells"] = np.bincount(codes, treated["n_cells"]).astype(int)
    table["n_replicates"] = sizes
    return table


def dense_counts(samples):
    """Return the counts as a float64 array; refuse what cannot be counts."""
    rows = open_cells(samples, needs="counts").rows(slice(None))
    counts = np.asarray(to_dense(rows), dtype=np.float64)
    kind = value_kind(counts)
    empty = samples.obs_names[counts.sum(axis=1) == 0]
    if len(empty):
        raise ValueError(f"{len(empty)} samples have no counts, such as {empty[0]!r}.")
    if kind in ("log1p", "normalised"):
        warnings.warn(
            "X holds fractions, so that it is not raw counts. If it was normalised or "
            "logarithmised, add up the layer of raw counts instead.",
            UserWarning,
            stacklevel=3,
        )
    return counts
