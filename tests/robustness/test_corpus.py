"""Nothing that a file says crashes the program, misleads it, or gets lost."""

from collections import Counter

import pytest

from tests.robustness import inputs
from tests.robustness.cases import Bench
from tests.robustness.corpus import CASES
from tests.robustness.entries import ENTRIES
from tests.robustness.runner import Runner

# Embedding and fitting to the end, again and again.
_COSTLY = {
    ("embed h5ad", "survived"),
    ("embed --gene-map", "accepted"),
    ("embed_file", "survived"),
    ("fit-cells h5ad", "survived"),
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Good inputs of every kind, and a process that forks for each case."""
    good = tmp_path_factory.mktemp("good")
    with Runner(tmp_path_factory.mktemp("cases")) as runner:
        inputs.write_all(good)
        yield Bench(good, runner)


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.name)
def test_good_inputs_are_read(bench, entry):
    outcome, _ = bench.undamaged(entry)
    assert outcome.code == 0


def by_cost():
    """Return the cases; those that are run with -m slow only are marked.

    Every sixth is kept of the kinds of damage that no other way in meets before, and
    the first of each outcome in each kind of file and on each way in. So all of these
    are tried with every test, and whoever changes a reader runs all cases.
    """
    met, begun, found = set(), set(), []
    for case in CASES:
        damage, outcome = (case.kind, case.file, case.name), case.expect.kind
        groups = {("kind", case.kind, outcome), ("way in", case.entry, outcome)}
        slow = (case.entry, outcome) in _COSTLY
        if not slow and groups <= begun:
            slow = damage in met or len(met) % 6 > 0
        if not slow:
            begun |= groups
        met.add(damage)
        found.append(pytest.param(case, id=case.id, marks=[pytest.mark.slow] * slow))
    return found


@pytest.mark.parametrize("case", by_cost())
@pytest.mark.filterwarnings("ignore")  # what the libraries say of hostile inputs
def test_damaged_and_hostile_inputs(bench, case):
    _, wrong = bench.try_case(case)
    assert not wrong, "\n".join(wrong)


def test_the_corpus_is_large_and_attacks_every_reader():
    assert len(CASES) >= 200
    assert not [i for i, n in Counter(case.id for case in CASES).items() if n > 1]
    # The way in without options is attacked in the others.
    assert set(ENTRIES) - {case.entry for case in CASES} <= {"submit"}
