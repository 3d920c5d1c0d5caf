"""The table of registered models; a new one gets a summary and an entry here.

An entry names a class, with the parameters that are not its defaults, or a function of
``_recipes.py`` where several estimators are put together. The order is that of lists.
"""

from sklperturb.models._entry import ModelEntry

# One line each, for tables.
_SUMMARIES = {
    "no_change": "zero for every gene",
    "gene_mean": "mean of each gene",
    "gene_median": "median of each gene",
    "context_mean": "mean per cell type (published as mean_across_celltypes)",
    "perturbation_mean": "mean per compound (published as mean_across_compounds)",
    "perturbation_median": "median per compound",
    "perturbation_quantile": "quantile 0.6 per compound",
    "denoised_quantile": "quantile 0.54 per compound after 35-component denoising",
    "additive": "context mean + perturbation mean - grand mean",
    "mean_shift": "of expression: controls plus the mean effect",
    "additive_combination": (
        "of expression: controls plus the effects of a combination's parts"
    ),
    "nearest_compound": "mean response of the structurally nearest compounds",
    "additive_joint": "shrunken context and perturbation effects, fitted together",
    "bilinear": (
        "of expression: gene and perturbation loadings, of Ahlmann-Eltze et al."
    ),
    "ridge": "ridge on cross-fitted target statistics, around the additive model",
    "context_transfer": (
        "ridge per context on the same compound's responses in the other contexts"
    ),
    "product_kernel": (
        "ridge on context x perturbation kernels, context similarity learnt"
    ),
    "response_kernel": (
        "ridge on how alike perturbations act in the other contexts x contexts"
    ),
    "gene_kernel": (
        "ridge on gene sets, gene vectors and other screens x contexts, for genes "
        "never perturbed"
    ),
    "tanimoto_kernel": (
        "ridge on the Tanimoto similarity of structures, and mechanisms, x contexts"
    ),
    "boosting": "boosted trees on the leading components of the targets",
    "long_boosting": (
        "boosted trees over (condition, gene) that correct response_kernel"
    ),
    "token_mlp": "MLP on learnt codes of compound and cell type, on additive_joint",
    "transformer": "transformer over target-statistic tokens, on additive_joint",
    "latent": "two stages: a network predicts an autoencoder's latent space",
    "dual_branch": "branches for compound and cell type on the most variable genes",
    "gru": "recurrent network on encoded features",
    "lstm": "recurrent network on encoded features",
    "conv": "convolutional network on encoded features",
    "gan": "conditional generator, mean over draws",
    "best": "what the toolkit recommends: kernels and networks, weights learnt",
    "blend": "linear and kernel models, weights learnt out of fold",
    "token_ensemble": "median of five MLPs on learnt codes, 100 components of y",
    "stretched_kernel": (
        "product_kernel, with strong predictions made stronger, out of fold"
    ),
    "pseudo_label": "networks refitted on product_kernel's predictions too",
    "flow": (
        "of cells: regression of the mean, flow matching from controls for the shape"
    ),
}
_GROUP = "baseline:GroupStatisticRegressor"
_ADDITIVE = "baseline:AdditiveRegressor"
_BY = {"by": "perturbation"}
_CHEM = {"requires": "rdkit", "extra": "chem", "role": "smiles"}
_KNOWN = _CHEM | {"role": "smiles or mechanism"}
_BOOSTING = {"requires": "lightgbm", "extra": "boost"}
# Measured from negative controls, which compound screens of signatures lack.
_CONTROLS = {"default": False, "role": "control"}


def _entry(name, kind, path, parameters=None, **fields):
    path = f"sklperturb.{path}"
    return ModelEntry(name, kind, _SUMMARIES[name], path, parameters or {}, **fields)


def _recipe(name, kind, composition, *, default=False):
    path = f"models._recipes:{name}"
    return _entry(name, kind, path, composition=composition, default=default)


def _encoded(name, kind, path, parameters=None, **fields):
    """Return the entry of a regressor of numbers, behind an encoder."""
    parameters = {"regressor": f"sklperturb.{path}"} | (parameters or {})
    composition = f"pipeline of an encoder and {path.partition(':')[2]}"
    recipe = "models._recipes:encoded"
    return _entry(name, kind, recipe, parameters, composition=composition, **fields)


def _sequence(name):
    path = "neural_network:SequenceNetRegressor"
    return _encoded(name, "network", path, {"architecture": name}, default=False)


def _effect(name, kind, path):
    """Return the entry of a regressor of effects, in place of expression."""
    parameters = {"regressor": f"sklperturb.{path}"}
    composition = f"PerturbationEffectRegressor of {path.partition(':')[2]}"
    recipe = "models._recipes:effect"
    return _entry(name, kind, recipe, parameters, composition=composition, **_CONTROLS)


ENTRIES = (
    _entry("no_change", "baseline", "baseline:NoChangeRegressor"),
    _entry("gene_mean", "baseline", _GROUP),
    _entry("gene_median", "baseline", _GROUP, {"statistic": "median"}),
    _entry("context_mean", "baseline", _GROUP, {"by": "context"}),
    _entry("perturbation_mean", "baseline", _GROUP, _BY),
    _entry("perturbation_median", "baseline", _GROUP, _BY | {"statistic": "median"}),
    _entry("perturbation_quantile", "baseline", _GROUP, _BY | {"statistic": 0.6}),
    _entry(
        "denoised_quantile",
        "baseline",
        _GROUP,
        _BY | {"statistic": 0.54, "n_components": 35},
    ),
    _entry("additive", "baseline", _ADDITIVE, {"effects": "means"}),
    _effect("mean_shift", "baseline", _GROUP),
    _effect(
        "additive_combination", "baseline", "baseline:AdditiveCombinationRegressor"
    ),
    _entry(
        "nearest_compound", "baseline", "baseline:NearestCompoundRegressor", **_CHEM
    ),
    _entry("additive_joint", "linear", _ADDITIVE, {"effects": "joint"}),
    _effect("bilinear", "linear", "linear_model:BilinearGeneRegressor"),
    _entry("ridge", "linear", "linear_model:TargetEncodedRidge"),
    # On a screen that is nearly additive, 6 % worse than the additive model.
    _entry(
        "context_transfer",
        "linear",
        "linear_model:ContextTransferRidge",
        default=False,
    ),
    _entry("product_kernel", "kernel", "linear_model:ProductKernelRidge"),
    _entry("response_kernel", "kernel", "linear_model:ResponseKernelRidge"),
    # Without sources it is slower than response_kernel, and says little more.
    _entry("gene_kernel", "kernel", "linear_model:GeneKnowledgeRidge", default=False),
    _entry("tanimoto_kernel", "kernel", "linear_model:TanimotoKernelRidge", **_KNOWN),
    _entry(
        "long_boosting", "boosting", "ensemble:LongFormBoostingRegressor", **_BOOSTING
    ),
    # Without a model to start from: 30 % worse than the additive one there.
    _encoded(
        "boosting",
        "boosting",
        "ensemble:BoostedTargetRegressor",
        default=False,
        **_BOOSTING,
    ),
    _recipe(
        "token_mlp",
        "network",
        "ResidualRegressor of AdditiveRegressor and TokenEmbeddingMLPRegressor",
        default=True,
    ),
    _recipe(
        "transformer",
        "network",
        "ResidualRegressor of AdditiveRegressor and TransformerRegressor",
        default=True,
    ),
    _recipe(
        "latent",
        "network",
        "LatentTargetRegressor of LatentNetRegressor and AutoencoderTransformer",
    ),
    _entry(
        "dual_branch", "network", "neural_network:DualBranchRegressor", default=False
    ),
    *map(_sequence, ("gru", "lstm", "conv")),
    _encoded("gan", "network", "neural_network:ConditionalGANRegressor", default=False),
    _entry("best", "ensemble", "models:BestRegressor", default=False),
    _recipe(
        "blend",
        "ensemble",
        "BlendRegressor of ProductKernelRidge, ContextTransferRidge and "
        "TargetEncodedRidge, in a SeenUnseenRegressor with AdditiveRegressor",
    ),
    _recipe(
        "token_ensemble",
        "ensemble",
        "SeedEnsembleRegressor of TokenEmbeddingMLPRegressor, in a "
        "LatentTargetRegressor",
    ),
    _recipe("stretched_kernel", "ensemble", "StretchedRegressor of ProductKernelRidge"),
    _recipe(
        "pseudo_label",
        "ensemble",
        "PseudoLabelRegressor of ProductKernelRidge and SeedEnsembleRegressor",
    ),
    _entry("flow", "flow", "flow:FlowMatchingRegressor", **_CONTROLS),
)
