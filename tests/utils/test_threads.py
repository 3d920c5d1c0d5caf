"""Libraries are kept to one thread, and looked for when there may be new ones."""

import sys
import types

import numpy  # noqa: F401, whose BLAS is one of them
from threadpoolctl import ThreadpoolController, threadpool_info

from sklperturb.utils import _threads
from sklperturb.utils._threads import one_thread


def threads():
    return [library["num_threads"] for library in threadpool_info()]


def test_libraries_have_one_thread_meanwhile():
    before = threads()
    assert before
    for _ in range(2):
        with one_thread():
            assert set(threads()) == {1}
        assert threads() == before


def test_libraries_are_looked_for_after_imports_alone(monkeypatch):
    looks = []

    def look():
        looks.append(1)
        return ThreadpoolController()

    _threads._libraries.cache_clear()
    monkeypatch.setattr(_threads, "ThreadpoolController", look)
    for _ in range(3):
        with one_thread():
            pass
    assert len(looks) == 1
    monkeypatch.setitem(sys.modules, "one_more_module", types.ModuleType("one"))
    with one_thread():
        pass
    assert len(looks) == 2
    _threads._libraries.cache_clear()
