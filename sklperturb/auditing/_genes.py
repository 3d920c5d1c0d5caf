"""Target genes that are held out, and perturbed in training under another label."""

import re

import numpy as np

from sklperturb.auditing._levels import overlap_finding
from sklperturb.auditing._result import LeakFinding
from sklperturb.auditing._task import severity
from sklperturb.conditions._frames import column_names, read_column
from sklperturb.conditions._labels import as_text
from sklperturb.conditions._levels import number_levels

# Columns that name the gene where perturbations are guides.
_GENE_COLUMNS = ("target_gene", "target", "gene", "gene_target", "gene_symbol")
_GUIDE = re.compile(r"^(.+?)[_\-.](?:sg|sgrna|grna|guide|g)[_\-.]?\d+$", re.IGNORECASE)


def check_genes(task):
    """Yield findings of genes that are held out and perturbed in training."""
    coded = task.codes("perturbation")
    if coded is None or not task.claims_new("perturbation"):
        return
    codes, names = coded
    if not task.schema.labels_combine:
        return
    parts = [set(map(_gene, task.schema.split(name))) for name in names]
    yield from _guides(task, codes, names)
    in_combination, both_combined = _combined(task, codes, parts)
    if in_combination.any():
        linked = _linked(task, codes, parts)
        worth = task.without_rows(
            linked, in_combination, "combinations with the held-out genes left out"
        )
        tested = np.unique(codes[task.held_out[in_combination]])
        yield LeakFinding(
            "target genes",
            severity(worth),
            f"The folds hold out perturbations: {in_combination.sum()} of "
            f"{len(in_combination)} held-out rows are of a gene alone that is "
            "perturbed in training in a combination.",
            "Hold out the combinations of a gene with it: make groups of the labels "
            "that share a gene, and cut with UnseenGroupKFold.",
            worth,
            task.held_out[in_combination],
            [names[code] for code in tested],
        )
    if both_combined.any():
        yield LeakFinding(
            "target genes",
            "note",
            f"{both_combined.sum()} of {len(both_combined)} held-out rows are of a "
            "combination with a gene that is perturbed in training too, alone or with "
            "others.",
            "The score says how combinations of known genes are predicted, and nothing "
            "of genes that were never perturbed.",
            rows=task.held_out[both_combined],
        )


def _gene(name):
    """Return the gene of a guide, ``KLF1`` of ``KLF1_sg2``; else the name."""
    found = _GUIDE.match(name)
    return found[1] if found else name


def _guides(task, codes, names):
    """Yield a finding if guides of one gene are on both sides."""
    genes = np.array([_gene(as_text(name)) for name in names], dtype=object)
    grouped = np.append(number_levels(genes)[0], -1)[codes]
    for column in _GENE_COLUMNS:
        there = column in column_names(task.conditions)
        if there and column != task.schema.perturbation:
            values = read_column(task.conditions, column, allow_missing=True)
            grouped = number_levels(values)[0]
            break
    seen = task.overlap(grouped).seen & ~task.overlaps["perturbation"].seen
    if seen.any():
        yield overlap_finding(
            task,
            "target genes",
            grouped,
            seen,
            "The folds hold out perturbations, and guides of one gene are on both "
            "sides",
            "Name the gene as the perturbation, or cut with UnseenGroupKFold(by=...) "
            "on the column of the genes.",
            [names[code] for code in np.unique(codes[task.held_out[seen]])],
        )


def _combined(task, codes, parts):
    """Return which held-out rows share genes with combinations in training.

    Returns
    -------
    in_combination : ndarray of bool of shape (n_held_out,)
        A gene alone, that is trained on in a combination.
    both_combined : ndarray of bool of shape (n_held_out,)
        A combination, of whose genes one at least is trained on.
    """
    alone, combined = [], []
    for train, test in task.folds:
        trained = np.unique(codes[train[~task.is_control[train]]])
        of_combinations = set().union(*(parts[c] for c in trained if len(parts[c]) > 1))
        known = set().union(*(parts[c] for c in trained))
        single = np.array([len(p) == 1 for p in parts])
        hit = np.array([bool(p & of_combinations) for p in parts]) & single
        hit_combined = np.array([bool(p & known) for p in parts]) & ~single
        of_test = codes[test]
        not_trained = ~np.isin(of_test, trained) & ~task.is_control[test]
        alone.append(hit[of_test] & not_trained)
        combined.append(hit_combined[of_test] & not_trained)
    return np.concatenate(alone), np.concatenate(combined)


def _linked(task, codes, parts):
    linked = []
    for _, test in task.folds:
        tested = np.unique(codes[test[~task.is_control[test]]])
        genes = set().union(*(parts[c] for c in tested if len(parts[c]) == 1))
        hit = np.array([len(p) > 1 and bool(p & genes) for p in parts])
        linked.append(hit[codes])
    return linked
