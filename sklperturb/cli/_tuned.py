"""Read the parameters that a search has found."""

import json

from sklperturb.cli._app import log


def set_tuned(estimator, model, path):
    """Set an estimator's parameters to those of a file that `tune` has written.

    Parameters
    ----------
    estimator : estimator
    model : str
        Its registered name.
    path : Path

    Raises
    ------
    ValueError
        If the file is none of `tune`, or about another model.
    """
    try:
        tuned = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    params = tuned.get("params") if isinstance(tuned, dict) else None
    if not isinstance(params, dict):
        raise ValueError(
            f'{path} has no "params"; pass the best.json that `sklperturb tune` wrote.'
        )
    of_model = tuned.get("model", model)
    if of_model != model:
        raise ValueError(
            f"{path} has the parameters of {of_model!r}, not of {model!r}; pass "
            f"--model {of_model}, or tune {model!r}."
        )
    unknown = sorted(set(params) - set(estimator.get_params()))
    if unknown:
        raise ValueError(f"{path} names {unknown}, which {model!r} does not have.")
    estimator.set_params(**params)
    log.info(f"Parameters: {params}")
