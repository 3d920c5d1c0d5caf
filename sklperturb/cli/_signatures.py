"""The command from counts to signatures."""

from pathlib import Path
from typing import Annotated

import typer

from sklperturb.cli._app import Seed, app, log, out


@app.command()
def signatures(
    cells: Annotated[Path, typer.Argument(help="An h5ad file of raw counts.")],
    output: Annotated[Path, typer.Option(help="Folder to write the signatures to.")],
    groupby: Annotated[
        str | None,
        typer.Option(help="Columns of obs whose cells form one pseudobulk sample."),
    ] = None,
    perturbation: Annotated[
        str | None, typer.Option(help="Column of the perturbation.")
    ] = None,
    context: Annotated[
        str | None, typer.Option(help="Column of the cell type or line.")
    ] = None,
    control: Annotated[
        str | None, typer.Option(help="Label of the control perturbation.")
    ] = None,
    covariates: Annotated[
        str, typer.Option(help="Columns with effects to remove: donor,plate.")
    ] = "",
    layer: Annotated[
        str | None, typer.Option(help="Layer of raw counts, where X is not.")
    ] = None,
    hold_out_contexts: Annotated[
        str, typer.Option(help="Contexts to predict, comma-separated.")
    ] = "",
    hold_out_share: Annotated[
        float, typer.Option(help="Share of conditions to predict.", min=0, max=0.9)
    ] = 0.0,
    min_cells: Annotated[int, typer.Option(help="Cells per sample.", min=1)] = 10,
    min_count: Annotated[float, typer.Option(help="Counts per gene.", min=0)] = 10,
    expressed_in: Annotated[str, typer.Option(help="every or any context.")] = "every",
    normalization: Annotated[
        str, typer.Option(help="tmm, size_factors or none.")
    ] = "tmm",
    method: Annotated[str, typer.Option(help="voom or trend.")] = "voom",
    contexts: Annotated[str, typer.Option(help="Fit together or apart.")] = "together",
    clip: Annotated[float, typer.Option(help="Limit of the response.")] = 4.0,
    seed: Seed = 0,
    overwrite: Annotated[bool, typer.Option(help="Replace signatures there.")] = False,
):
    """Compute signatures from counts and write a folder for the leaderboard.

    Cells are added up by sample, and each perturbation is compared with the controls of
    its context. To predict are the conditions held out or, if none are, those of the
    perturbation by context grid that were not measured.
    """
    from sklperturb.datasets import write_signatures
    from sklperturb.datasets._write_signatures import check_free
    from sklperturb.signatures import DifferentialSignatures, Pseudobulk
    from sklperturb.signatures._samples import sample_controls

    check_free(output, overwrite)
    samples = Pseudobulk(
        _names(groupby) or None, layer=layer, min_cells=min_cells
    ).fit_transform(cells)
    schema = _schema(samples.obs, perturbation, context, control)
    model = DifferentialSignatures(
        schema,
        covariates=_names(covariates),
        normalization=normalization,
        method=method,
        contexts=contexts,
        min_count=min_count,
        expressed_in=expressed_in,
        clip=clip,
    )
    log.print(
        f"{samples.n_obs} samples of {int(samples.obs['n_cells'].sum())} cells; "
        f"log counts ~ {' + '.join(['condition', *model.covariates])}",
        markup=False,
    )
    keys = schema.columns("context", "perturbation")
    treated = ~sample_controls(samples.obs, schema)
    held = _of_contexts(samples.obs, schema, _names(hold_out_contexts))
    held |= _random_share(samples.obs[keys], treated & ~held, hold_out_share, seed)
    train = model.fit_transform(samples[~held])
    if held.any():
        # A second fit, so that nothing of the answers enters the training responses.
        model.set_params(min_count=0)
        every = model.fit_transform(samples[:, train.var_names])
        wanted = samples.obs.loc[held & treated, keys].drop_duplicates().astype(str)
        test = every[_keys(every.obs, keys).isin(_keys(wanted, keys))].copy()
        to_predict = test.obs[keys]
        if len(test) == 0:
            raise ValueError("No condition that was held out has enough replicates.")
    else:
        test, to_predict = None, _missing(samples.obs.loc[treated, keys], train.obs)
        if len(to_predict) == 0:
            raise ValueError(
                "Every perturbation was measured in every context, so there is nothing "
                "to predict. Pass --hold-out-contexts or --hold-out-share."
            )
    write_signatures(
        output, train, to_predict, test=test, schema=schema, overwrite=overwrite
    )
    out.print(
        f"{train.n_obs} signatures to learn from and {len(to_predict)} to predict, "
        f"{train.n_vars} genes: {output}",
        markup=False,
    )


def _names(text):
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _schema(obs, perturbation, context, control):
    from dataclasses import replace

    from sklperturb.conditions import resolve_schema

    if perturbation is None:
        schema = resolve_schema(None, obs, control)
    else:
        others = obs.drop(columns=[perturbation, context or ""], errors="ignore")
        others = others.assign(perturbation="")  # so that the other roles are inferred
        schema = resolve_schema(None, others, control)
        schema = replace(schema, perturbation=perturbation)
    if context is not None:
        schema = replace(schema, context=context)
    schema.require(obs, "perturbation", *["context"] * bool(schema.context))
    return schema


def _keys(obs, keys):
    return obs[keys].astype(str).agg("\t".join, axis=1)


def _of_contexts(obs, schema, names):
    """Mark the samples of contexts to predict; their controls are set aside too."""
    import numpy as np

    if not names:
        return np.zeros(len(obs), dtype=bool)
    if schema.context is None:
        raise ValueError("--hold-out-contexts needs --context.")
    contexts = obs[schema.context].astype(str)
    unknown = sorted(set(names) - set(contexts))
    if unknown:
        raise ValueError(
            f"--hold-out-contexts: {unknown} are not in {schema.context!r}, which "
            f"holds {sorted(set(contexts))}."
        )
    return contexts.isin(names).to_numpy()


def _random_share(labels, candidates, share, seed):
    """Mark conditions at random that leave every perturbation and context in train."""
    import numpy as np

    keys = list(labels)
    pairs = labels[candidates].astype(str).drop_duplicates()
    wanted = round(share * len(pairs))
    chosen = []
    left = {key: pairs[key].value_counts() for key in keys}
    for row in np.random.default_rng(seed).permutation(len(pairs)):
        if len(chosen) == wanted:
            break
        pair = pairs.iloc[row]
        if all(left[key][pair[key]] > 1 for key in keys):
            chosen.append("\t".join(pair))
            for key in keys:
                left[key][pair[key]] -= 1
    if len(chosen) < wanted:
        raise ValueError(
            f"--hold-out-share {share}: only {len(chosen)} of {len(pairs)} conditions "
            "can be held out with every perturbation and context left to learn from."
        )
    return candidates & _keys(labels, keys).isin(chosen).to_numpy()


def _missing(treated, train):
    """Return the conditions of the grid that have no signature."""
    import pandas as pd

    keys = list(treated)
    levels = [sorted(treated[key].astype(str).unique()) for key in keys]
    grid = pd.MultiIndex.from_product(levels, names=keys).to_frame(index=False)
    return grid[~_keys(grid, keys).isin(_keys(train, keys))]
