"""Bars are for people who look at a terminal."""

import logging
import sys

from sklperturb.utils._progress import ProgressBar


def advance(total):
    with ProgressBar(total, "Counting") as bar:
        for _ in range(total):
            bar.advance("loss 0.5")


def test_silent_off_a_terminal(capsys):
    advance(3)
    assert capsys.readouterr() == ("", "")


def test_bar_on_the_error_stream(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    advance(3)
    out, err = capsys.readouterr()
    assert out == ""
    assert "Counting" in err and "3/3" in err and "loss 0.5" in err
    advance(0)
    assert capsys.readouterr().err == ""


def test_silent_where_errors_only_are_reported(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    logger = logging.getLogger("sklperturb")
    logger.setLevel(logging.ERROR)
    try:
        advance(3)
    finally:
        logger.setLevel(logging.NOTSET)
    assert capsys.readouterr().err == ""
