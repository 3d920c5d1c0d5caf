"""Features as numbers, and what to do with those that are none."""

import numpy as np
from sklearn.utils.validation import validate_data


def read_numbers(estimator, *data, **how):
    """Return what `validate_data` makes of features, in single precision.

    Raises
    ------
    ValueError
        If they are not what was asked for; of text, with the encoder for it.
    """
    try:
        return validate_data(estimator, *data, dtype=np.float32, **how)
    except ValueError as error:
        if "could not convert string" not in str(error):
            raise
        raise ValueError(
            f"{error}. {type(estimator).__name__} takes numbers: put "
            "sklperturb.preprocessing.make_condition_encoder() before it in a "
            "Pipeline."
        ) from error
