"""Diagrams in notebooks link to pages that exist, or to none."""

import pytest
import sklearn
from packaging.version import Version
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_html_repr

from sklperturb.ensemble import SeedEnsembleRegressor
from sklperturb.linear_model import TargetEncodedRidge
from sklperturb.testing import all_estimators
from tests.test_docs import api_entries

SITE = "https://docs.example/sklperturb"


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("SKLPERTURB_DOCUMENTATION", f"{SITE}/")


class Mine(TargetEncodedRidge):
    """An estimator of somebody else."""


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(("name", "kind"), all_estimators())
def test_each_estimator_has_a_page(name, kind):
    link = BaseEstimator.__new__(kind)._get_doc_link()
    module, _, found = link.removesuffix(".html").rpartition("/")[2].rpartition(".")
    assert link == f"{SITE}/generated/{module}.{name}.html"
    assert found in api_entries()[module]  # of which the site makes pages


@pytest.mark.usefixtures("site")
def test_the_diagram_links_and_explains():
    model = make_pipeline(SeedEnsembleRegressor(TargetEncodedRidge(smooth=3.0)))
    shown = estimator_html_repr(model)
    room = f"{SITE}/generated/sklperturb"
    for page in ("ensemble.SeedEnsembleRegressor", "linear_model.TargetEncodedRidge"):
        assert f'href="{room}.{page}.html' in shown
    if Version(sklearn.__version__) >= Version("1.9"):
        assert "Number of fits." in shown  # the docstring of n_seeds
    assert Mine()._get_doc_link() == ""


def test_nothing_leads_nowhere(monkeypatch):
    monkeypatch.delenv("SKLPERTURB_DOCUMENTATION", raising=False)
    model = SeedEnsembleRegressor(TargetEncodedRidge())
    assert model._get_doc_link() == ""
    assert "href" not in estimator_html_repr(model)
