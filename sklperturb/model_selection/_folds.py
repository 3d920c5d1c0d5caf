"""What the splitters share: reading conditions from X, dealing them into folds."""

import difflib
from numbers import Integral

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_random_state

from sklperturb.conditions._doubts import warn
from sklperturb.conditions._frames import as_table, column_names, read_column
from sklperturb.conditions._labels import as_text
from sklperturb.conditions._levels import number_levels
from sklperturb.conditions._near import pairs, twins
from sklperturb.conditions._validation import check_list, resolve_schema


class BaseConditionKFold(BaseCrossValidator):
    """Base of the splitters that deal conditions into `n_splits` folds."""

    def __init__(self, n_splits=5, *, schema=None, random_state=None):
        self.n_splits = n_splits
        self.schema = schema
        self.random_state = random_state

    def get_n_splits(self, X=None, y=None, groups=None):
        """Return the number of splits.

        Parameters
        ----------
        X, y, groups : object
            Ignored, present for scikit-learn's interface.

        Returns
        -------
        n_splits : int
        """
        return self.n_splits

    def _dealt_as_one(self, X):
        """Return what it is that folds keep together, and its number for each row.

        None where that is the name of a perturbation or a context, or a pair of them.
        """
        return None

    def _deal(self, n_rows, described):
        """Deal units into folds; return the fold of each, or -1 if it has no rows.

        The units are shuffled, and each goes in turn to the fold that has the
        fewest rows by then, so that two folds differ by at most the rows of the
        largest unit. Dealing from large to small would balance better, and
        leave the seed without effect where all sizes differ.

        Parameters
        ----------
        n_rows : ndarray of shape (n_units,)
            Rows of each unit.
        described : str
            What a unit is, for the error message.
        """
        units = np.flatnonzero(n_rows)
        check_n_splits(self.n_splits, len(units), described)
        load = np.zeros(self.n_splits, dtype=int)
        folds = np.full(len(n_rows), -1)
        for unit in check_random_state(self.random_state).permutation(units):
            folds[unit] = load.argmin()
            load[folds[unit]] += n_rows[unit]
        return folds

    def _deal_rows(self, codes, described):
        """Yield the masks of folds that units, numbered by `codes`, are dealt into.

        Rows of code -1 are in none.
        """
        folds = self._deal(np.bincount(codes[codes >= 0]), described)
        yield from self._masks(np.append(folds, -1)[codes])

    def _masks(self, fold_of_row):
        for fold in range(self.n_splits):
            yield fold_of_row == fold


def check_keep_controls(keep_controls):
    """Refuse what is neither true, false nor "both"."""
    if keep_controls not in (True, False, "both"):
        raise ValueError(
            f"keep_controls={keep_controls!r}; allowed are True, False and 'both'."
        )


def check_by_structure(by_structure):
    """Refuse what is neither "auto", "parent" nor false."""
    if by_structure not in ("auto", "parent", False):
        raise ValueError(
            f"by_structure={by_structure!r}; allowed are 'auto', 'parent' and False."
        )


def turns(groups, n_turns, random_state):
    """Return a number below `n_turns` for each row: in turn, group after group.

    Parameters
    ----------
    groups : ndarray of int of shape (n_rows,)
    n_turns : int
    random_state : int, RandomState instance or None
        Seed of the order within a group.
    """
    order = check_random_state(random_state).permutation(len(groups))
    order = order[np.argsort(groups[order], kind="stable")]
    found = np.empty(len(groups), dtype=int)
    found[order] = np.arange(len(groups)) % n_turns
    return found


def deal_controls(splitter, X, schema, is_control):
    """Return the fold of each control: in turn, context after context."""
    n_splits, n_controls = splitter.n_splits, np.count_nonzero(is_control)
    check_n_splits(n_splits, n_controls, "controls in X")
    context = np.zeros(len(is_control), dtype=int)
    if schema.context is not None:
        [(context, _)] = read_roles(X, schema, "context")
    return turns(context[is_control], n_splits, splitter.random_state)


def check_n_splits(n_splits, n_available, described):
    """Refuse a number of folds that cannot be made from `n_available` units."""
    if not isinstance(n_splits, Integral) or isinstance(n_splits, bool):
        raise TypeError(f"n_splits={n_splits!r} is no integer; give 2 or more.")
    if n_splits < 2:
        raise ValueError(
            f"n_splits={n_splits} leaves nothing to train on; give 2 or more."
        )
    if n_splits > n_available:
        todo = (
            f"Lower n_splits to at most {n_available}."
            if n_available >= 2
            else "At least 2 are needed; measure more, or use another splitter."
        )
        raise ValueError(
            f"n_splits={n_splits} exceeds the number of {described}: "
            f"{n_available}. {todo}"
        )


def read_table(X, schema):
    """Return X as a DataFrame or an array, and its schema."""
    X = as_table(X)
    return X, resolve_schema(schema, X)


def read_roles(X, schema, *roles):
    """Return one `(codes, names)` for each of the schema's `roles`."""
    X, schema = read_table(X, schema)
    schema.require(X, *roles)
    columns = [getattr(schema, role) for role in roles]
    found = [number_levels(read_column(X, column)) for column in columns]
    if "perturbation" in roles and schema.labels_combine:
        place = roles.index("perturbation")
        found[place] = _in_one_spelling(*found[place], schema)
    for column, (_, names) in zip(columns, found, strict=True):
        near = twins(names)
        if near:
            warn(
                f"Column {column!r} holds names that differ in their spelling only and "
                "are dealt into folds as different: "
                f"{pairs(near, of='and')}. Give each one spelling if they are the same."
            )
    return found


def _in_one_spelling(codes, names, schema):
    """Make one level of labels of the same perturbations, such as A+B and B+A."""

    def spelled(name):
        return as_text(name) if schema.names_control(name) else schema.spell(name)

    _, first, level = np.unique(
        [spelled(name) for name in names], return_index=True, return_inverse=True
    )
    # By the first of each, so that levels keep their order where nothing is joined.
    kept, codes_of_names = np.unique(first[level], return_inverse=True)
    return np.append(codes_of_names, -1)[codes], names[kept]


def has_structures(X, schema):
    """Return whether the schema names a SMILES column, and X has it."""
    return schema.smiles is not None and schema.smiles in column_names(X)


def join_structures(codes, X, schema, *, parent=False, rows=None, owner=None):
    """Make one group of the groups that share a structure.

    Parameters
    ----------
    codes : ndarray of int of shape (n_samples,)
        The group of each row.
    X : DataFrame or array
        Has the schema's SMILES column.
    schema : PerturbationSchema
    parent : bool, default=False
        Whether salts and stereoisomers of a compound are the same structure. If not,
        rdkit is not needed: without it, equal texts are equal structures.
    rows : ndarray of bool of shape (n_samples,), default=None
        The rows whose structures count; None takes all.
    owner : str, default=None
        The splitter that warns of SMILES that rdkit cannot read; with None the caller
        has done so.

    Returns
    -------
    codes : ndarray of int of shape (n_samples,)
        Without gaps, in the order of the smallest code of each group, so that groups
        keep their numbers where nothing is joined.
    """
    # Loaded only here: folds by name need no features.
    from sklperturb.preprocessing._fingerprint import warn_invalid
    from sklperturb.preprocessing._molecules import (
        canonical_smiles,
        import_rdkit,
        parent_smiles,
    )
    from sklperturb.preprocessing._structures import spell_structures

    spell = parent_smiles if parent else canonical_smiles
    try:
        import_rdkit("Parents of structures")
    except ImportError:
        if parent:
            raise
        spell = str.strip
    smiles = read_column(X, schema.smiles, allow_missing=True)
    if rows is not None:
        smiles = np.where(rows, smiles, None)
    structures, invalid = spell_structures(smiles, spell)
    if owner is not None:
        warn_invalid(smiles, invalid, owner, "joins their rows by name only")
    structure, _ = number_levels(structures)
    # Groups and structures are the nodes of a graph; what is connected is one group.
    there = structure >= 0
    n_groups = codes.max(initial=-1) + 1
    n_nodes = n_groups + structure.max(initial=-1) + 1
    edges = (codes[there], n_groups + structure[there])
    graph = coo_array((np.ones(there.sum()), edges), shape=(n_nodes, n_nodes))
    _, component = connected_components(graph, directed=False)
    _, first = np.unique(component[:n_groups], return_index=True)
    smallest = first[component[codes]]
    return np.unique(smallest, return_inverse=True)[1]


def find_names(wanted, names, parameter, described):
    """Return the codes of the `wanted` names; 1, 1.0 and "1" are one name.

    Parameters
    ----------
    wanted : list-like
        What the user gave.
    names : ndarray
        What there is in X.
    parameter, described : str
        How the parameter is called and what it names, for the messages.
    """
    check_list(wanted, parameter)
    wanted, names = list(wanted), list(names)
    texts, known = list(map(as_text, wanted)), list(map(as_text, names))
    unknown = [w for w, text in zip(wanted, texts, strict=True) if text not in known]
    if unknown:
        # A screen may hold thousands of compounds: show those that look alike.
        there_are = names
        if len(names) > 20:
            near = difflib.get_close_matches(as_text(unknown[0]), known)
            there_are = [*near, f"... ({len(names)} in all)"]
        raise ValueError(
            f"{parameter} names {described} that X does not have: {unknown}. "
            f"X has {there_are}."
        )
    repeated = sorted({text for text in texts if texts.count(text) > 1})
    if repeated:
        raise ValueError(f"{parameter} repeats {repeated}; name each of them once.")
    return np.array([known.index(text) for text in texts], dtype=int)
