import os
from pathlib import Path

import pytest


@pytest.fixture
def shared_data():
    """Return a function that gives a folder of real data, or skips."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    root = Path(os.environ.get("SKLPERTURB_SHARED_DATA", beside))

    def folder(name):
        if not (root / name).is_dir():
            pytest.skip(f"{name} is not in {root}; set SKLPERTURB_SHARED_DATA")
        return root / name

    return folder
