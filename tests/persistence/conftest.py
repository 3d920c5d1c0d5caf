import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PREDICT = """
import json, sys, warnings
import numpy as np
import pandas as pd
import sklperturb
folder = sys.argv[1]
for name, method, form in json.load(open(f"{folder}/asked.json")):
    model = sklperturb.load(f"{folder}/{name}.skpt")
    X = np.load(f"{folder}/{name}.X.npy") if form == "array" else (
        pd.read_parquet(f"{folder}/{name}.X.parquet"))
    made = getattr(model, method)(X)
    made = made.toarray() if hasattr(made, "toarray") else made
    np.save(f"{folder}/{name}.out.npy", np.asarray(made))
"""


@pytest.fixture(scope="session")
def in_new_process():
    """Return a function that saves models and predicts with them in a new process."""

    def run(folder, models):
        """Return {name: (here, there)} for {name: (model, X)}."""
        import sklperturb

        asked, here = [], {}
        for name, (model, X) in models.items():
            sklperturb.save(model, folder / f"{name}.skpt")
            method = "predict" if hasattr(model, "predict") else "transform"
            if isinstance(X, np.ndarray):
                np.save(folder / f"{name}.X.npy", X)
            else:
                X.to_parquet(folder / f"{name}.X.parquet")
            asked.append((name, method, "array" if isinstance(X, np.ndarray) else ""))
            made = getattr(model, method)(X)
            here[name] = (
                made.toarray() if hasattr(made, "toarray") else np.asarray(made)
            )
        (folder / "asked.json").write_text(json.dumps(asked))
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", PREDICT, str(folder)],
            capture_output=True,
            text=True,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        return {n: (h, np.load(folder / f"{n}.out.npy")) for n, h in here.items()}

    return run
