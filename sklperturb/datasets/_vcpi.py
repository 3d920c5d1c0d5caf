"""Load the files of the VCPI prediction contest of 2026."""

import warnings
from os import PathLike

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype
from sklearn.utils import Bunch, gen_batches
from sklearn.utils._param_validation import validate_params

from sklperturb.conditions._quantities import read_quantity
from sklperturb.conditions._schema import PerturbationSchema
from sklperturb.datasets._files import check_unique_ids, missing_file, open_folder
from sklperturb.files._identifiers import as_identifiers
from sklperturb.files._reading import FileError, short
from sklperturb.files._tables import (
    read_indexed_parquet,
    read_parquet_header,
    read_table,
)
from sklperturb.utils._progress import ProgressBar

_TEST, _GENES = "test_compounds.csv", "gene_filter.csv"
_COUNTS, _SAMPLES = "train_counts.parquet", "train_metadata.parquet"
_CHEMISTRY, _WEIGHTS = "train_chemistry.parquet", "weights.parquet"
VCPI_FILES = (_TEST, _GENES, _COUNTS, _SAMPLES, _CHEMISTRY, _WEIGHTS)
_LAYOUT = (
    f"The layout of VCPI 2026 is {_TEST} and {_GENES}, which the contest's package "
    f"has, with {_COUNTS}, {_SAMPLES} and {_CHEMISTRY}, which its instructions make of "
    f"the releases, and {_WEIGHTS} where scores are to be weighted"
)
_VEHICLE = "DMSO"
_DOSE = ("compound_concentration", "compound_concentration_unit")
_SCHEMA = PerturbationSchema(
    "compound", "cell_line", control="control", smiles="smiles"
)
_MOST = 2**53  # whole numbers beyond are not exact
# Columns of counts that are in memory at a time.
_SAMPLES_AT_ONCE = 512


def is_vcpi(folder):
    """Return whether a folder has the contest's list of compounds, and no OP2 data."""
    kinds = ("parquet", "csv", "h5ad")
    other = any((folder / f"de_train.{kind}").exists() for kind in kinds)
    return (folder / _TEST).exists() and not other


@validate_params(
    {"folder": [str, PathLike], "design_only": ["boolean"]},
    prefer_skip_nested_validation=True,
)
def load_vcpi(folder, *, design_only=False):
    """Load expression to learn from and compounds to predict, as VCPI 2026 has them.

    Parameters
    ----------
    folder : str or path-like
        A folder with ``test_compounds.csv`` and ``gene_filter.csv`` of the contest's
        package [1]_, with ``train_counts.parquet``, ``train_metadata.parquet`` and
        ``train_chemistry.parquet``, which the instructions there make of the releases,
        and with ``weights.parquet`` where it is known.
    design_only : bool, default=False
        Read the compounds to predict and the genes only; `X`, `y` and `weights` are
        None.

    Returns
    -------
    screen : :class:`~sklearn.utils.Bunch`
        X : DataFrame of shape (n_compounds, 4)
            A row for each compound: `compound`, the contest's ``user_compound_id`` as
            text, `cell_line`, `smiles` and `control`, true for the vehicle DMSO.
        y : DataFrame of shape (n_compounds, n_genes)
            Mean over the samples of a compound of log2(CPM + 1), float64; all genes of
            the counts are in the sum that CPM refers to.
        X_test : DataFrame of shape (n_test, 4)
            Compounds to predict, in the order of the file, indexed by `id`, which is
            the compound.
        y_test : None
            The answers are not published.
        schema : PerturbationSchema
            Which column plays which role.
        target_names : list of str
            Genes, in the order of ``gene_filter.csv``.
        id_map : DataFrame
            ``test_compounds.csv`` with a column `id`.
        weights : DataFrame of shape (n_compounds, n_genes) or None
            What an error counts, for the compounds of `X`, which are its index; of
            sum 1 in a row up to the rounding of the file, float32.
        DESCR : str
            What was read, and what was left out.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If the folder or one of its files, but for the weights, is missing.
    ValueError
        If a file cannot be read or its content contradicts itself or another file.

    Warns
    -----
    UserWarning
        If compounds were left out since ``weights.parquet`` lacks them, or a compound
        has several structures, of which the first is taken.

    See Also
    --------
    write_vcpi_submission : Write predictions for `X_test`.
    sklperturb.metrics.WeightedMSEScorer : The contest's score, in cross-validation.
    load_op2 : Read signatures.

    Notes
    -----
    Samples of another cell line, time or concentration than those of
    ``test_compounds.csv`` are left out, but for the vehicle, and so are samples without
    a count. The contest's weights are for compounds to learn from; those of the
    compounds to predict are not published.

    References
    ----------
    .. [1] "VCPI prediction contest 2026", version 0.1.
       https://github.com/virtualcell-vcpi/vcpi-prediction-contest-2026

    Examples
    --------
    >>> from sklperturb.datasets import load_vcpi
    >>> screen = load_vcpi("vcpi")  # doctest: +SKIP
    >>> screen.X.columns.tolist()  # doctest: +SKIP
    ['compound', 'cell_line', 'smiles', 'control']
    """
    folder = open_folder(folder, _LAYOUT)
    needed = VCPI_FILES[:2] if design_only else VCPI_FILES[:5]
    for name in needed:
        if not (folder / name).exists():
            raise missing_file(folder, name, _LAYOUT)
    id_map, genes = _read_test(folder / _TEST), _read_genes(folder / _GENES)
    X_test = id_map[["compound", "cell_line", "smiles"]].assign(control=False)
    X_test = X_test.set_axis(pd.Index(id_map["id"], name="id"))
    X, y, weights = None, None, None
    if not design_only:
        compounds, left_out = _read_samples(folder / _SAMPLES, id_map)
        y, n_empty = _read_expression(folder / _COUNTS, compounds, genes)
        weights = _read_weights(folder / _WEIGHTS, y.index, genes)
        y = y if weights is None else y.loc[weights.index]
        X = _conditions(folder / _CHEMISTRY, y.index, id_map)
        y = y.reset_index(drop=True)
    descr = [f"{len(id_map)} compounds to predict, {len(genes)} genes, log2(CPM + 1)."]
    if X is not None:
        descr.append(
            f"{len(X)} compounds to learn from, of {len(compounds)} samples; "
            f"{left_out} of other conditions and {n_empty} without a count were left "
            f"out. SMILES missing: {int(X['smiles'].isna().sum())}. Weights: "
            f"{'none' if weights is None else _WEIGHTS}."
        )
    return Bunch(
        X=X,
        y=y,
        X_test=X_test,
        y_test=None,
        schema=_SCHEMA,
        target_names=genes,
        id_map=id_map,
        weights=weights,
        DESCR="\n".join(descr),
    )


def _require(columns, wanted, path):
    absent = [name for name in wanted if name not in columns]
    if absent:
        raise FileError(
            f"{path} lacks the columns {absent}; it has {short(list(columns)[:20])}."
        )


def _identifiers(column, path):
    """Return the ids of a column as text, none of which is missing."""
    ids = as_identifiers(column)
    if ids.hasnans:
        raise FileError(
            f"{path}: {column.name!r} is missing in {int(ids.isna().sum())} rows, "
            f"first in row {int(ids.isna().argmax())}. Fill in or remove these rows."
        )
    return ids


def _read_test(path):
    wanted = ("compound", "cell_line", "timepoint", "smiles", *_DOSE)
    text = ("compound_name", "inchi_key", _DOSE[1], *wanted[:4])
    table = read_table(path, text, max_columns=1000)
    _require(table, wanted, path)
    ids = _identifiers(table["compound"], path)
    check_unique_ids(ids, path.name)
    for name in ("cell_line", "timepoint"):
        values = list(table[name].unique())
        if len(values) > 1:
            raise FileError(
                f"{path}: {name!r} has {len(values)} values, such as {values[:3]}, and "
                "the contest has one: samples of a compound are averaged. Keep the "
                "rows of one."
            )
    table["compound"] = ids
    table["smiles"] = (
        table["smiles"].astype(object).where(table["smiles"].notna(), None)
    )
    table.insert(0, "id", ids)
    return table


def _read_genes(path):
    table = read_table(path, True, max_columns=1000)
    _require(table, ["gene_id"], path)
    genes = _identifiers(table["gene_id"], path)
    check_unique_ids(genes, path.name)
    return genes.tolist()


def _read_samples(path, id_map):
    """Return the compound of each sample of the contest's conditions, and how many not.

    Returns
    -------
    compounds : Series of shape (n_samples,)
        Indexed by the sample.
    n_left_out : int
    """
    table = _read_table(path)
    fixed = ["cell_line", "timepoint"]
    _require(table, ["sequenced_id", "user_compound_id", *fixed, *_DOSE], path)
    samples = _identifiers(table["sequenced_id"], path)
    check_unique_ids(samples, path.name)
    compounds = _identifiers(table["user_compound_id"], path)
    alike = np.isin(_micromolar(table), _micromolar(id_map))
    vehicle = compounds == _VEHICLE
    kept = alike | vehicle
    for name in fixed:
        kept &= as_identifiers(table[name]).isin(as_identifiers(id_map[name]))
    if not (kept & ~vehicle).any():
        columns = [*fixed, *_DOSE]
        first, wanted = (t[columns].iloc[0].tolist() for t in (table, id_map))
        raise FileError(
            f"{path} has no sample of the conditions of {_TEST}, {wanted}; its "
            f"first is of {first}."
        )
    compounds = pd.Series(compounds, samples)[kept]
    return compounds, int((~kept).sum())


def _read_table(path):
    table = read_indexed_parquet(path)
    if len(table) == 0:
        raise FileError(f"{path} has no rows.")
    return table


def _micromolar(table):
    """Return concentrations in micromoles per litre, NaN for what is none."""
    texts = table[_DOSE[0]].astype(str) + " " + table[_DOSE[1]].astype(str)
    read = {text: read_quantity(text) for text in texts.unique()}
    amounts = {t: found[0] for t, found in read.items() if found and found[1] == "uM"}
    return texts.map(amounts).to_numpy(dtype=np.float64)


def _read_expression(path, compounds, genes):
    """Return the expression of each compound, and how many samples had no count."""
    names = read_parquet_header(path)
    _require(names, ["gene_id"], path)
    column_of = dict(zip(as_identifiers(names), names, strict=True))
    lacking = [sample for sample in compounds.index if sample not in column_of]
    if lacking:
        raise FileError(
            f"{path} has no column for {len(lacking)} samples of {_SAMPLES}, such as "
            f"{short(lacking[:3])}. Make both from the same releases."
        )
    rows = _rows_of_genes(path, genes)
    codes, found = pd.factorize(compounds, sort=True)
    sums, counted = np.zeros((len(found), len(genes))), np.zeros(len(found))
    batches = list(gen_batches(len(compounds), _SAMPLES_AT_ONCE))
    with ProgressBar(len(batches), "Reading counts") as progress:
        for batch in batches:
            columns = [column_of[sample] for sample in compounds.index[batch]]
            table = read_indexed_parquet(path, columns)
            counts = _check_counts(table[columns], path).T
            totals = counts.sum(axis=1)
            measured = totals > 0
            per_million = counts[np.ix_(measured, rows)]
            per_million *= 1e6 / totals[measured, None]
            of_compound = codes[batch][measured]
            np.add.at(sums, of_compound, np.log2(per_million + 1))
            np.add.at(counted, of_compound, 1)
            progress.advance()
    known = counted > 0
    if not known.any():
        raise FileError(f"{path} has no counts above 0.")
    y = pd.DataFrame(
        sums[known] / counted[known, None], index=found[known], columns=genes
    )
    return y, int(len(compounds) - counted.sum())


def _rows_of_genes(path, genes):
    """Return the rows of a table of counts that hold the genes."""
    table = read_indexed_parquet(path, ["gene_id"])
    column = table.reset_index()["gene_id"]
    have = _identifiers(column, path)
    check_unique_ids(have, path.name)
    return _positions(have, genes, path)


def _positions(have, genes, path):
    """Return where the genes are in an index, or raise if one is not."""
    positions = have.get_indexer(genes)
    if (positions < 0).any():
        lacking = [genes[i] for i in np.flatnonzero(positions < 0)]
        raise FileError(
            f"{path} lacks {len(lacking)} of the {len(genes)} genes of {_GENES}, such "
            f"as {lacking[:3]}."
        )
    return positions


def _check_counts(table, path):
    """Return counts as floats, or raise if they are none."""
    text = [name for name in table if not is_numeric_dtype(table[name])]
    if text:
        raise FileError(f"{path}: the samples {short(text[:3])} hold no numbers.")
    counts = table.to_numpy(dtype=np.float64, na_value=np.nan)
    # Infinity less itself is NaN, which is no count either.
    with np.errstate(invalid="ignore"):
        whole = counts - np.floor(counts) == 0
        bad = ~((counts >= 0) & (counts <= _MOST) & whole).all(axis=0)
    if bad.any():
        raise FileError(
            f"{path} holds values that are no counts, in {int(bad.sum())} samples such "
            f"as {table.columns[bad.argmax()]!r}: whole numbers of 0 or more are "
            "needed, as the releases have them, and no logarithms."
        )
    return counts


def _read_weights(path, compounds, genes):
    """Return weights by compound and gene, None where there is no file."""
    if not path.exists():
        return None
    table = _read_table(path)
    if "gene_id" in table:
        table = table.set_index("gene_id")
    names = as_identifiers(table.columns)
    check_unique_ids(names, path.name)
    have = _identifiers(table.index.to_series(name="gene_id"), path)
    check_unique_ids(have, path.name)
    rows = _positions(have, genes, path)
    found = names.get_indexer(compounds)
    n_lacking = int((found < 0).sum())
    if n_lacking == len(compounds):
        raise FileError(
            f"{path} has no column for any compound of {_SAMPLES}; its columns are "
            f"such as {short(list(names[:3]))}, and compounds {list(compounds[:3])}."
        )
    if n_lacking:
        warnings.warn(
            f"{n_lacking} compounds to learn from, such as "
            f"{list(compounds[found < 0][:3])}, are left out, since {path.name} lacks "
            "them. Remove the file to keep them, without weights.",
            UserWarning,
            stacklevel=4,  # past the check of the parameters
        )
    kept = table.iloc[rows, found[found >= 0]]
    text = [name for name in kept if not is_numeric_dtype(kept[name])]
    values = None if text else kept.to_numpy(dtype=np.float32, na_value=np.nan).T
    if text or not np.isfinite(values).all() or (values < 0).any():
        raise FileError(
            f"{path} holds weights that are not finite numbers of 0 or more."
        )
    weights = pd.DataFrame(values, index=compounds[found >= 0], columns=genes)
    empty = ~values.any(axis=1)
    if empty.any():
        raise FileError(
            f"{path} weighs no gene of {int(empty.sum())} compounds, such as "
            f"{weights.index[empty][0]!r}."
        )
    return weights


def _conditions(path, compounds, id_map):
    """Return the conditions of the compounds to learn from, with their structures."""
    table = _read_table(path)
    _require(table, ["user_compound_id", "smiles"], path)
    known = table.set_axis(as_identifiers(table["user_compound_id"]))["smiles"].dropna()
    known = known.groupby(level=0)
    several = known.nunique() > 1
    if several.any():
        warnings.warn(
            f"{path.name} has several structures for {int(several.sum())} compounds, "
            f"such as {several.idxmax()!r}; the first is taken.",
            UserWarning,
            stacklevel=4,
        )
    smiles = known.first().reindex(compounds).to_numpy(dtype=object)
    X = pd.DataFrame({"compound": compounds.to_numpy(dtype=object)})
    X["cell_line"] = id_map["cell_line"].iloc[0]
    X["smiles"] = pd.Series(smiles, dtype=object).where(pd.notna(smiles), None)
    X["control"] = X["compound"] == _VEHICLE
    return X
