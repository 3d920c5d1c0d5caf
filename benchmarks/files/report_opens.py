"""How large a report is, how soon it is there, and what axe-core says of it.

    sklperturb leaderboard --data OP3 --output results --report --with-audit
    python -m benchmarks.files.report_opens results/report.html
    npm install axe-core
    python -m benchmarks.files.report_opens results/report.html \\
        --axe node_modules/axe-core/axe.min.js

A headless Chromium opens the file, in a new profile each time. "loaded" is the page's
own time of its load event, "drawn" that of the second frame after it, with rows in the
table of conditions.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
LOOKS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
DRAWN = """new Promise((done) => {
  const rows = () => document.querySelectorAll("#table-conditions tbody tr").length;
  const told = () => requestAnimationFrame(() => requestAnimationFrame(() => done({
    loaded: performance.getEntriesByType("navigation")[0].loadEventEnd / 1000,
    drawn: performance.now() / 1000,
    rows: rows(),
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  })));
  if (document.readyState === "complete") setTimeout(told);
  else addEventListener("load", () => setTimeout(told));
})"""


def installed():
    """Return the path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A Chromium that is spoken to through pipes, in a profile of its own."""

    def __enter__(self):
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        program = installed()
        if program is None:
            raise SystemExit(f"none of {', '.join(NAMES)} is installed")
        to_read, self._out = os.pipe()
        self._in, to_write = os.pipe()

        def join():  # it reads what is 3 and writes to what is 4
            ends = os.dup(to_read), os.dup(to_write)
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        command = [program, *FLAGS, f"--user-data-dir={self._profile.name}"]
        self._process = subprocess.Popen(
            [*command, "about:blank"],
            preexec_fn=join,
            pass_fds=(3, 4),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._rest, self._count, self._session = b"", 0, None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        return self

    def __exit__(self, *error):
        os.close(self._out)
        os.close(self._in)
        self._process.terminate()
        self._process.wait()
        self._profile.cleanup()

    def ask(self, method, **params):
        """Give an order and return its answer."""
        self._count += 1
        order = {"id": self._count, "method": method, "params": params}
        if self._session is not None:
            order["sessionId"] = self._session
        os.write(self._out, json.dumps(order).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                self._rest += os.read(self._in, 2**20)
            text, _, self._rest = self._rest.partition(b"\0")
            answer = json.loads(text)
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(answer["error"])
                return answer["result"]

    def run(self, program):
        """Return what a program gives in the page."""
        found = self.ask(
            *("Runtime.evaluate",),
            expression=program,
            awaitPromise=True,
            returnByValue=True,
        )
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"])
        return found["result"].get("value")

    def look(self, width, theme):
        """Take a width and a colour scheme."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": theme}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])


def opened(path, width, theme, axe=None):
    """Return the times of a page, and what axe-core finds wrong with it."""
    with Browser() as browser:
        browser.look(width, theme)
        browser.ask("Page.enable")
        browser.ask("Page.navigate", url=path.absolute().as_uri())
        found = browser.run(DRAWN)
        if axe is not None:
            browser.run(axe.read_text("utf-8") + "; 0")
            wrong = (
                "axe.run().then((r) => r.violations.map((v) => v.id + ' ' + v.impact))"
            )
            found["axe"] = browser.run(wrong)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("--axe", type=Path, help="axe.min.js of axe-core")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    print(f"{given.report}: {given.report.stat().st_size / 1e6:.2f} MB")
    for width, theme in LOOKS:
        found = [opened(given.report, width, theme) for _ in range(given.repeats)]
        loaded, drawn = (
            [times[name] for times in found] for name in ("loaded", "drawn")
        )
        line = f"{width} px {theme}: loaded {statistics.median(loaded):.2f} s"
        line += f" (at most {max(loaded):.2f}), drawn {statistics.median(drawn):.2f} s"
        line += f" (at most {max(drawn):.2f}), {found[0]['rows']} rows"
        if found[0]["wide"]:
            line += f", {found[0]['wide']} px too wide"
        if given.axe is not None:
            wrong = opened(given.report, width, theme, given.axe)["axe"]
            line += f", axe-core: {'; '.join(wrong) or 'nothing'}"
        print(line)


if __name__ == "__main__":
    main()
