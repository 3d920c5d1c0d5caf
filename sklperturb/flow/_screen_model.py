"""A flow and its way back to counts, as a file that runs no code when opened."""

import json
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from sklperturb.conditions import PerturbationSchema
from sklperturb.conditions._labels import CONTROL
from sklperturb.flow._counts import CountSpace
from sklperturb.flow._estimator import FlowMatchingRegressor
from sklperturb.preprocessing import LookupEmbedding
from sklperturb.utils._atomic import written_whole

FORMAT = "sklperturb-cells-1"
_OF_SPACE = (
    "top_genes_",
    "components_",
    "mean_",
    "decoder_",
    "correction_",
    "dispersion_",
    "library_sizes_",
)


class CellScreenModel:
    """From a file of raw counts to counts of perturbations that are not in it.

    A latent space of counts, a flow in it, and a file of numbers to keep both in.

    Parameters
    ----------
    table : DataFrame
        One vector for each gene, indexed by gene: what is known of a gene that was
        never perturbed.
    n_components : int, default=50
        Dimensions of the latent space.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.
    **parameters : dict
        Of `FlowMatchingRegressor`; plain numbers and text only, since they are
        written to the file.

    Attributes
    ----------
    space_ : CountSpace
    flow_ : FlowMatchingRegressor

    See Also
    --------
    FlowMatchingRegressor : The model of cells itself.

    Examples
    --------
    >>> from sklperturb.datasets import make_genetic_screen
    >>> from sklperturb.flow import CellScreenModel
    >>> screen = make_genetic_screen(
    ...     6, 80, cells_per_perturbation=40, n_controls=60, n_batches=1, random_state=0
    ... )
    >>> model = CellScreenModel(
    ...     screen.gene_embedding, n_components=5, max_steps=5, random_state=0
    ... ).fit(screen.X, screen.y)
    >>> cells = model.predict(["gene0003"], n_cells=10)
    >>> cells.shape, cells.obs["target_gene"].unique().tolist()
    ((10, 80), ['gene0003'])
    """

    def __init__(self, table, *, n_components=50, schema=None, **parameters):
        self.table = table
        self.n_components = n_components
        self.schema = schema
        self.parameters = parameters

    def fit(self, X, y):
        """Learn from conditions and raw counts.

        Parameters
        ----------
        X : DataFrame of shape (n_cells, n_columns)
            Conditions.
        y : AnnData of shape (n_cells, n_genes)
            Raw counts; may be backed by a file, and is read a block at a time.

        Returns
        -------
        self : CellScreenModel
        """
        n_components = min(self.n_components, y.shape[1] - 1, y.shape[0] - 1)
        self.space_ = CountSpace(
            n_components, verbose=bool(self.parameters.get("verbose"))
        ).fit(y)
        # In the precision of the file, so that a model that was read is the same.
        latent = self.space_.transform(y).astype(np.float32)
        self.flow_ = self._make_flow(self.schema).fit(X, latent)
        self._training = X, latent
        return self

    def _make_flow(self, schema):
        embedding = LookupEmbedding(self.table, add_indicator=False)
        return FlowMatchingRegressor(embedding, schema=schema, **self.parameters)

    def predict(
        self, perturbations, n_cells=400, *, n_controls=0, counts=True, random_state=0
    ):
        """Generate cells.

        Parameters
        ----------
        perturbations : list of str
            Genes, or combinations ``"A+B"``.
        n_cells : int or dict of str to int, default=400
            Cells of each perturbation.
        n_controls : int, default=0
            Training controls, generated back from the latent space, to add.
        counts : bool, default=True
            Whole numbers; else log(1 + counts scaled to 10,000 a cell).
        random_state : int, default=0
            Seed.

        Returns
        -------
        cells : AnnData
            The perturbation is in ``obs``, under the name that the training data gave
            it; contexts and batches are shared as among the training controls.
        """
        import anndata

        X, _ = self._training
        schema = self.flow_.schema_
        if isinstance(n_cells, int):
            n_cells = dict.fromkeys(perturbations, n_cells)
        numbers = {**n_cells, **({CONTROL: n_controls} if n_controls else {})}
        names = np.repeat(list(numbers), list(numbers.values()))
        rng = np.random.default_rng(random_state)
        controls = X[X[schema.control].to_numpy()] if schema.control else X
        controls = controls if len(controls) else X
        rows = controls.iloc[rng.integers(len(controls), size=len(names))]
        obs = rows.reset_index(drop=True).astype(object)
        obs[schema.perturbation] = names
        if schema.control is not None:
            obs[schema.control] = names == CONTROL
        latent = self.flow_.sample(obs, 1, random_state=random_state)[:, 0]
        drawn = self.space_.sample_counts(latent, random_state=random_state)
        if not counts:
            totals = np.maximum(np.asarray(drawn.sum(axis=1)).ravel(), 1.0)
            drawn.data *= np.repeat(1e4 / totals, np.diff(drawn.indptr))
            drawn.data = np.log1p(drawn.data)
        obs.index = [f"cell{i}" for i in range(len(obs))]
        # The spelling of the challenge, unless the training data had one of theirs.
        called = (*schema.control_labels, "non-targeting")[0]
        labels = obs[schema.perturbation].astype(str).replace(CONTROL, called)
        kept = schema.columns("context", "batch")
        obs = obs[kept].astype(str).assign(**{schema.perturbation: labels})
        genes = self.space_.genes_
        return anndata.AnnData(
            drawn.astype(np.float32), obs=obs, var=pd.DataFrame(index=genes)
        )

    def save(self, path):
        """Write the model to one ``.npz`` file of numbers and text.

        Parameters
        ----------
        path : str or path-like
        """
        path = Path(path)
        X, latent = self._training
        schema = self.flow_.schema_
        columns = schema.columns("context", "perturbation", "control", "dose", "batch")
        header = {
            "format": FORMAT,
            "n_components": int(self.space_.n_components),
            "schema": asdict(schema),
            "parameters": self.parameters,
            "genes": list(map(str, self.space_.genes_)),
            "table_genes": list(map(str, self.table.index)),
            "columns": columns,
            "guards": self.flow_.guards_,
            "shape_weight": self.flow_.shape_weight_,
        }
        arrays = {f"space/{name}": getattr(self.space_, name) for name in _OF_SPACE}
        arrays |= {
            f"net/{name}": value.numpy()
            for name, value in self.flow_.net_.state_dict().items()
        }
        for column in columns:
            values = X[column]
            kept = values.to_numpy()
            if kept.dtype != bool and not np.issubdtype(kept.dtype, np.number):
                kept = values.astype(str).to_numpy().astype(np.str_)
            arrays[f"X/{column}"] = kept
        arrays["latent"] = latent
        arrays["table"] = self.table.to_numpy(np.float64)
        arrays["header"] = np.array(json.dumps(header))
        with written_whole(path) as unfinished, open(unfinished, "wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path):
        """Read a model that `save` wrote.

        Nothing in the file is run: it holds numbers and text only.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        model : CellScreenModel

        Raises
        ------
        ValueError
            If the file is none of these.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            header = json.loads(str(arrays["header"]))
        except (KeyError, ValueError, zipfile.BadZipFile, EOFError) as error:
            raise ValueError(
                f"{path} is no model that fit-cells wrote, or it is damaged: {error}"
            ) from error
        if header.get("format") != FORMAT:
            raise ValueError(
                f"{path} has the format {header.get('format')!r}; this version reads "
                f"{FORMAT!r}. Fit the model again."
            )
        schema = PerturbationSchema(**header["schema"])
        table = pd.DataFrame(arrays["table"], index=header["table_genes"])
        model = cls(
            table,
            n_components=header["n_components"],
            schema=schema,
            **header["parameters"],
        )
        space = CountSpace(header["n_components"])
        for name in _OF_SPACE:
            setattr(space, name, arrays[f"space/{name}"])
        space.genes_ = pd.Index(header["genes"])
        space.n_features_in_ = len(space.genes_)
        X = pd.DataFrame({c: arrays[f"X/{c}"] for c in header["columns"]})
        weights = {
            name.removeprefix("net/"): torch.from_numpy(value)
            for name, value in arrays.items()
            if name.startswith("net/")
        }
        model._training = X, arrays["latent"]
        model.space_ = space
        model.flow_ = model._make_flow(schema)._fit(X, arrays["latent"], weights)
        model.flow_.guards_ = header["guards"]
        model.flow_.shape_weight_ = header["shape_weight"]
        return model
