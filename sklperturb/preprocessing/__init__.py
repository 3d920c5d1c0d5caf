"""Turn conditions into features and targets into a compact basis."""

from sklperturb.preprocessing._condition_encoder import (
    SchemaColumns,
    make_condition_encoder,
)
from sklperturb.preprocessing._expression_embedding import ExpressionGeneEmbedding
from sklperturb.preprocessing._fingerprint import (
    CompoundFingerprint,
    tanimoto_similarity,
)
from sklperturb.preprocessing._gene_sets import GeneSetEncoder
from sklperturb.preprocessing._lookup_embedding import LookupEmbedding
from sklperturb.preprocessing._molecules import murcko_scaffolds
from sklperturb.preprocessing._pseudobulk import Pseudobulk, pseudobulk
from sklperturb.preprocessing._signatures import DifferentialSignatures
from sklperturb.preprocessing._signed_log_p import (
    signed_log_p,
    signed_log_p_from_t,
    t_from_signed_log_p,
)
from sklperturb.preprocessing._t_score import TScoreTransformer
from sklperturb.preprocessing._target_reducer import TargetReducer
from sklperturb.preprocessing._target_statistics import TargetStatisticsEncoder

__all__ = [
    "CompoundFingerprint",
    "DifferentialSignatures",
    "ExpressionGeneEmbedding",
    "GeneSetEncoder",
    "LookupEmbedding",
    "Pseudobulk",
    "SchemaColumns",
    "TScoreTransformer",
    "TargetReducer",
    "TargetStatisticsEncoder",
    "make_condition_encoder",
    "murcko_scaffolds",
    "pseudobulk",
    "signed_log_p",
    "signed_log_p_from_t",
    "t_from_signed_log_p",
    "tanimoto_similarity",
]
