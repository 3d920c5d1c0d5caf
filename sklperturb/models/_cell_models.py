"""Models that generate cells, under their names, and what they are compared with."""

# Which of the simple models are the baselines of the others.
BASELINES = ("controls", "mean_shift", "context_shift", "perturbation_mean")
MODELS = (
    "additive",
    "bilinear",
    "ridge",
    "kernel",
    "knn",
    "bilinear_embedding",
    "flow",
    "best",
)


def make_cell_models(
    embedding=None,
    *,
    best=False,
    schema=None,
    max_steps=2000,
    verbose=False,
    random_state=None,
):
    """Return models that generate cells, baselines and others.

    Parameters
    ----------
    embedding : transformer, default=None
        Gives perturbed genes a vector, such as `GeneSetEncoder` or `LookupEmbedding`.
        Without one, the models that need it are left out, and the flow takes all
        perturbations that were not seen to be the same.
    best : bool, default=False
        Whether `BestCellsRegressor` is among the models, as ``best``. It takes several
        times as long as all that it chooses from.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.
    max_steps : int, default=2000
        Steps of the training of the flow.
    verbose : bool, default=False
        Show the progress of the flow, on a terminal.
    random_state : int, RandomState instance or None, default=None
        Seed of the flow.

    Returns
    -------
    baselines, models : dict of str to estimator
        Unfitted, for `sklperturb.comparison.compare` with a `CellScorer`. The baselines
        are ``controls``, ``mean_shift``, ``context_shift`` and ``perturbation_mean``;
        the models, the others of `make_genetic_baselines`, all as displaced controls,
        and ``flow``; with `best`, ``best``.

    See Also
    --------
    BestCellsRegressor : Chooses among some of them.
    sklperturb.compose.DisplacedControlsRegressor : Cells of a model of means.
    sklperturb.flow.FlowMatchingRegressor : The flow.

    Examples
    --------
    >>> from sklperturb.models import make_cell_models
    >>> baselines, models = make_cell_models()
    >>> list(models)
    ['additive', 'bilinear', 'flow']
    """
    from sklperturb.flow import FlowMatchingRegressor
    from sklperturb.models._genetic_baselines import make_genetic_baselines

    simple = make_genetic_baselines(embedding, cells=True, schema=schema)
    simple["flow"] = FlowMatchingRegressor(
        embedding,
        schema=schema,
        max_steps=max_steps,
        verbose=verbose,
        random_state=random_state,
    )
    if best:
        from sklperturb.models._best_cells import BestCellsRegressor

        simple["best"] = BestCellsRegressor(
            embedding, schema=schema, max_steps=max_steps, random_state=random_state
        )
    return tuple(
        {name: simple[name] for name in names if name in simple}
        for names in (BASELINES, MODELS)
    )
