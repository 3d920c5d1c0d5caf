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
from sklperturb.preprocessing._gene_sources import GeneSource, read_gene_source
from sklperturb.preprocessing._lookup_embedding import LookupEmbedding
from sklperturb.preprocessing._molecules import murcko_scaffolds
from sklperturb.preprocessing._t_score import TScoreTransformer
from sklperturb.preprocessing._target_reducer import TargetReducer
from sklperturb.preprocessing._target_statistics import TargetStatisticsEncoder

__all__ = [
    "CompoundFingerprint",
    "ExpressionGeneEmbedding",
    "GeneSetEncoder",
    "GeneSource",
    "LookupEmbedding",
    "SchemaColumns",
    "TScoreTransformer",
    "TargetReducer",
    "TargetStatisticsEncoder",
    "make_condition_encoder",
    "murcko_scaffolds",
    "read_gene_source",
    "tanimoto_similarity",
]
