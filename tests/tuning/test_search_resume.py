"""Studies that outlive their processes, and that several processes share."""

import importlib
import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from sklearn.linear_model import Ridge

from sklperturb.tuning import PerturbationSearchCV, _study, _trial_store

NAP = 0.03  # seconds that a fit takes, so that processes can be killed in one


@pytest.fixture(scope="module")
def slow_search():
    """Return the module of that name, which new processes find too."""
    folder = str(Path(__file__).parent)
    sys.path.insert(0, folder)
    yield importlib.import_module("slow_search")
    sys.path.remove(folder)


@pytest.fixture(scope="module")
def context():
    """Fork processes from one that has imported the libraries, and nothing else."""
    context = multiprocessing.get_context("forkserver")
    modules = ("_search_loop", "_trial_store", "_prune", "_workers")
    context.set_forkserver_preload([f"sklperturb.tuning.{name}" for name in modules])
    return context


@pytest.fixture
def start(slow_search, context, tmp_path):
    """Return a function that starts a process which fills a study."""
    started = []

    def start(storage, fits):
        result = tmp_path / f"result{len(started)}.json"
        arguments = (str(storage), str(fits), NAP, str(result))
        process = context.Process(target=slow_search.run, args=arguments)
        process.start()
        process.result = result
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()


def found_by(process):
    process.join(60)
    assert process.exitcode == 0
    return json.loads(process.result.read_text())


def kill(process):
    process.kill()
    process.join()


def fits_of(path):
    return path.read_text().splitlines() if path.exists() else []


def wait_for_fits(path, n_fits, process):
    until = time.monotonic() + 60
    while len(fits_of(path)) < n_fits:
        assert time.monotonic() < until
        assert process.is_alive()
        time.sleep(0.01)


def studies(storage):
    return optuna.get_all_study_summaries(_study.open_storage(storage))


def valid(storage):
    name = studies(storage)[0].study_name
    study = optuna.load_study(study_name=name, storage=_study.open_storage(storage))
    return [t for t in study.trials if t.state == TrialState.COMPLETE]


@pytest.fixture(params=["journal", "sqlite", "postgresql"])
def storage(request, tmp_path):
    if request.param == "journal":
        return tmp_path / "study.log"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.db'}"
    return request.getfixturevalue("postgresql")


@pytest.fixture
def postgresql(postgresql_server):
    """Give the address of an empty database."""
    import psycopg

    name = f"study_{time.monotonic_ns()}"
    address = postgresql_server.replace("+psycopg", "")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return postgresql_server.replace("/postgres", f"/{name}")


@pytest.fixture(scope="module")
def postgresql_server():
    """Start a PostgreSQL server for the tests, as long as its programs are at hand."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    folders = [os.path.dirname(shutil.which("initdb") or "")]
    if os.path.isdir("/usr/lib/postgresql"):
        versions = sorted(os.listdir("/usr/lib/postgresql"))
        folders += [f"/usr/lib/postgresql/{version}/bin" for version in versions]
    found = [f for f in folders if f and os.path.exists(f"{f}/pg_ctl")]
    if not found:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    # Not below pytest's folders, which are closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    user = {}
    if os.geteuid() == 0:  # which the server refuses
        user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        shutil.chown(folder, "nobody", "nogroup")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder}"

    def run(program, *arguments):
        done = subprocess.run(
            [f"{found[-1]}/{program}", "-D", folder / "data", *arguments],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            **user,
        )
        assert done.returncode == 0, done.stderr

    run("initdb", "-U", "tester", "-A", "trust", "-N")
    run("pg_ctl", "-w", "-l", folder / "log", "-o", options, "start")
    yield f"postgresql+psycopg://tester@127.0.0.1:{port}/postgres"
    run("pg_ctl", "-m", "immediate", "stop")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def undisturbed(slow_search, tmp_path_factory):
    fits = tmp_path_factory.mktemp("undisturbed") / "fits.txt"
    found = slow_search.search(slow_search.Slow(log=fits))
    return found, Counter(fits_of(fits))


def test_killed_and_resumed_is_as_if_nothing_had_happened(
    start, storage, tmp_path, undisturbed
):
    fits = tmp_path / "fits.txt"
    killed_in = []
    for n_fits in (6, 19) if isinstance(storage, os.PathLike) else (13,):
        process = start(storage, fits)
        wait_for_fits(fits, n_fits, process)
        kill(process)
        killed_in.append(fits_of(fits)[-1])
    found = found_by(start(storage, fits))
    expected, expected_fits = undisturbed
    assert found == expected
    # Only a fold in which the process was killed may be fitted again.
    again = Counter(fits_of(fits)) - expected_fits
    assert not expected_fits - Counter(fits_of(fits))
    assert not again - Counter(killed_in), "a finished fold was fitted again"
    assert len(valid(storage)) == 10
    positions = [t.user_attrs[_trial_store.POSITION] for t in valid(storage)]
    assert sorted(positions) == list(range(10))


@pytest.mark.parametrize("storage", ["journal", "postgresql"], indirect=True)
def test_two_processes_share_a_study_and_one_is_killed(start, storage, tmp_path):
    fits = tmp_path / "fits.txt"
    first, second = start(storage, fits), start(storage, fits)
    wait_for_fits(fits, 12, first)
    kill(first)
    found = found_by(second)
    assert len(valid(storage)) == 10
    counts = Counter(fits_of(fits))
    assert len(counts) == 40
    assert sum(counts.values()) <= 41  # the fold that was killed
    alphas = [t.params["alpha"] for t in valid(storage)]
    assert len(set(alphas)) == 10
    best = max(valid(storage), key=lambda t: t.value)
    assert found["best"] == best.params["alpha"]


def small_search(storage, **params):
    from sklearn.linear_model import Ridge

    return PerturbationSearchCV(
        Ridge(),
        {"alpha": optuna.distributions.FloatDistribution(0.01, 100)},
        cv=3,
        random_state=0,
        storage=storage,
        **params,
    )


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    return rng.normal(size=(30, 4)), rng.normal(size=(30, 2))


def test_more_trials_go_on_and_equal_a_longer_search(table, tmp_path):
    path = tmp_path / "study.log"
    name = "shared"
    for n_trials in (3, 8):
        search = small_search(path, n_trials=n_trials, study_name=name).fit(*table)
    longer = small_search(None, n_trials=8).fit(*table)
    assert search.cv_results_["params"] == longer.cv_results_["params"]
    X, y = table
    with pytest.raises(ValueError, match="'shared' holds trials of other data"):
        small_search(path, study_name=name).fit(X + 1, y)


def test_ones_own_code_that_was_edited_is_another_search(table, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    text = (
        "from sklearn.linear_model import Ridge\n"
        "class Own(Ridge):\n"
        "    def predict(self, X):\n"
        "        return super().predict(X) + {shift}\n"
    )

    def search(shift, more=""):
        (tmp_path / "own_tuned_model.py").write_text(text.format(shift=shift) + more)
        importlib.invalidate_caches()
        sys.modules.pop("own_tuned_model", None)
        model = importlib.import_module("own_tuned_model").Own()
        named = {"storage": tmp_path / "study.log", "study_name": name, "n_trials": 2}
        return PerturbationSearchCV(
            model, {"alpha": FloatDistribution(0.1, 1)}, random_state=0, **named
        ).fit(*table)

    for name in (None, "own"):
        first = search(0.0).best_score_
        # A script that asks for more trials is edited as well.
        assert search(0.0, more="n_trials = 50\n").best_score_ == first
        if name is None:
            assert search(9.0).best_score_ < first - 1
            assert len(studies(tmp_path / "study.log")) == 2
        else:
            with pytest.raises(ValueError, match="'own' holds trials of other data"):
                search(9.0)
    sys.modules.pop("own_tuned_model")


def test_another_space_or_pruner_is_another_search(table, tmp_path):
    def space(high, trial):
        trial.suggest_float("alpha", 0.1, high)

    def wider(high, trial):
        trial.suggest_float("alpha", 0.1, high + 1)

    path, threshold = tmp_path / "study.log", optuna.pruners.ThresholdPruner
    given = [
        {"param_distributions": partial(space, 1.0)},
        {"param_distributions": partial(space, 2.0)},
        {"param_distributions": partial(wider, 1.0)},
        {"pruner": threshold(upper=100)},
        {"pruner": threshold(lower=-100)},
    ]
    options = {"storage": path, "n_trials": 1, "refit": False, "random_state": 0}
    for _ in "ab":
        for each in given:
            PerturbationSearchCV(Ridge(), **options | each).fit(*table)
        assert len(studies(path)) == len(given)
    # One name for all, and the code that it draws from was edited.
    space.__code__ = wider.__code__
    PerturbationSearchCV(Ridge(), **options | given[0]).fit(*table)
    assert len(studies(path)) == len(given) + 1


def test_interrupted_search_goes_on_in_the_same_process(table, tmp_path):
    path = tmp_path / "study.log"

    def stop(study, trial):
        if trial.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small_search(path, n_trials=6, callbacks=[stop]).fit(*table)
    search = small_search(path, n_trials=6).fit(*table)
    whole = small_search(None, n_trials=6).fit(*table)
    assert search.cv_results_["params"] == whole.cv_results_["params"]


def running_elsewhere(table, path, **sign):
    """Leave a trial behind as if another process were at work on it."""
    search = small_search(path, n_trials=2).fit(*table)
    study = search.study_
    trial = study.trials[0]
    run = trial.user_attrs[_trial_store.RUN]
    last = study.user_attrs[f"sklperturb:run:{run}"]
    study.set_user_attr("sklperturb:run:far", last | {"alive": True} | sign)
    study.add_trial(
        optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params={"alpha": 5.0},
            distributions=trial.distributions,
            user_attrs={
                _trial_store.POSITION: 2,
                _trial_store.RUN: "far",
                _trial_store.ATTEMPT: sign.get("attempt", 1),
            },
        )
    )


def test_silent_machine_loses_its_trial_and_a_live_one_keeps_it(table, tmp_path):
    silent, live = tmp_path / "silent.log", tmp_path / "live.log"
    seen = time.time() - 2 * _trial_store.SILENCE
    running_elsewhere(table, silent, machine="elsewhere", seen=seen)
    search = small_search(silent, n_trials=4).fit(*table)
    assert search.cv_results_["params"][2] == {"alpha": 5.0}
    assert len(search.cv_results_["params"]) == 4

    running_elsewhere(table, live, machine="elsewhere", seen=time.time())
    search = small_search(live, n_trials=4, timeout=1.0).fit(*table)
    assert {"alpha": 5.0} not in search.cv_results_["params"]
    states = [trial.state for trial in search.study_.trials]
    assert states.count(TrialState.RUNNING) == 1


def test_trial_that_kills_its_processes_is_given_up(table, tmp_path):
    path = tmp_path / "study.log"
    running_elsewhere(table, path, created=0.0, attempt=_trial_store.ATTEMPTS)
    search = small_search(path, n_trials=4).fit(*table)
    assert search.cv_results_["state"].tolist()[2] == "FAIL"
    assert search.cv_results_["params"][2] == {"alpha": 5.0}
    text = search.study_.trials[2].user_attrs[_trial_store.ERROR]
    assert text == "Its process died 3 times, each time in it."


def test_trial_whose_processes_were_stopped_is_not_given_up(table, tmp_path):
    path = tmp_path / "study.log"
    attempt = _trial_store.ATTEMPTS
    running_elsewhere(table, path, alive=False, attempt=attempt)
    search = small_search(path, n_trials=4).fit(*table)
    assert search.cv_results_["params"][2] == {"alpha": 5.0}
    assert search.cv_results_["state"].tolist() == ["COMPLETE"] * 4


def test_torn_journal_is_mended_and_other_files_are_refused(table, tmp_path):
    path = tmp_path / "study.log"
    whole = small_search(path, n_trials=3).fit(*table)
    with path.open("ab") as file:
        file.write(b'{"op_code": 5, "wor')
    search = small_search(path, n_trials=3).fit(*table)
    assert search.cv_results_["params"] == whole.cv_results_["params"]
    other = tmp_path / "notes.json"
    other.write_text('{"mine": 1}')
    with pytest.raises(ValueError, match="no Optuna journal"):
        small_search(other).fit(*table)
    assert other.read_text() == '{"mine": 1}'


def test_killed_worker_process_is_replaced(slow_search, tmp_path, undisturbed):
    """One of two processes of `n_jobs=2` dies once; the trials are those of one."""
    fits = tmp_path / "fits.txt"
    deadly = slow_search.Deadly(log=fits, spared=os.getpid())
    found = slow_search.search(deadly, tmp_path / "study.log", n_jobs=2)
    assert fits.with_name("fits.txt.killed").exists()
    assert found == undisturbed[0]
