"""Every planted leak is found, and the honest screen beside it has none."""

import warnings

import numpy as np
import pytest

from sklperturb.inspection import audit
from tests.auditing.planted import LEAKS

pytest.importorskip("rdkit")
# Leaks whose worth cannot be measured by taking them away from these estimators.
NOT_WORTH = {
    *("encoding in a column", "names of salts", "InChIKeys", "spelling", "panel"),
    *("closure", "slips"),
}


@pytest.fixture(scope="module", params=LEAKS)
def planted(request):
    """Return the name of a leak, its kind, and the audit of a screen that has it."""
    make, kind = LEAKS[request.param]
    case = make(True)
    return request.param, kind, audited(case)


def audited(case):
    with warnings.catch_warnings():  # folds and fits tell of spellings themselves
        warnings.filterwarnings("ignore", ".*spelling")
        return audit(case.estimator, case.X, case.y, case.cv, **case.options)


def test_leaks_are_found(planted):
    _, kind, found = planted
    assert kind in [finding.kind for finding in found.findings]
    assert not found.ok


def test_no_other_leak_is_told(planted):
    name, kind, found = planted
    same = {
        "frozen model": {"unlearnt knowledge"},
        "lookup": {"held responses"},
        "lookup in an array": {"lookup"},
        "closure": {"lookup"},
    }
    kinds = {finding.kind for finding in found.findings}
    assert kinds <= {kind} | same.get(name, set())


def test_leaks_are_measured(planted):
    name, kind, found = planted
    finding = next(f for f in found.findings if f.kind == kind)
    if name in NOT_WORTH:
        return
    measured = finding.inflation
    assert measured.low > 0
    assert finding.severity == "high"
    errors = measured.score, measured.score_without
    assert np.isclose(errors[1] - errors[0], measured.inflation)
    assert measured.low <= measured.inflation <= measured.high
    assert 0 < measured.n_rows <= found.n_held_out


@pytest.mark.parametrize("name", LEAKS)
def test_honest_twins_have_none(name):
    found = audited(LEAKS[name][0](False))
    assert found.ok, found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plates", "target encoding", "copies", "lookup"])
def test_correlations_are_inflated_upwards(name):
    make, kind = LEAKS[name]
    case = make(True)
    case.options["scoring"] = "pearson"
    finding = next(f for f in audited(case).findings if f.kind == kind)
    measured = finding.inflation
    assert measured.inflation > 0
    assert measured.score > measured.score_without
