"""From cells of a screen to cells of perturbations that are not in it."""

from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, _fit_context, clone
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from sklperturb.cells import log_normalise
from sklperturb.cells._files import is_annotated
from sklperturb.conditions._labels import CONTROL, control_rows, take_labels
from sklperturb.conditions._validation import (
    require_y,
    resolve_schema,
    validate_conditions,
)
from sklperturb.files._fields import (
    Array,
    Fields,
    Flag,
    Mapping,
    Maybe,
    Number,
    Plain,
    Size,
    Text,
)
from sklperturb.files._reading import reading
from sklperturb.flow._counts import ControlCells, CountSpace, fit_space, latent_of
from sklperturb.flow._estimator import FlowMatchingRegressor
from sklperturb.flow._fitted import FittedFlow
from sklperturb.flow._generation import (
    counts_of,
    draw_like,
    draw_places,
    find_amplitude,
    points_of,
)
from sklperturb.flow._mean import BUILT_IN
from sklperturb.flow._spelling import Spelling, as_written, count_cells
from sklperturb.flow._state import (
    MODEL,
    Object,
    check_parts,
    is_plain,
    read_state,
    write_state,
)
from sklperturb.preprocessing import LookupEmbedding
from sklperturb.preprocessing._latent_decoder import LatentDecoder

_TARGET_SUM, _LARGEST_AMPLITUDE = 1e4, 100.0
_GIVEN = "given"  # stands in a file for a transformer, which is not in it
_SPACES = ("counts", "autoencoder")
# What a file of a fitted model holds.
_FILE = {
    "parameters": Fields(
        {
            "space": Maybe(Text((*_SPACES, _GIVEN))),
            "n_components": Number(1, whole=True),
            "obsm": Text(),
        }
    ),
    "flow_parameters": Mapping(Plain()),
    "flow": Object(FittedFlow),
    "learnt": Fields(
        {
            "space_": Maybe(Object(CountSpace)),
            "decoder_": Maybe(Object(LatentDecoder)),
            "controls_": Object(pd.DataFrame),
            "cells_": Maybe(Object(ControlCells)),
            "amplitude_": Number(1, _LARGEST_AMPLITUDE),
            "_spelling": Object(Spelling),
            "_has_flags": Flag(),
            "n_features_in_": Size("n_columns"),
            "feature_names_in_": Array(("n_columns",), "U", unique=True),
        },
        optional=("decoder_",),
    ),
}


class CellScreenModel(BaseEstimator):
    """From the cells of a screen to cells of perturbations that are not in it.

    Raw counts are taken to a latent space, where a flow learns what perturbations do,
    and the counts of real control cells are changed as much; or the cells are in a
    latent space already. All that was learnt can be kept in a file of numbers and text.

    Parameters
    ----------
    embedding : DataFrame, mapping, str, path-like or list of these, default=None
        One vector for each gene: what is known of a gene that was never perturbed; see
        `LookupEmbedding`. Of several sources, a gene may be missing in some. None gives
        each perturbation its own dimension; unseen ones are then all the same.
    space : {"counts", "autoencoder"}, transformer or None, default="counts"
        Where cells are generated: "counts" is a `CountSpace` of raw counts, that is
        principal components; "autoencoder" the latent space of an
        `AutoencoderTransformer`; a transformer of raw counts, such as `SEEmbedding`,
        another latent space. With None, `y` is a latent space already, such as an
        embedding of cells.
    n_components : int, default=50
        Dimensions of the latent space of counts; fewer where there are fewer genes.
        With a transformer, principal components of the counts that are predicted from
        its points.
    obsm : str, default="X_state"
        The key of the latent space in the `obsm` of an AnnData: where `predict` puts
        generated points unless `space` is a name, and without a `space` where `fit`
        looks for them.
    flow : FlowMatchingRegressor, default=None
        Parameters of the flow, but for `embedding` and `schema`, which it gets from
        here. None takes the defaults.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.

    Attributes
    ----------
    space_ : CountSpace or None
        The principal components by which counts are changed; None if `y` was a latent
        space already.
    encoder_ : transformer or None
        The fitted autoencoder or transformer. A file does not hold it.
    decoder_ : LatentDecoder or None
        From its latent space to the principal components: the decoder of the
        autoencoder, or ridge regression on the training cells.
    flow_ : FlowMatchingRegressor
    controls_ : DataFrame of shape (n_controls, n_columns)
        Conditions of the controls, whose contexts and batches predicted cells share;
        of all cells, if there was no control.
    cells_ : ControlCells or None
        Counts of the controls of which cells are made: all, or a sample of 5,000, or
        of as many as have 16 million counts that are not zero.
    amplitude_ : float
        By how much effects of perturbations that were never measured are smaller, as
        predicted, than those that were; from 1 to 3.
    n_features_in_ : int
    feature_names_in_ : ndarray of str of shape (n_features_in_,)

    See Also
    --------
    FlowMatchingRegressor : The model of cells itself.
    CountSpace : The latent space of counts.

    Examples
    --------
    >>> from sklperturb.datasets import make_genetic_screen
    >>> from sklperturb.flow import CellScreenModel, FlowMatchingRegressor
    >>> screen = make_genetic_screen(
    ...     6, 80, cells_per_perturbation=40, n_controls=60, n_batches=1, random_state=0
    ... )
    >>> flow = FlowMatchingRegressor(max_steps=5, random_state=0)
    >>> model = CellScreenModel(screen.gene_embedding, n_components=5, flow=flow)
    >>> cells = model.fit(screen.X, screen.y).predict(["gene0003"], n_cells=10)
    >>> cells.shape, cells.obs["target_gene"].unique().tolist()
    ((10, 80), ['gene0003'])
    """

    _parameter_constraints = {
        "space": [StrOptions(set(_SPACES)), HasMethods(["fit", "transform"]), None],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "obsm": [str],
        "flow": [FlowMatchingRegressor, None],
    }

    def __init__(
        self,
        embedding=None,
        *,
        space="counts",
        n_components=50,
        obsm="X_state",
        flow=None,
        schema=None,
    ):
        self.embedding = embedding
        self.space = space
        self.n_components = n_components
        self.obsm = obsm
        self.flow = flow
        self.schema = schema

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Learn from conditions and cells.

        Parameters
        ----------
        X : DataFrame of shape (n_cells, n_columns)
            Conditions.
        y : AnnData, DataFrame or array-like of shape (n_cells, n_genes) or \
                (n_cells, n_dimensions)
            Raw counts, read a block at a time if they are in a file; without a
            `space`, points of the latent space, or an AnnData with them in `obsm`.

        Returns
        -------
        self : CellScreenModel

        Raises
        ------
        ValueError
            If the values are no counts, all cells are controls, or a parameter is out
            of range.
        """
        X = validate_conditions(self, X, reset=True)
        if not isinstance(X, pd.DataFrame):
            raise ValueError(
                "X must be a data frame: predicted cells have columns of the same "
                f"names. Got {type(X).__name__}."
            )
        require_y(self, y)
        check_consistent_length(X, y)
        schema = resolve_schema(self.schema, X)
        schema.require(X, "perturbation")
        X = X[schema.columns("context", "perturbation", "control", "dose", "batch")]
        flow = FlowMatchingRegressor() if self.flow is None else clone(self.flow)
        if flow.embedding is not None or flow.schema is not None:
            raise ValueError(
                "The flow of a CellScreenModel has no embedding and no schema of its "
                "own; pass CellScreenModel(embedding=..., schema=...)."
            )
        tables = self.embedding
        tables = tables if isinstance(tables, list | tuple) else [tables]
        flow.set_params(embedding=[LookupEmbedding(t) for t in tables if t is not None])
        flow.set_params(schema=schema)
        latent = self._to_latent(y, flow.verbose, flow.random_state)
        self.flow_ = flow.fit(X, latent)
        is_control = control_rows(X, schema)
        kept = np.flatnonzero(is_control if is_control.any() else ~is_control)
        self.controls_ = X.iloc[kept].reset_index(drop=True)
        self.cells_ = None
        if self.space_ is not None:
            groups = self.controls_[schema.columns("context", "batch")]
            self.cells_ = self.space_.keep_controls(y, kept, groups)
        self.amplitude_ = find_amplitude(self.flow_._flow, self.controls_)
        names = take_labels(X, [schema.perturbation])[:, 0].astype(str)
        self._spelling = Spelling.learn(
            as_written(y, schema.perturbation, names), names, is_control, schema
        )
        self._has_flags = is_annotated(y) and schema.control in y.obs
        return self

    def predict(
        self,
        perturbations,
        n_cells=400,
        *,
        n_controls=0,
        log1p=False,
        amplitude="typical",
        random_state=0,
    ):
        """Generate cells.

        Parameters
        ----------
        perturbations : list of str
            Genes, or combinations ``"A+B"``, in any spelling that the training data
            have. What names controls asks for controls. Of what is named twice, be it
            in another order, the numbers of cells are added up.
        n_cells : int or array-like of int of shape (n_perturbations,), default=400
            Cells of each perturbation.
        n_controls : int, default=0
            Training controls to add, as they were measured.
        log1p : bool, default=False
            Return log(1 + counts scaled to 10,000 a cell) in place of counts.
        amplitude : {"typical", "expected"}, default="typical"
            Of the counts of perturbations that were never measured. What is expected
            of an unknown effect is smaller than effects are; "typical" is `amplitude_`
            times as much, so that as many genes are called as of measured ones.
        random_state : int, default=0
            Seed.

        Returns
        -------
        cells : AnnData of shape (n_cells, n_genes)
            Perturbations are in `obs`, under the name of the column and in the
            spelling of the training data; contexts and batches are shared as among
            the training controls. Without a `space`, the AnnData has no genes, and
            the cells are in ``obsm[self.obsm]``; with a transformer it has both.

        Raises
        ------
        ValueError
            If numbers of cells are not positive, controls are asked for and there
            were none in the training data, or a latent space is to be ``log1p``.
        """
        import anndata

        check_is_fitted(self)
        if log1p and self.space_ is None:
            raise ValueError(
                "log1p=True needs counts, and this model generates points of the "
                f"latent space {self.obsm!r}; pass log1p=False."
            )
        numbers = count_cells(
            perturbations, n_cells, n_controls, self._spelling, self.flow_._flow
        )
        names = np.repeat(list(numbers), list(numbers.values()))
        flow, schema = self.flow_._flow, self.flow_.schema_
        rng = np.random.default_rng(random_state)
        pool = self._kept
        drawn = draw_places(len(pool), list(numbers.values()), rng)
        start = self.controls_.iloc[pool[drawn]].reset_index(drop=True)
        conditions = start.astype(object)
        is_control = names == CONTROL
        # Controls keep the label of the row, by which the flow knows them.
        conditions.loc[~is_control, schema.perturbation] = names[~is_control]
        if schema.control is not None:
            conditions[schema.control] = is_control
        obs = conditions[schema.columns("context", "batch")].astype(str)
        labels = {name: self._spelling.write(name) for name in numbers}
        obs[schema.perturbation] = [labels[name] for name in names]
        if self._has_flags:
            obs[schema.control] = is_control
        obs.index = [f"cell{i}" for i in range(len(obs))]
        obsm = {}
        if self.space not in _SPACES:
            obsm[self.obsm] = points_of(flow, pool[drawn], conditions, random_state)
        if self.space_ is None:
            return anndata.AnnData(obs=obs, obsm=obsm)
        drawn = counts_of(self, drawn, conditions, amplitude, rng)
        if log1p:
            drawn = log_normalise(drawn, _TARGET_SUM).astype(np.float32)
        genes = self.space_.genes_
        var = None if genes is None else pd.DataFrame(index=genes)
        return anndata.AnnData(drawn, obs=obs, var=var, obsm=obsm)

    def sample(self, X, n_cells=1, *, amplitude="typical", random_state=0):
        """Generate cells of the condition of each row, as `CellScorer` asks for them.

        Parameters
        ----------
        X : DataFrame of shape (n_samples, n_columns)
            Conditions. Cells are made of controls of the row's context and batch.
        n_cells : int, default=1
            Cells of each row.
        amplitude : {"typical", "expected"}, default="typical"
            As in `predict`.
        random_state : int, default=0
            Seed.

        Returns
        -------
        cells : csr_array of shape (n_samples * n_cells, n_genes)
            Counts, of one row after the other; without a `space`, an ndarray with
            points of the latent space.
        """
        check_is_fitted(self)
        X = validate_conditions(self, X, reset=False)
        schema = self.flow_.schema_
        X = X[schema.columns("context", "perturbation", "control", "dose", "batch")]
        X = X.iloc[np.repeat(np.arange(len(X)), n_cells)].reset_index(drop=True)
        rng = np.random.default_rng(random_state)
        kept = self.controls_.iloc[self._kept]
        drawn = draw_like(self.flow_._flow.pools, X, kept, rng)
        if self.space_ is None:
            flow, places = self.flow_._flow, self._kept[drawn]
            return points_of(flow, places, X, random_state)
        return counts_of(self, drawn, X, amplitude, rng)

    @property
    def _kept(self):
        """Places of the controls of which cells are made."""
        if self.cells_ is not None:
            return self.cells_.places
        return np.arange(len(self.controls_))

    def save(self, path):
        """Write the fitted model to one ``.npz`` file of numbers and text.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        TypeError
            If the flow's `mean_estimator` is a regressor of its own, which may be
            anything.
        """
        check_is_fitted(self)
        flow = self.flow_._flow
        if self.flow_.mean_choice_ == "custom":
            raise TypeError(
                f"A {type(flow.mean.model.regressor).__name__} as mean_estimator "
                f"cannot be written as numbers and text; pass one of {BUILT_IN}."
            )
        parameters = self.get_params(deep=False)
        of_flow = {} if self.flow is None else self.flow.get_params(deep=False)
        apart = {*parameters, "flow_", "encoder_"}
        kept = {name: parameters[name] for name in ("space", "n_components", "obsm")}
        if self.space is not None and self.space not in _SPACES:
            kept["space"] = _GIVEN
        state = {
            "parameters": kept,
            "flow_parameters": {k: v for k, v in of_flow.items() if is_plain(v)},
            "flow": flow,
            "learnt": {k: v for k, v in vars(self).items() if k not in apart},
        }
        write_state(path, state)

    @classmethod
    def load(cls, path):
        """Return a model that `save` wrote, without fitting anything.

        Nothing in the file is run: it holds numbers and text only.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        model : CellScreenModel
            Predicts the same cells as the one that was saved. A transformer that was
            its `space` is not in the file, and it cannot be fitted again without one.

        Raises
        ------
        FileError
            If the file is none of these, is damaged, or holds what no model has.
        """
        state = read_state(path, _FILE)
        with reading(path, MODEL):
            fitted, of_flow = state["flow"], state["flow_parameters"]
            tables = []
            for lookup in fitted.reader.embedding:
                tables.append(pd.DataFrame(lookup.embedding_, index=lookup.genes_))
                lookup.set_params(table=tables[-1])
            flow = FlowMatchingRegressor(**of_flow)
            flow._validate_params()
            schema = fitted.reader.schema
            model = cls(tables or None, flow=flow, schema=schema, **state["parameters"])
            vars(model).update({"decoder_": None, **state["learnt"]}, encoder_=None)
            model.flow_ = FlowMatchingRegressor._from_fitted(fitted, **of_flow)
            check_parts(model)
            return model

    def _to_latent(self, y, verbose, random_state):
        """Return the cells as points of the latent space, in single precision."""
        self.space_ = self.encoder_ = self.decoder_ = None
        if self.space is None:
            return latent_of(y, self.obsm)
        parts = fit_space(self.space, self.n_components, y, bool(verbose), random_state)
        self.space_, self.encoder_, self.decoder_, points = parts
        return points
