"""Where and of what a number was measured, and whether a process is at work."""

import contextlib
import os
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGES = ("sklperturb", "numpy", "scipy", "pandas", "scikit-learn", "torch", "optuna")


@cache
def gpu():
    """Return the name of the GPU that torch would take, or None."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


@cache
def processor():
    """Return the name of the processor, as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def commit():
    """Return the commit of this checkout, with a plus if files were changed."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        found, changed = (
            subprocess.run(
                git + words, capture_output=True, text=True, check=True
            ).stdout
            for words in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.strip() + ("+" if changed.strip() else "")


def worked(pid):
    """Return the processor seconds of a process and of those that it has begun.

    They tell what does nothing from what waits for a processor, which a clock cannot.
    """
    import psutil

    seconds = 0.0
    with contextlib.suppress(psutil.Error):  # gone in between
        process = psutil.Process(pid)
        for each in [process, *process.children(recursive=True)]:
            times = each.cpu_times()
            seconds += times.user + times.system
    return seconds


def describe():
    """Return versions, machine and commit; the load tells what else was running."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    machine = {"processor": processor(), "cores": os.cpu_count()}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        machine["memory_gb"] = round(pages / 2**30, 1)
    if hasattr(os, "getloadavg"):
        machine["load"] = round(os.getloadavg()[0], 1)
    return {"versions": versions, "machine": machine, "commit": commit()}
