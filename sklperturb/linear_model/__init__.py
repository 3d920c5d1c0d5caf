"""Linear and kernel models of the response to a perturbation."""

from sklperturb.linear_model._bilinear import BilinearGeneRegressor
from sklperturb.linear_model._context_transfer import ContextTransferRidge
from sklperturb.linear_model._gene_knowledge import GeneKnowledgeRidge
from sklperturb.linear_model._product_kernel import ProductKernelRidge
from sklperturb.linear_model._response_kernel import ResponseKernelRidge
from sklperturb.linear_model._tanimoto import TanimotoKernelRidge
from sklperturb.linear_model._target_encoded_ridge import TargetEncodedRidge

__all__ = [
    "BilinearGeneRegressor",
    "ContextTransferRidge",
    "GeneKnowledgeRidge",
    "ProductKernelRidge",
    "ResponseKernelRidge",
    "TanimotoKernelRidge",
    "TargetEncodedRidge",
]
