"""What hangs is stopped, and what is slow for want of a processor is not."""

import os
import signal
import time

import pytest

if not hasattr(os, "pidfd_open"):
    pytest.skip("children are watched as Linux does", allow_module_level=True)

from tests.robustness import zygote


def ends(work, monkeypatch, seconds):
    monkeypatch.setattr(zygote, "SECONDS", seconds)
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    try:
        return zygote._ends(child)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def work_now_and_then():
    for _ in range(8):
        time.sleep(0.3)
        until = time.process_time() + 0.05
        while time.process_time() < until:
            pass


def test_what_goes_on_is_let_go_on(monkeypatch):
    assert ends(work_now_and_then, monkeypatch, 1)


def test_what_does_nothing_is_stopped(monkeypatch):
    assert not ends(lambda: time.sleep(600), monkeypatch, 0.5)
