"""Neural estimators: plain scikit-learn regressors that build a skorch net in fit."""

from sklperturb.neural_network._transformer import TransformerRegressor

__all__ = ["TransformerRegressor"]
