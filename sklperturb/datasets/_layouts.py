"""How the public collections of perturbed cells name their columns and labels."""

import ast
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sklperturb.conditions._labels import (
    CONTROL,
    as_flags,
    each_label,
    is_control_label,
    join_combination,
    split_combination,
)
from sklperturb.conditions._schema import PerturbationSchema


@dataclass(frozen=True)
class Layout:
    """A collection's way to write down conditions.

    Attributes
    ----------
    name : str
    perturbation : str
        Column of the perturbation.
    control_labels : tuple of str
        How that column spells controls; empty for the spellings in public use.
    matches : callable
        ``matches(obs)`` tells whether a table of cells may be of this layout.
    combines : bool
        Whether the labels can combine perturbations; names of compounds cannot, since
        they hold plus signs of their own.
    """

    name: str
    perturbation: str
    control_labels: tuple[str, ...]
    matches: Callable
    combines: bool = True


def _has(*names):
    return lambda obs: all(name in obs for name in names)


def _is_gears(obs):
    return "condition" in obs and any(
        "ctrl" in str(label).split("+") for label in obs["condition"].unique()
    )


def _is_perturbench(obs):
    return "condition" in obs and "control" in set(obs["condition"].astype(str))


# In the order in which they are tried.
LAYOUTS = (
    Layout(
        "tahoe", "drug", ("DMSO_TF",), _has("drug", "drugname_drugconc"), combines=False
    ),
    Layout("vcc", "target_gene", ("non-targeting",), _has("target_gene")),
    Layout("gears", "condition", ("ctrl",), _is_gears),
    Layout("perturbench", "condition", ("control",), _is_perturbench),
    Layout("scperturb", "perturbation", (), _has("perturbation", "perturbation_type")),
)
LAYOUT_NAMES = ("auto", *(layout.name for layout in LAYOUTS))


def find_layout(obs, name="auto"):
    """Return the layout of a table of cells, or None if it is of none that is known.

    Raises
    ------
    ValueError
        If `name` is not known, or the table lacks that layout's column.
    """
    if name == "auto":
        return next((layout for layout in LAYOUTS if layout.matches(obs)), None)
    layout = next((layout for layout in LAYOUTS if layout.name == name), None)
    if layout is None:
        raise ValueError(f"layout={name!r} is not known; allowed are {LAYOUT_NAMES}.")
    if layout.perturbation not in obs:
        raise ValueError(
            f"layout={name!r} has the perturbation in column {layout.perturbation!r}, "
            f"and the cells have {list(obs.columns)}. Pass another layout, or schema=."
        )
    return layout


def settle_schema(obs, layout, schema=None, *, control=None, **named):
    """Return the schema of a table of cells.

    A schema that is given decides; then the columns of roles and the label of the
    controls that are named, then the layout, then the spellings in public use.

    Raises
    ------
    ValueError
        If a column does not exist, none is known as the perturbation, or no cell has
        the label.
    """
    if schema is not None:
        if not isinstance(schema, PerturbationSchema):
            raise TypeError(
                "schema must be a PerturbationSchema or None, got "
                f"{type(schema).__name__}."
            )
        named = set(schema.columns()) - {schema.control}
        absent = [name for name in named if name not in obs]
        if absent:
            raise ValueError(
                f"The schema names the columns {sorted(absent)}, and the cells have "
                f"{list(obs.columns)}."
            )
        return schema
    named = {role: column for role, column in named.items() if column is not None}
    for role, column in named.items():
        if column not in obs:
            raise ValueError(f"{role}={column!r} is no column of obs: {list(obs)}.")
    if layout is not None and named.get("perturbation") in (None, layout.perturbation):
        named["perturbation"] = layout.perturbation
        named["control_labels"] = layout.control_labels
    schema = PerturbationSchema.infer(obs, **named)
    # Some layouts write "1+1" for two guides, and "none": no doses.
    if schema.dose is not None and _numbers(obs[schema.dose]) is None:
        schema = replace(schema, dose=None)
    if control is not None:
        labels = obs[schema.perturbation].astype(str)
        if control not in set(labels):
            raise ValueError(
                f"control={control!r} is no label of {schema.perturbation!r}, which "
                f"holds {sorted(labels.unique())[:10]}."
            )
        schema = replace(schema, control=None, control_labels=(control,))
    return schema


def read_conditions(obs, schema, layout):
    """Return the conditions of cells in the toolkit's own spelling, and the schema.

    Returns
    -------
    X : DataFrame of shape (n_cells, n_columns)
        One column for each role, under the name that `obs` has for it.
    schema : PerturbationSchema
        With a control column.
    """
    schema = replace(schema, control=schema.control or CONTROL)
    X = pd.DataFrame(index=obs.index)
    combines = layout is None or layout.combines
    labels = obs[schema.perturbation].astype(object)
    separators = _separators(obs, labels, layout)

    def canonical(label):
        text = str(label).strip()
        if is_control_label(text, schema.control_labels):
            return CONTROL
        if not combines:
            return text
        separator = separators.get(label, "+")
        return join_combination(
            split_combination(text, schema.control_labels, separator)
        )

    if schema.context is not None:
        X[schema.context] = _as_text(obs[schema.context])
    X[schema.perturbation] = each_label(labels, canonical)
    is_control = X[schema.perturbation].to_numpy() == CONTROL
    if layout is None and schema.control in obs:
        is_control = is_control | as_flags(obs, schema.control, "the table of cells")
        X.loc[is_control, schema.perturbation] = CONTROL
    if schema.dose is not None:
        X[schema.dose] = _numbers(obs[schema.dose])
    elif layout is not None and layout.name == "tahoe":
        X["dose_uM"] = each_label(
            obs["drugname_drugconc"].astype(str), _tahoe_dose
        ).astype(np.float64)
        schema = replace(schema, dose="dose_uM")
    for column in schema.columns("smiles", "batch", "replicate"):
        X[column] = _as_text(obs[column])
    X[schema.control] = is_control
    return X, replace(schema, control_labels=(CONTROL,))


def _separators(obs, labels, layout):
    """Say which labels of scPerturb are combined with an underscore.

    Names of guides and genes hold underscores too, so only a label that has as many
    parts as the file says there are perturbations is taken apart.
    """
    if layout is None or layout.name != "scperturb" or "nperts" not in obs:
        return {}
    table = pd.DataFrame({"label": labels, "n": obs["nperts"]}).drop_duplicates("label")
    numbers = pd.to_numeric(table["n"].astype(str), errors="coerce")
    return {
        label: "_"
        for label, n in zip(table["label"], numbers, strict=True)
        if n > 1 and str(label).count("_") == n - 1
    }


def _tahoe_dose(text):
    """Read the micromoles of, say, ``[('Bortezomib', 0.05, 'uM')]``."""
    try:
        (_, amount, unit), *_ = ast.literal_eval(text)
        return float(amount) * {"nM": 1e-3, "uM": 1.0, "mM": 1e3}[unit]
    except (ValueError, SyntaxError, TypeError, KeyError):
        return np.nan


def _as_text(column):
    return each_label(column, lambda value: None if pd.isna(value) else str(value))


def _numbers(column):
    """Return the values as floats, or None if there is text that is no number."""
    values = column.astype(object)
    numbers = pd.to_numeric(values, errors="coerce")
    if (numbers.isna() & values.notna()).any() or numbers.isna().all():
        return None
    return numbers.to_numpy(dtype=np.float64)
