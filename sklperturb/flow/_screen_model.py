"""From cells of a screen to cells of perturbations that are not in it."""

import copy
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, _fit_context, clone
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from sklperturb.cells import log_normalise
from sklperturb.cells._files import is_annotated
from sklperturb.cells._strengths import LARGEST_SPREAD
from sklperturb.conditions._documented import DocumentedMixin
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
    Size,
    Source,
)
from sklperturb.flow._counts import ControlCells, CountSpace, fit_space, latent_of
from sklperturb.flow._estimator import FlowMatchingRegressor
from sklperturb.flow._fitted import FittedFlow, check_flow
from sklperturb.flow._generation import (
    counts_of,
    draw_like,
    draw_places,
    find_amplitude,
    moves_under,
    points_of,
)
from sklperturb.flow._populations import find_spreads
from sklperturb.flow._spelling import Spelling, as_written, count_cells
from sklperturb.flow._state import Having, Object, check_parts
from sklperturb.preprocessing import LookupEmbedding
from sklperturb.preprocessing._latent_decoder import LatentDecoder

_TARGET_SUM, _LARGEST_AMPLITUDE = 1e4, 100.0
_SPACES = ("counts", "autoencoder")
# What was learnt, as a file may hold it.
_LEARNT = Fields(
    {
        "space_": Maybe(Object(CountSpace)),
        "encoder_": Maybe(Having("transform")),
        "decoder_": Maybe(Object(LatentDecoder)),
        "flow_": Object(FittedFlow, apart=True),
        "controls_": Object(pd.DataFrame),
        "cells_": Maybe(Object(ControlCells)),
        "amplitude_": Number(1, _LARGEST_AMPLITUDE),
        "spread_": Number(0, LARGEST_SPREAD),
        "context_spreads_": Mapping(Number(0, LARGEST_SPREAD)),
        "_spelling": Object(Spelling),
        "_has_flags": Flag(),
        "n_features_in_": Size("n_columns"),
        "feature_names_in_": Array(("n_columns",), "U", unique=True),
    }
)


class CellScreenModel(DocumentedMixin, BaseEstimator):
    """From the cells of a screen to cells of perturbations that are not in it.

    Raw counts are taken to a latent space, where a flow learns what perturbations do,
    and the counts of real control cells are changed as much; or the cells are in a
    latent space already. `sklperturb.save` keeps all that was learnt in a file.

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
        The fitted autoencoder or transformer.
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
    spread_ : float
        Variance of the strength with which cells of a condition respond, whose mean is
        one; in contexts that were not measured. 0 without counts or controls.
    context_spreads_ : dict of str to float
        The same in each measured context; shrunken towards `spread_`.
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

    # Cells of models that were saved earlier are all of one strength.
    _learnt_since = {"spread_": 0.0, "context_spreads_": {}}

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
        self.spread_, self.context_spreads_ = find_spreads(self, X, y)
        return self

    def predict(
        self,
        perturbations,
        n_cells=400,
        *,
        n_controls=0,
        dose=None,
        log1p=False,
        amplitude="expected",
        random_state=0,
    ):
        """Generate cells.

        Parameters
        ----------
        perturbations : list of str
            Genes, or combinations ``"A+B"``, in any spelling that the training data
            have. What names controls asks for controls. Of what is named twice, be it
            in another order, the numbers of cells are added up; a combination that the
            training data lack is written in the order in which it is named first.
        n_cells : int or array-like of int of shape (n_perturbations,), default=400
            Cells of each perturbation.
        n_controls : int, default=0
            Training controls to add, as they were measured.
        dose : float or str, default=None
            Of all perturbations, as in the training data: a number, or an amount with
            its unit. None is the dose that was measured, if that was one only.
        log1p : bool, default=False
            Return log(1 + counts scaled to 10,000 a cell) in place of counts.
        amplitude : {"expected", "typical"}, default="expected"
            Of the counts of perturbations that were never measured. What is expected of
            an unknown effect has the least error, and is smaller than effects are;
            "typical" is `amplitude_` times as much, for as many calls of genes.
        random_state : int, default=0
            Seed.

        Returns
        -------
        cells : AnnData of shape (n_cells, n_genes)
            Perturbations, and doses if there are any, are in `obs`, under the names of
            the columns and in the spelling of the training data; contexts and batches
            are shared as among the training controls. Without a `space`, the AnnData
            has no genes, and the cells are in ``obsm[self.obsm]``; with a transformer
            it has both.

        Raises
        ------
        ValueError
            If numbers of cells are not positive, controls are asked for and there
            were none in the training data, a latent space is to be ``log1p``, or
            several doses were measured and none is named.
        """
        import anndata

        check_is_fitted(self)
        if log1p and self.space_ is None:
            raise ValueError(
                "log1p=True needs counts, and this model generates points of the "
                f"latent space {self.obsm!r}; pass log1p=False."
            )
        numbers, asked = count_cells(
            perturbations, n_cells, n_controls, self._spelling, self.flow_._flow
        )
        names = np.repeat(list(numbers), list(numbers.values()))
        flow, schema = self.flow_._flow, self.flow_.schema_
        dose = flow.reader.choose_dose(dose, flow.conditions)
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
        if dose is not None:
            conditions.loc[~is_control, schema.dose] = dose
        obs = conditions[schema.columns("context", "batch")].astype(str)
        labels = {name: self._spelling.write(name, asked.get(name)) for name in numbers}
        obs[schema.perturbation] = [labels[name] for name in names]
        if self._has_flags:
            obs[schema.control] = is_control
        if dose is not None:
            doses = conditions[schema.dose].infer_objects()
            obs[schema.dose] = doses.astype(str) if doses.dtype == object else doses
        obs.index = [f"cell{i}" for i in range(len(obs))]
        obsm = {}
        if self.space not in _SPACES:
            obsm[self.obsm] = points_of(flow, pool[drawn], conditions, random_state)
        if self.space_ is None:
            return anndata.AnnData(obs=obs, obsm=obsm)
        moved = moves_under(self, drawn, conditions, amplitude)
        drawn = counts_of(self, drawn, moved, rng)
        if log1p:
            drawn = log_normalise(drawn, _TARGET_SUM).astype(np.float32)
        genes = self.space_.genes_
        var = None if genes is None else pd.DataFrame(index=genes)
        return anndata.AnnData(drawn, obs=obs, var=var, obsm=obsm)

    def sample(self, X, n_cells=1, *, amplitude="expected", random_state=0):
        """Generate cells of the condition of each row, as `CellScorer` asks for them.

        Parameters
        ----------
        X : DataFrame of shape (n_samples, n_columns)
            Conditions. Cells are made of controls of the row's context and batch.
        n_cells : int, default=1
            Cells of each row.
        amplitude : {"expected", "typical"}, default="expected"
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
        moved = moves_under(self, drawn, X, amplitude)
        return counts_of(self, drawn, moved, rng)

    @property
    def _target_names(self):
        """Genes of the cells that `sample` makes, by which scores line them up."""
        return None if self.space_ is None else self.space_.genes_

    @property
    def _kept(self):
        """Places of the controls of which cells are made."""
        if self.cells_ is not None:
            return self.cells_.places
        return np.arange(len(self.controls_))

    def _to_file(self):
        state = dict(vars(self))
        if "flow_" in state:
            # The tables are as large as the genes are many, and in the flow already.
            state |= {"embedding": None, "flow_": _without_tables(self.flow_._flow)}
        return state

    @classmethod
    def _from_file(cls, state):
        """Return the model of what `_to_file` gave an untrusted file."""
        model = cls.__new__(cls)
        vars(model).update(state)
        model._validate_params()
        learnt = {k: v for k, v in state.items() if k not in cls._get_param_names()}
        if not learnt:
            return model
        _LEARNT.read(learnt, "the model", Source())
        flow = check_flow(model.flow_)
        for lookup in flow.reader.embedding:
            lookup.table = pd.DataFrame(lookup.embedding_, index=lookup.genes_)
        tables = [lookup.table for lookup in flow.reader.embedding]
        model.embedding = tables or None
        parameters = {} if model.flow is None else model.flow.get_params(deep=False)
        model.flow_ = FlowMatchingRegressor._from_fitted(flow, **parameters)
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


def _without_tables(flow):
    """Return a flow whose sources have no other table than what they learnt of it."""
    flow, reader = copy.copy(flow), copy.copy(flow.reader)
    sources = [copy.copy(source) for source in reader.embedding]
    for source in sources:
        source.table, source._positions = None, {}
    flow.reader, reader.embedding = reader, sources
    return flow
