"""The pages lead to what exists, both ways, and what they show is what happens."""

import doctest
import importlib.util
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import typer
from sklearn.model_selection import BaseCrossValidator

import sklperturb
from sklperturb import model_selection
from sklperturb.cli import app
from sklperturb.evaluation import CONVENTIONS
from sklperturb.metrics import POPULATION_METRICS, ROWWISE_METRICS
from sklperturb.models import list_models

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {path.stem: path for path in sorted(DOCS.glob("*.md"))}
# Pages about the project, and those that are references themselves.
NOT_GUIDES = {
    *("api", "architecture", "citing", "cli", "from_the_original_projects"),
    *("glossary", "index", "measured", "public_methods", "quickstart", "requirements"),
    "robustness",
}
GUIDES = sorted(set(PAGES) - NOT_GUIDES)
LINK = re.compile(r"\]\(([^)#\s]*)#([^)\s]+)\)")
TO_API = re.compile(r"\(api\.md#sklperturb(\w+)\)")


def load(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generated = load("_generated")


@cache
def text_of(page):
    """Return a page as the site has it."""
    return generated.fill_in(PAGES[page].read_text(encoding="utf-8"))


def anchors(page):
    """Return what a link can lead to: the headings, as GitHub spells them."""
    headings = re.findall(r"^#{1,3} (.+)$", text_of(page), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", x).strip().lower().replace(" ", "-") for x in headings
    }


def code(page, language):
    text = PAGES[page].read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def api_sections():
    """Return {module: text} of the API page."""
    text = PAGES["api"].read_text(encoding="utf-8")
    parts = re.split(r"^## sklperturb\.(\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("page", sorted(PAGES))
def test_links_to_headings_resolve(page):
    for name, anchor in LINK.findall(text_of(page)):
        if "://" not in name:
            target = name.removesuffix(".md") or page
            assert anchor in anchors(target), f"{page}.md: no {name}#{anchor}"


@pytest.mark.parametrize("page", sorted(PAGES))
def test_roles_name_what_exists(page):
    for path in re.findall(r"\{py:\w+\}`~?([\w.]+)`", text_of(page)):
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), path


@pytest.mark.parametrize("page", sorted(PAGES))
def test_documents_named_exist(page):
    scripts = (p.relative_to(ROOT) for p in (ROOT / "examples").rglob("*.py"))
    known = {f"auto_{path.with_suffix('').as_posix()}" for path in scripts}
    known |= {*PAGES, "auto_examples/index"}
    for name in re.findall(r"\{doc\}`(?:[^`]*<)?([^`<>]+)>?`", text_of(page)):
        assert name in known, f"{page}.md: no {name}"
    for name in re.findall(r"^:link: (\S+)$", text_of(page), re.MULTILINE):
        assert name in known, f"{page}.md: no {name}"


@pytest.mark.parametrize("page", GUIDES)
def test_guides_link_to_the_reference_and_back(page):
    modules = TO_API.findall(text_of(page))
    assert modules, f"{page}.md links to no section of api.md"
    sections = api_sections()
    missing = [m for m in modules if f"({page}.md)" not in sections[m]]
    assert not missing, f"api.md does not link to {page}.md from {missing}"


def test_each_section_of_the_reference_has_a_guide():
    without = [
        module
        for module, text in api_sections().items()
        if not re.search(r"Guides?:\s+\[", text)
    ]
    assert not without


@pytest.mark.parametrize("page", GUIDES)
def test_guides_have_a_table_or_a_picture(page):
    assert re.search(r"^\|\s*-{3}|^```\{image\}|^!\[", text_of(page), re.MULTILINE)


def test_two_clicks_lead_to_everything():
    """What the pages that the home page links to name."""
    home = PAGES["index"].read_text(encoding="utf-8")
    cards = re.findall(r"^:link: (\S+)$", home, re.MULTILINE)
    near = {*cards, *re.findall(r"\]\((\w+)\.md\)", home)}
    assert {"choosing", "cli", "api", "quickstart", "glossary"} <= near
    choosing, cli = text_of("choosing"), text_of("cli")
    splitters = [
        name
        for name in model_selection.__all__
        if isinstance(kind := getattr(model_selection, name), type)
        and issubclass(kind, BaseCrossValidator)
    ]
    assert len(splitters) > 5
    missing = [name for name in splitters if f".{name}`" not in choosing]
    names = [*ROWWISE_METRICS, "wmse", *CONVENTIONS, *POPULATION_METRICS]
    names += [entry.name for entry in list_models()]
    missing += [name for name in names if f"| `{name}` |" not in choosing]
    for name, command in typer.main.get_command(app).commands.items():
        heading = f"\n## sklperturb {name}\n"
        assert heading in cli, name
        section = cli.partition(heading)[2].partition("\n## ")[0]
        options = [opt for p in command.params for opt in p.opts if opt.startswith("-")]
        missing += [f"{name} {opt}" for opt in options if f"`{opt}`" not in section]
    assert not missing, missing


def test_every_value_of_cv_is_explained():
    commands = typer.main.get_command(app).commands
    (option,) = (p for p in commands["leaderboard"].params if p.name == "cv")
    record = " ".join(option.get_help_record(typer.Context(commands["leaderboard"])))
    values = re.search(r"<(auto\|[^>]+)>|\[(auto\|[^\]]+)\]", record)
    for value in (values.group(1) or values.group(2)).split("|"):
        assert f"`--cv {value}`" in text_of("choosing"), value


def test_compared_numbers_stand_in_the_pages_they_are_from():
    rows = re.findall(r"^\| (?!-)(.+) \|$", text_of("comparisons"), re.MULTILINE)
    checked = 0
    for row in rows:
        sources = re.findall(r"\]\((\w+)\.md\)", row)
        text = "".join(text_of(page) for page in sources)
        for number in re.findall(r"\d+\.\d+", row) if sources else ():
            assert re.search(rf"(?<![\d.]){re.escape(number)}", text), (number, row)
            checked += 1
    assert checked > 30


def test_links_of_the_built_site_are_checked(tmp_path):
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "theme.html").write_text('<a href="{{ x }}">x</a>')
    (tmp_path / "no_image.png").write_bytes(b"")
    (tmp_path / "other.html").write_text('<h1 id="a">A</h1><a href="#a">a</a>')
    page = tmp_path / "index.html"
    page.write_text(
        '<a href="other.html#a">a</a> <a href="https://doi.org/1">d</a> '
        '<a href="mailto:a@b">m</a> <img src="data:,">'
    )
    check = load("_links").check
    assert check(tmp_path) == ([], 2)
    page.write_text(
        '<a href="gone.html">g</a> <a href="other.html#b">b</a> '
        '<script src="https://cdn.org/x.js"></script> <img src="no_image.png">'
    )
    assert check(tmp_path)[0] == [
        "index.html: no file gone.html",
        "index.html loads https://cdn.org/x.js",
        "index.html shows no_image.png",
        "index.html: no heading other.html#b",
    ]


def test_a_missing_part_is_an_error():
    with pytest.raises(KeyError, match="nothing"):
        generated.fill_in("<!-- generated: nothing -->")


def test_bars_stay_inside_their_cells():
    assert generated.table(["a"], [["x|y"]]).endswith("| x\\|y |")


def test_own_model_of_the_guide_passes_the_checks(tmp_path):
    """Run the page as a script; a copy in another process has to find the class."""
    model, checks, tests, compared, asked = code("own_models", "python")
    assert "parametrize" in tests
    (tmp_path / "own_model.py").write_text(model, encoding="utf-8")
    script = f"from own_model import *\n{checks}"
    for part in (compared, asked):
        head, _, last = part.rstrip().rpartition("\n")
        script += f"\n{head}\nprint({last}.to_string())"
    found = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    assert "shrunken" in found.stdout
    assert "expected_error_unmeasured" in found.stdout


def test_quickstart_prints_what_it_says():
    found = doctest.testfile(
        str(PAGES["quickstart"]),
        module_relative=False,
        optionflags=doctest.NORMALIZE_WHITESPACE,
    )
    assert found.attempted > 5
    assert not found.failed


def shown(text):
    """Return the rows of a leaderboard that is shown: model, error, difference."""
    row = re.compile(r"^\d+ +(\w+) +[a-z]+ +([\d.]+) .*?\d +([+-][\d.]+)", re.MULTILINE)
    return {name: (float(a), float(b)) for name, a, b in row.findall(text)}


@pytest.mark.slow
@pytest.mark.parametrize("path", [ROOT / "README.md", PAGES["quickstart"]])
def test_the_first_commands_give_the_first_table(path, tmp_path):
    text = path.read_text(encoding="utf-8")
    commands = re.findall(r"^sklperturb ((?:simulate|leaderboard) .*)$", text, re.M)[:2]
    for command in commands:
        found = subprocess.run(
            [sys.executable, "-m", "sklperturb", *command.split()],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
    expected, actual = shown(text), shown(found.stdout)
    assert len(expected) > 8
    assert list(actual) == list(expected)
    for name, numbers in expected.items():
        assert actual[name] == pytest.approx(numbers, abs=0.002), name


def test_citation_has_the_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {sklperturb.__version__}\n" in text
