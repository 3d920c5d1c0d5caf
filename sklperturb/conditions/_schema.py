"""Which column of a table of conditions plays which role."""

from dataclasses import asdict, dataclass

from sklperturb.conditions._doubts import doubtful_columns, near_columns, warn
from sklperturb.conditions._frames import as_table, column_names
from sklperturb.conditions._labels import (
    as_text,
    is_control_label,
    join_combination,
    split_combination,
)
from sklperturb.conditions._near import spelling_hint

# How public data sets spell each role, most specific first. Importers and
# ``PerturbationSchema.infer`` read this table; no estimator holds a column name.
KNOWN_SPELLINGS = {
    "perturbation": (
        *("sm_name", "target_gene", "perturbation", "condition"),
        *("drug", "compound", "target", "gene"),
    ),
    "context": ("cell_type", "context", "cell_line", "celltype", "cell_line_id"),
    "control": ("control", "is_control"),
    "smiles": ("SMILES", "smiles", "canonical_smiles"),
    "dose": ("dose_uM", "dose_um", "dose", "dose_value", "dose_val"),
    "batch": ("batch", "gem_group", "plate", "plate_name"),
    "replicate": ("replicate", "donor_id", "donor", "well"),
    "mechanism": (
        *("moa", "MoA", "MOA", "mechanism", "mechanism_of_action", "moa-fine"),
        *("moa_fine", "target", "targets"),
    ),
}
# In a screen of genes these are other names of what was perturbed.
_TARGETS = ("target", "targets")
# Names of compounds hold plus signs of their own, such as those of salts.
_COMPOUNDS = ("sm_name", "drug", "compound")
_NO_ROLES = ("control_labels", "combines")


@dataclass(frozen=True)
class PerturbationSchema:
    """Which column of `X` is the perturbation, the context, and so on.

    Estimators and splitters of the toolkit take their column names from a
    schema, so that no name is written into any of them.

    Parameters
    ----------
    perturbation : str or int
        Column that names the compound, the target gene or the combination. An
        integer is a position, for arrays.
    context : str, int or None, default=None
        Column that names the cell type, cell line, or time and dose in which
        the perturbation was applied.
    control, smiles, dose, batch, replicate : str, int or None, default=None
        Columns that hold the boolean control flag, the structure, the dose,
        the technical batch and the biological replicate.
    control_labels : str or tuple of str, default=()
        Names that the perturbation column gives to controls, such as
        ``"non-targeting"``. They decide where no control column is named; without any,
        the spellings of public data sets count. No role of a column: `columns` leaves
        them out.
    combines : bool, default=None
        Whether a perturbation ``"A+B"`` is the combination of two. None takes names of
        compounds as they are, which are in a column called ``sm_name``, ``drug`` or
        ``compound`` or have structures in a column of their own, and lets all others
        combine. Where labels combine, a plus sign inside brackets or with nothing on
        one side is still part of a name: ``(+)-JQ1``, ``CD4+``.
    mechanism : str, int or None, default=None
        Column that says of each compound what it does to the cell: its mechanism of
        action or its target genes, several separated by ``|``, ``;`` or commas, or
        in lists.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.conditions import PerturbationSchema
    >>> X = pd.DataFrame({"cell_type": ["B"], "sm_name": ["Idelalisib"]})
    >>> schema = PerturbationSchema.infer(X)
    >>> schema.perturbation, schema.context
    ('sm_name', 'cell_type')
    """

    perturbation: str | int
    context: str | int | None = None
    control: str | int | None = None
    smiles: str | int | None = None
    dose: str | int | None = None
    batch: str | int | None = None
    replicate: str | int | None = None
    control_labels: tuple[str, ...] = ()
    combines: bool | None = None
    mechanism: str | int | None = None

    def __post_init__(self):
        labels = self.control_labels
        labels = (labels,) if isinstance(labels, str) else tuple(labels)
        labels = tuple(as_text(label).strip() for label in labels)
        object.__setattr__(self, "control_labels", labels)
        if self.perturbation is not None and self.perturbation == self.context:
            raise ValueError(
                f"Column {self.perturbation!r} cannot be both the perturbation and the "
                "context; name another column as one of them."
            )

    @property
    def names_compounds(self):
        """Whether perturbations are compounds: by structures, or the column's name."""
        return self.smiles is not None or self.perturbation in _COMPOUNDS

    @property
    def labels_combine(self):
        """Whether labels can combine perturbations: `combines`, or what it implies."""
        if self.combines is not None:
            return self.combines
        return not self.names_compounds

    def names_control(self, label):
        """Return whether a label of the perturbation column names a control.

        Parameters
        ----------
        label : str

        Returns
        -------
        is_control : bool
            A control column, where there is one, may say otherwise; see
            :func:`~sklperturb.conditions.control_rows`.
        """
        return is_control_label(label, self.control_labels, self.labels_combine)

    def split(self, label):
        """Return the perturbations that a label combines, without controls.

        Parameters
        ----------
        label : str

        Returns
        -------
        parts : tuple of str
            Sorted, each once; none for a control.

        Examples
        --------
        >>> from sklperturb.conditions import PerturbationSchema
        >>> PerturbationSchema("target_gene").split("KLF1+CEBPE")
        ('CEBPE', 'KLF1')
        >>> PerturbationSchema("drug").split("Metformin + HCl")
        ('Metformin + HCl',)
        """
        if self.names_control(label):
            return ()
        if not self.labels_combine:
            return (as_text(label).strip(),)
        return split_combination(label, self.control_labels)

    def spell(self, label):
        """Return the one spelling of a label: ``control``, ``A``, ``A+B``.

        Parameters
        ----------
        label : str

        Returns
        -------
        label : str
        """
        return join_combination(self.split(label))

    @classmethod
    def infer(cls, X, **known):
        """Return the roles of `X`'s columns by the spellings in public use.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            A table of conditions, such as a data frame of pandas, polars or pyarrow.
            In an array, or where the names are integers, the first column is the
            context and the second the perturbation; a single column is the
            perturbation.
        **known : str
            Columns of roles that need not be looked for.

        Returns
        -------
        schema : PerturbationSchema

        Raises
        ------
        ValueError
            If no column has a known spelling of the perturbation.

        Warns
        -----
        UserWarning
            If a role has no column, and the name of one is a near miss.
        """
        columns = column_names(as_table(X))
        if all(isinstance(name, int) for name in columns):
            if len(columns) == 1:
                return cls(perturbation=0)
            return cls(perturbation=1, context=0)
        roles = {
            role: next((name for name in names if name in columns), None)
            for role, names in KNOWN_SPELLINGS.items()
        }
        # A column plays one role: the one that the caller gives it.
        roles = {r: None if c in known.values() else c for r, c in roles.items()}
        roles |= known
        spellings = KNOWN_SPELLINGS | {"mechanism": _mechanisms(roles)}
        if (
            "mechanism" not in known
            and roles["mechanism"] not in spellings["mechanism"]
        ):
            roles["mechanism"] = None
        if roles["perturbation"] is None:
            near = near_columns(columns, {"": KNOWN_SPELLINGS["perturbation"]})
            hint = f" It may be {next(iter(near))!r}." if near else ""
            raise ValueError(
                f"No column of {_cut(columns)} is known as a perturbation; known "
                f"spellings are {list(KNOWN_SPELLINGS['perturbation'])}. Pass "
                f"schema=PerturbationSchema(perturbation=...) to name it.{hint}"
            )
        for message in doubtful_columns(columns, spellings, roles):
            warn(message)
        return cls(**roles)

    def columns(self, *roles):
        """Return the columns that play `roles`, leaving out the absent ones.

        Parameters
        ----------
        *roles : str
            Names of fields; all of them by default.

        Returns
        -------
        columns : list of str or int
        """
        table = asdict(self)
        for name in _NO_ROLES:
            del table[name]
        return [table[r] for r in roles or table if table[r] is not None]

    def require(self, X, *roles):
        """Check that `X` holds the columns for `roles`.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
        *roles : str
            Names of fields that must be set and whose columns must be in `X`.

        Raises
        ------
        ValueError
            Names the role that is not set, or the column that is missing.
        """
        names = column_names(as_table(X))
        for role in roles:
            column = getattr(self, role)
            if column is None:
                raise ValueError(
                    f"The schema names no {role} column, and one is needed here. "
                    f"X has {_cut(names)}; pass schema=PerturbationSchema(..., "
                    f"{role}=...)."
                )
            if column not in names:
                raise ValueError(
                    f"The schema says that {role} is column {column!r}, which X "
                    f"does not have. X has {_cut(names)}."
                    f"{spelling_hint([column], names)}"
                )


def _mechanisms(roles):
    """Return how the column of mechanisms may be called, given those of other roles."""
    names = KNOWN_SPELLINGS["mechanism"]
    perturbation = roles["perturbation"]
    compounds = roles["smiles"] is not None or perturbation in _COMPOUNDS
    if not compounds or perturbation in _TARGETS:
        return [name for name in names if name not in _TARGETS]
    return names


def _cut(names):
    """Return the names of columns as a message can hold them."""
    return names if len(names) <= 20 else [*names[:10], f"... ({len(names)} in all)"]
