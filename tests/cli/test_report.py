"""A report from the command line, at once and from what a folder keeps."""

import json

import pytest

from sklperturb.datasets import make_chemical_screen, write_screen
from sklperturb.report._run import read_audit


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    screen = make_chemical_screen(4, 20, 30, random_state=0)
    return write_screen(tmp_path_factory.mktemp("cli") / "screen", screen)


def test_from_a_folder_to_a_report(cli, folder, tmp_path):
    run = tmp_path / "run"
    board = ["leaderboard", "--data", folder, "--models", "ridge", "--n-splits", 3]
    done = cli(*board, "--output", run, "--seed", 7)
    assert not (run / "report.html").exists()
    cli("report", run)
    page = (run / "report.html").read_text("utf-8")
    assert "no predictions were kept" in page and "<table" in page
    kept = json.loads((run / "run.json").read_text("utf-8"))
    assert kept["provenance"]["command"].startswith("sklperturb leaderboard --data")
    assert kept["provenance"]["seed"] == "7"
    assert kept["provenance"]["folds"].startswith("UnseenPairKFold(contexts=[")
    assert "\\" not in kept["provenance"]["folds"]  # no ends of lines
    done = cli(*board, "--output", run)
    assert "is of an earlier run" in done.stderr

    done = cli(*board, "--output", run, "--report")
    assert str(run / "report.html") in done.stdout
    page = (run / "report.html").read_text("utf-8")
    assert 'id="explorer"' in page
    audit = tmp_path / "audit.json"
    found = ["audit", "--data", folder, "--model", "ridge", "--n-splits", 3]
    cli(*found, "--output", audit)
    new = tmp_path / "new.html"
    cli("report", run, "--audit", audit, "--output", new, "--title", "<i>Mine</i>")
    again = new.read_text("utf-8")
    assert "No leak was found" in again and "No leak was found" not in page
    assert "&lt;i&gt;Mine&lt;/i&gt;" in again and 'id="explorer"' in again
    assert "exists" in cli("report", run, "--output", new, code=2).stderr


def test_one_command_gives_a_report_with_its_audit(cli, folder, tmp_path):
    run = tmp_path / "run"
    board = ["leaderboard", "--data", folder, "--models", "ridge", "--n-splits", 3]
    done = cli(*board, "--output", run, "--report", "--with-audit")
    first = done.stdout.splitlines()[1].split()[1]
    assert f"Audit of {first}: " in done.stderr
    page = (run / "report.html").read_text("utf-8")
    assert "No leak was found" in page and "No leak was found" in done.stdout
    kept = json.loads((run / "run.json").read_text("utf-8"))["audit"]
    apart = tmp_path / "apart.json"
    command = ["audit", "--data", folder, "--model", first, "--n-splits", 3]
    cli(*command, "--output", apart)
    assert read_audit(apart) == kept
    done = cli(*board, "--output", run, "--with-audit", code=2)
    assert "--report" in done.stderr


def test_a_plan_in_the_folder_of_a_run_is_on_the_page(cli, folder, tmp_path):
    run = tmp_path / "run"
    board = ["leaderboard", "--data", folder, "--models", "ridge", "--n-splits", 2]
    cli(*board, "--output", run)
    cli("report", run)
    assert "Next experiments" not in (run / "report.html").read_text("utf-8")
    suggested = run / "suggestions.csv"
    cli("suggest", "--data", folder, "--n", 3, "--output", suggested)
    cli("report", run)
    page = (run / "report.html").read_text("utf-8")
    assert "With 3 experiments more" in page and "<polyline" in page
    other = tmp_path / "other.csv"
    cli("suggest", "--data", folder, "--n", 1, "--output", other)
    cli("report", run, "--plan", other)
    page = (run / "report.html").read_text("utf-8")
    assert "With 1 experiment more" in page
    suggested.write_text("a,b\n1,2\n")
    assert "no plan of experiments" in cli("report", run, code=2).stderr


def test_what_cannot_be_done_is_said_at_once(cli, folder, tmp_path):
    done = cli("leaderboard", "--data", folder, "--report", code=2)
    assert "--output" in done.stderr
    assert "has no run.json" in cli("report", tmp_path, code=2).stderr
    (tmp_path / "run.json").write_text("{}")
    done = cli("report", tmp_path, code=2)
    assert "run.json is damaged or was changed" in done.stderr
    (tmp_path / "run.json").write_text("[NaN]")
    assert "finite" in cli("report", tmp_path, code=2).stderr
