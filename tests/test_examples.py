"""Every example runs, quietly and quickly, draws something, and has a place."""

import runpy
import warnings
from pathlib import Path

import pytest

GALLERY = Path(__file__).parent.parent / "examples"
EXAMPLES = sorted(GALLERY.rglob("*.py"))
SECTIONS = sorted({path.parent for path in EXAMPLES})


def test_there_are_examples():
    assert len(EXAMPLES) >= 10


@pytest.mark.parametrize("section", SECTIONS, ids=lambda path: path.name)
def test_section_has_a_header_and_a_place_in_the_gallery(section):
    assert section.parent == GALLERY
    assert (section / "GALLERY_HEADER.rst").is_file()
    conf = (GALLERY.parent / "docs" / "conf.py").read_text(encoding="utf-8")
    assert f'"{section.name}"' in conf


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, tmp_path, monkeypatch, pyplot):
    # In this process, as the gallery runs all of them in one: a new one would import
    # the package again, which takes longer than many an example.
    monkeypatch.chdir(tmp_path)
    with pyplot.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("error", category=FutureWarning, module="sklperturb")
        runpy.run_path(str(path), run_name="__main__")
    # The pictures that are open at the end of a cell are taken; without one the gallery
    # shows a placeholder.
    assert pyplot.get_fignums()
