"""Finding the estimators of the toolkit."""

import pytest
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin

from sklperturb.testing import _discovery as discovery
from sklperturb.testing import all_estimators, public_members, public_packages


def test_lists_public_estimators_by_name():
    found = all_estimators()
    names = [name for name, _ in found]
    assert names == sorted(names)
    assert len(set(names)) == len(names)
    assert {"AdditiveRegressor", "ProductKernelRidge", "TargetReducer"} <= set(names)
    for name, kind in found:
        assert kind.__name__ == name
        assert issubclass(kind, BaseEstimator)
        assert kind.__module__.startswith("sklperturb.")
        assert not name.startswith("_")


def test_type_filter():
    regressors = dict(all_estimators("regressor"))
    transformers = dict(all_estimators("transformer"))
    assert all(issubclass(kind, RegressorMixin) for kind in regressors.values())
    assert all(issubclass(kind, TransformerMixin) for kind in transformers.values())
    both = dict(all_estimators(["regressor", "transformer"]))
    assert both == regressors | transformers
    assert all_estimators("cluster") == []


@pytest.mark.parametrize("wrong", ["regresor", ["regressor", "net"], []])
def test_unknown_type(wrong):
    with pytest.raises(ValueError, match=r"is no kind of estimator\.|lists nothing"):
        all_estimators(wrong)


def test_missing_extra_is_left_out(monkeypatch):
    real = discovery.importlib.import_module

    def without(name):
        if name == "sklperturb.baseline":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return real(name)

    monkeypatch.setattr(discovery.importlib, "import_module", without)
    names = [package.__name__ for package in public_packages()]
    assert "sklperturb.baseline" not in names
    assert "sklperturb.metrics" in names
    assert "AdditiveRegressor" not in dict(all_estimators())


def test_broken_import_of_ours_is_not_hidden(monkeypatch):
    def broken(name):
        raise ModuleNotFoundError(
            "No module named 'sklperturb._x'", name="sklperturb._x"
        )

    monkeypatch.setattr(discovery.importlib, "import_module", broken)
    with pytest.raises(ModuleNotFoundError, match=r"sklperturb\._x"):
        public_packages()


def test_lazy_member_without_its_extra():
    class Package:
        __all__ = ["absent", "present"]
        present = all_estimators

        def __getattr__(self, name):
            raise ModuleNotFoundError("No module named 'optuna'", name="optuna")

    assert [name for name, _ in public_members(Package())] == ["present"]
