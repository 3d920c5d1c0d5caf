"""How long a plan of 96 experiments from 10,000 candidates takes, 400 being measured.

The targets are the candidates: ten contexts of 1,040 perturbations, 500 genes. The
calibration of the expected error is part of it.

    python -m benchmarks.planning.suggest_speed
"""

import time

import numpy as np
import pandas as pd

from benchmarks._output import record, show
from sklperturb.linear_model import ResponseKernelRidge
from sklperturb.model_selection import suggest_experiments
from sklperturb.utils._memory import ResourceMeter

N_MEASURED, N_CHOSEN = 400, 96


def main():
    """Print a table."""
    rng = np.random.RandomState(0)
    grid = pd.DataFrame(
        [(f"c{i}", f"p{j}") for i in range(10) for j in range(1040)],
        columns=["cell_type", "sm_name"],
    ).sample(frac=1, random_state=0)
    measured = grid[:N_MEASURED]
    effects = rng.normal(size=(1040, 500))[measured["sm_name"].str[1:].astype(int)]
    y = effects + rng.normal(size=effects.shape)
    start = time.process_time()
    with ResourceMeter() as meter:
        suggest_experiments(
            ResponseKernelRidge(), measured, y, grid[N_MEASURED:], N_CHOSEN
        )
    cpu = time.process_time() - start
    record("10,000 candidates", meter.seconds, "s", cpu=cpu)
    record("10,000 candidates: memory", meter.peak_memory_mb / 1000, "GB")
    row = {"candidates": len(grid) - N_MEASURED, "measured": N_MEASURED}
    row |= {"chosen": N_CHOSEN, "s": meter.seconds, "CPU s": cpu}
    show([row | {"peak MB": meter.peak_memory_mb}])


if __name__ == "__main__":
    main()
