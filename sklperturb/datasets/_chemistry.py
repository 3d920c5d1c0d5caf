"""Invent compounds: names, identifiers and structures that belong together."""

import numpy as np
import pandas as pd

# A name stem and a structure with two places to substitute. Every place is a
# carbon, and the two places of a scaffold are never equivalent by symmetry, so
# that different substituents always give different molecules.
SCAFFOLDS = (
    ("tinib", "c1c({0})cc2c({1})ncnc2c1"),
    ("oxacin", "c1cc2nc({0})cc({1})c2cc1"),
    ("dolin", "c1cc({0})cc2c({1})c[nH]c12"),
    ("prazole", "c1cc({0})cc2nc({1})[nH]c12"),
    ("ciclib", "c1cc({0})ccc1-c1ccnc({1})n1"),
    ("inostat", "ONC(=O)/C=C/c1ccc({0})c({1})c1"),
    ("parib", "NC(=O)c1cc({0})ccc1-c1ccc({1})cc1"),
    ("lisib", "Cn1cnc2c({0})nc({1})nc12"),
    ("tazol", "Cc1sc({0})nc1-c1ccc({1})cc1"),
    ("arol", "O=c1oc2cc({0})ccc2c({1})c1"),
    ("coxib", "NS(=O)(=O)c1ccc({0})c({1})c1"),
    ("peridol", "O=C(c1ccc({0})cc1)N1CCC({1})CC1"),
    ("azine", "c1cc({0})ccc1CN1CCN(CC1)C(=O)c1ccc({1})nc1"),
    ("rafenib", "Cn1nc({0})cc1-c1ccc({1})cc1"),
    ("zolam", "c1cc({0})cn2cc({1})nc12"),
    ("fenamide", "O=C(Nc1ccc({0})cc1)Nc1cccc({1})c1"),
)
SUBSTITUENTS = (
    *("C", "F", "Cl", "Br", "O", "OC", "OCC", "CC", "CO", "C#N"),
    *("C(C)C", "N(C)C", "C(F)(F)F", "C(=O)OC", "NC(C)=O", "S(C)(=O)=O"),
    *("C9CC9", "N9CCOCC9"),
)
_FIRST = (
    *("Ba", "Ce", "Do", "Fa", "Ge", "Hy", "Ju", "Ka", "Lo", "Mu", "Na", "Or"),
    *("Pe", "Qui", "Ra", "Su", "Te", "Ul", "Va", "Wo", "Xa", "Yo", "Ze", "Bri"),
)
_SECOND = (
    *("bu", "ca", "dro", "fe", "gli", "ko", "la", "mo"),
    *("ni", "pra", "ro", "se", "ti", "vo", "xi", "zu"),
)
MAX_COMPOUNDS = len(SCAFFOLDS) * len(SUBSTITUENTS) ** 2


def invent_compounds(n_compounds, rng):
    """Draw distinct compounds, several on each scaffold.

    Parameters
    ----------
    n_compounds : int
        At most ``MAX_COMPOUNDS``.
    rng : numpy.random.Generator

    Returns
    -------
    compounds : DataFrame of shape (n_compounds, 4)
        Columns `sm_name`, `sm_lincs_id`, `SMILES` and `scaffold`, an integer.
    """
    # About six compounds to a scaffold, so that relatives exist on small screens.
    n_scaffolds = int(np.clip(n_compounds // 6, 1, len(SCAFFOLDS)))
    while n_compounds > n_scaffolds * len(SUBSTITUENTS) ** 2:
        n_scaffolds += 1
    scaffold = rng.permutation(np.arange(n_compounds) % n_scaffolds)
    names = np.empty(n_compounds, dtype=object)
    smiles = np.empty(n_compounds, dtype=object)
    for s in range(n_scaffolds):
        stem, template = SCAFFOLDS[s]
        members = np.flatnonzero(scaffold == s)
        for values, firsts, seconds, form in (
            (names, _FIRST, _SECOND, "{0}{1}" + stem),
            (smiles, SUBSTITUENTS, SUBSTITUENTS, template),
        ):
            codes = rng.choice(
                len(firsts) * len(seconds), size=len(members), replace=False
            )
            for member, code in zip(members, codes, strict=True):
                first, second = divmod(int(code), len(seconds))
                values[member] = form.format(firsts[first], seconds[second])
    numbers = rng.choice(np.arange(1000, 50_000), size=n_compounds, replace=False)
    return pd.DataFrame(
        {
            "sm_name": names,
            "sm_lincs_id": np.array([f"LSM-{n}" for n in numbers], dtype=object),
            "SMILES": smiles,
            "scaffold": scaffold,
        }
    )
