"""The bridge to scikit-learn's callbacks, and its absence before scikit-learn 1.9."""

import subprocess
import sys

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from sklperturb.linear_model import TargetEncodedRidge
from sklperturb.neural_network import LatentNetRegressor
from sklperturb.utils._callbacks import FitTask, without_callbacks

OLDER = """
import sys
import numpy as np
import skorch
# As in scikit-learn 1.6 to 1.8, for the toolkit only.
there = sys.modules.pop("sklearn.callback", None)
sys.modules["sklearn.callback"] = None
import sklperturb.utils._callbacks
sys.modules["sklearn.callback"] = there
from sklperturb.neural_network import LatentNetRegressor
from sklperturb.tuning import PerturbationSearchCV
X = np.eye(12)
net = LatentNetRegressor(max_epochs=2, target_components=None, random_state=0)
assert not hasattr(net, "set_callbacks")
search = PerturbationSearchCV(net, {"dropout": [0.0, 0.1]}, cv=2, n_trials=2)
print(search.fit(X, X).predict(X).shape)
"""


def test_older_versions_of_scikit_learn_have_none():
    command = [sys.executable, "-c", OLDER]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "(12, 12)\n", done.stderr


def test_nobody_is_told_without_a_context():
    task = FitTask()
    assert task.part("epoch", n_parts=3).begin() is task
    assert task.end() is False
    with task.running(LatentNetRegressor()):
        pass


class TestWithCallbacks:
    @pytest.fixture(autouse=True)
    def callback(self):
        return pytest.importorskip("sklearn.callback")

    def test_a_part_too_many_is_not_told(self, callback):
        class Told(callback.CallbackSupportMixin):
            pass

        told = Told()
        task = FitTask(told, told._init_callback_context(max_subtasks=1))
        assert task.part("first")._context is not None
        assert task.part("second")._context is None

    def test_names_of_results_do_not_depend_on_callbacks(self, callback):
        monitor = callback.ScoringMonitor(scoring="r2")
        plain = make_pipeline(TargetEncodedRidge(), LatentNetRegressor())
        told = clone(plain)
        told[-1].set_callbacks(monitor)
        told.set_callbacks(callback.ProgressBar())
        expected = joblib.hash(plain)
        assert joblib.hash(told) != expected
        assert joblib.hash(without_callbacks(told)) == expected
        assert told[-1]._skl_callbacks == [monitor]
        assert without_callbacks(plain) is plain

    def test_what_travels_is_the_way_up_alone(self, callback):
        import pickle

        class Told(callback.CallbackSupportMixin):
            pass

        told = Told()
        root = FitTask(told, told._init_callback_context(max_subtasks=2))
        told.large = np.zeros(10**6)
        task, _ = root.part("fold", n_parts=1), root.part("other")
        sent = pickle.dumps(task.part("fit"))
        assert len(sent) < 5000
        path = pickle.loads(sent)._context
        assert (path.parent.task_name, path.parent.parent.task_name) == ("fold", "fit")
        assert path.root_uuid == root._context.root_uuid
