"""Every example runs, quietly and quickly, draws something, and has a place."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

GALLERY = Path(__file__).parent.parent / "examples"
EXAMPLES = sorted(GALLERY.rglob("*.py"))
SECTIONS = sorted({path.parent for path in EXAMPLES})
# Runs a script as the gallery does, which takes the pictures that are open at the end
# of a cell, and leaves their number in a file.
RUN = """
import runpy, sys
import matplotlib.pyplot as plt
runpy.run_path(sys.argv[1], run_name="__main__")
open("pictures", "w").write(str(len(plt.get_fignums())))
"""


def test_there_are_examples():
    assert len(EXAMPLES) >= 10


@pytest.mark.parametrize("section", SECTIONS, ids=lambda path: path.name)
def test_section_has_a_header_and_a_place_in_the_gallery(section):
    assert section.parent == GALLERY
    assert (section / "GALLERY_HEADER.rst").is_file()
    conf = (GALLERY.parent / "docs" / "conf.py").read_text(encoding="utf-8")
    assert f'"{section.name}"' in conf


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error::FutureWarning:sklperturb", "-c", RUN, path],
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    # Without a picture the gallery shows a placeholder.
    assert int((tmp_path / "pictures").read_text()) > 0
