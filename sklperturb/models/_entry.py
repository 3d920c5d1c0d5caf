"""What the registry holds of a model."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec

KINDS = ("baseline", "linear", "kernel", "boosting", "network", "ensemble", "flow")


@dataclass(frozen=True)
class ModelEntry:
    """A named model.

    Attributes
    ----------
    name : str
        What a user types.
    kind : str
        One of ``KINDS``.
    summary : str
        One line for tables.
    path : str
        Where its class is, or the function that composes it, as
        ``"sklperturb.linear_model:ProductKernelRidge"``. Imported when the model is
        made, so that a list of names needs neither torch nor the methods.
    parameters : dict of str to object
        What the class or function is called with. `schema` and `random_state` are
        passed besides, where it takes them.
    composition : str or None
        What a function puts together, in words; None for a class.
    default : bool
        Whether a leaderboard runs it without being asked.
    requires : str or None
        Package that it needs besides the core ones.
    extra : str or None
        The extra of this package that brings `requires`.
    role : str or None
        Role of a column that the data must have, such as "smiles"; or several, of
        which one is enough, as "smiles or mechanism".

    Examples
    --------
    >>> from sklperturb.models import get_entry
    >>> get_entry("product_kernel").path
    'sklperturb.linear_model:ProductKernelRidge'
    >>> get_entry("conv").made_of
    'pipeline of an encoder and SequenceNetRegressor'
    """

    name: str
    kind: str
    summary: str
    path: str
    parameters: Mapping = field(default_factory=dict, hash=False)
    composition: str | None = None
    default: bool = True
    requires: str | None = None
    extra: str | None = None
    role: str | None = None

    @property
    def made_of(self):
        """Name of the class, or what a composition is made of."""
        return self.composition or self.path.partition(":")[2]

    @property
    def available(self):
        """Whether the package that it needs is installed."""
        return self.requires is None or find_spec(self.requires) is not None

    @property
    def needs(self):
        """The extra of the package and the column that it needs; may be empty."""
        extra = f"{self.extra} extra" if self.extra else ""
        column = f"{self.role} column" if self.role else ""
        return ", ".join(filter(None, (extra, column)))

    @property
    def takes_sources(self):
        """Whether it can be told what is known of genes."""
        return "sources" in inspect.signature(load(self.path)).parameters

    def fits(self, schema):
        """Whether the data have the column that it needs.

        Parameters
        ----------
        schema : PerturbationSchema

        Returns
        -------
        fits : bool
        """
        roles = self.role.split(" or ") if self.role else []
        return not roles or any(getattr(schema, role) is not None for role in roles)

    def build(self, schema=None, random_state=None, sources=None):
        """Return the estimator, unfitted.

        Parameters
        ----------
        schema : PerturbationSchema, default=None
            Roles of the columns. None infers them from the column names.
        random_state : int, RandomState instance or None, default=None
            Given to the parts that draw random numbers.
        sources : list, default=None
            What is known of genes, for the models that take it; see
            `GeneKnowledgeRidge`.

        Returns
        -------
        estimator : estimator
        """
        maker = load(self.path)
        accepted = inspect.signature(maker).parameters
        common = {"schema": schema, "random_state": random_state}
        if sources is not None:
            common["sources"] = sources
        return maker(
            **self.parameters, **{k: v for k, v in common.items() if k in accepted}
        )


def load(path):
    """Return what a path such as ``"sklperturb.ensemble:BlendRegressor"`` names."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
