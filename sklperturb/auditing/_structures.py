"""Compounds that are held out, and in training under another name, salt or scaffold."""

import re

import numpy as np

from sklperturb.auditing._levels import columns_called, overlap_finding, text_column
from sklperturb.auditing._result import LeakFinding
from sklperturb.conditions._frames import column_names, read_column
from sklperturb.conditions._levels import number_levels
from sklperturb.conditions._near import fold
from sklperturb.utils._optional import import_extra

# Of names, without which they are those of the compound itself.
_SALTS = re.compile(
    r"[\s(,_-]+(?:(?:mono|di|tri|hemi|sesqui)?-?(?:hydrochloride|hcl|hydrobromide|hbr|"
    r"sodium|potassium|calcium|magnesium|mesylate|mesilate|maleate|fumarate|tartrate|"
    r"citrate|phosphate|sulfate|sulphate|acetate|succinate|tosylate|besylate|"
    r"malate|lactate|oxalate|nitrate|bromide|chloride|iodide|hydrate|trihydrate|"
    r"monohydrate|dihydrate|anhydrous|free\s?base|salt))\)?(?=$|[\s(),_-])",
    re.IGNORECASE,
)
_NOTABLE = 0.1  # share of the held-out rows
_CONNECTIVITY = 14  # letters of an InChIKey that leave stereochemistry out


def check_compounds(task):
    """Yield a finding if compounds that are held out are in training all the same."""
    if not task.claims_new("perturbation") or task.codes("perturbation") is None:
        return
    names = text_column(task, task.schema.perturbation)
    ways = {"the same name but for the salt": [_without_salt(name) for name in names]}
    if not _names_compounds(task):
        ways = {}
    structures = _smiles(task)
    if structures is not None:
        spelled, keys = _spell(structures)
        ways["the same structure without salt and stereochemistry"] = spelled
        ways["the same InChIKey without salt and stereochemistry"] = keys
    for column in columns_called(task, "inchikey", "inchi_key", "standard_inchi_key"):
        found = text_column(task, column)
        ways[f"the same beginning of {column!r}"] = [
            key and key.strip().upper()[:_CONNECTIVITY] for key in found
        ]
    spellings, _ = number_levels([fold(name or "") for name in names])
    known = task.overlaps["perturbation"].seen | task.overlap(spellings).seen
    total, how, joined = np.zeros(len(known), bool), [], task.perturbation
    for way, values in ways.items():
        codes, _ = number_levels(np.array(values, dtype=object))
        seen = task.overlap(codes).seen & ~known
        if seen.any():
            how.append(f"{way} ({seen.sum()} rows)")
            total |= seen
            joined = _join(joined, codes)
    if not total.any():
        return
    labels = np.array(names, dtype=object)
    yield overlap_finding(
        task,
        "compounds",
        joined,
        total,
        "The folds hold out compounds, and some are in training under another name, "
        "by " + " and ".join(how),
        "Cut the folds with UnseenPerturbationKFold(by_structure='parent'), which "
        "needs a SMILES column, or give all names of a compound the same one.",
        sorted(set(labels[task.held_out[total]])),
    )


def check_scaffolds(task):
    """Yield a finding if scaffolds are held out, but for some compounds."""
    structures = _smiles(task)
    if structures is None or not task.claims_new("perturbation"):
        return
    from sklperturb.preprocessing import murcko_scaffolds

    codes, names = number_levels(murcko_scaffolds(structures)[0])
    found = task.overlap(codes, units=task.perturbation)
    if not found.seen.any():
        return
    if task.said.get("scaffold", found.claims_new):
        yield overlap_finding(
            task,
            "scaffolds",
            codes,
            found.seen,
            "The folds hold out scaffolds",
            "Cut the folds with UnseenScaffoldKFold; fill in missing SMILES.",
            [names[code] for code in np.unique(codes[task.held_out[found.seen]])],
        )
        return
    if found.share < _NOTABLE:
        return
    yield LeakFinding(
        "scaffolds",
        "note",
        f"{found.share:.0%} of the held-out rows have a compound of their scaffold in "
        "training, as folds by compound allow.",
        "The score says little about compounds of a new scaffold; UnseenScaffoldKFold "
        "holds out whole ones.",
        rows=task.held_out[found.seen],
    )


def _smiles(task):
    """Return the SMILES of the rows; None without a column or rdkit, or all missing."""
    schema = task.schema
    if schema is None or schema.smiles not in column_names(task.conditions):
        return None
    values = read_column(task.conditions, schema.smiles, allow_missing=True)
    if not any(isinstance(value, str) and value.strip() for value in values):
        return None
    try:
        import_extra("The audit of structures", "chem", "rdkit")
    except ImportError:
        return None
    return values


def why_not(task):
    """Return why structures are not compared, "" if they are."""
    if task.schema is None or task.schema.smiles is None:
        return "there is no column of structures"
    return "" if _smiles(task) is not None else "no SMILES, or rdkit is not installed"


def _spell(smiles):
    """Return the parent of each structure, and its InChIKey without stereochemistry."""
    from sklperturb.preprocessing._molecules import import_rdkit, parent_smiles
    from sklperturb.preprocessing._structures import spell_structures

    chem, rd_base = import_rdkit("The audit of structures")
    parents, _ = spell_structures(smiles, parent_smiles)
    with rd_base.BlockLogs():
        keys = {
            parent: chem.MolToInchiKey(chem.MolFromSmiles(parent))[:_CONNECTIVITY]
            for parent in set(parents) - {None}
        }
    return parents, [keys.get(parent) or None for parent in parents]


def _names_compounds(task):
    """Whether perturbations are compounds, whose names may have a salt."""
    return not task.schema.labels_combine


def _without_salt(name):
    return None if name is None else fold(_SALTS.sub("", name) or name)


def _join(codes, others):
    """Make one level of the levels that share a code of others, which may be -1."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    there = others >= 0
    n = codes.max() + 1
    size = n + others.max() + 1
    graph = coo_array(
        (np.ones(there.sum()), (codes[there], n + others[there])), shape=(size, size)
    )
    return connected_components(graph, directed=False)[1][codes]
