"""The reviewed search spaces: for each class, what is worth tuning and how far.

A new estimator gets one line in ``SPACES``, under the name of its class. Parts are
looked up on their own, so a pipeline or a wrapper lists only parameters of its own, and
``{}`` says that somebody looked and found nothing worth tuning. What an estimator
chooses by itself inside `fit`, such as the penalties of the ridges, is left to it. So
is the number of epochs: a search that prunes by epoch compares trials at equal epochs.
"""

from optuna.distributions import CategoricalDistribution
from optuna.distributions import FloatDistribution as _float
from optuna.distributions import IntDistribution as _int


def _any(*choices):
    return CategoricalDistribution(choices)


_RATE = _float(3e-4, 3e-2, log=True)
_DECAY = _float(1e-6, 1e-1, log=True)
_LOSS = _any("mrrmse", "mae", "mse", "huber")
_FOREST = {"max_features": _float(0.1, 1.0), "min_samples_leaf": _int(1, 20, log=True)}


def _network(loss=_LOSS, **own):
    common = {
        "learning_rate": _RATE,
        "weight_decay": _DECAY,
        "dropout": _float(0.0, 0.6),
        "batch_size": _any(16, 32, 64, 128),
    }
    return {**common, **own, "loss": loss}


SPACES = {
    # sklperturb.baseline
    "AdditiveCombinationRegressor": {},
    "AdditiveRegressor": {"effects": _any("means", "joint")},
    "GroupStatisticRegressor": {
        "statistic": _any("mean", "median", 0.4, 0.45, 0.54, 0.6, 0.65),
        "n_components": _any(None, 10, 20, 35, 50),
    },
    "NearestCompoundRegressor": {
        "n_neighbors": _int(1, 50, log=True),
        "power": _float(0.0, 8.0),
        "shrinkage": _float(0.01, 10.0, log=True),
        "kind": _any("morgan_counts", "morgan_bits", "atom_pairs", "maccs"),
        "radius": _int(1, 3),
    },
    "NoChangeRegressor": {},
    # sklperturb.embedding
    "SEEmbedding": {},
    # sklperturb.ensemble and sklperturb.models
    "BestCellsRegressor": {},
    "BestRegressor": {},
    "BlendRegressor": {"method": _any("mrrmse", "greedy", "nnls")},
    "BoostedTargetRegressor": {
        "n_components": _int(5, 50, log=True),
        "n_estimators": _int(50, 400, log=True),
        "learning_rate": _float(0.02, 0.3, log=True),
        "max_leaf_nodes": _int(4, 63, log=True),
        "min_samples_leaf": _int(2, 50, log=True),
        "l2_regularization": _float(1e-2, 1e2, log=True),
        "max_features": _float(0.05, 1.0, log=True),
    },
    "LongFormBoostingRegressor": {
        "n_estimators": _int(50, 400, log=True),
        "learning_rate": _float(0.02, 0.3, log=True),
        "max_leaf_nodes": _int(4, 63, log=True),
        "min_samples_leaf": _int(20, 500, log=True),
        "l2_regularization": _float(0.1, 1e3, log=True),
        "max_features": _float(0.1, 1.0, log=True),
        "n_genes": _int(100, 500, log=True),
    },
    "PseudoLabelRegressor": {"weight": _float(0.1, 1.0), "n_rounds": _int(1, 3)},
    "RescaledRegressor": {},
    "ResidualRegressor": {},
    "StretchedRegressor": {},
    "SeedEnsembleRegressor": {"aggregate": _any("median", "mean")},
    "SeenUnseenRegressor": {},
    "WeightedErrorRegressor": {},
    # sklperturb.flow
    "CellScreenModel": {"n_components": _int(20, 100)},
    "CountSpace": {"n_components": _int(20, 100)},
    "FlowMatchingRegressor": {
        "learning_rate": _RATE,
        "condition_noise": _float(0.0, 1.0),
        "hidden_dim": _any(128, 256, 512),
        "n_layers": _int(2, 4),
    },
    # sklperturb.inspection
    "ConformalRegressor": {},
    # sklperturb.linear_model
    "BilinearGeneRegressor": {
        "n_components": _int(4, 64, log=True),
        "alpha": _float(1e-3, 10.0, log=True),
    },
    "ContextTransferRidge": {
        "kernel": _any("linear", "rbf"),
        "min_shared": _int(2, 10),
        "scale_contexts": _any(True, False),
    },
    "GeneKnowledgeRidge": {"scale_contexts": _any(True, False)},
    "ProductKernelRidge": {
        "context_kernel": _any("learned", "identity"),
        "scale_contexts": _any(True, False),
    },
    "ResponseKernelRidge": {
        "scale_contexts": _any(True, False),
    },
    "TanimotoKernelRidge": {
        "calibrate": _any(True, False),
        "centre": _any("median", "mean"),
        "leave_out": _any("auto", "perturbation", "row"),
        "radius": _int(1, 3),
    },
    "TargetEncodedRidge": {
        "n_statistics": _int(4, 256, log=True),
        "interactions": _any(True, False),
        "scale_contexts": _any(True, False),
    },
    # sklperturb.neural_network
    "AutoencoderTransformer": {
        "n_components": _int(8, 64, log=True),
        "hidden_dim": _any(64, 128, 256, 512),
        "n_layers": _int(1, 3),
        "dropout": _float(0.0, 0.4),
        "learning_rate": _RATE,
        "weight_decay": _DECAY,
    },
    "ConditionalGANRegressor": {
        "hidden_dim": _any(64, 128, 256),
        "n_layers": _int(1, 3),
        "n_noise": _int(2, 32, log=True),
        "lambda_gp": _float(0.03, 3.0, log=True),
        "reconstruction_weight": _float(0.5, 30.0, log=True),
        "learning_rate": _float(3e-4, 5e-3, log=True),
        "weight_decay": _DECAY,
        "target_components": _any(8, 16, 32, "full"),
    },
    "DualBranchRegressor": _network(
        hidden_dim=_any(64, 128, 256, 512),
        n_top_genes=_int(16, 256, log=True),
        input_noise=_float(0.0, 0.5),
    ),
    "LatentNetRegressor": _network(
        hidden_dim=_any(64, 128, 256, 512),
        n_blocks=_int(1, 4),
        n_tokens=_any(1, 2, 4),
    ),
    "SequenceNetRegressor": _network(
        hidden_dim=_any(32, 64, 128, 256),
        n_layers=_int(1, 3),
        head_dim=_any(64, 128, 256, 512),
        gradient_clip=_float(0.1, 10.0, log=True),
        loss=_any("mrrmse", "mixed", "mae", "mse", "huber"),
    ),
    "TokenEmbeddingMLPRegressor": _network(
        learning_rate=_float(3e-3, 1e-1, log=True),
        hidden_dim=_any(64, 128, 256, 512),
        n_layers=_int(1, 3),
        category_dropout=_float(0.0, 0.3),
    ),
    "TransformerRegressor": _network(
        embedding_dim=_any(16, 32, 64, 128),
        hidden_dim=_any(32, 64, 128, 256),
        n_layers=_int(1, 3),
        n_heads=_any(2, 4, 8),
    ),
    # sklperturb.compose and sklperturb.preprocessing
    "CompoundFingerprint": {
        "kind": _any("morgan_counts", "morgan_bits", "atom_pairs", "maccs", "physchem"),
        "radius": _int(1, 3),
    },
    "DifferentialSignatures": {},
    "DisplacedControlsRegressor": {},
    "ExpressionGeneEmbedding": {"n_components": _int(8, 128, log=True)},
    "GeneSetEncoder": {
        "n_components": _int(8, 256, log=True),
        "max_size": _int(100, 2000, log=True),
    },
    "LatentTargetRegressor": {},
    "LookupEmbedding": {"combine": _any("sum", "mean")},
    "PerturbationEffectRegressor": {},
    "Pseudobulk": {},
    "TScoreTransformer": {},
    "TargetReducer": {"n_components": _any("full", "gavish-donoho", 0.8, 0.95)},
    "TargetStatisticsEncoder": {
        "n_components": _int(4, 128, log=True),
        "balance": _any(True, False),
        "smooth": _any("auto", 0.3, 1.0, 3.0, 10.0),
    },
    # scikit-learn: what pipelines of conditions are often made of
    "ElasticNet": {"alpha": _float(1e-4, 1e2, log=True), "l1_ratio": _float(0.0, 1.0)},
    "ExtraTreesRegressor": _FOREST,
    "HistGradientBoostingRegressor": {
        "learning_rate": _float(0.01, 0.3, log=True),
        "max_leaf_nodes": _int(4, 64, log=True),
        "min_samples_leaf": _int(2, 50, log=True),
        "l2_regularization": _float(1e-6, 10.0, log=True),
    },
    "KNeighborsRegressor": {
        "n_neighbors": _int(1, 50, log=True),
        "weights": _any("uniform", "distance"),
    },
    "KernelRidge": {"alpha": _float(1e-3, 1e3, log=True)},
    "Lasso": {"alpha": _float(1e-4, 1e2, log=True)},
    "OneHotEncoder": {},
    "PCA": {"n_components": _int(2, 64, log=True)},
    "PLSRegression": {"n_components": _int(1, 32, log=True)},
    "RandomForestRegressor": _FOREST,
    "Ridge": {"alpha": _float(1e-2, 1e6, log=True)},
    "SVR": {"C": _float(1e-2, 1e3, log=True), "epsilon": _float(1e-3, 1.0, log=True)},
    "TruncatedSVD": {"n_components": _int(2, 64, log=True)},
}
