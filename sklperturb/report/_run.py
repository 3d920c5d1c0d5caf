"""What a folder keeps of a comparison, such that its report can be made again."""

import json

import numpy as np

from sklperturb.files._documents import read_json
from sklperturb.files._fields import (
    Fields,
    Flag,
    Listed,
    Mapping,
    Maybe,
    Number,
    Plain,
    Source,
    Text,
)
from sklperturb.files._reading import check_file
from sklperturb.report._plan import PLAN
from sklperturb.utils._printable import printable

FORMAT, VERSION = "sklperturb run", 1
RUN = "run.json"

_NUMBER = Maybe(Number())
_SCORE_OF_MODEL = Fields(
    {
        "rank": Number(1, whole=True),
        "model": Text(),
        "kind": Text(),
        "metric": Text(),
        "greater_is_better": Flag(),
        "best_baseline": Maybe(Text()),
        "unit": Text(),
        "n_units": Plain(),
        **dict.fromkeys(
            (
                "mean",
                "std",
                "ci_low",
                "ci_high",
                "difference",
                "difference_low",
                "difference_high",
                "relative_to_zeros",
                "ceiling",
                "ceiling_low",
                "ceiling_high",
                "share_of_ceiling",
                "share_low",
                "share_high",
                "fit_seconds",
                "peak_memory_mb",
            ),
            _NUMBER,
        ),
    }
)
_FOLD = Fields(
    {
        "model": Text(),
        "kind": Text(),
        "fold": Number(0, whole=True),
        "metric": Text(),
        "value": _NUMBER,
        "n_rows": Number(0, whole=True),
        "fit_seconds": _NUMBER,
        "peak_memory_mb": _NUMBER,
    }
)
_PLACE = Number(0, whole=True)
_EXPLORER = Fields(
    {
        "metrics": Listed(
            Fields({"name": Text(), "greater_is_better": Flag()}), size="metrics"
        ),
        "models": Listed(Text(), size="models", unique=True),
        "baseline": Maybe(Text()),
        "perturbations": Listed(Text()),
        "contexts": Maybe(Listed(Text())),
        "perturbation": Listed(_PLACE, size="rows"),
        "context": Maybe(Listed(_PLACE, size="rows")),
        "fold": Listed(Text(), size="rows"),
        "strength": Listed(_NUMBER, size="rows"),
        # By metric and model.
        "scores": Listed(
            Listed(Listed(_NUMBER, size="rows"), size="models"), size="metrics"
        ),
        "n_left_out": _PLACE,
        "genes": Listed(Text()),
        "top": Listed(Listed(_PLACE, size="top"), size="rows"),
        "measured": Listed(Listed(_NUMBER, size="top"), size="rows"),
        "predicted": Listed(
            Listed(Listed(_NUMBER, size="top"), size="rows"), size="models"
        ),
    }
)
_SLOPE = Fields(
    {
        "model": Text(),
        "context": Text(),
        "n_rows": _PLACE,
        "n_perturbations": _PLACE,
        "slope": _NUMBER,
        "low": _NUMBER,
        "high": _NUMBER,
    }
)
_COVERED = Fields(
    {
        "model": Text(),
        "group": Text(),
        "n_perturbations": _NUMBER,
        "n_rows": _NUMBER,
        **dict.fromkeys(("confidence", "coverage", "low", "high", "width"), _NUMBER),
    }
)
_FINDING = Fields(
    {
        **dict.fromkeys(("kind", "severity", "found", "how", "advice"), Text()),
        **dict.fromkeys(
            ("score", "score_without", "inflation", "low", "high", "n_rows"), _NUMBER
        ),
    }
)
AUDIT = Fields(
    {
        "ok": Flag(),
        "metric": Text(),
        "score": _NUMBER,
        "n_folds": _PLACE,
        "n_held_out": _PLACE,
        "claims": Mapping(Text()),
        "checks": Mapping(Text()),
        "findings": Listed(_FINDING),
        "notes": Listed(_FINDING),
    }
)
_FIELDS = Fields(
    {
        "format": Text((FORMAT,)),
        "version": Number(VERSION, VERSION, whole=True),
        "provenance": Mapping(Text()),
        "confidence": Number(0, 1),
        "notes": Listed(Text()),
        "left_out": Mapping(Text()),
        "leaderboard": Listed(_SCORE_OF_MODEL),
        "folds": Listed(_FOLD),
        "explorer": Maybe(_EXPLORER),
        "calibration": Maybe(Listed(_SLOPE)),
        "coverage": Maybe(Listed(_COVERED)),
        "audit": Maybe(AUDIT),
        "plan": Maybe(PLAN),
    },
    # Runs that earlier versions kept know no plans.
    optional=("plan",),
)


def as_plain(value):
    """Return nested numbers and text as JSON holds them; None for what is no number."""
    if isinstance(value, dict):
        return {printable(str(k)): as_plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def check_run(run, path=None):
    """Return what is kept of a comparison; raise if something else is in it."""
    source = Source(path)
    found = _FIELDS.read(run, "run", source)
    explorer = found["explorer"]
    if explorer is not None:
        for name in ("models", "metrics", "strength"):
            if not explorer[name]:
                source.refuse(f"run.explorer.{name}", [], "a list that is not empty")
        for places, names in (
            ([explorer["perturbation"]], "perturbations"),
            ([explorer["context"] or []], "contexts"),
            (explorer["top"], "genes"),
        ):
            n = len(explorer[names] or ())
            highest = max((max(own) for own in places if own), default=-1)
            if highest >= n:
                source.refuse(f"a place in {names}", highest, f"below {n}")
    return found


def read_run(folder):
    """Read what `leaderboard --output` has kept in a folder."""
    path = folder / RUN
    check_file(path, "run")
    return check_run(read_json(path), path)


def read_audit(path):
    """Read what `audit --output` has written as JSON."""
    check_file(path, "audit")
    return AUDIT.read(as_plain(read_json(path, allow_nan=True)), "audit", Source(path))


def write_run(path, run):
    """Write it to a file, which read_run reads."""
    text = json.dumps(run, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    path.write_text(text + "\n", encoding="utf-8")
