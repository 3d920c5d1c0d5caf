"""Two sides of an evaluation as arrays over the same perturbations and genes."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sklperturb.conditions._labels import parts_of
from sklperturb.metrics._discrimination import target_mask

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
        targets = [parts_of(n) if split else [n] for n in self.perturbations]
        own = target_mask(targets, self.genes)
        return replace(
            self,
            lfc=np.where(own, np.nan, self.lfc),
            p_value=np.where(own, 1.0, self.p_value),
            p_adj=np.where(own, 1.0, self.p_adj),
            tested=self.tested & ~own,
        )

    def in_single_precision(self):
        """Return a copy whose values are rounded as an evaluator rounds its table."""
        names = ("lfc", "p_value", "p_adj")
        return replace(self, **{n: getattr(self, n).astype(np.float32) for n in names})


def aligned_tables(de_true, de_pred, perturbations):
    """Return two tables of differential expression over the same genes.

    Raises
    ------
    ValueError
        If a column is missing, a pair of perturbation and gene is repeated, or a table
        does not hold these perturbations.
    """
    perturbations = [str(name) for name in perturbations]
    sides = {"de_true": de_true, "de_pred": de_pred}
    names = []
    for side, table in sides.items():
        missing = [column for column in COLUMNS if column not in table]
        if missing:
            raise ValueError(
                f"{side} lacks the columns {missing}; a table of wilcoxon_de has "
                f"{list(COLUMNS)}."
            )
        names.append([_as_category(table[c]) for c in ("perturbation", "gene")])
        differing = sorted({*names[-1][0].categories} ^ {*perturbations})
        if differing:
            raise ValueError(
                f"{side} and the pseudobulks hold different perturbations; "
                f"{len(differing)} are in one only, such as {differing[:5]}."
            )
    first, second = (genes.categories for _, genes in names)
    genes = first.append(second.difference(first))
    return [
        _arrays(table, perturbations, genes, side, *own)
        for (side, table), own in zip(sides.items(), names, strict=True)
    ]


def _as_category(column):
    """Return a column of names as categories of text: its own, or by appearance."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.array.remove_unused_categories().rename_categories(str)
    column = column.astype(str)
    return pd.Categorical(column, column.unique())


def _arrays(table, perturbations, genes, side, *names):
    at = tuple(
        pd.Index(order).get_indexer(own.categories)[own.codes]
        for order, own in zip((perturbations, genes), names, strict=True)
    )
    shape = (len(perturbations), len(genes))
    tested = np.zeros(shape, dtype=bool)
    tested[at] = True
    if np.count_nonzero(tested) != len(table):
        raise ValueError(
            f"{side} holds a pair of perturbation and gene twice; keep one row."
        )
    lfc, p_value, p_adj = np.full(shape, np.nan), np.ones(shape), np.ones(shape)
    lfc[at] = table["log2_fold_change"].to_numpy(dtype=np.float64)
    for column, values in (("p_value", p_value), ("p_adj", p_adj)):
        # No test, no call.
        values[at] = table[column].fillna(1.0).to_numpy(dtype=np.float64)
    return DEArrays(perturbations, genes, lfc, p_value, p_adj, tested)


def aligned_bulks(pseudobulk_true, pseudobulk_pred, control, *, own_control=False):
    """Return both with the same perturbations, sorted, and genes; and their effects.

    Effects are measured from the control of the truth, or from each side's own.

    Returns
    -------
    bulks, effects : list of DataFrame of shape (n_perturbations, n_genes)
        Without the control.
    """
    if not own_control:
        pseudobulk_pred = with_control(pseudobulk_true, pseudobulk_pred, control)
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
    sides = truth, pseudobulk_pred.loc[truth.index, truth.columns]
    bulks = [side.drop(index=control) for side in sides]
    controls = [side.loc[control] for side in sides]
    return bulks, [own - at for own, at in zip(bulks, controls, strict=True)]


def with_control(pseudobulk_true, pseudobulk_pred, control):
    """Return the prediction with the measured control in place of its own."""
    others = pseudobulk_pred.drop(index=control, errors="ignore")
    own = pseudobulk_true.loc[[control]].reindex(columns=others.columns)
    return pd.concat([others, own])


def as_targets(effects):
    """Return the names as targets: "A+B" is no gene, as in the evaluators."""
    return [[name] for name in effects.index]


def score_frame(perturbations, **scores):
    return pd.DataFrame(scores, index=pd.Index(perturbations, name="perturbation"))


def share(part, whole):
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole)
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
