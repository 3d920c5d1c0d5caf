"""Which columns of a file of cells play which role: as found, or as the user says."""

from dataclasses import replace


def read_schema(path, perturbation=None, context=None, control=None, batch=None):
    """Return the schema of a file of cells, what the user names before what is found.

    Parameters
    ----------
    path : Path
        An .h5ad file or a .zarr folder.
    perturbation, context, batch : str or None
        Columns of obs.
    control : str or None
        Label of the controls.

    Returns
    -------
    schema : PerturbationSchema

    Raises
    ------
    ValueError
        If a column does not exist, none is known as the perturbation, or no cell has
        the label.
    """
    from sklperturb.cells._files import read_obs
    from sklperturb.datasets._layouts import find_layout, settle_schema

    obs = read_obs(path)
    named = {"perturbation": perturbation, "context": context, "batch": batch}
    named = {role: column for role, column in named.items() if column is not None}
    for role, column in named.items():
        if column not in obs:
            raise ValueError(f"{role}={column!r} is no column of obs: {list(obs)}.")
    layout = find_layout(obs)
    if layout is not None and perturbation not in (None, layout.perturbation):
        layout = None
    schema = settle_schema(obs, layout, None, **named)
    if control is not None:
        labels = obs[schema.perturbation].astype(str)
        if control not in set(labels):
            raise ValueError(
                f"control={control!r} is no label of {schema.perturbation!r}, which "
                f"holds {sorted(labels.unique())[:10]}."
            )
        schema = replace(schema, control=None, control_labels=(control,))
    return schema
