"""The other end of `take_turns`: runs functions of a script in a process of its own.

Run by the interpreter of a peer's environment, so that only the standard library is
imported here. Requests and answers are lines of JSON; what a function prints goes to
the standard error.
"""

import contextlib
import importlib.util
import json
import os
import sys
import time
import traceback


def load(path):
    """Import a script under a name that is not ``__main__``."""
    spec = importlib.util.spec_from_file_location("benchmark_side", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def forget_peak():
    """Let the peak of the resident memory begin anew, where the system can."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def memory(field):
    """Return the resident memory (VmRSS) or its peak (VmHWM), in MB; nan if unknown."""
    with contextlib.suppress(OSError), open("/proc/self/status") as file:
        for line in file:
            if line.startswith(field):
                return int(line.split()[1]) / 1024
    return float("nan")


def once(call):
    """Call a function; return its seconds, peak memory in MB, and answer.

    An answer that is no number or text is None: it may be as large as it likes.
    """
    before = memory("VmRSS")
    forget_peak()
    wall, cpu = time.perf_counter(), time.process_time()
    answer = call()
    found = {
        "seconds": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "peak_mb": memory("VmHWM"),
    }
    found["grown_mb"] = max(0.0, found["peak_mb"] - before)
    plain = isinstance(answer, int | float | str)
    return found | {"answer": answer if plain else None}


def serve(path, name, arguments, out):
    """Prepare a side, and run it each time that a line comes in."""
    prepared = getattr(load(path), name)(*arguments)
    out.write(json.dumps({"ready": True}) + "\n")
    out.flush()
    for _ in sys.stdin:
        out.write(json.dumps(once(prepared)) + "\n")
        out.flush()


def main():
    """Serve, and answer with the error if there is one."""
    path, name, arguments = sys.argv[1:]
    sys.path[:] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))] + [
        place for place in sys.path[1:] if place
    ]
    # Answers have a channel of their own; whatever is printed goes to standard error.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        serve(path, name, json.loads(arguments), out)
    except Exception as error:
        traceback.print_exc()
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        out.write(json.dumps({"error": line}) + "\n")
        out.flush()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
