"""Read molecules with rdkit: fingerprints, descriptors and scaffolds."""

import threading
from collections import OrderedDict
from functools import lru_cache
from itertools import chain

import numpy as np
import pandas as pd
from joblib import delayed
from scipy import sparse

from sklperturb.utils._calls import run_calls

KINDS = (
    "morgan_counts",
    "morgan_bits",
    "morgan_features",
    "atom_pairs",
    "torsions",
    "pharmacophores",
    "maccs",
    "descriptors",
    "physchem",
)
# What has a similarity by overlap; descriptors have none.
COUNT_KINDS = KINDS[:7]
# Of these, the ones that are hashed to a length of choice.
_HASHED = KINDS[:5]

_PHYSCHEM = (
    "MolWt",
    "MolLogP",
    "TPSA",
    "NumHDonors",
    "NumHAcceptors",
    "NumRotatableBonds",
    "RingCount",
    "NumAromaticRings",
    "FractionCSP3",
    "MolMR",
    "FormalCharge",
    "qed",
)
_WIDTHS = {"maccs": 167, "pharmacophores": 315}
# Some descriptors, such as Ipc, grow exponentially with the size of a molecule.
_LARGEST_DESCRIPTOR = 1e6
_CACHE_SIZE = 50_000
# (kind, radius, n_bits, SMILES) -> (positions, values), or None for an invalid
# SMILES; least recently used first.
_cache = OrderedDict()
_cache_lock = threading.Lock()


def import_rdkit(purpose):
    """Return rdkit's Chem and rdBase, or say how to install them."""
    try:
        from rdkit import Chem, rdBase
    except ImportError as error:
        raise ImportError(
            f"{purpose} need rdkit, which is not installed. Install it with: "
            'pip install "sklperturb[chem]"'
        ) from error
    return Chem, rdBase


def smiles_or_none(values):
    """Return an object array with None for what is no text, or empty text."""
    return np.array(
        [v if isinstance(v, str) and v.strip() else None for v in values], dtype=object
    )


def fingerprints(
    smiles,
    kind,
    *,
    radius=2,
    n_bits=2048,
    n_jobs=None,
    min_parallel=200,
    cache=_cache,
    cache_size=_CACHE_SIZE,
):
    """Compute the features of each molecule, each distinct SMILES once.

    Parameters
    ----------
    smiles : ndarray of object of shape (n_samples,)
        Texts, or None for a missing structure (see `smiles_or_none`).
    kind : str
        One of ``KINDS``.
    radius, n_bits : int
        See `CompoundFingerprint`.
    n_jobs : int or None
    min_parallel : int
        Number of new molecules below which starting processes takes longer than the
        fingerprints.
    cache : OrderedDict
        Features of the molecules used last, at most `cache_size`.
    cache_size : int

    Returns
    -------
    features : csr_array of shape (n_samples, n_features), float32
        Rows of molecules without a structure are empty.
    invalid : ndarray of bool of shape (n_samples,)
        Where there is a text that rdkit cannot read.
    """
    codes, unique = pd.factorize(smiles)
    # A parameter that a kind does not read must not split the cache.
    key = (
        kind,
        radius if kind.startswith("morgan") else None,
        n_bits if kind in _HASHED else None,
    )
    with _cache_lock:
        known = {s: cache[*key, s] for s in unique if (*key, s) in cache}
        for s in known:
            cache.move_to_end((*key, s))
    new = [s for s in unique if s not in known]
    if len(new) < min_parallel:
        parts = [_compute_some(new, key)]
    else:
        # More pieces than processes, since molecules differ in size.
        size = len(new) // 32 + 1
        calls = [
            delayed(_compute_some)(new[start : start + size], key)
            for start in range(0, len(new), size)
        ]
        parts = run_calls(calls, n_jobs, ordered=True)
    known.update(zip(new, chain.from_iterable(parts), strict=True))
    with _cache_lock:
        cache.update({(*key, s): known[s] for s in new})
        while len(cache) > cache_size:
            cache.popitem(last=False)
    invalid = np.array([known[s] is None for s in unique] + [False])[codes]
    empty = (np.empty(0, np.int32), np.empty(0, np.float32))
    rows = [known[unique[c]] or empty if c >= 0 else empty for c in codes]
    pointers = np.concatenate([[0], np.cumsum([len(p) for p, _ in rows])])
    # One more empty row, so that there is something to concatenate.
    positions, values = map(np.concatenate, zip(*rows, empty, strict=True))
    width = len(feature_names(kind, n_bits))
    return sparse.csr_array((values, positions, pointers), (len(rows), width)), invalid


def feature_names(kind, n_bits):
    """Return the name of each feature of a kind."""
    if kind == "physchem":
        names = _PHYSCHEM
    elif kind == "descriptors":
        import_rdkit("Descriptors")
        from rdkit.Chem import Descriptors

        names = [name for name, _ in Descriptors.descList]
    else:
        names = range(_WIDTHS.get(kind, n_bits))
    return [f"{kind}_{name}" for name in names]


def _compute_some(smiles, key):
    """Return each SMILES' entry of the cache."""
    compute = _function_of(*key)
    entries = []
    for molecule in _read_molecules(smiles):
        if molecule is None:
            entries.append(None)
            continue
        values = np.asarray(compute(molecule), dtype=np.float64)
        values[~np.isfinite(values)] = 0.0
        if key[0] not in COUNT_KINDS:
            values = values.clip(-_LARGEST_DESCRIPTOR, _LARGEST_DESCRIPTOR)
        positions = np.flatnonzero(values).astype(np.int32)
        entries.append((positions, values[positions].astype(np.float32)))
    return entries


def _read_molecules(smiles):
    """Yield the molecule of each SMILES, None if it has no atoms or is invalid.

    rdkit would write to stderr about each SMILES that it cannot read; the caller gives
    a single warning for all of them.
    """
    chem, rd_base = import_rdkit("Structures")
    with rd_base.BlockLogs():
        for text in smiles:
            molecule = chem.MolFromSmiles(str(text))
            atoms = 0 if molecule is None else molecule.GetNumAtoms()
            yield molecule if atoms else None


def _function_of(kind, radius, n_bits):
    """Return the function from a molecule to the values of its features."""
    chem, _ = import_rdkit("Fingerprints")
    from rdkit.Chem import (
        Descriptors,
        rdFingerprintGenerator,
        rdMolDescriptors,
        rdReducedGraphs,
    )

    if kind == "maccs":
        return lambda molecule: list(rdMolDescriptors.GetMACCSKeysFingerprint(molecule))
    if kind == "pharmacophores":
        # Tenths, so that equal counts are equal.
        return lambda molecule: rdReducedGraphs.GetErGFingerprint(molecule).round(1)
    if kind == "descriptors":
        return lambda molecule: [f(molecule) for _, f in Descriptors.descList]
    if kind == "physchem":
        of_name = dict(Descriptors.descList) | {"FormalCharge": chem.GetFormalCharge}
        return lambda molecule: [of_name[name](molecule) for name in _PHYSCHEM]
    if kind == "atom_pairs":
        generator = rdFingerprintGenerator.GetAtomPairGenerator(fpSize=n_bits)
    elif kind == "torsions":
        generator = rdFingerprintGenerator.GetTopologicalTorsionGenerator(fpSize=n_bits)
    else:
        roles = rdFingerprintGenerator.GetMorganFeatureAtomInvGen()
        generator = rdFingerprintGenerator.GetMorganGenerator(
            radius=radius,
            fpSize=n_bits,
            atomInvariantsGenerator=roles if kind == "morgan_features" else None,
        )
    if kind == "morgan_bits":
        return generator.GetFingerprintAsNumPy
    return generator.GetCountFingerprintAsNumPy


@lru_cache(maxsize=_CACHE_SIZE)
def canonical_smiles(text):
    """Return rdkit's canonical SMILES, or None if it cannot read the text."""
    chem, _ = import_rdkit("Structures")
    [molecule] = _read_molecules([text])
    return None if molecule is None else chem.MolToSmiles(molecule)


@lru_cache(maxsize=_CACHE_SIZE)
def parent_smiles(text):
    """Return the canonical SMILES of the largest part, neutral and without stereo.

    None if rdkit cannot read the text. What is left is the same for the salts and the
    stereoisomers of a compound; of a salt whose counter-ion is the larger part, such as
    a pamoate, it is the counter-ion.
    """
    chem, rd_base = import_rdkit("Structures")
    from rdkit.Chem.MolStandardize import rdMolStandardize

    [molecule] = _read_molecules([text])
    if molecule is None:
        return None
    with rd_base.BlockLogs():
        # rdkit's full standardization takes four times as long, and on the compounds
        # of L1000 and OP3 gives the same parents.
        parent = rdMolStandardize.ChargeParent(molecule, skipStandardize=True)
    chem.RemoveStereochemistry(parent)
    return chem.MolToSmiles(parent)


def murcko_scaffolds(smiles):
    """Compute the Bemis-Murcko scaffold of each molecule.

    The scaffold [1]_ is what is left of a molecule when all but its ring systems and
    the linkers between them is cut off. Needs rdkit.

    Parameters
    ----------
    smiles : array-like of shape (n_samples,)
        SMILES; may hold missing values.

    Returns
    -------
    scaffolds : ndarray of shape (n_samples,)
        Canonical SMILES of the scaffold without stereochemistry; None for
        acyclic molecules and for missing or invalid SMILES.
    invalid : ndarray of bool of shape (n_samples,)
        Where a SMILES is there but cannot be read.

    Raises
    ------
    ImportError
        If rdkit is not installed.

    See Also
    --------
    sklperturb.model_selection.UnseenScaffoldKFold : Hold out whole scaffolds.

    References
    ----------
    .. [1] Bemis and Murcko. "The properties of known drugs. 1. Molecular
       frameworks". Journal of Medicinal Chemistry 39(15), 1996.
       :doi:`10.1021/jm9602928`

    Examples
    --------
    >>> from sklperturb.preprocessing import murcko_scaffolds
    >>> murcko_scaffolds(["Cc1ccccc1", "CCO", "?"])
    (array(['c1ccccc1', None, None], dtype=object), array([False, False,  True]))
    """
    import_rdkit("Scaffolds")
    from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

    codes, unique = pd.factorize(np.asarray(smiles, dtype=object))
    # The extra last entry is for missing SMILES, whose code is -1.
    scaffolds = np.full(len(unique) + 1, None, dtype=object)
    invalid = np.zeros(len(unique) + 1, dtype=bool)
    for i, molecule in enumerate(_read_molecules(unique)):
        invalid[i] = molecule is None
        if not invalid[i]:
            scaffolds[i] = MurckoScaffoldSmiles(mol=molecule) or None
    return scaffolds[codes], invalid[codes]
