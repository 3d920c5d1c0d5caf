"""Which classes and functions a model file may name; it can bring in nothing else."""

import inspect
import re
import sys
from dataclasses import is_dataclass
from functools import cache
from importlib import import_module

from sklearn.base import BaseEstimator
from sklearn.model_selection import BaseCrossValidator

from sklperturb.conditions._documented import PUBLIC_IN
from sklperturb.files._reading import FileError, short

# Rooms whose public estimators, splitters and dataclasses are allowed.
_ROOMS = (
    *("baseline", "compose", "datasets", "embedding", "ensemble", "flow"),
    *("inspection", "linear_model", "metrics", "model_selection", "models"),
    *("neural_network", "preprocessing", "signatures", "tuning"),
)
# What fitted estimators are made of besides, by module.
_PARTS = {
    "sklperturb.cells._perturbed": ("ControlCells", "CountChange", "CountRates"),
    "sklperturb.compose._pipeline": ("ScreenPipeline",),
    "sklperturb.conditions._annotations": ("TermVectors",),
    "sklperturb.conditions._levels": ("LevelEncoder",),
    "sklperturb.conditions._statistics": ("LevelStatistics",),
    "sklperturb.ensemble._long_features": ("LongFeatures",),
    "sklperturb.ensemble._weights": ("RowMoments", "Spectrum"),
    "sklperturb.flow._conditions": ("ConditionReader", "Conditions", "ElementScaler"),
    "sklperturb.flow._diagnostics": ("Evidence",),
    "sklperturb.flow._fitted": ("Coordinates", "FittedFlow"),
    "sklperturb.flow._generation": ("Generator",),
    "sklperturb.flow._mean": (
        *("MeanEffect", "_Kernels", "_Regressor", "_Shift", "_ShiftAndKernels"),
    ),
    "sklperturb.flow._populations": ("ControlPools",),
    "sklperturb.flow._spelling": ("Spelling",),
    "sklperturb.linear_model._calibration": ("Calibration", "Stretch"),
    "sklperturb.linear_model._compound_kernel": (
        *("CompoundKernel", "MechanismSimilarity"),
    ),
    "sklperturb.linear_model._context_transfer": ("_Cells", "_Correction"),
    "sklperturb.linear_model._knowledge": ("BandFit", "FittedKnowledge"),
    "sklperturb.linear_model._latent": ("Within",),
    "sklperturb.metrics._weighted": ("WeightedMSEScorer",),
    "sklperturb.models._learning": ("Learnt",),
    "sklperturb.models._parts": ("Rotation",),
    "sklperturb.neural_network._gan": ("_AdversarialNet",),
    "sklperturb.preprocessing._condition_encoder": (
        *("ColumnTransformer", "OneHotEncoder", "SchemaColumns"),
    ),
    "sklperturb.preprocessing._gene_sources": ("GeneSource", "UnitVectors"),
    "sklperturb.preprocessing._latent_decoder": ("LatentDecoder",),
    "sklperturb.tuning._prune": ("Pruning",),
    "sklperturb.uncertainty._conformal_conditions": ("TrainingConditions",),
    "sklperturb.uncertainty._conformal_distance": ("KernelDistance",),
    "sklperturb.uncertainty._conformal_scale": ("ErrorScale", "ResponseStrength"),
}
# Of scikit-learn, what is made of numbers and text alone, and its trees and forests.
_SKLEARN = {
    "compose": "ColumnTransformer TransformedTargetRegressor",
    "cross_decomposition": "CCA PLSCanonical PLSRegression",
    "decomposition": (
        "FactorAnalysis FastICA IncrementalPCA KernelPCA NMF PCA SparsePCA TruncatedSVD"
    ),
    "dummy": "DummyRegressor",
    "ensemble": (
        "BaggingRegressor ExtraTreesRegressor RandomForestRegressor StackingRegressor "
        "VotingRegressor"
    ),
    "feature_selection": (
        "SelectFromModel SelectKBest SelectPercentile VarianceThreshold"
    ),
    "gaussian_process": "GaussianProcessRegressor",
    "gaussian_process.kernels": (
        "CompoundKernel ConstantKernel DotProduct ExpSineSquared Exponentiation Matern "
        "PairwiseKernel Product RBF RationalQuadratic Sum WhiteKernel"
    ),
    "impute": "MissingIndicator SimpleImputer",
    "kernel_approximation": "Nystroem RBFSampler",
    "kernel_ridge": "KernelRidge",
    "linear_model": (
        "ARDRegression BayesianRidge ElasticNet ElasticNetCV HuberRegressor Lars Lasso "
        "LassoCV LassoLars LinearRegression MultiTaskElasticNet MultiTaskElasticNetCV "
        "MultiTaskLasso MultiTaskLassoCV OrthogonalMatchingPursuit Ridge RidgeCV "
        "TheilSenRegressor"
    ),
    "model_selection": (
        "GridSearchCV GroupKFold GroupShuffleSplit HalvingGridSearchCV "
        "HalvingRandomSearchCV KFold LeaveOneGroupOut LeaveOneOut LeavePGroupsOut "
        "PredefinedSplit RandomizedSearchCV RepeatedKFold ShuffleSplit "
        "StratifiedGroupKFold StratifiedKFold TimeSeriesSplit"
    ),
    "multioutput": "MultiOutputRegressor RegressorChain",
    "neural_network": "MLPRegressor",
    "pipeline": "FeatureUnion Pipeline",
    "preprocessing": (
        "Binarizer FunctionTransformer KBinsDiscretizer KernelCenterer LabelBinarizer "
        "MaxAbsScaler MinMaxScaler Normalizer OneHotEncoder "
        "OrdinalEncoder PolynomialFeatures PowerTransformer QuantileTransformer "
        "RobustScaler StandardScaler TargetEncoder"
    ),
    "random_projection": "GaussianRandomProjection SparseRandomProjection",
    "tree": "DecisionTreeRegressor ExtraTreeRegressor",
}
_OPTUNA = {
    "optuna.distributions": (
        *("CategoricalDistribution", "FloatDistribution", "IntDistribution"),
    ),
}
# Functions, and classes that are passed as they are; none of them opens a thing.
_NAMED = {
    "numpy": (
        "abs absolute cbrt exp exp2 expm1 log log10 log1p log2 sign sqrt square tanh"
    ),
    "sklearn.feature_selection": "f_regression mutual_info_regression r_regression",
    "sklperturb.modules": "MixedLoss RowwiseRMSELoss WeightedMSELoss",
    "torch.nn": "HuberLoss L1Loss MSELoss SmoothL1Loss",
    "torch.optim": "ASGD Adagrad Adam AdamW Adamax NAdam RAdam RMSprop SGD",
}
# A class that is made of more, or less, than its attributes: where the two functions
# are that take a dictionary from an object, and make the object of one.
_FUNCTIONS = {
    "sklperturb.modules.VelocityNet": ("sklperturb.flow._generation", "_take_net"),
}
# Attributes that start again with their defaults, since they lead out of the file: to
# folders, which hold pickles, and to running studies. None of them matters to predict.
RESET = {
    "sklearn.pipeline.Pipeline": ("memory",),
    "sklperturb.compose._pipeline.ScreenPipeline": ("memory",),
    "sklperturb.tuning.PerturbationSearchCV": (
        *("callbacks", "pruner", "sampler", "storage", "study"),
    ),
}
LEFT_OUT = {
    "sklearn.neural_network.MLPRegressor": ("_optimizer", "_random_state"),
    "sklperturb.tuning.PerturbationSearchCV": ("study_",),
}
# What is public, and imports what its text names.
_NEVER = ("sklperturb.models.ModelEntry",)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+")
_IS_METRIC = re.compile(r".*_(error|loss|score)")


def name_of(kind):
    """Return the name under which a file keeps a class, and whether all know it."""
    path = f"{kind.__module__}.{kind.__qualname__}"
    package, _, rest = kind.__module__.partition(".")
    if package == "sklperturb":
        room = rest.partition(".")[0]
        public = f"sklperturb.{PUBLIC_IN.get(room, room)}.{kind.__qualname__}"
        for name in (public, path):
            if _is_known(name) and _find(name) is kind:
                return name, True
    elif package in ("sklearn", "optuna"):
        parts = kind.__module__.split(".")
        for end in range(len(parts), 0, -1):
            name = ".".join([*parts[:end], kind.__qualname__])
            if _is_known(name):
                return name, True
    return path, False


def class_of(name, trusted, path):
    """Return the class that a file names, imported only if it is allowed.

    Raises
    ------
    FileError
        If it is neither allowed nor among `trusted`.
    """
    if not isinstance(name, str) or len(name) > 200 or not _NAME.fullmatch(name):
        raise FileError(f"{path} names {short(name)}, which is no name of a class.")
    if _is_known(name):
        kind = _find(name)
        if kind is not None:
            return kind
    if name not in trusted:
        raise FileError(
            f"{path} needs the class {short(name)}, which is none of sklperturb's or "
            "of those of scikit-learn that a model may be made of; it was not "
            "imported. If it is your own, or you know and trust its code, pass "
            f"trusted=[{short(name)}]."
        )
    module, _, attribute = name.rpartition(".")
    kind = getattr(import_module(module), attribute, None)
    if not (inspect.isclass(kind) and issubclass(kind, BaseEstimator)):
        raise FileError(
            f"{path} needs {short(name)}, which is no estimator: only classes that "
            "derive from sklearn.base.BaseEstimator can be trusted."
        )
    return kind


def functions_of(name):
    """Return the functions that take an object apart and make it, if any."""
    if name not in _FUNCTIONS:
        return None
    module, function = _FUNCTIONS[name]
    module = import_module(module)
    return getattr(module, function), getattr(module, function.replace("take", "make"))


def _is_known(name):
    """Whether a name may be imported, told from tables only."""
    module, _, attribute = name.rpartition(".")
    if module.startswith("sklearn."):
        return attribute in _SKLEARN.get(module.removeprefix("sklearn."), "").split()
    if name in _FUNCTIONS or attribute in _PARTS.get(module, ()):
        return True
    if attribute in _OPTUNA.get(module, ()):
        return True
    package, _, room = module.partition(".")
    is_public = room in _ROOMS and attribute.isidentifier() and name not in _NEVER
    return package == "sklperturb" and is_public


@cache
def _find(name):
    """Return the class of a known name, or None if the room has none of that name."""
    module, _, attribute = name.rpartition(".")
    if module == "sklearn.model_selection" and attribute.startswith("Halving"):
        import_module("sklearn.experimental.enable_halving_search_cv")
    module = import_module(module)
    public = getattr(module, "__all__", ())
    is_room = name.count(".") == 2 and name.startswith("sklperturb.")
    if is_room and attribute not in public and name not in _FUNCTIONS:
        return None
    kind = getattr(module, attribute, None)
    if not inspect.isclass(kind):
        return None
    if module.__name__ in _PARTS or module.__name__ in _OPTUNA or name in _FUNCTIONS:
        return kind
    is_model = issubclass(kind, BaseEstimator | BaseCrossValidator)
    kernels = module.__name__ == "sklearn.gaussian_process.kernels"
    return kind if is_model or is_dataclass(kind) or kernels else None


def name_of_function(value):
    """Return the name of an allowed function, class or scorer, or None."""
    known = getattr(value, "__name__", None)
    for name in (*_NAMED, "sklearn.metrics", "sklperturb.metrics"):
        module = sys.modules.get(name)
        if isinstance(known, str):
            names = [known]
        else:  # scorers are objects that do not know their names
            names = module.__all__ if name == "sklperturb.metrics" and module else ()
        for each in names:
            found = f"{name}.{each}"
            if getattr(module, each, None) is value and _is_function(found):
                return found
    return None


def function_of(name, path):
    """Return the function, class or scorer that a file names.

    Raises
    ------
    FileError
        If it is not allowed.
    """
    if isinstance(name, str) and len(name) <= 200 and _is_function(name):
        module, _, attribute = name.rpartition(".")
        found = getattr(import_module(module), attribute, None)
        if found is not None:
            return found
    raise FileError(f"{path} names {short(name)}, which is no function for a model.")


def _is_function(name):
    module, _, attribute = name.rpartition(".")
    if module == "sklperturb.metrics":
        return attribute in import_module(module).__all__
    if module == "sklearn.metrics":
        known = attribute in import_module(module).__all__
        return known and _IS_METRIC.fullmatch(attribute) is not None
    return attribute in _NAMED.get(module, "").split()
