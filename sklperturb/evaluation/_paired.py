"""Two sides of an evaluation as arrays over the same perturbations and genes."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

COLUMNS = ("perturbation", "gene", "log2_fold_change", "p_value", "p_adj")


@dataclass(frozen=True)
class DEArrays:
    """A table of differential expression, (n_perturbations, n_genes) each.

    Genes that a perturbation was not tested for have p-values of 1 and a fold change
    of NaN.
    """

    perturbations: list
    genes: pd.Index
    lfc: np.ndarray
    p_value: np.ndarray
    p_adj: np.ndarray
    tested: np.ndarray

    @property
    def called(self):
        return self.p_adj < 0.05

    def without_own(self, *, split=False):
        """Return a copy in which no perturbation's own target gene is tested.

        With `split`, "A+B" stands for the two genes, and not for one of that name.
        """
        targets = [n.split("+") if split else [n] for n in self.perturbations]
        rows = np.repeat(np.arange(len(targets)), [len(names) for names in targets])
        own = self.genes.get_indexer([name for names in targets for name in names])
        at = rows[own >= 0], own[own >= 0]
        p_value, p_adj, lfc = self.p_value.copy(), self.p_adj.copy(), self.lfc.copy()
        tested = self.tested.copy()
        p_value[at] = p_adj[at] = 1.0
        lfc[at], tested[at] = np.nan, False
        return DEArrays(self.perturbations, self.genes, lfc, p_value, p_adj, tested)

    def in_single_precision(self):
        """Return a copy whose values are rounded as an evaluator rounds its table."""
        rounded = [a.astype(np.float32) for a in (self.lfc, self.p_value, self.p_adj)]
        return DEArrays(self.perturbations, self.genes, *rounded, self.tested)


def paired_arrays(de_true, de_pred):
    """Return two tables of differential expression over the same genes.

    Raises
    ------
    ValueError
        If a column is missing, a pair of perturbation and gene is repeated, or the
        two tables hold different perturbations.
    """
    for name, table in (("de_true", de_true), ("de_pred", de_pred)):
        missing = [column for column in COLUMNS if column not in table]
        if missing:
            raise ValueError(
                f"{name} lacks the columns {missing}; a table of wilcoxon_de has "
                f"{list(COLUMNS)}."
            )
    names = [_levels(table["perturbation"]) for table in (de_true, de_pred)]
    if set(names[0]) != set(names[1]):
        differing = sorted(set(names[0]) ^ set(names[1]))
        raise ValueError(
            f"de_true and de_pred hold different perturbations; {len(differing)} are "
            f"in one only, such as {differing[:5]}."
        )
    perturbations = sorted(names[0])
    genes = pd.Index(_levels(de_true["gene"]))
    genes = genes.append(pd.Index(_levels(de_pred["gene"])).difference(genes))
    return [
        _arrays(table, perturbations, genes, name)
        for name, table in (("de_true", de_true), ("de_pred", de_pred))
    ]


def _levels(column):
    """Return the names in a column, in order of appearance."""
    names = column.cat.remove_unused_categories() if _is_categorical(column) else column
    if _is_categorical(column):
        return [str(name) for name in names.cat.categories]
    return [str(name) for name in names.unique()]


def _is_categorical(column):
    return isinstance(column.dtype, pd.CategoricalDtype)


def _codes(column, index):
    if _is_categorical(column):
        lookup = index.get_indexer(column.cat.categories.astype(str))
        return lookup[column.cat.codes]
    return index.get_indexer(column.astype(str))


def _arrays(table, perturbations, genes, name):
    at = (
        _codes(table["perturbation"], pd.Index(perturbations)),
        _codes(table["gene"], genes),
    )
    shape = (len(perturbations), len(genes))
    tested = np.zeros(shape, dtype=bool)
    tested[at] = True
    if np.count_nonzero(tested) != len(table):
        raise ValueError(
            f"{name} holds a pair of perturbation and gene twice; keep one row."
        )
    filled = {"log2_fold_change": np.nan, "p_value": 1.0, "p_adj": 1.0}
    arrays = []
    for column, fill in filled.items():
        values = np.full(shape, fill)
        values[at] = table[column].to_numpy(dtype=np.float64)
        if column != "log2_fold_change":
            values[np.isnan(values)] = 1.0  # no test, no call
        arrays.append(values)
    return DEArrays(perturbations, genes, *arrays, tested)


def top_genes(lfc, called, n=None):
    """Return the called genes by falling size of fold change, at most `n`.

    Equal sizes keep the order of the genes.
    """
    genes = np.flatnonzero(called)
    size = np.abs(lfc[genes])
    order = np.argsort(-size, kind="stable")
    return genes[order][:n]


def aligned_bulks(pseudobulk_true, pseudobulk_pred, control):
    """Return both with the same rows, sorted, and the same genes."""
    sides = {"pseudobulk_true": pseudobulk_true, "pseudobulk_pred": pseudobulk_pred}
    for name, side in sides.items():
        if control not in side.index:
            raise ValueError(
                f"{name} has no row for the control {control!r}; it has "
                f"{list(side.index[:5])}."
            )
        if not (side.index.is_unique and side.columns.is_unique):
            raise ValueError(f"{name} repeats a perturbation or a gene.")
    for axis, kind in (("index", "perturbations"), ("columns", "genes")):
        differing = getattr(pseudobulk_true, axis).symmetric_difference(
            getattr(pseudobulk_pred, axis)
        )
        if len(differing):
            raise ValueError(
                f"The pseudobulks hold different {kind}; {len(differing)} are in one "
                f"only, such as {list(differing[:5])}."
            )
    truth = pseudobulk_true.sort_index()
    return truth, pseudobulk_pred.loc[truth.index, truth.columns]


def aligned_tables(de_true, de_pred, truth, control):
    true, pred = paired_arrays(de_true, de_pred)
    expected = [str(name) for name in truth.index if name != control]
    if true.perturbations != expected:
        differing = sorted(set(true.perturbations) ^ set(expected))
        raise ValueError(
            "The tables of differential expression and the pseudobulks hold different "
            f"perturbations: {len(differing)} are in one only, such as {differing[:5]}."
        )
    return true, pred


def without(bulks, control):
    return bulks.drop(index=control)


def effects_of(bulks, control):
    return without(bulks, control) - bulks.loc[control]


def as_targets(effects):
    """Return the names as targets: "A+B" is no gene, as in the evaluators."""
    return [[name] for name in effects.index]


def score_frame(perturbations, **scores):
    return pd.DataFrame(scores, index=pd.Index(perturbations, name="perturbation"))


def share(part, whole):
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole)
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def undefined_as_nan(function, y_true, y_pred):
    values = function(y_true, y_pred)
    constant = (np.ptp(y_true.to_numpy(), axis=1) == 0) | (
        np.ptp(y_pred.to_numpy(), axis=1) == 0
    )
    return np.where(constant, np.nan, values)


def with_control(pseudobulk_true, pseudobulk_pred, control):
    """Return the prediction with the measured control in place of its own."""
    others = pseudobulk_pred.drop(index=control, errors="ignore")
    own = pseudobulk_true.loc[[control]].reindex(columns=others.columns)
    return pd.concat([others, own])
