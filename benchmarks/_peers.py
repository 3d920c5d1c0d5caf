"""Environments of packages that ours is compared with, one a group of requirements.

Each file of ``peers/`` is a group. Its environment lies in a cache, under a name made
of the file and of the interpreter, so that a changed file has another one. A first line
``# on top of ours`` is for packages that need ours, or what it needs (torch): they are
installed without their dependencies and see our environment behind their own.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

GROUPS = Path(__file__).parent / "peers"
ON_TOP = "# on top of ours"


def groups():
    """Return the names of the groups."""
    return sorted(path.stem for path in GROUPS.glob("*.txt"))


def requirements(group):
    """Return (the requirements, whether they go on top of our environment)."""
    path = GROUPS / f"{group}.txt"
    if not path.exists():
        raise ValueError(f"{group!r} is no group of peers. Known: {groups()}.")
    lines = path.read_text("utf-8").splitlines()
    found = [line.strip() for line in lines if line.strip() and line[0] != "#"]
    return found, ON_TOP in lines


def cache():
    """Return the folder of the environments."""
    given = os.environ.get("SKLPERTURB_BENCHMARK_PEERS")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given or Path(base, "sklperturb", "benchmark_peers"))


def place(group):
    """Return where the environment of a group is, or would be."""
    needed, on_top = requirements(group)
    known = [*sorted(needed), sys.version.split()[0]]
    if on_top:
        known.append(sys.prefix)
    digest = hashlib.sha256("\n".join(known).encode()).hexdigest()[:12]
    return cache() / f"{group}-{digest}"


def _python(folder):
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def interpreter(group):
    """Return the interpreter of a group, or None where it is not installed."""
    folder = place(group)
    return _python(folder) if (folder / "installed.txt").exists() else None


def install(group):
    """Make the environment of a group unless it is there; return its interpreter."""
    found = interpreter(group)
    if found is not None:
        return found
    folder = place(group)
    needed, on_top = requirements(group)
    print(f"peers {group}: installing {', '.join(needed)}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        venv.create(folder, with_pip=True, symlinks=os.name != "nt")
        python = _python(folder)
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        pip += ["--disable-pip-version-check"]
        if on_top:
            pip.append("--no-deps")
        subprocess.run([*pip, *needed], check=True, stdout=sys.stderr)
        if on_top:
            site = Path(
                subprocess.run(
                    [python, "-c", "import site; print(site.getsitepackages()[0])"],
                    check=True,
                    capture_output=True,
                    text=True,
                ).stdout.strip()
            )
            # Behind its own packages; .pth files of ours count, editable ones too.
            ours = sysconfig.get_path("purelib")
            line = f"import site; site.addsitedir({ours!r})\n"
            (site / "behind.pth").write_text(line, "utf-8")
        frozen = subprocess.run(
            [python, "-m", "pip", "freeze", "--disable-pip-version-check", "--local"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        shutil.rmtree(folder, ignore_errors=True)
        raise
    # Written last: an environment without it was not finished.
    (folder / "installed.txt").write_text(frozen, "utf-8")
    return python


def versions(group):
    """Return {package: version} of what a group asked for, as installed."""
    listed = place(group) / "installed.txt"
    if not listed.exists():
        return {}
    pairs = (line.partition("==") for line in listed.read_text("utf-8").splitlines())
    known = {name.lower().replace("_", "-"): v for name, found, v in pairs if found}
    asked = [line.partition("==")[0].strip() for line in requirements(group)[0]]
    keys = {name: name.lower().replace("_", "-") for name in asked}
    return {name: known[key] for name, key in keys.items() if key in known}
