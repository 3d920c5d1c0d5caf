"""A benchmark runs by itself, is kept, shown, and leaves the others alone."""

import copy
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from benchmarks import _goals, _output, _runner
from benchmarks._entry import Entry

ROOT = Path(__file__).parents[2]


def quiet(*given, **more):
    """Say nothing."""


def entry(run, name="slope_coverage", **more):
    return Entry(
        name, "trust", "nothing", (run,), script="trust/slope_coverage", **more
    )


GOOD = entry("--draws 3")
BAD = entry("--no-such-option", name="bad")


@pytest.fixture(scope="module")
def only_result(tmp_path_factory):
    return _runner.run(GOOD, tmp_path_factory.mktemp("run"), {}, say=quiet)


@pytest.fixture
def result(only_result):
    """Return a copy, which may be changed, of what one run for all tests gave."""
    return copy.deepcopy(only_result)


def test_a_result_says_what_where_and_how_long(result):
    assert result["status"] == "done" and result["reason"] == ""
    (one,) = result["runs"]
    assert one["seconds"] >= 0.9 * one["cpu"] / 4 > 0
    assert one["peak_mb"] > 10
    assert len(one["tables"][0]) >= 2
    assert {"python", "numpy"} <= set(result["versions"])
    assert result["machine"]["cores"] >= 1
    json.dumps(result)


def test_what_is_missing_is_skipped_with_a_reason(tmp_path, monkeypatch):
    found = _runner.run(entry("{data/absent}"), tmp_path, {}, say=quiet)
    assert found["status"] == "skipped" and "absent" in found["reason"]
    found = _runner.run(entry("", needs=("no_such_module",)), tmp_path, {}, say=quiet)
    assert found["status"] == "skipped" and "no_such_module" in found["reason"]
    monkeypatch.setattr(_runner, "gpu", lambda: None)
    found = _runner.run(entry("", gpu=True), tmp_path, {}, say=quiet)
    assert found["status"] == "skipped" and "GPU" in found["reason"]


def test_a_run_that_takes_too_long_ends(tmp_path):
    found = _runner.run(GOOD, tmp_path, {}, limit=0.001, say=quiet)
    assert found["status"] == "failed" and "ran past" in found["reason"]


def test_failures_leave_the_results_of_others(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(_runner, "ENTRIES", (BAD, GOOD))
    before = signal.getsignal(signal.SIGTERM)
    code = _runner.main(["--all", "--output", str(tmp_path)])
    # Whatever terminates the tests must not look like a failure of one of them.
    assert signal.getsignal(signal.SIGTERM) == before
    assert code == 1
    kept = {
        name: [result["status"], result["reason"]]
        for name in ("bad", "slope_coverage")
        for result in [json.loads((tmp_path / f"{name}.json").read_text())]
    }
    assert kept["slope_coverage"] == ["done", ""]
    assert kept["bad"] == ["failed", "--no-such-option: ended with 2"]
    summary = (tmp_path / "summary.md").read_text()
    assert "| bad | failed" in summary and "## slope_coverage" in summary
    assert "## bad" not in summary
    assert "slope_coverage: nothing" in capfd.readouterr().out


def test_a_result_is_kept_and_shown(result, tmp_path):
    kept = tmp_path / "measured.json"
    for _ in range(2):
        _runner.keep(result, kept)
    (slim,) = json.loads(kept.read_text()).values()
    assert slim["runs"][0]["seconds"] and "tables" not in slim["runs"][0]
    start, end = _output.marks("slope_coverage")
    (tmp_path / "a.md").write_text(f"Before.\n\n{start}\nold\n{end}\n\nAfter.\n")
    (tmp_path / "b.md").write_text("Another page.\n")
    assert _runner.update_pages(result, tmp_path) == ["a.md"]
    page = (tmp_path / "a.md").read_text()
    assert page.startswith(f"Before.\n\n{start}\n\n|") and "old" not in page
    assert page.endswith(f"|\n\n{end}\n\nAfter.\n")


def test_pages_are_made_anew_of_what_is_kept(result, tmp_path):
    kept, page = tmp_path / "measured.json", tmp_path / "a.md"
    _runner.keep(result, kept)
    _runner.keep(result | {"name": "older"}, kept)
    found = json.loads(kept.read_text())
    del found["older"]["runs"][0]["text"]
    kept.write_text(json.dumps(found))
    blocks = ["\n\nas it is\n\n".join(_output.marks(n)) for n in found]
    page.write_text("\n".join(blocks))
    goals = tmp_path / "measured.md"
    goals.write_text("".join(_output.marks("goals")))
    assert _runner.remake_pages(kept, tmp_path) == ["a.md"]
    assert page.read_text().count("as it is") == 1
    assert result["runs"][0]["text"].strip() in page.read_text()
    assert "## Trust" in goals.read_text()


def test_the_pages_show_what_is_kept(tmp_path):
    """So that branches which add results are merged in measured.json alone."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=_no_pages)
    _runner.remake_pages(docs=tmp_path / "docs")
    for page in (ROOT / "docs").glob("*.md"):
        assert (tmp_path / "docs" / page.name).read_text() == page.read_text()


def _no_pages(folder, names):
    return [name for name in names if not name.endswith(".md")]


def test_a_page_without_a_place_is_an_error(tmp_path):
    page = tmp_path / "a.md"
    page.write_text("<!-- end of benchmark: x -->\n<!-- benchmark: x -->\n")
    with pytest.raises(SystemExit, match="in this order"):
        _output.update(page, "x", "text")


def test_numbers_are_recorded_for_a_runner_only(tmp_path, monkeypatch):
    path = tmp_path / "records"
    monkeypatch.delenv(_output.RECORDS, raising=False)
    _output.record("a", 1)
    monkeypatch.setenv(_output.RECORDS, str(path))
    _output.record("b", 2, "s", low=1)
    found = _output.read_records(path)
    assert found == [{"name": "b", "value": 2.0, "unit": "s", "low": 1}]


def test_tables_are_read_as_they_are_shown(capsys):
    rows = [{"a": "x", "b": 0.12345, "c": 12345.6}, {"a": "y", "b": 1, "c": True}]
    _output.show(rows, "Title:")
    text = capsys.readouterr().out
    assert _output.tables(text + "\n| no | table |\n") == [
        [
            {"a": "x", "b": "0.123", "c": "12346"},
            {"a": "y", "b": "1", "c": "True"},
        ]
    ]


def test_frames_are_shown_with_what_names_their_rows(capsys):
    frame = pd.DataFrame({"group": ["x", "x", "y"], "value": [1.0, 2.0, 4.0]})
    _output.show(frame.groupby("group").agg(["mean", "size"]))
    _output.show(frame[:1])
    found = _output.tables(capsys.readouterr().out)
    assert found == [
        [
            {"group": "x", "value mean": "1.50", "value size": "2"},
            {"group": "y", "value mean": "4.00", "value size": "1"},
        ],
        [{"group": "x", "value": "1.00"}],
    ]


@pytest.mark.parametrize(
    ("better", "goal", "value", "times", "met"),
    [
        ("less", 2, 1, "2.00", "yes"),
        ("less", 2, 4, "0.500", "no"),
        ("more", 2, 1, "0.500", "no"),
        ("less", 0, 0, "-", "yes"),
        ("less", 0, 1, "0", "no"),
    ],
)
def test_goals_are_met_or_not(better, goal, value, times, met):
    given = {"what": "w", "value": goal, "unit": "s", "better": better}
    given |= {"benchmark": "b", "record": "r"}
    row = _goals.row(given, {"b": {"r": value}})
    assert (row["ratio"], row["met"]) == (times, met)
    assert _goals.row(given, {})["measured"] == "not yet"


def test_clones_are_names_and_paths():
    assert _runner.read_clones(["op2=/a=b"]) == {"op2": Path("/a=b")}
    with pytest.raises(SystemExit, match="NAME=PATH"):
        _runner.read_clones(["op2"])


def test_the_list_needs_no_package():
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--list"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert "| encoding | encoder_speed |" in run.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_bench_runs_them_with_their_peers():
    run = subprocess.run(
        ["make", "-n", "bench"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert re.search(r"-m benchmarks .*--peers", run.stdout)


def test_the_table_of_goals_says_where_numbers_are_from(result, tmp_path):
    kept, goals = tmp_path / "measured.json", tmp_path / "goals.toml"
    result["runs"][0]["records"] = [{"name": "a", "value": 5.0, "unit": "s"}]
    _runner.keep(result, kept)
    lines = ['area = "A"', 'what = "w"', "value = 7.5", 'unit = "s"', 'better = "less"']
    lines += ['benchmark = "slope_coverage"', 'record = "a"']
    goals.write_text("\n".join(["[[goal]]", *lines]))
    table = _goals.table(kept, goals)
    assert "| w | at most 7.5 s | 5 s | 1.50 | yes | `slope_coverage` |" in table
    assert f"{result['machine']['processor']}, {result['machine']['cores']} co" in table
    page = tmp_path / "page.md"
    page.write_text("\n".join(_output.marks("goals")))
    _goals.update_page(kept, page)
    assert "## " in page.read_text()


def benchmark_of(runner):
    """Return the process of the benchmark that a runner has begun."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for child in psutil.Process(runner.pid).children():
            try:  # git, which is asked for the commit, is a child for a moment
                if "slope_coverage" in " ".join(child.cmdline()):
                    return child
            except psutil.Error:
                continue
        time.sleep(0.05)
    raise TimeoutError


def test_a_runner_that_is_terminated_takes_its_benchmark_along(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "--only", "slope_coverage"]
    runner = subprocess.Popen(
        [*command, "--output", str(tmp_path)], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    try:
        child = benchmark_of(runner)
        runner.terminate()
        assert runner.wait(timeout=60) == 143
        assert not child.is_running()
    finally:
        runner.kill()
