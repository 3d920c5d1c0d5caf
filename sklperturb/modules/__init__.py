"""torch modules; they know nothing of scikit-learn, pandas or skorch."""

from sklperturb.modules._losses import RowwiseRMSELoss
from sklperturb.modules._transformer import ConditionTransformer

__all__ = ["ConditionTransformer", "RowwiseRMSELoss"]
