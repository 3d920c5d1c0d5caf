"""Neural estimators: plain scikit-learn regressors that build a skorch net in fit."""

from sklperturb.neural_network._autoencoder import AutoencoderTransformer
from sklperturb.neural_network._dual_branch import DualBranchRegressor
from sklperturb.neural_network._gan import ConditionalGANRegressor
from sklperturb.neural_network._latent_net import LatentNetRegressor
from sklperturb.neural_network._sequence_net import SequenceNetRegressor
from sklperturb.neural_network._token_mlp import TokenEmbeddingMLPRegressor
from sklperturb.neural_network._transformer import TransformerRegressor

__all__ = [
    "AutoencoderTransformer",
    "ConditionalGANRegressor",
    "DualBranchRegressor",
    "LatentNetRegressor",
    "SequenceNetRegressor",
    "TokenEmbeddingMLPRegressor",
    "TransformerRegressor",
]
