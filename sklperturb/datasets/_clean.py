"""Turn a table as read into conditions and a response, by documented rules."""

import re
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
from pandas.api import types

from sklperturb.conditions._doubts import warn
from sklperturb.conditions._labels import as_flags, as_text, each_label
from sklperturb.conditions._quantities import (
    doses_of,
    read_doses,
    says_unit,
    unit_column,
)
from sklperturb.conditions._schema import KNOWN_SPELLINGS

LINCS_ID = "sm_lincs_id"
# Columns that describe a condition even where they hold numbers.
_CONDITION_NAMES = {"id", "split", LINCS_ID}.union(*KNOWN_SPELLINGS.values())
_BLANK = {"", "nan", "na"}
OP2_ROLES = ("context", "perturbation", "smiles", "dose", "mechanism")
# Columns of numbers that tables of signatures hold beside genes.
_METADATA = {"index", "row", "rowid", "ncells", "cellcount", "ncounts", "ngenes", "id"}
_METADATA |= {"doseum", "dosenm", "doseval", "dosage", "concentration", "conc", "time"}
_METADATA |= {"timepoint", "timehr", "timehrs", "hours", "timepointhr", "replicate"}
_METADATA |= {"batch", "plate", "well", "passage"}


def split_columns(frame, schema, file_name):
    """Separate the conditions from the genes.

    A column is a gene if all its values are numbers, or text that spells numbers,
    and its name is not that of a condition.

    Parameters
    ----------
    frame : DataFrame
    schema : PerturbationSchema
        Its columns are conditions, whatever they hold.
    file_name : str
        Named in errors.

    Returns
    -------
    X : DataFrame of shape (n_samples, n_columns)
    y : DataFrame of shape (n_samples, n_genes), float64
    """
    names = _CONDITION_NAMES.union(schema.columns())
    conditions, genes = [], {}
    for column in frame.columns:
        known = column in names
        values = None if known else _as_numbers(frame[column], file_name)
        if values is None:
            conditions.append(column)
        else:
            genes[column] = values
    if not genes:
        raise ValueError(
            f"{file_name} has no column of numbers, so no genes; its columns are "
            f"{list(frame.columns)[:10]}."
        )
    warn_of_columns(frame, conditions, list(genes), schema, file_name)
    y = np.column_stack(list(genes.values()))
    return frame[conditions].copy(), pd.DataFrame(y, columns=list(genes))


def _as_numbers(column, file_name):
    """Return the values as floats, or None if none of them is a number."""
    if types.is_bool_dtype(column) or types.is_datetime64_any_dtype(column):
        return None
    if types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    column = column.astype(object)
    blank = column.map(lambda v: isinstance(v, str) and v.strip().lower() in _BLANK)
    column = column.mask(blank.astype(bool))
    present = column.dropna()
    if present.map(lambda value: isinstance(value, bool | np.bool_)).any():
        return None
    numbers = pd.to_numeric(present, errors="coerce")
    if numbers.isna().all():
        return None
    if numbers.isna().any():
        unread = present[numbers.isna()]
        raise ValueError(
            f"Column {column.name!r} of {file_name} mixes numbers with text: "
            f"{len(unread)} of {len(present)} values are not numbers, such as "
            f"{unread.iloc[0]!r}. Correct them. If the column describes a condition, "
            f"name it as a role, {_as_context(column.name)}."
        )
    return numbers.reindex(column.index).to_numpy(dtype=np.float64)


def _as_context(column):
    return f"such as schema=PerturbationSchema(..., context={column!r})"


def clean_conditions(X, schema, file_name):
    """Check labels and read the control flag of a table of conditions.

    Labels of perturbation and context become text and doses numbers, and a missing
    control column or flag means that the row is not a control.
    """
    schema.require(X, "perturbation", *["context"] * (schema.context is not None))
    X = X.reset_index(drop=True)
    for column in schema.columns("perturbation", "context"):
        absent = np.flatnonzero(X[column].isna())
        if len(absent):
            raise ValueError(
                f"Column {column!r} of {file_name} is missing in {len(absent)} of "
                f"{len(X)} rows, first in row {absent[0]}. Every row needs its "
                "perturbation and context; fill in or remove these rows."
            )
        X[column] = each_label(X[column], as_text)
    for column in X.select_dtypes("category"):
        # Whole numbers have no missing value of their own.
        dtype = object if X[column].isna().any() else X[column].cat.categories.dtype
        X[column] = X[column].astype(dtype)
    for column in X.select_dtypes(["object", "string"]):
        X[column] = X[column].astype(object).where(X[column].notna(), None)
    if schema.control is not None:
        given = schema.control in X
        described = f"Column {schema.control!r} of {file_name}"
        X[schema.control] = given and as_flags(X[schema.control], described)
    convert_doses(X, schema.dose, file_name)
    return X


def convert_doses(X, dose, file_name):
    """Make the doses of a table numbers, and say beside them that these are uM.

    Without the column beside them, nothing tells them from doses that had no unit.
    """
    if dose is None or dose not in X:
        return
    described = f"Column {dose!r} of {file_name}"
    beside = unit_column(X, dose)
    X[dose], converted = read_doses(doses_of(X, dose), described)
    if converted and not says_unit(dose):
        X[beside or f"{dose}_unit"] = "uM"


def has_units(X, dose):
    """Return whether doses that were read had a unit, None where there are none."""
    if dose is None or dose not in X or not (X[dose] > 0).any():
        return None
    beside = unit_column(X, dose)
    return beside is not None and bool((X[beside] == "uM").any())


def check_units(tables, dose):
    """Raise if doses have a unit in one table and none in another.

    Parameters
    ----------
    tables : dict of str to DataFrame
        By the names of their files, as `clean_conditions` returns them.
    dose : str or None
    """
    units = {name: has_units(table, dose) for name, table in tables.items()}
    with_unit = [name for name, has in units.items() if has]
    without = [name for name, has in units.items() if has is False]
    if with_unit and without:
        bare = tables[without[0]][dose]
        raise ValueError(
            f"Column {dose!r} holds doses with a unit in {with_unit[0]}, and others "
            f"without one in {without[0]}, such as {bare[bare > 0].iloc[0]:g}. Give "
            "all of them a unit, or none."
        )


def check_fitted_units(X, dose, columns, file_name):
    """Raise if doses have no unit, and those that a model was fitted to had one.

    Parameters
    ----------
    X : DataFrame
        As `clean_conditions` returns it.
    dose : str or None
    columns : sequence of str
        Of the conditions that the model was fitted to.
    file_name : str
    """
    beside = None if dose is None else unit_column(columns, dose)
    bare = has_units(X, dose) is False and unit_column(X, dose) is None
    if beside is not None and bare:
        raise ValueError(
            f"Column {dose!r} of {file_name} holds doses without a unit, and the model "
            f"was fitted to doses with units, in {beside!r}. Add this column, or write "
            "doses such as '50 nM'."
        )


def in_words_of_op2(tables, schema):
    """Return tables of conditions as a folder of signatures holds them.

    Parameters
    ----------
    tables : dict of str to DataFrame
        By what they are called in errors, with ``"signatures"`` among them.
    schema : PerturbationSchema

    Returns
    -------
    tables : dict of str to DataFrame
        With doses in micromoles per litre, and the names of columns that `load_op2`
        reads without a schema.
    """
    schema = without_unread_dose(schema, tables["signatures"], "signatures")
    tables = {name: table.copy() for name, table in tables.items()}
    for name, table in tables.items():
        convert_doses(table, schema.dose, name)
    check_units(tables, schema.dose)
    renamed = _op2_names(schema, tables["signatures"])
    # A column of compounds, where there is one, is read as the perturbation.
    taken = [name for name in ("sm_name", *renamed.values()) if name not in renamed]
    return {
        name: table.drop(columns=taken, errors="ignore").rename(columns=renamed)
        for name, table in tables.items()
    }


def _op2_names(schema, X):
    """Return by column what it is called in the layout of OP2."""
    names = {getattr(schema, role): KNOWN_SPELLINGS[role][0] for role in OP2_ROLES}
    names.pop(None, None)
    if schema.labels_combine:  # in a column of compounds A+B is one name
        names[schema.perturbation] = "target_gene"
    beside = None if schema.dose is None else unit_column(X, schema.dose)
    if beside is not None and not set(X[beside].dropna()) <= {"uM"}:
        names.pop(schema.dose)  # its unit is not molar, and stays beside it
    return names


def without_unread_dose(schema, X, file_name):
    """Return a schema that was inferred, without the dose if its column holds none."""
    if schema.dose is None:
        return schema
    try:
        described = f"Column {schema.dose!r} of {file_name}"
        read_doses(doses_of(X, schema.dose), described)
    except ValueError as error:
        warn(f"{error} Its text stays as it is, and is no dose.")
        return replace(schema, dose=None)
    return schema


def warn_of_columns(frame, conditions, genes, schema, file_name):
    """Warn of columns that may have been taken for genes, or genes for conditions.

    Parameters
    ----------
    frame : DataFrame
    conditions, genes : list of str
        Its columns, as `split_columns` divides them.
    schema : PerturbationSchema
    file_name : str
    """
    taken = [name for name in genes if _is_metadata(name)]
    if taken:
        warn(
            f"{file_name}: the columns {taken[:5]} hold numbers and are read as genes, "
            "and their names are not those of genes. Remove them. "
            f"If they describe conditions, name them as roles, {_as_context(taken[0])}."
        )
    first, last = (frame.columns.get_loc(genes[end]) for end in (0, -1))
    known = _CONDITION_NAMES.union(schema.columns())
    text = [name for name in conditions if name not in known]
    among = [name for name in text if first < frame.columns.get_loc(name) < last]
    if among:
        warn(
            f"{file_name}: the columns {among[:5]} stand among the genes and hold no "
            "numbers, so that they are read as conditions. Correct them if they are "
            "genes, or move them to the front."
        )


def _is_metadata(name):
    text = re.sub(r"[^a-z0-9]", "", str(name).casefold())
    return text in _METADATA or re.fullmatch(r"unnamed\d+|level\d+", text) is not None


def replace_nonfinite(y, on_nonfinite, rows, file_name):
    """Apply the `on_nonfinite` rule to a response.

    Parameters
    ----------
    y : DataFrame of shape (n_samples, n_genes)
    on_nonfinite : {"error", "replace"}
    rows : DataFrame of shape (n_samples, n_labels)
        Labels that name the rows in the error.
    file_name : str

    Returns
    -------
    y : DataFrame of shape (n_samples, n_genes)
    n_replaced : int
    """
    values = y.to_numpy()
    bad = ~np.isfinite(values)
    n_bad = int(bad.sum())
    if n_bad == 0:
        return y, 0
    if on_nonfinite == "error":
        genes = y.columns[bad.any(axis=0)]
        first = tuple(rows.iloc[np.flatnonzero(bad.any(axis=1))[0]])
        raise ValueError(
            f"{file_name} has {n_bad} values that are NaN or infinite, in "
            f"{len(genes)} genes such as {list(genes[:3])} and "
            f"{int(bad.any(axis=1).sum())} rows, first {first}. Correct them, or "
            'pass on_nonfinite="replace": NaN becomes 0 and an infinite value the '
            "largest finite magnitude."
        )
    largest = np.abs(values[~bad]).max(initial=0.0)
    values = np.nan_to_num(values, nan=0.0, posinf=largest, neginf=-largest)
    return pd.DataFrame(values, index=y.index, columns=y.columns), n_bad


def drop_duplicates(X, y, schema, file_name):
    """Drop rows that repeat another in full, and warn of repeated conditions.

    Returns
    -------
    X, y : DataFrame
    n_dropped, n_repeated : int
        Rows dropped, and conditions kept that occur more than once.
    """
    # Comparing 18,000 columns is slow, and only rows of equal conditions can agree.
    suspects = X[X.duplicated(keep=False)].astype(str)
    values = y.loc[suspects.index].to_numpy() + 0.0  # 0.0 and -0.0 are equal
    bits = pd.Series([row.tobytes() for row in values], suspects.index, dtype=object)
    repeats = pd.concat([suspects, bits], axis=1).duplicated()
    drop = repeats.index[repeats]
    if len(drop):
        warnings.warn(
            f"{file_name}: dropped {len(drop)} rows that repeat another row in every "
            "column. Remove them from the file to silence this.",
            UserWarning,
            stacklevel=4,  # past the check of the parameters of load_op2
        )
        X = X.drop(index=drop).reset_index(drop=True)
        y = y.drop(index=drop).reset_index(drop=True)
    # Rows that a replicate or batch column tells apart are declared replicates.
    roles = ("perturbation", "context", "dose", "batch", "replicate")
    repeated = X[X.duplicated(schema.columns(*roles), keep=False)]
    labels = repeated[schema.columns("perturbation", "context")].drop_duplicates()
    if len(labels):
        warnings.warn(
            f"{file_name}: {len(labels)} conditions occur in more than one row with "
            f"different values, such as {tuple(labels.iloc[0])}. The rows are kept "
            "as replicates; average them first if they are not.",
            UserWarning,
            stacklevel=4,
        )
    return X, y, len(drop), len(labels)
