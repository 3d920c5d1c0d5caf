"""Sides of a comparison take turns, in processes and environments of their own."""

import math
import subprocess
import sys

import pytest

from benchmarks import _output, _pairs, _peers

SCRIPT = """
import os
import time

def ours(path):
    def run():
        with open(path, "a") as file:
            file.write("o")
        return os.getpid()
    return run

def theirs(path):
    print("this is no answer")
    def run():
        with open(path, "a") as file:
            file.write("t")
        time.sleep(0.01)
        return {"not": "a number"}
    return run

def large(path):
    def run():
        block = bytearray(60_000_000)
        return len(block)
    return run

def freed(path):
    block = bytearray(120_000_000)
    del block
    return lambda: 1

def broken(path):
    raise RuntimeError("no such thing")

def breaks(path):
    calls = []
    def run():
        calls.append(1)
        if len(calls) > 1:
            os._exit(3)
    return run
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def test_sides_take_turns(script, tmp_path):
    log = tmp_path / "log"
    sides = {"ours": None, "theirs": None}
    found = _pairs.take_turns(
        script, sides, [str(log)], rounds=2, scale={"theirs": 1000}
    )
    assert log.read_text() == "ototot"  # one round to warm up
    assert [len(runs) for runs in found.values()] == [2, 2]
    assert len({run["answer"] for run in found["ours"]}) == 1  # one process
    assert {run["answer"] for run in found["theirs"]} == {None}
    assert all(run["seconds"] > 5 for run in found["theirs"])  # scaled


def test_memory_is_the_peak_of_a_round(script):
    sides = dict.fromkeys(["ours", "large", "freed"])
    found = _pairs.take_turns(script, sides, ["/dev/null"], rounds=2)
    small, large, freed = (_pairs.median(found[n], "grown_mb") for n in sides)
    # Unknown on systems without /proc; what was freed before a round does not count.
    assert math.isnan(large) or (50 < large < 100 and small < 20 and freed < 20)


@pytest.mark.parametrize("name", ["broken", "breaks"])
def test_a_peer_that_fails_is_left_out(script, tmp_path, name, capfd):
    sides = {"ours": None, name: None}
    found = _pairs.take_turns(script, sides, [str(tmp_path / "log")], rounds=2)
    assert len(found["ours"]) == 2 and found[name] is None
    assert "left out" in capfd.readouterr().err
    rows = _pairs.ratio_rows(found)
    assert rows[1]["CPU s"] == "not run"


def test_our_own_failure_is_an_error(script):
    with pytest.raises(_pairs.SideError, match="broken: RuntimeError: no such thing"):
        _pairs.take_turns(script, {"broken": None, "ours": None}, ["/dev/null"])


def test_a_peer_that_is_not_installed_is_not_run(script, tmp_path, monkeypatch):
    monkeypatch.setenv("SKLPERTURB_BENCHMARK_PEERS", str(tmp_path))
    sides = {"ours": None, "theirs": "encoding"}
    found = _pairs.take_turns(script, sides, [str(tmp_path / "log")], rounds=1)
    assert found["theirs"] is None and len(found["ours"]) == 1


def test_ratios_are_of_rounds(tmp_path, monkeypatch):
    monkeypatch.setenv(_output.RECORDS, str(tmp_path / "records"))
    ours, theirs = (
        [{"cpu": x, "seconds": x, "peak_mb": 10} for x in seconds]
        for seconds in ((1.0, 2.0, 4.0), (3.0, 2.0, 8.0))
    )
    rows = _pairs.ratio_rows({"ours": ours, "theirs": theirs}, "a", kind="b")
    assert rows[1] == {
        "kind": "b",
        "package": "theirs",
        "CPU s": "3.00",
        "wall s": "3.00",
        "times ours": "2.00 (1.00 to 3.00)",
        "peak MB": "10",
    }
    found = {r["name"]: r["value"] for r in _output.read_records(tmp_path / "records")}
    assert found == {"a": 2.0, "a/theirs": 2.0}


def test_commands_are_watched_with_their_children():
    child = "x = bytearray(150_000_000); import time; time.sleep(0.5)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    seconds, cpu, peak = _pairs.watched([sys.executable, "-c", code])
    assert seconds > 0.4 and cpu > 0
    assert peak > 0.13
    with pytest.raises(SystemExit, match="ended with 3"):
        _pairs.watched([sys.executable, "-c", "raise SystemExit(3)"])


def test_an_environment_is_made_anew_when_its_file_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(_peers, "GROUPS", tmp_path)
    monkeypatch.setenv("SKLPERTURB_BENCHMARK_PEERS", str(tmp_path / "cache"))
    (tmp_path / "a.txt").write_text("# on top of ours\nsome-package==1.0\n")
    assert _peers.requirements("a") == (["some-package==1.0"], True)
    first = _peers.place("a")
    (tmp_path / "a.txt").write_text("some-package==1.1\n")
    assert _peers.requirements("a") == (["some-package==1.1"], False)
    assert _peers.place("a") != first
    with pytest.raises(ValueError, match="no group of peers"):
        _peers.place("b")


def test_an_unfinished_environment_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(_peers, "GROUPS", tmp_path)
    monkeypatch.setenv("SKLPERTURB_BENCHMARK_PEERS", str(tmp_path / "cache"))
    (tmp_path / "a.txt").write_text("Some_Package==1.0\n")

    def fail(*given, **more):
        raise subprocess.CalledProcessError(1, "pip")

    monkeypatch.setattr(_peers.venv, "create", lambda *given, **more: None)
    monkeypatch.setattr(_peers.subprocess, "run", fail)
    with pytest.raises(subprocess.CalledProcessError):
        _peers.install("a")
    assert _peers.interpreter("a") is None and _peers.versions("a") == {}
    place = _peers.place("a")
    place.mkdir(parents=True)
    (place / "installed.txt").write_text("numpy==2.0\nsome-package==1.0\n")
    assert _peers.interpreter("a").parent.parent == place
    assert _peers.versions("a") == {"Some_Package": "1.0"}
