"""The long runs see what goes wrong: growth, and trials that are lost or doubled."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("optuna", reason="optuna is not installed")

from benchmarks.files import interruptions
from benchmarks.soak import kills, memory, study
from sklperturb.baseline import GroupStatisticRegressor
from sklperturb.datasets import make_chemical_screen
from sklperturb.preprocessing import _molecules
from sklperturb.tuning import PerturbationSearchCV


@pytest.fixture
def searched(tmp_path):
    """Fill a journal, and write what `tune` does."""
    screen = make_chemical_screen(3, 8, 5, random_state=0)
    journal = tmp_path / "study.log"
    found = PerturbationSearchCV(
        GroupStatisticRegressor(),
        {"statistic": ["mean", "median"]},
        cv=study.FOLDS,
        scoring="mrrmse",
        n_trials=3,
        storage=journal,
        pruner=None,
        refit=False,
        verbose=0,
        random_state=0,
    ).fit(screen.X, screen.y)
    (tmp_path / "process0").mkdir()
    best = {"trials": 3, "score": -found.best_score_}
    (tmp_path / "process0" / "best.json").write_text(json.dumps(best))
    (tmp_path / "log0").touch()
    return SimpleNamespace(n_trials=3, journal=journal, place=tmp_path)


def problems(searched):
    return study.problems(searched, {0: 0})[0]


def test_a_whole_study_has_no_problems(searched):
    assert problems(searched) == []
    assert study.tried(study.Journal(searched.journal)).keys() == {0, 1, 2}


def test_a_study_with_problems(searched):
    lines = searched.journal.read_bytes().splitlines(keepends=True)
    codes = [json.loads(line)["op_code"] for line in lines]
    ends = [i for i, code in enumerate(codes) if code == study.STATE]
    folds = [i for i, line in enumerate(lines) if b"fold:1" in line]

    def written(*changed):
        searched.journal.write_bytes(b"".join(changed))
        return " ".join(problems(searched))

    assert "lost: [2]" in written(*lines[: ends[2]], *lines[ends[2] + 1 :])
    assert "has folds" in written(*lines, lines[folds[0]])
    assert "lines are not whole" in written(*lines, b'{"op_code":')
    again = lines[codes.index(study.CREATE)]
    end = json.loads(lines[ends[0]]) | {"trial_id": 3}
    assert "doubled: [0]" in written(*lines, again, json.dumps(end).encode() + b"\n")
    searched.n_trials = 2
    assert "too many: [2]" in written(*lines)


def test_a_process_that_says_otherwise(searched):
    path = searched.place / "process0" / "best.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"score": 0.0}))
    (searched.place / "study.log.lock").touch()
    assert [text.split()[0] for text in problems(searched)] == ["process0", "left"]


class Leak(memory.Soak):
    """Keeps a megabyte for each fit, or nothing."""

    kept, keeps = [], False

    def begin(self):
        pass

    def work(self):
        made = np.ones(2**17)
        if self.keeps:
            self.kept.append(made)
        self.fits += 1


@pytest.mark.parametrize("keeps", [False, True])
def test_growth_is_seen(tmp_path, keeps):
    soak = Leak(tmp_path)
    soak.keeps, soak.trace, soak.kept = keeps, False, []
    rows, by_step, things = memory.run(soak, ["work"], 12, 60)
    fits, kilobytes = zip(*rows, strict=True)
    growth, low, high = memory.slope(np.array(fits), np.array(kilobytes))
    assert low <= growth <= high
    if keeps:
        assert low > 500_000 and by_step["work"] > 4_000
    else:
        assert growth < 100_000
    assert things[-1]["figures"] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells them apart")
def test_pages_of_files_are_no_growth(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(bytes(2**25))
    before = memory.held()
    mapped = np.memmap(path, mode="r")
    assert mapped.sum() == 0
    assert memory.held() < before + 2**14
    made = np.ones(2**22)
    assert memory.held() > before + 2**14
    assert made[0] == 1


def test_structures_that_are_remembered_are_no_growth():
    pytest.importorskip("rdkit", reason="rdkit is not installed")
    smiles = np.array(["CCO", "CCN"], dtype=object)
    _molecules.fingerprints(smiles, "maccs")
    _molecules.canonical_smiles("OCC")
    _molecules.parent_smiles("OCC")
    assert _molecules._cache
    memory.held()
    assert not _molecules._cache
    for function in (_molecules.canonical_smiles, _molecules.parent_smiles):
        assert function.cache_info().currsize == 0


def test_folds_are_told_apart(tmp_path):
    trial = SimpleNamespace(output=tmp_path)
    (tmp_path / "folds").mkdir()
    fold = tmp_path / "folds" / "a.json"
    fold.write_text("{}")
    before = kills.kept(trial)
    assert before == kills.kept(trial)
    fold.unlink()
    fold.write_text("{ }")
    assert before != kills.kept(trial)
    fold.write_text("{")
    with pytest.raises(ValueError, match="Expecting"):
        kills.kept(trial)


def child(work):
    """Begin something in a process of its own session."""
    pid = os.fork()
    if not pid:
        os.setsid()
        work()
        os._exit(7)
    return pid


def busy(seconds):
    began = time.process_time()
    while time.process_time() - began < seconds:
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_what_waits_for_a_processor_does_not_hang(monkeypatch):
    monkeypatch.setattr(interruptions, "LIMIT", 2)
    # Working now and then, for longer than the limit.
    turns = child(lambda: [(time.sleep(0.35), busy(0.1)) for _ in range(7)])
    assert interruptions.wait(turns) == 7
    monkeypatch.setattr(interruptions, "LIMIT", 1)
    assert interruptions.wait(child(lambda: time.sleep(600))) == "hangs"
    assert interruptions.wait(child(lambda: busy(600))) == "hangs"


IGNORED = """
import signal, sys
from pathlib import Path
from benchmarks.files import interruptions
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in the background of a shell
def program():
    import os
    os.kill(os.getpid(), signal.SIGINT)
interruptions.program = program
print(interruptions.wait(interruptions.start([], Path(sys.argv[1], "log"))))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_commands_are_interrupted_in_the_background_of_a_shell(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", IGNORED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert run.stdout.split() == ["1"]
    assert "KeyboardInterrupt" in (tmp_path / "log").read_text()


def test_files_are_compared_without_what_was_measured(tmp_path):
    run = {"folds": [{"value": 1.5, "fit_seconds": 2.0}], "date": "today"}
    path = tmp_path / "run.json"
    path.write_text(json.dumps(run))
    page = tmp_path / "report.html"
    page.write_text("<td>0.3\n<td>ridge 0.1\n")
    before = interruptions.content(tmp_path)
    run["folds"][0]["fit_seconds"] = 3.0
    path.write_text(json.dumps(run | {"date": "tomorrow"}))
    page.write_text("<td>ridge 0.4\n<td>0.1\n")
    assert interruptions.content(tmp_path) == before
    run["folds"][0]["value"] = 1.6
    path.write_text(json.dumps(run))
    assert interruptions.content(tmp_path)["run.json"] != before["run.json"]
    path.write_text(json.dumps(run)[:-3])
    page.write_text("<td>ridge 0.4\n")
    after = interruptions.content(tmp_path)
    assert all(after[name] != before[name] for name in before)
