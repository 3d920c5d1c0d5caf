"""What an earlier run left, and the next one goes on with."""

import json

from tests.robustness.cases import cases, refused, survived, warned
from tests.robustness.damage import changed, content, cut, pipe


def _first(damage):
    """Damage one of the finished folds."""
    return lambda path: damage(sorted(path.glob("*.json"))[0])


_DAMAGE = [
    ("an empty fold", content("")),
    ("half a fold", cut(0.5)),
    ("a fold that is a list", content("[]")),
    ("a fold without rows", content('{"seconds": 1.0, "memory": 1.0}')),
    ("a fold of text", content('{"rows": "x", "seconds": 1.0, "memory": 1.0}')),
    ("a fold of brackets", content("[" * 10**5)),
    ("a fold that is not UTF-8", content(b"\xff\xfe\xff")),
    ("a fold of other metrics", changed(lambda d: d.replace(b"mrrmse", b"other"))),
    ("a fold with fewer rows", content(
        '{"rows": {"mrrmse": [1.0]}, "seconds": 1.0, "memory": 1.0}')),
]  # fmt: skip


def _lines(function):
    """Change the lines of a journal."""
    return changed(lambda d: b"".join(function(d.splitlines(keepends=True))))


def _left(**files):
    """Say which files of an unfinished embedding are replaced, and by what."""
    found = {
        name.replace("__", "/").replace("_json", ".json"): data.hex()
        for name, data in files.items()
    }
    return content(json.dumps(found))


CASES = [
    *cases("json: folds", "../out/folds", "compare", [
        (name, _first(damage), warned(".json")) for name, damage in _DAMAGE
    ], named=""),
    *cases("json: folds", "../out/folds", "compare", [
        ("a fold that is a pipe", _first(pipe), survived()),
    ]),
    *cases("journal", "../out/study.log", "search", [
        ("empty", content(""), survived()),
        ("text", content("hello\n"), refused()),
        ("noise", content(bytes(range(256)) * 8), refused()),
        ("a line of noise in the middle", _lines(
            lambda x: [*x[:5], b"\xff\xfe\n", *x[5:]]), warned("study.log")),
        ("a list in the middle", _lines(lambda x: [*x[:5], b"[]\n", *x[5:]]), warned("study.log")),
        ("brackets in the middle", _lines(
            lambda x: [*x[:5], b"[" * 10**5 + b"\n", *x[5:]]), warned("study.log")),
        ("an unknown operation", _lines(
            lambda x: [*x[:5], b'{"op_code": 99}\n', *x[5:]]), warned("study.log")),
        ("lines in another order", _lines(lambda x: x[::-1]), survived()),
        ("a last line that is cut off", changed(lambda d: d[:-20]), survived()),
        ("a trial of text", changed(
            lambda d: d.replace(b'"values":[', b'"values":["x",')), survived()),
        ("a pipe", pipe, refused()),
    ]),
    *cases("json: unfinished", "damage.json", "embed_file", [
        ("an empty manifest", _left(manifest_json=b""), warned("embedded.h5ad.unfinished")),
        ("a manifest that is a list", _left(manifest_json=b"[]"), refused()),
        ("a manifest of brackets", _left(manifest_json=b"[" * 10**5), warned("embedded.h5ad.unfinished")),
        ("an empty note", _left(done__0_json=b""), warned("0.json")),
        ("a note that is a list", _left(done__0_json=b"[]"), warned("0.json")),
        ("a note of text", _left(done__0_json=b'{"crc": "x"}'), warned("0.json")),
        ("a note with another checksum", _left(
            done__0_json=b'{"crc": 1, "n_raw": 1, "n_log": 0}'), survived()),
        ("a note of NaN", _left(
            done__0_json=b'{"crc": NaN, "n_raw": NaN, "n_log": 0}'), survived()),
    ], named="embedded.h5ad.unfinished"),
]  # fmt: skip
