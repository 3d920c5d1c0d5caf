"""JSON, TOML and YAML, and a split as a list."""

import json

from tests.robustness.cases import accepted, cases, refused, survived
from tests.robustness.damage import (
    SPECIAL,
    changed,
    compressed,
    content,
    cut,
    document,
    edited,
    encoded,
    folder,
    removed,
)

_DEEP = "[" * 100_000
_SPECIAL = [(name, damage, refused()) for name, damage in SPECIAL[:2]]

JSON = [
    ("empty", content(""), refused()),
    ("a list", content("[1, 2]"), refused()),
    ("a number", content("3"), refused()),
    ("cut off", cut(0.7), refused()),
    ("100,000 brackets", content(_DEEP), refused()),
    ("UTF-16", encoded("utf-16"), accepted()),
    ("not UTF-8", content(b'{"train": ["caf\xe9"]}'), refused()),
    ("null characters", content(b"\0\0\0\0"), refused()),
    ("compressed", compressed, accepted()),
    ("byte order mark", encoded("utf-8-sig"), accepted()),
    ("a number of a million digits", content('{"train": ' + "1" * 10**6 + "}"), refused()),
    ("a folder", folder, refused()),
    *_SPECIAL,
]  # fmt: skip


def _split(**parts):
    return content(json.dumps({"train": ["GENE1+ctrl"], "test": ["GENE2"]} | parts))


_split_json = [
    ("no test", content('{"train": ["a"]}'), refused("test")),
    ("text in place of a list", _split(test="GENE2"), refused()),
    ("lists in lists", _split(test=[["GENE2"]]), refused()),
    ("numbers as names", _split(test=[1, 2]), refused()),
    ("nothing is held out", _split(test=[]), refused()),
    ("null as a name", _split(test=[None]), refused()),
    ("a key twice", content('{"train": ["a"], "test": ["b"], "test": ["c"]}'), refused("test")),
]  # fmt: skip

_toml = [
    ("empty", content(""), refused()),
    ("no TOML", content("a = = 3"), refused()),
    ("cut off", cut(0.6), refused()),
    ("not UTF-8", content(b'[zeroshot]\n"a.caf\xe9" = "test"\n'), refused()),
    ("UTF-16", encoded("utf-16"), accepted()),
    ("zeroshot is a list", content('zeroshot = ["test"]'), refused()),
    ("fewshot is text", content('fewshot = "test"'), refused()),
    ("a part that is no part", content('[zeroshot]\n"a.b" = "tests"'), refused("tests")),
    ("a part that is a list", content('[zeroshot]\n"a.b" = ["test"]'), refused()),
    ("names are text", content('[fewshot."a.b"]\ntest = "GENE1"'), refused()),
    ("names are numbers", content('[fewshot."a.b"]\ntest = [1, 2]'), refused()),
    ("5,000 brackets", content("a = " + "[" * 5000), refused()),
    ("a key of 5,000 parts", content(".".join("a" * 5000) + " = 1"), refused()),
    ("a key twice", edited(lambda t: t + t), refused()),
    ("byte order mark", encoded("utf-8-sig"), survived()),
    ("null characters", content(b"\0"), refused()),
    *_SPECIAL,
]  # fmt: skip

_split_csv = [
    ("empty", content(""), refused()),
    ("blank lines", content("\n\n"), refused()),
    ("unknown parts", edited(lambda t: t.replace("train", "learn")), refused()),
    ("a cell twice", edited(lambda t: t + "cell0,train\n"), refused()),
    ("three fields", edited(lambda t: t.replace("\n", ",x\n")), refused()),
    ("semicolons", edited(lambda t: t.replace(",", ";")), refused()),
    ("a header", edited(lambda t: "cell,split\n" + t), accepted()),
    ("byte order mark", encoded("utf-8-sig"), accepted()),
    ("line ends of Windows", edited(lambda t: t.replace("\n", "\r\n")), accepted()),
    ("UTF-16", encoded("utf-16"), accepted()),
    ("not UTF-8", content(b"caf\xe9,train\n"), refused()),
    ("null characters", edited(lambda t: t.replace("cell1,", "ce\0ll1,")), refused()),
    ("a field of 200,000 characters", content("x" * 200_000 + ",train\n"), survived()),
    *_SPECIAL,
]  # fmt: skip

_best = [
    ("another model", document(lambda d: d | {"model": "additive"}), refused("additive")),
    ("no parameters", document(lambda d: {"model": "ridge"}), refused()),
    ("an unknown parameter", document(lambda d: d | {"params": {"x": 1}}), refused("x")),
    ("a value of a wrong type", document(
        lambda d: d | {"params": {"n_statistics": "large"}}), refused("n_statistics")),
    ("NaN as a value", document(
        lambda d: d | {"params": {"n_statistics": float("nan")}}), refused("n_statistics")),
    ("an infinite value", document(
        lambda d: d | {"params": {"n_statistics": float("inf")}}), refused("n_statistics")),
    ("a list as a value", document(lambda d: d | {"params": {"n_statistics": [1]}}), refused("n_statistics")),
    ("a model that is a list", document(lambda d: d | {"model": ["ridge"]}), refused()),
    ("markup as a parameter", document(lambda d: d | {"params": {"[/b]\x1b[31m": 1}}), refused()),
]  # fmt: skip


def _aliases(text):
    """Add a list that doubles with each line, a billion laughs."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    return text + "\n".join(lines) + "\n"


def _merges(text):
    lines = ["m0: &m0 {k: 1}"]
    lines += [
        f"m{i}: &m{i}\n  <<: [{', '.join([f'*m{i - 1}'] * 9)}]" for i in range(1, 12)
    ]
    return text + "\n".join(lines) + "\n"


_yaml = [
    ("empty", content(""), refused()),
    ("a list", content("- a\n- b\n"), refused()),
    ("no YAML", content("a: [1, 2\n"), refused()),
    ("a tag of Python", edited(
        lambda t: t + 'evil: !!python/object/apply:os.system ["touch ../canary"]\n'
    ), refused()),
    ("a tag of its own", edited(lambda t: t + "a: !odd 1\n"), refused()),
    ("lists that double", edited(_aliases), refused()),
    ("merges that double", edited(_merges), refused()),
    ("an alias of itself", edited(lambda t: t + "a: &a [*a]\n"), refused()),
    ("50,000 brackets", edited(lambda t: t + "a: " + "[" * 50_000), refused()),
    ("not UTF-8", changed(lambda d: d + b"a: caf\xe9\n"), refused()),
    ("null characters", changed(lambda d: d + b"a: \0\n"), refused()),
    ("two documents", edited(lambda t: t + "---\n" + t), refused()),
    ("text as a size", edited(lambda t: t.replace("nhead: 2", "nhead: two")), refused()),
    ("no heads", edited(lambda t: t.replace("nhead: 2", "nhead: 0")), refused()),
    ("10^12 heads", edited(lambda t: t.replace("nhead: 2", "nhead: 1000000000000")), refused()),
    ("a sentence of 10^12", edited(
        lambda t: t.replace("pad_length: 12", "pad_length: 1000000000000")), survived()),
    ("a sentence of 1", edited(lambda t: t.replace("pad_length: 12", "pad_length: 1")), refused()),
    ("a size that is NaN", edited(lambda t: t.replace("nhead: 2", "nhead: .nan")), refused()),
    ("another width", edited(lambda t: t.replace("emsize: 8", "emsize: 16")), refused()),
    ("a million layers", edited(lambda t: t.replace("nlayers: 1", "nlayers: 1000000")), refused()),
    ("a negative gene", edited(
        lambda t: t.replace("cls_token_idx: 3", "cls_token_idx: -1")), refused()),
    ("a flag that is off", edited(lambda t: t.replace("rda: true", "rda: false")), refused("rda")),
    ("model is a list", content("model: [1]\n"), refused()),
    ("missing", removed, refused()),
    ("byte order mark", encoded("utf-8-sig"), accepted()),
    ("line ends of Windows", edited(lambda t: t.replace("\n", "\r\n")), accepted()),
    *_SPECIAL,
]  # fmt: skip

CASES = [
    *cases("json", "split.json", "load_split json", JSON + _split_json),
    *cases("json", "best.json", "submit --params", JSON[:10] + JSON[11:] + _best),
    *cases("toml", "split.toml", "load_split toml", _toml),
    *cases("csv: split", "split.csv", "load_split csv", _split_csv),
    *cases("yaml", "checkpoint/config.yaml", "SECheckpoint folder", _yaml),
]
