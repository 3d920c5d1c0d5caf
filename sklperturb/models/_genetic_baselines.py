"""The baselines of single cells, under their names."""


def make_genetic_baselines(
    embedding=None, *, target_sum=None, cells=False, schema=None
):
    """Return what a model of perturbed cells has to be compared with.

    Parameters
    ----------
    embedding : transformer, default=None
        Gives perturbed genes a vector: `GeneSetEncoder`, `ExpressionGeneEmbedding` or
        `LookupEmbedding`. Without one, the baselines that need it are left out.
    target_sum : float, default=None
        For raw counts, see `PerturbationEffectRegressor`.
    cells : bool, default=False
        Whether they generate cells besides: controls, displaced by the predicted
        change; see `DisplacedControlsRegressor`.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.

    Returns
    -------
    baselines : dict of str to estimator
        Unfitted, for `sklperturb.comparison.compare` or for use one by one.
        All take conditions of cells and their expression, and predict the expected
        expression:

        - ``controls``: unchanged, the mean of the context's controls;
        - ``mean_shift``: controls plus the mean effect of all perturbations;
        - ``context_shift``: controls plus the mean effect in the same context;
        - ``perturbed_mean``: mean of the perturbed conditions, controls or not;
        - ``perturbation_mean``: controls plus the mean effect of the same
          perturbation in other contexts; the mean shift where it was never seen;
        - ``additive``: controls plus the effects of a combination's parts;
        - ``bilinear``: the linear model of Ahlmann-Eltze et al. on the training data
          alone;
        - with `embedding`, ``ridge``, ``kernel`` (ridge on the vectors as they are, so
          that small directions count little) and ``knn``, which see the context
          besides, and ``bilinear_embedding``.

    See Also
    --------
    make_cell_models : Beside them, a flow.
    sklperturb.compose.PerturbationEffectRegressor : What they are made of.

    Examples
    --------
    >>> from sklperturb.models import make_genetic_baselines
    >>> list(make_genetic_baselines())[:3]
    ['controls', 'mean_shift', 'context_shift']
    """
    import numpy as np
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import RidgeCV
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from sklperturb.baseline import (
        AdditiveCombinationRegressor,
        GroupStatisticRegressor,
        NoChangeRegressor,
    )
    from sklperturb.compose import (
        DisplacedControlsRegressor,
        PerturbationEffectRegressor,
    )
    from sklperturb.linear_model import BilinearGeneRegressor
    from sklperturb.preprocessing import SchemaColumns
    from sklperturb.preprocessing._condition_encoder import OneHotEncoder

    regressors = {
        "controls": NoChangeRegressor(),
        "mean_shift": GroupStatisticRegressor(),
        "context_shift": GroupStatisticRegressor(by="context"),
        "perturbed_mean": GroupStatisticRegressor(),
        "perturbation_mean": GroupStatisticRegressor(by="perturbation"),
        "additive": AdditiveCombinationRegressor(),
        "bilinear": BilinearGeneRegressor(),
    }
    if embedding is not None:
        onehot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        encoder = ColumnTransformer(
            [
                ("gene", embedding, SchemaColumns("perturbation", schema=schema)),
                ("context", onehot, SchemaColumns("context", schema=schema)),
            ]
        )
        for name, regressor in (
            ("ridge", RidgeCV(np.logspace(-1, 4, 11))),
            ("knn", KNeighborsRegressor(10, weights="distance")),
        ):
            regressors[name] = make_pipeline(encoder, StandardScaler(), regressor)
        regressors["kernel"] = make_pipeline(encoder, RidgeCV(np.logspace(-3, 3, 13)))
        regressors["bilinear_embedding"] = BilinearGeneRegressor(embedding)
    wrapper = DisplacedControlsRegressor if cells else PerturbationEffectRegressor
    return {
        name: wrapper(
            regressor,
            subtract_control=name != "perturbed_mean",
            target_sum=target_sum,
            schema=schema,
        )
        for name, regressor in regressors.items()
    }
