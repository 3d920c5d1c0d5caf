"""Run benchmarks one after another, each in a process of its own, and keep the results.

python -m benchmarks                         those that `make bench` runs
python -m benchmarks --only se_tokenize,flow names, or whole areas
python -m benchmarks --list
"""

import argparse
import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import _goals, _output, _peers
from benchmarks._entry import Absent, arguments
from benchmarks._machine import describe, gpu
from benchmarks._table import ENTRIES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
KEPT = Path(__file__).with_name("measured.json")


def run(entry, data, clones, limit=None, say=print):
    """Run an entry; return what it took, printed and recorded, whatever happens.

    The status is ``done``, ``failed`` or ``skipped``; of several runs that of the worst
    one counts, but what is skipped beside what was done is only mentioned.
    """
    result = {"name": entry.name, "area": entry.area, "compares": entry.compares}
    result |= {"date": datetime.date.today().isoformat(), **describe()}
    result["peers"] = {group: _peers.versions(group) or None for group in entry.peers}
    missing = entry.missing_modules()
    if missing:
        reason = f"needs {', '.join(missing)}, which is not installed"
        return result | {"status": "skipped", "reason": reason, "runs": []}
    if entry.gpu:
        if gpu() is None:
            reason = "needs a GPU, and torch finds none"
            return result | {"status": "skipped", "reason": reason, "runs": []}
        result["machine"] |= {"gpu": gpu()}
    limit = limit or max(10, 5 * entry.minutes)
    runs = []
    for line in entry.runs:
        try:
            filled = arguments(line, data, clones)
        except Absent as absent:
            runs.append({"run": line, "status": "skipped", "reason": str(absent)})
            continue
        runs.append({"run": line, **_child(entry, filled, limit, say)})
    found = {one["status"] for one in runs}
    order = ("failed", "done", "skipped")
    result["status"] = next(status for status in order if status in found)
    reasons = [f"{x['run']}: {x['reason']}".lstrip(": ") for x in runs if "reason" in x]
    result["reason"] = "; ".join(reasons)
    return result | {"runs": runs}


def _child(entry, given, limit, say):
    """Run the script once, in a session of its own, `limit` minutes at most."""
    with tempfile.TemporaryDirectory() as folder:
        records, printed = Path(folder, "records"), Path(folder, "printed")
        environment = dict(os.environ)
        path = [str(ROOT), environment.get("PYTHONPATH")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        environment[_output.RECORDS] = str(records)
        start = time.perf_counter()
        with printed.open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", entry.module, *given],
                stdout=out,
                env=environment,
                cwd=ROOT,
                start_new_session=True,
            )
        usage, code = _wait(process, start + 60 * limit)
        text = printed.read_text(encoding="utf-8", errors="replace")
        found = {
            "seconds": time.perf_counter() - start,
            "cpu": usage.ru_utime + usage.ru_stime,
            # Of the largest process; kilobytes, on macOS bytes.
            "peak_mb": usage.ru_maxrss / 2 ** (20 if sys.platform == "darwin" else 10),
            "text": text,
            "tables": _output.tables(text),
            "records": _output.read_records(records),
        }
    say(text, end="", flush=True)
    if code == 0:
        return {"status": "done", **found}
    reason = f"ended with {code}" if code is not None else f"ran past {limit:g} min"
    return {"status": "failed", "reason": reason, **found}


def _wait(process, until):
    """Wait for a process and its children; return (usage, code), None past `until`."""
    try:
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                return usage, process.returncode
            if time.perf_counter() > until:
                break
            time.sleep(0.05)
    except BaseException:
        _kill(process)
        process.wait()
        raise
    _kill(process)
    process.returncode = -signal.SIGKILL
    return os.wait4(process.pid, 0)[2], None


def _kill(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def chosen(only, everything=False):
    """Return the entries of names and areas, or the quick ones."""
    if not only:
        return [entry for entry in ENTRIES if everything or entry.quick]
    known = {entry.name for entry in ENTRIES} | {entry.area for entry in ENTRIES}
    for name in only:
        if name not in known:
            from sklperturb.utils._choices import did_you_mean

            hint = f" {did_you_mean(name, known)}".rstrip()
            raise SystemExit(f"{name!r} is no benchmark or area.{hint} See --list.")
    return [entry for entry in ENTRIES if {entry.name, entry.area} & set(only)]


def listing():
    """Return the table of all entries, in Markdown."""
    lines = [
        "| area | benchmark | what it measures | peers | minutes | `make bench` |",
        "|---|---|---|---|---:|---|",
    ]
    for entry in ENTRIES:
        cells = [entry.area, entry.name, entry.compares, ", ".join(entry.peers)]
        cells += [f"{entry.minutes:g}", "yes" if entry.quick else ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def report(results):
    """Return one page of results: what each took, then what each printed."""
    lines = [
        "| benchmark | status | seconds | CPU s | largest process, MB |",
        "|---|---|---:|---:|---:|",
    ]
    for one in results:
        runs = [x for x in one["runs"] if "seconds" in x]
        seconds, cpu = (sum(x[key] for x in runs) for key in ("seconds", "cpu"))
        peak = max((x["peak_mb"] for x in runs), default=0)
        status = (
            f"{one['status']} ({one['reason']})" if one["reason"] else one["status"]
        )
        lines.append(
            f"| {one['name']} | {status} | {seconds:.0f} | {cpu:.0f} | {peak:.0f} |"
        )
    total = sum(x.get("seconds", 0) for one in results for x in one["runs"])
    lines += ["", f"{total / 60:.1f} minutes in all."]
    for one in results:
        text = printed(one)
        if text:
            lines += ["", f"## {one['name']}", "", text]
    return "\n".join(lines) + "\n"


def printed(result):
    """Return what the runs of a result printed, without those that failed."""
    texts = (x["text"].strip() for x in result["runs"] if x["status"] == "done")
    return "\n\n".join(text for text in texts if text)


def keep(result, path=KEPT):
    """Put a result in place of the last one of this benchmark in the kept file."""
    kept = json.loads(path.read_text("utf-8")) if path.exists() else {}
    slim = result | {
        "runs": [
            {key: value for key, value in one.items() if key != "tables"}
            for one in result["runs"]
        ]
    }
    kept[result["name"]] = slim
    _write(path, json.dumps(dict(sorted(kept.items())), indent=1) + "\n")


def update_pages(result, docs=DOCS):
    """Put what a benchmark printed between its marks; return the pages changed."""
    changed = []
    for page in sorted(docs.glob("*.md")):
        if _output.has_block(page.read_text("utf-8"), result["name"]):
            _output.update(page, result["name"], printed(result))
            changed.append(page.name)
    return changed


def remake_pages(path=KEPT, docs=DOCS):
    """Put all that is kept into the pages; return the pages changed.

    A result that was kept without what it printed leaves its block as it is.
    """
    changed = set()
    for result in json.loads(path.read_text("utf-8")).values():
        if all("text" in one for one in result["runs"] if one["status"] == "done"):
            changed |= set(update_pages(result, docs))
    _goals.update_page(path, docs / "measured.md")
    return sorted(changed)


def _write(path, text):
    unfinished = path.with_suffix(".part")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def parser():
    """Return the parser of the command line."""
    found = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    found.formatter_class = argparse.RawDescriptionHelpFormatter
    add = found.add_argument
    add("--list", action="store_true", help="list all benchmarks, and run none")
    add("--only", default="", help="names or areas, with commas")
    add("--all", action="store_true", help="those that take long too")
    add("--output", type=Path, default=ROOT / "benchmarks" / "results")
    add("--data", type=Path, default=ROOT.parent / "shared" / "data")
    add("--clone", action="append", default=[], metavar="NAME=PATH")
    add("--peers", action="store_true", help="install the packages to compare with")
    add("--limit", type=float, help="minutes of each run, at most")
    add("--update", action="store_true", help="keep results, and show them in docs/")
    add("--goals", action="store_true", help="print measured numbers beside the goals")
    add("--pages", action="store_true", help="make docs/ of what is kept; run nothing")
    return found


def read_clones(given):
    """Return {name: path} of ``NAME=PATH``."""
    pairs = [text.partition("=") for text in given]
    for name, found, path in pairs:
        if not (name and found and path):
            raise SystemExit(f"--clone {name}: give it as NAME=PATH.")
    return {name: Path(path) for name, _, path in pairs}


def install_peers(entries):
    """Install what the entries compare with; what cannot be had is left out."""
    for group in sorted({group for entry in entries for group in entry.peers}):
        try:
            _peers.install(group)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"peers {group} not installed: {error}", file=sys.stderr)


def main(given=None):
    """Run what the command line asks for; return 1 if anything failed."""
    options = parser().parse_args(given)
    if options.list:
        print(listing())
        return 0
    if options.goals:
        print(_goals.table(KEPT))
        return 0
    if options.pages:
        print("\n".join(remake_pages()))
        return 0
    entries = chosen([x for x in options.only.split(",") if x], options.all)
    clones = read_clones(options.clone)
    if options.peers:
        install_peers(entries)
    options.output.mkdir(parents=True, exist_ok=True)
    results = []
    for entry in entries:
        print(f"\n== {entry.name}: {entry.compares}\n", flush=True)
        result = run(entry, options.data, clones, options.limit)
        results.append(result)
        print(f"{result['status']} {result['reason']}".strip(), flush=True)
        path = options.output / f"{entry.name}.json"
        _write(path, json.dumps(result, indent=1) + "\n")
        _write(options.output / "summary.md", report(results))
        if options.update and result["status"] == "done":
            keep(result)
            update_pages(result)
    if options.update:
        _goals.update_page(KEPT, DOCS / "measured.md")
    print(f"\n{options.output / 'summary.md'}")
    return int(any(result["status"] == "failed" for result in results))
