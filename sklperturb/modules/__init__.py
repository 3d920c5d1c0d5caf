"""torch modules; they know nothing of scikit-learn, pandas or skorch."""

from sklperturb.modules._autoencoder import Autoencoder
from sklperturb.modules._dual_branch import DualBranchNet
from sklperturb.modules._gan import (
    ConditionalCritic,
    ConditionalGenerator,
    gradient_norms,
)
from sklperturb.modules._latent_net import LatentNet
from sklperturb.modules._losses import MixedLoss, RowwiseRMSELoss, WeightedMSELoss
from sklperturb.modules._population import DeepSets, NeighborGraphSets
from sklperturb.modules._sequence_net import SequenceNet
from sklperturb.modules._state_embedding import (
    AttentionBlock,
    SkipBlock,
    StateEmbedding,
)
from sklperturb.modules._token_mlp import TokenMLP
from sklperturb.modules._transformer import ConditionTransformer
from sklperturb.modules._velocity import VelocityNet

__all__ = [
    "AttentionBlock",
    "Autoencoder",
    "ConditionTransformer",
    "ConditionalCritic",
    "ConditionalGenerator",
    "DeepSets",
    "DualBranchNet",
    "LatentNet",
    "MixedLoss",
    "NeighborGraphSets",
    "RowwiseRMSELoss",
    "SequenceNet",
    "SkipBlock",
    "StateEmbedding",
    "TokenMLP",
    "VelocityNet",
    "WeightedMSELoss",
    "gradient_norms",
]
