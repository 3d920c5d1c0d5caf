"""Every model of the toolkit under a name, with good defaults.

The command line, :func:`~sklperturb.comparison.compare` and the tests read this
one table.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
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
    build : callable
        ``build(schema, random_state)`` gives an unfitted estimator that takes a frame
        of conditions.
    default : bool
        Whether a leaderboard runs it without being asked.
    requires : str or None
        Package that it needs besides the core ones.
    extra : str or None
        The extra of this package that brings `requires`.
    role : str or None
        Role of a column that the data must have, such as "smiles".
    """

    name: str
    kind: str
    summary: str
    build: Callable
    default: bool = True
    requires: str | None = None
    extra: str | None = None
    role: str | None = None

    @property
    def available(self):
        """Whether the package that it needs is installed."""
        return self.requires is None or find_spec(self.requires) is not None

    def fits(self, schema):
        """Whether the data have the column that it needs.

        Parameters
        ----------
        schema : PerturbationSchema

        Returns
        -------
        fits : bool
        """
        return self.role is None or getattr(schema, self.role) is not None


def _no_change(schema, random_state):
    from sklperturb.baseline import NoChangeRegressor

    return NoChangeRegressor()


def _group(by, statistic="mean", n_components=None):
    def build(schema, random_state):
        from sklperturb.baseline import GroupStatisticRegressor

        return GroupStatisticRegressor(by, statistic, n_components, schema=schema)

    return build


def _additive(effects):
    def build(schema, random_state):
        from sklperturb.baseline import AdditiveRegressor

        return AdditiveRegressor(effects, schema=schema)

    return build


def _ridge(schema, random_state):
    from sklperturb.linear_model import TargetEncodedRidge

    return TargetEncodedRidge(schema=schema)


def _context_transfer(schema, random_state):
    from sklperturb.linear_model import ContextTransferRidge

    return ContextTransferRidge(schema=schema)


def _product_kernel(schema, random_state):
    from sklperturb.linear_model import ProductKernelRidge

    return ProductKernelRidge(schema=schema)


def _nearest_compound(schema, random_state):
    from sklperturb.baseline import NearestCompoundRegressor

    return NearestCompoundRegressor(schema=schema)


def _tanimoto(schema, random_state):
    from sklperturb.linear_model import TanimotoKernelRidge

    return TanimotoKernelRidge(schema=schema)


def _effect(build):
    """Return a builder of a regressor on the mean effects of cells."""

    def build_effect(schema, random_state):
        from sklperturb.compose import PerturbationEffectRegressor

        return PerturbationEffectRegressor(build(schema, random_state), schema=schema)

    return build_effect


def _combination(schema, random_state):
    from sklperturb.baseline import AdditiveCombinationRegressor

    return AdditiveCombinationRegressor(schema=schema)


def _bilinear(schema, random_state):
    from sklperturb.linear_model import BilinearGeneRegressor

    return BilinearGeneRegressor(schema=schema)


def _encoded(schema, regressor):
    """Return a regressor of numbers behind one-hot columns and target statistics."""
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    from sklperturb.preprocessing import make_condition_encoder

    return Pipeline(
        [
            ("encoder", make_condition_encoder(statistics=("mean",), schema=schema)),
            ("scaler", StandardScaler()),
            ("regressor", regressor),
        ]
    )


def _boosting(schema, random_state):
    from sklperturb.ensemble import BoostedTargetRegressor

    return _encoded(schema, BoostedTargetRegressor(random_state=random_state))


def _transformer(schema, random_state):
    from sklperturb.neural_network import TransformerRegressor

    # The metric as the loss: on TG-GATEs 0.03 to 0.05 better than Huber's.
    return _encoded(
        schema, TransformerRegressor(loss="mrrmse", random_state=random_state)
    )


def _token_mlp(schema, random_state):
    from sklperturb.neural_network import TokenEmbeddingMLPRegressor

    return TokenEmbeddingMLPRegressor(schema=schema, random_state=random_state)


def _dual_branch(schema, random_state):
    from sklperturb.neural_network import DualBranchRegressor

    return DualBranchRegressor(schema=schema, random_state=random_state)


def _sequence(architecture):
    def build(schema, random_state):
        from sklperturb.neural_network import SequenceNetRegressor

        network = SequenceNetRegressor(architecture, random_state=random_state)
        return _encoded(schema, network)

    return build


def _latent(schema, random_state):
    from sklperturb.compose import LatentTargetRegressor
    from sklperturb.neural_network import AutoencoderTransformer, LatentNetRegressor

    return LatentTargetRegressor(
        _encoded(schema, LatentNetRegressor(random_state=random_state)),
        AutoencoderTransformer(random_state=random_state),
    )


def _gan(schema, random_state):
    from sklperturb.neural_network import ConditionalGANRegressor

    return _encoded(schema, ConditionalGANRegressor(random_state=random_state))


def _token_ensemble(schema, random_state):
    from sklperturb.compose import LatentTargetRegressor
    from sklperturb.ensemble import SeedEnsembleRegressor
    from sklperturb.neural_network import TokenEmbeddingMLPRegressor

    network = TokenEmbeddingMLPRegressor(
        schema=schema, hidden_dim=512, target_components=None, clip=False
    )
    return LatentTargetRegressor(
        SeedEnsembleRegressor(network, random_state=random_state)
    )


def _kernel_residual(schema, random_state):
    from sklperturb.ensemble import KernelResidualRegressor

    return KernelResidualRegressor(schema=schema, random_state=random_state)


def _stretched_kernel(schema, random_state):
    from sklperturb.ensemble import StretchedRegressor

    return StretchedRegressor(
        _product_kernel(schema, random_state), random_state=random_state
    )


def _pseudo_label(schema, random_state):
    from sklperturb.ensemble import PseudoLabelRegressor

    # Without X_unlabeled it is the network alone.
    return PseudoLabelRegressor(
        _product_kernel(schema, random_state), _token_ensemble(schema, random_state)
    )


def _blend(schema, random_state):
    from sklperturb.ensemble import (
        BlendRegressor,
        RescaledRegressor,
        SeenUnseenRegressor,
    )
    from sklperturb.linear_model import ContextTransferRidge

    blend = BlendRegressor(
        [
            ("kernel", _product_kernel(schema, random_state)),
            ("transfer", ContextTransferRidge(schema=schema)),
            ("ridge", _ridge(schema, random_state)),
        ],
        random_state=random_state,
    )
    clipped = RescaledRegressor(blend, factors=[1.0], clip=True)
    return SeenUnseenRegressor(
        clipped, _additive("joint")(schema, random_state), schema=schema
    )


def _best(schema, random_state):
    from sklperturb.models import BestRegressor

    return BestRegressor(schema=schema, random_state=random_state)


def _flow(schema, random_state):
    from sklperturb.flow import FlowMatchingRegressor

    return FlowMatchingRegressor(schema=schema, random_state=random_state)


_ENTRIES = (
    ModelEntry("no_change", "baseline", "zero for every gene", _no_change),
    ModelEntry("gene_mean", "baseline", "mean of each gene", _group(None)),
    ModelEntry(
        "gene_median", "baseline", "median of each gene", _group(None, "median")
    ),
    ModelEntry(
        "context_mean",
        "baseline",
        "mean per cell type (published as mean_across_celltypes)",
        _group("context"),
    ),
    ModelEntry(
        "perturbation_mean",
        "baseline",
        "mean per compound (published as mean_across_compounds)",
        _group("perturbation"),
    ),
    ModelEntry(
        "perturbation_median",
        "baseline",
        "median per compound",
        _group("perturbation", "median"),
    ),
    ModelEntry(
        "perturbation_quantile",
        "baseline",
        "quantile 0.6 per compound",
        _group("perturbation", 0.6),
    ),
    ModelEntry(
        "denoised_quantile",
        "baseline",
        "quantile 0.54 per compound after 35-component denoising",
        _group("perturbation", 0.54, 35),
    ),
    ModelEntry(
        "additive",
        "baseline",
        "context mean + perturbation mean - grand mean",
        _additive("means"),
    ),
    # Measured from negative controls, which compound screens of signatures lack.
    ModelEntry(
        "mean_shift",
        "baseline",
        "of expression: controls plus the mean effect",
        _effect(_group(None)),
        default=False,
        role="control",
    ),
    ModelEntry(
        "additive_combination",
        "baseline",
        "of expression: controls plus the effects of a combination's parts",
        _effect(_combination),
        default=False,
        role="control",
    ),
    ModelEntry(
        "nearest_compound",
        "baseline",
        "mean response of the structurally nearest compounds",
        _nearest_compound,
        requires="rdkit",
        extra="chem",
        role="smiles",
    ),
    ModelEntry(
        "additive_joint",
        "linear",
        "shrunken context and perturbation effects, fitted together",
        _additive("joint"),
    ),
    ModelEntry(
        "bilinear",
        "linear",
        "of expression: gene and perturbation loadings, of Ahlmann-Eltze et al.",
        _effect(_bilinear),
        default=False,
        role="control",
    ),
    ModelEntry(
        "ridge",
        "linear",
        "ridge on cross-fitted target statistics, around the additive model",
        _ridge,
    ),
    ModelEntry(
        "context_transfer",
        "linear",
        "ridge per context on the same compound's responses in the other contexts",
        _context_transfer,
    ),
    ModelEntry(
        "product_kernel",
        "kernel",
        "ridge on context x perturbation kernels, context similarity learnt",
        _product_kernel,
    ),
    ModelEntry(
        "tanimoto_kernel",
        "kernel",
        "ridge on the Tanimoto similarity of structures x contexts",
        _tanimoto,
        requires="rdkit",
        extra="chem",
        role="smiles",
    ),
    ModelEntry(
        "boosting",
        "boosting",
        "boosted trees on the leading components of the targets",
        _boosting,
        requires="lightgbm",
        extra="boost",
    ),
    ModelEntry(
        "token_mlp",
        "network",
        "MLP on learnt codes of compound and cell type",
        _token_mlp,
    ),
    ModelEntry(
        "transformer",
        "network",
        "transformer over one-hot and target-statistic tokens",
        _transformer,
    ),
    ModelEntry(
        "latent",
        "network",
        "two stages: a network predicts an autoencoder's latent space",
        _latent,
        default=False,
    ),
    ModelEntry(
        "dual_branch",
        "network",
        "branches for compound and cell type on the most variable genes",
        _dual_branch,
        default=False,
    ),
    ModelEntry(
        "gru",
        "network",
        "recurrent network on encoded features",
        _sequence("gru"),
        default=False,
    ),
    ModelEntry(
        "lstm",
        "network",
        "recurrent network on encoded features",
        _sequence("lstm"),
        default=False,
    ),
    ModelEntry(
        "conv",
        "network",
        "convolutional network on encoded features",
        _sequence("conv"),
        default=False,
    ),
    ModelEntry(
        "gan",
        "network",
        "conditional generator, mean over draws",
        _gan,
        default=False,
    ),
    ModelEntry(
        "best",
        "ensemble",
        "what the toolkit recommends: kernels and networks, weights learnt",
        _best,
        default=False,
    ),
    ModelEntry(
        "blend",
        "ensemble",
        "linear and kernel models, weights learnt out of fold",
        _blend,
        default=False,
    ),
    ModelEntry(
        "token_ensemble",
        "ensemble",
        "median of five token_mlp of twice the width",
        _token_ensemble,
        default=False,
    ),
    ModelEntry(
        "kernel_residual",
        "ensemble",
        "networks that correct product_kernel's leave-one-out errors",
        _kernel_residual,
        default=False,
    ),
    ModelEntry(
        "stretched_kernel",
        "ensemble",
        "product_kernel, with strong predictions made stronger, out of fold",
        _stretched_kernel,
        default=False,
    ),
    ModelEntry(
        "pseudo_label",
        "ensemble",
        "networks refitted on product_kernel's predictions too",
        _pseudo_label,
        default=False,
    ),
    ModelEntry(
        "flow",
        "flow",
        "of cells: regression of the mean, flow matching from controls for the shape",
        _flow,
        default=False,
        role="control",
    ),
)
_BY_NAME = {entry.name: entry for entry in _ENTRIES}


def list_models(kind=None):
    """Return the registered models, in the order of the table.

    Parameters
    ----------
    kind : str, default=None
        Only models of this kind.

    Returns
    -------
    entries : list of ModelEntry

    Raises
    ------
    ValueError
        If there is no such kind.

    Examples
    --------
    >>> from sklperturb.models import list_models
    >>> [entry.name for entry in list_models("kernel")][:1]
    ['product_kernel']
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind={kind!r} is not one of {list(KINDS)}.")
    return [entry for entry in _ENTRIES if kind in (None, entry.kind)]


def get_entry(name):
    """Look up a model by its name.

    Parameters
    ----------
    name : str

    Returns
    -------
    entry : ModelEntry

    Raises
    ------
    ValueError
        If there is no such model; the message lists the near names.

    Examples
    --------
    >>> from sklperturb.models import get_entry
    >>> get_entry("ridge").kind
    'linear'
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    near = difflib.get_close_matches(str(name), _BY_NAME, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    raise ValueError(
        f"There is no model named {name!r}. {hint}Registered are {', '.join(_BY_NAME)}."
    )


def make_model(name, *, schema=None, random_state=None):
    """Build a registered model.

    Parameters
    ----------
    name : str
        See `list_models`.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.
    random_state : int, RandomState instance or None, default=None
        Given to the parts that draw random numbers.

    Returns
    -------
    estimator : estimator
        Unfitted; takes a frame of conditions and the responses.

    Raises
    ------
    ValueError
        If there is no such model; the message lists the near names.
    ImportError
        If it needs a package that is not installed.

    Examples
    --------
    >>> from sklperturb.models import make_model
    >>> make_model("gene_median")
    GroupStatisticRegressor(statistic='median')
    """
    entry = get_entry(name)
    if not entry.available:
        raise ImportError(
            f"The model {name!r} needs {entry.requires}; run: "
            f'pip install "sklperturb[{entry.extra}]"'
        )
    return entry.build(schema, random_state)
