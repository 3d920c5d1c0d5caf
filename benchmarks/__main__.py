"""Entry point of ``python -m benchmarks``."""

import signal
import sys

from benchmarks._runner import main

# Whoever terminates the runner ends the benchmark too. It is said here and not in
# `main`: a test that calls it would make an end of all tests its own failure.
signal.signal(signal.SIGTERM, lambda *given: sys.exit(143))
sys.exit(main())
