"""How the public collections of perturbed cells name their columns and labels."""

import ast
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sklperturb.conditions._frames import read_column
from sklperturb.conditions._labels import (
    CONTROL,
    as_text,
    control_rows,
    each_label,
    is_control_label,
    join_combination,
    split_combination,
)
from sklperturb.conditions._schema import PerturbationSchema
from sklperturb.conditions._validation import resolve_schema


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
        Whether a table of cells, ``matches(obs)``, may be of this layout.
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


def _conditions(obs):
    return map(as_text, obs["condition"].unique() if "condition" in obs else ())


def _is_gears(obs):
    return any("ctrl" in label.split("+") for label in _conditions(obs))


def _is_perturbench(obs):
    return "control" in _conditions(obs)


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
        If the table lacks that layout's column.
    """
    if name == "auto":
        return next((layout for layout in LAYOUTS if layout.matches(obs)), None)
    layout = LAYOUTS[LAYOUT_NAMES.index(name) - 1]
    if layout.perturbation not in obs:
        raise ValueError(
            f"layout={name!r} has the perturbation in column {layout.perturbation!r}, "
            f"and the cells have {list(obs.columns)}. Pass another layout, or schema=."
        )
    return layout


def settle_schema(obs, layout, schema=None, *, control=None, **named):
    """Return the schema of a table of cells.

    A schema that is given decides; then the columns of roles and the label of the
    controls that are named, then the layout, whose labels and not a column mark its
    controls, then the spellings in public use.

    Raises
    ------
    ValueError
        If a column does not exist, none is known as the perturbation, or no cell has
        the label.
    """
    if schema is not None:
        absent = [c for c in resolve_schema(schema, obs).columns() if c not in obs]
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
        # The toolkit's own spelling is read in any layout whose labels are exact.
        labels = layout.control_labels and (*layout.control_labels, CONTROL)
        of_layout = {"perturbation": layout.perturbation, "control": None}
        named |= of_layout | {"control_labels": labels}
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


def unassigned_rows(obs, schema):
    """Return which cells have no perturbation and are not marked as controls."""
    missing = obs[schema.perturbation].isna().to_numpy()
    return missing if schema.control is None else missing & ~control_rows(obs, schema)


def read_conditions(obs, schema, layout):
    """Return the conditions of cells in the toolkit's own spelling, and the schema.

    Returns
    -------
    X : DataFrame of shape (n_cells, n_columns)
        One column for each role, under the name that `obs` has for it.
    schema : PerturbationSchema
        With a control column.
    """
    is_control = control_rows(obs, schema)
    X = pd.DataFrame(index=obs.index)
    combines = layout is None or layout.combines
    labels = read_column(obs, schema.perturbation, allow_missing=True)
    separators = _separators(obs, labels, layout)

    def canonical(label):
        text = as_text(label).strip()
        # Of a label that spells a control, the control column may say otherwise.
        if not combines or is_control_label(text, schema.control_labels):
            return text
        separator = separators.get(label, "+")
        return join_combination(
            split_combination(text, schema.control_labels, separator)
        )

    if schema.context is not None:
        X[schema.context] = _as_text(obs[schema.context])
    X[schema.perturbation] = np.where(
        is_control, CONTROL, each_label(labels, canonical)
    )
    if schema.dose is not None:
        X[schema.dose] = _numbers(obs[schema.dose])
    elif layout is not None and layout.name == "tahoe":
        amounts = each_label(obs["drugname_drugconc"], _tahoe_dose)
        X["dose_uM"] = amounts.astype(np.float64)
        schema = replace(schema, dose="dose_uM")
    for column in schema.columns("smiles", "batch", "replicate"):
        X[column] = _as_text(obs[column])
    schema = replace(
        schema, control=schema.control or CONTROL, control_labels=(CONTROL,)
    )
    X[schema.control] = is_control
    return X, schema


def _separators(obs, labels, layout):
    """Return the labels of scPerturb that are combined with an underscore.

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
        if n > 1 and as_text(label).count("_") == n - 1
    }


def _tahoe_dose(text):
    """Return the micromoles of, say, ``[('Bortezomib', 0.05, 'uM')]``."""
    try:
        (_, amount, unit), *_ = ast.literal_eval(as_text(text))
        return float(amount) * {"nM": 1e-3, "uM": 1.0, "mM": 1e3}[unit]
    except (ValueError, SyntaxError, TypeError, KeyError):
        return np.nan


def _as_text(column):
    return each_label(column, lambda value: None if pd.isna(value) else as_text(value))


def _numbers(column):
    """Return the values as floats, or None if there is text that is no number."""
    values = column.astype(object)
    numbers = pd.to_numeric(values, errors="coerce")
    if (numbers.isna() & values.notna()).any() or numbers.isna().all():
        return None
    return numbers.to_numpy(dtype=np.float64)
