"""How the public collections of perturbed cells name their columns and labels."""

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sklperturb.conditions._doubts import (
    doubtful_combinations,
    doubtful_controls,
    doubtful_names,
    unmet_controls,
)
from sklperturb.conditions._frames import read_column
from sklperturb.conditions._labels import (
    CONTROL,
    SEPARATOR,
    as_text,
    control_rows,
    each_label,
    join_combination,
    parts_of,
    split_combination,
)
from sklperturb.conditions._near import spelling_hint
from sklperturb.conditions._quantities import (
    doses_of,
    read_dose,
    read_doses,
    read_quantity,
)
from sklperturb.conditions._schema import KNOWN_SPELLINGS, PerturbationSchema
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


# GEARS writes how many guides there are as a dose.
_COPIES = re.compile(r"1(\+1)*")


def _has(*names):
    return lambda obs: all(name in obs for name in names)


def _conditions(obs):
    return map(as_text, obs["condition"].unique() if "condition" in obs else ())


def _is_gears(obs):
    return any("ctrl" in label.split(SEPARATOR) for label in _conditions(obs))


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
        If the table lacks that layout's column, or has a column twice.
    """
    repeated = obs.columns[obs.columns.duplicated()].unique().tolist()
    if repeated:
        raise ValueError(
            f"The cells have the columns {repeated[:5]} more than once in obs; rename "
            "or remove them."
        )
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
                f"{list(obs.columns)}.{spelling_hint(absent, obs.columns)}"
            )
        return schema
    named = {role: column for role, column in named.items() if column is not None}
    for role, column in named.items():
        if column not in obs:
            raise ValueError(
                f"{role}={column!r} is no column of obs: {list(obs)}."
                f"{spelling_hint([column], obs)}"
            )
    if layout is not None and named.get("perturbation") in (None, layout.perturbation):
        of_layout = {"perturbation": layout.perturbation, "control": None}
        named |= of_layout | {"control_labels": _labels_of(layout)}
    schema = PerturbationSchema.infer(obs, **named)
    if schema.perturbation not in obs:  # of a table of numbers it is a place
        raise ValueError(
            f"The columns of the cells are called {list(obs)[:5]}, so none is known as "
            "the perturbation. Give them names, or pass "
            "schema=PerturbationSchema(perturbation=...)."
        )
    # A column that was only found by its name may hold no doses, such as "1+1".
    if schema.dose is not None and "dose" not in named and not _has_doses(obs, schema):
        schema = replace(schema, dose=None)
    if control is not None:
        labels = read_column(obs, schema.perturbation, allow_missing=True)
        labels = {as_text(label).strip() for label in pd.unique(labels)}
        if control.strip() not in labels:
            raise ValueError(
                f"control={control!r} is no label of {schema.perturbation!r}, which "
                f"holds {sorted(labels)[:10]}.{spelling_hint([control], labels)}"
            )
        schema = replace(schema, control=None, control_labels=control)
    return schema


def _labels_of(layout):
    """Return the labels of a layout's controls.

    The toolkit's own spelling is read in any layout whose labels are exact.
    """
    if layout is None or not layout.control_labels:
        return ()
    return (*layout.control_labels, CONTROL)


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
    labels = read_column(obs, schema.perturbation, allow_missing=True)
    separators = _separators(obs, labels, layout)
    combines = _combines(obs, schema, layout)
    if (combines or bool(separators)) != schema.labels_combine:
        schema = replace(schema, combines=not schema.labels_combine)
    is_control = control_rows(obs, schema)
    X = pd.DataFrame(index=obs.index)

    def canonical(label):
        text = as_text(label).strip()
        # Of a label that spells a control, the control column may say otherwise.
        if not (combines or label in separators) or schema.names_control(text):
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
        values = doses_of(obs, schema.dose)
        X[schema.dose], _ = read_doses(values, f"Column {schema.dose!r}")
    elif layout is not None and layout.name == "tahoe":
        amounts = each_label(obs["drugname_drugconc"], _tahoe_dose)
        X["dose_uM"] = amounts.astype(np.float64)
        schema = replace(schema, dose="dose_uM")
    for column in schema.columns("smiles", "batch", "replicate", "mechanism"):
        X[column] = _as_text(obs[column])
    schema = replace(
        schema, control=schema.control or CONTROL, control_labels=(CONTROL,)
    )
    X[schema.control] = is_control
    return X, schema


def doubts(obs, X, schema, layout, given):
    """Return a message for each thing in cells that may be meant otherwise.

    Parameters
    ----------
    obs : DataFrame of shape (n_cells, n_obs_columns)
    X : DataFrame of shape (n_cells, n_columns)
        As `read_conditions` returns it, with `schema`.
    schema : PerturbationSchema
    layout : Layout or None
    given : PerturbationSchema or None
        What the user said, or what was found in the user's place. Who names the
        controls is not asked about them.

    Returns
    -------
    messages : list of str
    """
    is_control, messages = X[schema.control].to_numpy(), []
    found = ((), _labels_of(layout))
    said = given and (given.control or given.control_labels not in found)
    labels = read_column(obs, schema.perturbation, allow_missing=True)
    if not said:
        messages += doubtful_controls(labels, is_control, schema)
    elif not given.control:
        messages += unmet_controls(labels, given.control_labels)
    messages += doubtful_names(X, schema, is_control)
    if schema.labels_combine:
        names = X.loc[~is_control, schema.perturbation].unique()
        messages += doubtful_combinations(names, schema.perturbation)
    if not said and schema.dose is None:
        messages += _doubtful_doses(obs)
    if schema.dose is not None and schema.dose not in obs:  # worked out by the layout
        messages += _unread_doses(obs["drugname_drugconc"], X[schema.dose])
    return messages


def _unread_doses(texts, doses):
    """Return a message if texts name a dose, and it could not be read."""
    unread = texts[(doses.isna() & texts.notna()).to_numpy()].unique()
    if not len(unread):
        return []
    shown = [as_text(text)[:60] for text in unread[:3]]
    return [
        f"Column {texts.name!r} holds {shown}, of which no dose can be read, and it is "
        "missing there. A dose is written as in \"[('Bortezomib', 0.05, 'uM')]\"."
    ]


def _doubtful_doses(obs):
    """Return a message for each column that is called a dose and holds none."""
    messages = []
    for column in obs.columns.intersection(KNOWN_SPELLINGS["dose"]):
        values = pd.Series(doses_of(obs, column)).dropna().unique()
        held = [as_text(value)[:60] for value in values]
        held = [text for text in held if not _COPIES.fullmatch(text)]
        # First what is no dose by itself; else some have units and others none.
        held.sort(key=lambda text: read_dose(text)[0] != "unread")
        if held:
            messages.append(
                f"Column {column!r} is left out, since it holds {held[:3]} and not "
                "only doses: numbers of 0 or more, or amounts such as '50 nM', all of "
                "them with a unit or none."
            )
    return messages


def has_units(obs, column):
    """Return whether a column of doses holds amounts with a unit."""
    return column in obs and read_doses(doses_of(obs, column), "")[1]


def _has_doses(obs, schema):
    """Return whether a column holds doses, and at least one."""
    try:
        doses, _ = read_doses(doses_of(obs, schema.dose), "")
    except ValueError:
        return False
    return bool(np.isfinite(doses).any())


def _combines(obs, schema, layout):
    """Return whether labels combine: as the schema says, else as the layout has it."""
    if schema.combines is not None or layout is None:
        return schema.labels_combine
    if layout.name == "scperturb":
        kinds = obs["perturbation_type"] if "perturbation_type" in obs else ()
        kinds = {as_text(kind).casefold() for kind in pd.Series(kinds).dropna()}
        return not any(kind.startswith(("drug", "compound")) for kind in kinds)
    return layout.combines


def _separators(obs, labels, layout):
    """Return what stands between the parts of those labels that scPerturb counts.

    Names of guides and genes hold underscores too, and those of compounds plus signs,
    so a label is one if it has as many parts as the file says it has perturbations.

    Returns
    -------
    separators : dict of str to str
    """
    if layout is None or layout.name != "scperturb" or "nperts" not in obs:
        return {}
    table = pd.DataFrame({"label": labels, "n": obs["nperts"]}).drop_duplicates("label")
    numbers = pd.to_numeric(table["n"].astype(str), errors="coerce")
    return {
        label: separator
        for label, n in zip(table["label"], numbers, strict=True)
        for separator in ("_", SEPARATOR)
        if n > 1 and len(parts_of(label, separator)) == n
    }


def _tahoe_dose(text):
    """Return the micromoles of, say, ``[('Bortezomib', 0.05, 'uM')]``."""
    try:
        ((_, amount, unit),) = ast.literal_eval(as_text(text))
        dose, unit = read_quantity(f"{float(amount)!r} {unit}")
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return np.nan
    return dose if unit == "uM" else np.nan


def _as_text(column):
    return each_label(column, lambda value: None if pd.isna(value) else as_text(value))
