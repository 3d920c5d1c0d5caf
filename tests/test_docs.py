"""The documentation names what exists, and all that is public."""

import importlib
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest
import typer

import sklperturb
from sklperturb.cli import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts)
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]
MODULES = [
    module.name
    for module in pkgutil.walk_packages(sklperturb.__path__, "sklperturb.")
    if "._" not in module.name and module.name != "sklperturb.cli"
]
TOCTREE = re.compile(r"^```\{toctree\}\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^```(?:bash|sh|console|shell)?\n(.*?)^```|`([^`\n]+)`", re.M | re.S)


def api_entries():
    """Return {module: names listed for it} of the API page."""
    entries, module = {}, None
    for line in (DOCS / "api.md").read_text(encoding="utf-8").splitlines():
        if found := re.match(r"\.\. currentmodule:: (\S+)", line):
            module = found.group(1)
            entries.setdefault(module, [])
        elif module and (found := re.fullmatch(r"   (\w+)", line)):
            entries[module].append(found.group(1))
    return entries


def commands(text, program):
    """Return the code of `text` that calls `program`, one call per item."""
    code = "\n".join(block or inline for block, inline in CODE.findall(text))
    code = re.sub(r"\\\n\s*", " ", code)
    calls = re.findall(rf"^(?:\$ )?(?:\S*/)?{program} (.+)$", code, re.MULTILINE)
    return [call.partition(" #")[0].partition(" && ")[0].split() for call in calls]


def public_names(module):
    """Return ``__all__``, or what the module defines without an underscore."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__
        and not name.startswith("_")
    ]


@pytest.mark.parametrize("name", MODULES)
def test_api_page_lists_every_public_name(name):
    public = public_names(importlib.import_module(name))
    listed = api_entries().get(name, [])
    differing = set(listed) ^ set(public)
    assert not differing, f"docs/api.md and {name} differ in {sorted(differing)}"
    assert len(listed) == len(set(listed))


def test_references_have_one_style():
    linked = [
        path.name
        for path in Path(sklperturb.__path__[0]).rglob("*.py")
        if "://doi.org" in path.read_text(encoding="utf-8")
    ]
    assert not linked, "write :doi:`...`"


def test_every_page_is_in_a_toctree():
    named = {"index"}
    for page in PAGES:
        for block in TOCTREE.findall(page.read_text(encoding="utf-8")):
            named.update(re.sub(r".*<(.*)>", r"\1", x) for x in block.splitlines())
    missing = [p.name for p in PAGES if str(p.relative_to(DOCS))[:-3] not in named]
    assert not missing, f"in no toctree of docs/: {missing}"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_links_to_files_resolve(path):
    targets = re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
    files = [t for t in targets if "://" not in t and not t.startswith("mailto:")]
    assert not [t for t in files if not (path.parent / t).exists()]


def test_the_readme_leads_to_every_guide():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    guides = {page.name for page in DOCS.glob("*.md")} - {"index.md", "api.md"}
    assert guides <= set(re.findall(r"\]\(docs/([\w.]+)\)", readme))


@pytest.mark.parametrize(
    "path", [*TEXTS, *(ROOT / "changes").glob("*.md")], ids=lambda path: path.name
)
def test_files_that_are_named_exist(path):
    text = path.read_text(encoding="utf-8")
    files = re.findall(r"\b((?:benchmarks|examples|tests)/[\w/]+\.\w+)\b", text)
    scripts = re.findall(r"-m ((?:benchmarks|tests)\.\w+(?:\.\w+)*)", text)
    missing = [name for name in files if not (ROOT / name).exists()]
    paths = [ROOT / name.replace(".", "/") for name in scripts]
    missing += [p for p in paths if not (p.is_dir() or p.with_suffix(".py").exists())]
    assert not missing


def test_fragments_of_the_changelog_have_a_known_type():
    """Towncrier leaves out the others in silence."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    types = {kind["directory"] for kind in settings["tool"]["towncrier"]["type"]}
    name = re.compile(rf"(\d+|\+[\w-]+)\.({'|'.join(types)})(\.\d+)?\.md|README\.md")
    folder = ROOT / "changes"
    assert not [p.name for p in folder.iterdir() if not name.fullmatch(p.name)]
    listed = [p.name for p in folder.iterdir() if p.read_text("utf-8").startswith("- ")]
    assert not listed, "Towncrier makes an item of each fragment"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_make_targets_exist(path):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    calls = commands(path.read_text(encoding="utf-8"), "make")
    named = {word for call in calls for word in call if re.fullmatch("[a-z-]+", word)}
    assert named <= targets, f"the Makefile has no {sorted(named - targets)}"


def test_commands_exist_with_their_options():
    """Look up each call that a text shows."""
    group = typer.main.get_command(app)
    for path in TEXTS:
        for name, *words in commands(path.read_text(encoding="utf-8"), "sklperturb"):
            if name in ("--help", "--version"):
                continue
            command = group.commands.get(name)
            assert command is not None, f"{path.name}: no command {name!r}"
            known = {"--help"}
            for parameter in command.params:
                known.update(parameter.opts, parameter.secondary_opts)
            options = {w.partition("=")[0] for w in words if w.startswith("--")}
            assert options <= known, f"{path.name}: {name} has no {options - known}"
