"""The table of registered models; a new one gets an entry here.

An entry names a class, with the parameters that are not its defaults, or a function of
``_recipes.py`` where several estimators are put together. The order is that of lists.
"""

from sklperturb.models._entry import ModelEntry

_GROUP = "sklperturb.baseline:GroupStatisticRegressor"
_RECIPES = "sklperturb.models._recipes"
_ENCODED = "pipeline of an encoder and"
_EFFECT = "PerturbationEffectRegressor of"

ENTRIES = (
    ModelEntry(
        "no_change",
        "baseline",
        "zero for every gene",
        "sklperturb.baseline:NoChangeRegressor",
    ),
    ModelEntry("gene_mean", "baseline", "mean of each gene", _GROUP),
    ModelEntry(
        "gene_median",
        "baseline",
        "median of each gene",
        _GROUP,
        {"statistic": "median"},
    ),
    ModelEntry(
        "context_mean",
        "baseline",
        "mean per cell type (published as mean_across_celltypes)",
        _GROUP,
        {"by": "context"},
    ),
    ModelEntry(
        "perturbation_mean",
        "baseline",
        "mean per compound (published as mean_across_compounds)",
        _GROUP,
        {"by": "perturbation"},
    ),
    ModelEntry(
        "perturbation_median",
        "baseline",
        "median per compound",
        _GROUP,
        {"by": "perturbation", "statistic": "median"},
    ),
    ModelEntry(
        "perturbation_quantile",
        "baseline",
        "quantile 0.6 per compound",
        _GROUP,
        {"by": "perturbation", "statistic": 0.6},
    ),
    ModelEntry(
        "denoised_quantile",
        "baseline",
        "quantile 0.54 per compound after 35-component denoising",
        _GROUP,
        {"by": "perturbation", "statistic": 0.54, "n_components": 35},
    ),
    ModelEntry(
        "additive",
        "baseline",
        "context mean + perturbation mean - grand mean",
        "sklperturb.baseline:AdditiveRegressor",
        {"effects": "means"},
    ),
    # Measured from negative controls, which compound screens of signatures lack.
    ModelEntry(
        "mean_shift",
        "baseline",
        "of expression: controls plus the mean effect",
        f"{_RECIPES}:mean_shift",
        composition=f"{_EFFECT} GroupStatisticRegressor",
        default=False,
        role="control",
    ),
    ModelEntry(
        "additive_combination",
        "baseline",
        "of expression: controls plus the effects of a combination's parts",
        f"{_RECIPES}:additive_combination",
        composition=f"{_EFFECT} AdditiveCombinationRegressor",
        default=False,
        role="control",
    ),
    ModelEntry(
        "nearest_compound",
        "baseline",
        "mean response of the structurally nearest compounds",
        "sklperturb.baseline:NearestCompoundRegressor",
        requires="rdkit",
        extra="chem",
        role="smiles",
    ),
    ModelEntry(
        "additive_joint",
        "linear",
        "shrunken context and perturbation effects, fitted together",
        "sklperturb.baseline:AdditiveRegressor",
        {"effects": "joint"},
    ),
    ModelEntry(
        "bilinear",
        "linear",
        "of expression: gene and perturbation loadings, of Ahlmann-Eltze et al.",
        f"{_RECIPES}:bilinear",
        composition=f"{_EFFECT} BilinearGeneRegressor",
        default=False,
        role="control",
    ),
    ModelEntry(
        "ridge",
        "linear",
        "ridge on cross-fitted target statistics, around the additive model",
        "sklperturb.linear_model:TargetEncodedRidge",
    ),
    ModelEntry(
        "context_transfer",
        "linear",
        "ridge per context on the same compound's responses in the other contexts",
        "sklperturb.linear_model:ContextTransferRidge",
    ),
    ModelEntry(
        "product_kernel",
        "kernel",
        "ridge on context x perturbation kernels, context similarity learnt",
        "sklperturb.linear_model:ProductKernelRidge",
    ),
    ModelEntry(
        "tanimoto_kernel",
        "kernel",
        "ridge on the Tanimoto similarity of structures x contexts",
        "sklperturb.linear_model:TanimotoKernelRidge",
        requires="rdkit",
        extra="chem",
        role="smiles",
    ),
    ModelEntry(
        "boosting",
        "boosting",
        "boosted trees on the leading components of the targets",
        f"{_RECIPES}:boosting",
        composition=f"{_ENCODED} BoostedTargetRegressor",
        requires="lightgbm",
        extra="boost",
    ),
    ModelEntry(
        "token_mlp",
        "network",
        "MLP on learnt codes of compound and cell type",
        "sklperturb.neural_network:TokenEmbeddingMLPRegressor",
    ),
    ModelEntry(
        "transformer",
        "network",
        "transformer over one-hot and target-statistic tokens",
        f"{_RECIPES}:transformer",
        composition=f"{_ENCODED} TransformerRegressor",
    ),
    ModelEntry(
        "latent",
        "network",
        "two stages: a network predicts an autoencoder's latent space",
        f"{_RECIPES}:latent",
        composition=(
            "LatentTargetRegressor of LatentNetRegressor and AutoencoderTransformer"
        ),
        default=False,
    ),
    ModelEntry(
        "dual_branch",
        "network",
        "branches for compound and cell type on the most variable genes",
        "sklperturb.neural_network:DualBranchRegressor",
        default=False,
    ),
    ModelEntry(
        "gru",
        "network",
        "recurrent network on encoded features",
        f"{_RECIPES}:sequence",
        {"architecture": "gru"},
        composition=f"{_ENCODED} SequenceNetRegressor",
        default=False,
    ),
    ModelEntry(
        "lstm",
        "network",
        "recurrent network on encoded features",
        f"{_RECIPES}:sequence",
        {"architecture": "lstm"},
        composition=f"{_ENCODED} SequenceNetRegressor",
        default=False,
    ),
    ModelEntry(
        "conv",
        "network",
        "convolutional network on encoded features",
        f"{_RECIPES}:sequence",
        {"architecture": "conv"},
        composition=f"{_ENCODED} SequenceNetRegressor",
        default=False,
    ),
    ModelEntry(
        "gan",
        "network",
        "conditional generator, mean over draws",
        f"{_RECIPES}:gan",
        composition=f"{_ENCODED} ConditionalGANRegressor",
        default=False,
    ),
    ModelEntry(
        "best",
        "ensemble",
        "what the toolkit recommends: kernels and networks, weights learnt",
        "sklperturb.models:BestRegressor",
        default=False,
    ),
    ModelEntry(
        "blend",
        "ensemble",
        "linear and kernel models, weights learnt out of fold",
        f"{_RECIPES}:blend",
        composition=(
            "BlendRegressor of ProductKernelRidge, ContextTransferRidge and "
            "TargetEncodedRidge, in a SeenUnseenRegressor with AdditiveRegressor"
        ),
        default=False,
    ),
    ModelEntry(
        "token_ensemble",
        "ensemble",
        "median of five token_mlp of twice the width",
        f"{_RECIPES}:token_ensemble",
        composition=(
            "SeedEnsembleRegressor of TokenEmbeddingMLPRegressor, in a "
            "LatentTargetRegressor"
        ),
        default=False,
    ),
    ModelEntry(
        "kernel_residual",
        "ensemble",
        "networks that correct product_kernel's leave-one-out errors",
        "sklperturb.ensemble:KernelResidualRegressor",
        default=False,
    ),
    ModelEntry(
        "stretched_kernel",
        "ensemble",
        "product_kernel, with strong predictions made stronger, out of fold",
        f"{_RECIPES}:stretched_kernel",
        composition="StretchedRegressor of ProductKernelRidge",
        default=False,
    ),
    ModelEntry(
        "pseudo_label",
        "ensemble",
        "networks refitted on product_kernel's predictions too",
        f"{_RECIPES}:pseudo_label",
        composition=(
            "PseudoLabelRegressor of ProductKernelRidge and SeedEnsembleRegressor"
        ),
        default=False,
    ),
    ModelEntry(
        "flow",
        "flow",
        "of cells: regression of the mean, flow matching from controls for the shape",
        "sklperturb.flow:FlowMatchingRegressor",
        default=False,
        role="control",
    ),
)
