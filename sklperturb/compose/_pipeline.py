"""A pipeline whose predictions can be frames over the rows of its own input."""

from sklearn.pipeline import Pipeline, _final_estimator_has
from sklearn.utils.metaestimators import available_if

from sklperturb.conditions._named_predictions import (
    NamedPredictionsMixin,
    gives_frames,
)


class ScreenPipeline(NamedPredictionsMixin, Pipeline):
    """The `Pipeline` of scikit-learn that knows the rows and genes it predicts.

    The last step of a pipeline sees what the others make of `X`, which is mostly an
    array: a frame that it gave would have lost the index.
    """

    _predicts_with = "_final_estimator"

    def fit(self, X, y=None, **params):
        """Fit as `Pipeline` does, and remember the names in `y`."""
        return super().fit(X, y, **params)

    @available_if(_final_estimator_has("predict"))
    @gives_frames
    def predict(self, X, **params):
        """Predict as `Pipeline` does, a frame where that is asked for."""
        return super().predict(X, **params)
