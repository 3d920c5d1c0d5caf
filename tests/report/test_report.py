"""What a report says, read without a browser."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from sklperturb.comparison import Comparison, compare
from sklperturb.conditions import PerturbationSchema
from sklperturb.files._reading import FileError
from sklperturb.inspection import (
    EffectSizeDisplay,
    Inflation,
    LeakAudit,
    LeakFinding,
    RowErrorDisplay,
)
from sklperturb.metrics import rowwise_pearson, rowwise_root_mean_squared_error
from sklperturb.persistence import data_fingerprint
from sklperturb.report import _explorer, write_html
from sklperturb.report._content import describe
from sklperturb.report._run import check_run, read_audit, read_run, write_run
from sklperturb.report._write import write_page
from tests.robustness.corpus.pages import named

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"quoted\" & 'quoted' $x^2$ {{ 7 * 7 }}",
    "long" * 300,
    "\u05d0\u05d1\u05d2 \u0627\u0644",
    "\u202etxt.exe\x1b[31m",
]


COVERAGE = (
    *("group", "confidence", "coverage", "low", "high", "width"),
    *("n_perturbations", "n_rows"),
)


class Page(HTMLParser):
    """Elements of a page with their attributes, the text, and the embedded data."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.text, self.data, self._inside = [], [], None, []
        self.source = path.read_text("utf-8")
        self.feed(self.source)
        self.words = " ".join(" ".join(self.text).split())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag in ("script", "style"):
            self._inside.append(dict(attributes))

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._inside.pop()

    def handle_data(self, data):
        if not self._inside:
            self.text.append(data)
        elif self._inside[-1].get("id") == "data":
            self.data = json.loads(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def compared(screen):
    return compare(
        ["ridge"],
        screen.X,
        screen.y,
        cv=2,
        baselines=["no_change", "context_mean"],
        scoring=["mrrmse", "spearman"],
        return_predictions=True,
        error_score=np.nan,
    )


@pytest.fixture(scope="module")
def page(compared, screen, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    assert write_html(compared, screen.X, screen.y, path, about={"seed": 3}) == path
    return Page(path)


def test_nothing_is_loaded_from_elsewhere(page):
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "srcset", "data"):
            value = attributes.get(name, "#")
            assert value.startswith("#") or value == "data:,", (tag, value)
    assert "@import" not in page.source and "url(" not in page.source
    (policy,) = [m for m in page.all("meta") if "http-equiv" in m]
    policy = policy["content"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page.source, re.S)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    for _, attributes in page.elements:
        assert not [a for a in attributes if a == "style" or a.startswith("on")]


def test_the_leaderboard_is_in_the_page_without_its_program(page, compared):
    for row in compared.summary.itertuples():
        assert f"{row.mean:.4f}".replace("-", "\N{MINUS SIGN}") in page.words
    assert "is first of 3 by mrrmse (lower is better)" in page.words
    assert "is first of 3 by spearman (higher is better)" in page.words
    assert "There is no ceiling" in page.words
    assert "No audit was given" in page.words
    assert "Coverage of prediction intervals was not measured" in page.words


def test_provenance(page, screen, compared):
    assert data_fingerprint(screen.X, screen.y) in page.words
    cut = compared.held_out[["row", "fold"]].to_numpy("<i8")
    assert hashlib.sha256(np.ascontiguousarray(cut)).hexdigest() in page.words
    for name in ("numpy", "scikit-learn", "python", "seed"):
        assert name in page.words


def test_conditions_have_their_scores_and_genes(page, compared, screen):
    found = page.data["explorer"]
    rows = np.sort(compared.held_out["row"].unique())
    assert [m["name"] for m in found["metrics"]] == ["mrrmse", "spearman"]
    model = found["models"].index("ridge")
    y_pred = compared.predictions["ridge"][rows]
    errors = rowwise_root_mean_squared_error(screen.y.to_numpy()[rows], y_pred)
    np.testing.assert_allclose(found["scores"][0][model], errors, rtol=6e-3)
    names = [found["perturbations"][i] for i in found["perturbation"]]
    assert names == screen.X["sm_name"].iloc[rows].tolist()
    contexts = [found["contexts"][i] for i in found["context"]]
    assert contexts == screen.X["cell_type"].iloc[rows].astype(str).tolist()
    row = 5
    top = [found["genes"][g] for g in found["top"][row]]
    assert set(top) == set(screen.y.columns)  # as few as there are
    expected = screen.y.iloc[rows[row]][top]
    np.testing.assert_allclose(found["measured"][row], expected, rtol=6e-3)
    assert found["measured"][row] == sorted(found["measured"][row], reverse=True)
    expected = compared.prediction_table("ridge").iloc[row][top]
    np.testing.assert_allclose(
        found["predicted"][model][row], expected, rtol=6e-3, atol=1e-12
    )


def test_a_correlation_stands_beside_errors(screen):
    comparison = compare(
        ["ridge"], screen.X, screen.y, cv=2, baselines=None, return_predictions=True
    )
    found = describe(comparison, screen.X, screen.y)["explorer"]
    assert [m["name"] for m in found["metrics"]] == ["mrrmse", "pearson"]
    rows = np.sort(comparison.held_out["row"].unique())
    r = rowwise_pearson(
        screen.y.to_numpy()[rows], comparison.predictions["ridge"][rows]
    )
    np.testing.assert_allclose(found["scores"][1][0], r, rtol=6e-3)
    assert found["baseline"] is None


def test_calibration_is_that_of_the_display(page, compared, screen):
    pytest.importorskip("matplotlib")
    display = EffectSizeDisplay.from_predictions(
        screen.y, compared.predictions["ridge"], X=screen.X
    )
    found = pd.DataFrame(page.data["calibration"]).query("model == 'ridge'")
    expected = display.slopes()
    assert found["context"].tolist() == expected.index.tolist()
    np.testing.assert_allclose(found["slope"], expected["slope"])


def test_large_screens_keep_strong_rows_and_fewer_genes(compared, screen, monkeypatch):
    monkeypatch.setattr(_explorer, "_MOST_VALUES", 400)
    found = describe(compared, screen.X, screen.y)["explorer"]
    rows = np.sort(compared.held_out["row"].unique())
    strength = np.sqrt((screen.y.to_numpy()[rows] ** 2).mean(axis=1))
    n = 400 // (5 * 4)
    assert len(found["strength"]) == n < len(rows)
    assert found["n_left_out"] == len(rows) - n
    np.testing.assert_allclose(
        np.sort(found["strength"]), np.sort(strength)[-n:], rtol=6e-3
    )
    assert {len(top) for top in found["top"]} == {5}
    row = np.flatnonzero(strength >= np.sort(strength)[-n])[0]
    strongest = screen.y.iloc[rows[row]].abs().nlargest(5).index
    assert {found["genes"][g] for g in found["top"][0]} == set(strongest)


def test_hostile_names_are_text(screen, tmp_path):
    names = screen.X["sm_name"].unique()
    new = dict(zip(names, HOSTILE * len(names), strict=False))
    new = {name: f"{text}{i}" for i, (name, text) in enumerate(new.items())}
    X = screen.X.assign(sm_name=screen.X["sm_name"].map(new))
    y = screen.y.rename(columns=dict(zip(screen.y, HOSTILE, strict=False)))
    comparison = compare(
        {HOSTILE[0]: "ridge"}, X, y, cv=2, baselines=None, return_predictions=True
    )
    path = write_html(
        comparison, X, y, tmp_path / "r.html", title=HOSTILE[1], about={"x": HOSTILE[2]}
    )
    page = Page(path)
    assert len(page.all("script")) == 2 and not page.all("img")
    assert page.data["explorer"]["models"] == [HOSTILE[0]]
    assert HOSTILE[0] in page.words and HOSTILE[2] in page.words
    assert "</script><script>alert" not in page.source
    assert "\u202e" not in page.source and "\x1b" not in page.source
    shown = page.data["explorer"]["perturbations"]
    assert any(name.startswith(HOSTILE[4]) for name in shown)


def test_what_is_not_known_is_left_out_with_a_sentence(compared, screen, tmp_path):
    bare = Comparison(compared.folds, compared.summary, held_out=compared.held_out)
    page = Page(write_html(bare, screen.X, screen.y, tmp_path / "r.html"))
    assert "no predictions were kept" in page.words
    assert page.data["explorer"] is None
    assert "explorer" not in [a.get("id") for a in page.all("div")]


def test_a_model_that_failed(screen, tmp_path):
    schema = PerturbationSchema(perturbation="sm_name", context="cell_type")
    comparison = compare(
        ["ridge"], screen.X, screen.y, cv=2, baselines=None, return_predictions=True
    )
    comparison.predictions["ridge"][:] = np.nan
    comparison.summary["mean"] = np.nan
    path = write_html(
        comparison, screen.X, screen.y, tmp_path / "r.html", schema=schema
    )
    page = Page(path)
    assert "no model has a score" in page.words and "failed in a fold" in page.words
    assert set(page.data["explorer"]["scores"][0][0]) == {None}
    assert "NaN" not in page.source.partition('id="data"')[2].partition("</script")[0]


def test_an_audit_and_coverage_are_shown(compared, screen, tmp_path):
    worth = Inflation(0.8, 1.0, 0.2, 0.15, 0.24, 40, "rows left out")
    leak = LeakFinding("copies", "high", "3 rows <b>are</b> copies.", "Cut.", worth)
    note = LeakFinding("structures", "note", "Names share a structure.", "Look.")
    audit = LeakAudit([leak], [note], {"rows": "clean"}, 0.8, "mrrmse", {}, 2, 40)
    curve = {
        "group": ["all"],
        "confidence": [0.9],
        "coverage": [0.8764],
        "low": [0.8],
        "high": [0.9],
        "width": [2.0],
        "n_perturbations": [9],
        "n_rows": [20],
    }
    page = Page(
        write_html(
            compared,
            screen.X,
            screen.y,
            tmp_path / "r.html",
            audit=audit,
            coverage={"conformal": pd.DataFrame(curve)},
        )
    )
    assert "1 leak found: 2 folds, 40 held-out rows, mrrmse 0.8000" in page.words
    assert "3 rows <b>are</b> copies." in page.words and not page.all("b")
    assert "inflation +0.2000 (+0.1500 to +0.2400)" in page.words
    assert "Names share a structure." in page.words
    assert "0.876 (0.800 to 0.900)" in page.words


def test_what_a_run_keeps_can_be_read(compared, screen, tmp_path):
    run = describe(compared, screen.X, screen.y)
    write_run(tmp_path / "run.json", run)
    assert read_run(tmp_path) == check_run(run) == run


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda run: run.pop("folds"), "folds"),
        (lambda run: run.update(version=2), "version"),
        (lambda run: run["explorer"]["top"].pop(), "rows of"),
        (lambda run: run["explorer"]["perturbation"].__setitem__(0, 99), "below 20"),
        (lambda run: run["leaderboard"][0].update(mean="<b>"), "mean"),
        (lambda run: run["provenance"].update(seed=[1]), "seed"),
    ],
)
def test_a_damaged_run_is_refused(compared, screen, tmp_path, damage, said):
    run = describe(compared, screen.X, screen.y)
    damage(run)
    write_run(tmp_path / "run.json", run)
    with pytest.raises(FileError, match=said) as caught:
        read_run(tmp_path)
    assert "run.json" in str(caught.value)


@pytest.mark.parametrize("text", HOSTILE[:3])
def test_whatever_a_file_says_is_text_on_the_page(compared, screen, tmp_path, text):
    worth = Inflation(0.8, 1.0, 0.2, 0.15, 0.24, 40, "rows left out")
    leak = LeakFinding("copies", "high", "3 rows are copies.", "Cut.", worth)
    audit = LeakAudit([leak], [leak], {"rows": "clean"}, 0.8, "mrrmse", {}, 2, 40)
    run = describe(
        compared,
        screen.X,
        screen.y,
        audit=audit,
        coverage={"c": {key: [1] for key in COVERAGE} | {"group": ["all"]}},
    )
    run["left_out"] = {"other": "a reason"}
    plain, marked = tmp_path / "plain.html", tmp_path / "marked.html"
    write_page(plain, run)
    write_page(marked, named(run, text), text)
    plain, marked = Page(plain), Page(marked)
    # As many elements, and none with other attributes than before.
    assert [tag for tag, _ in marked.elements] == [tag for tag, _ in plain.elements]
    for (_, found), (_, known) in zip(marked.elements, plain.elements, strict=True):
        assert set(found) <= set(known)
    assert marked.words.count(text) > 50
    assert marked.data["explorer"]["genes"][0].endswith(text)


def test_numbers_of_any_size_fit_their_cells(compared, screen, tmp_path):
    run = describe(compared, screen.X, screen.y)
    run["leaderboard"][0] |= {"mean": 1e308, "std": 3.2e-7, "peak_memory_mb": 0.0}
    run["leaderboard"][1] |= {"mean": 123.4567, "std": 2.4e-16}
    write_page(tmp_path / "r.html", run)
    page = Page(tmp_path / "r.html")
    assert "1.0e+308" in page.words
    assert f"3.2e{chr(0x2212)}07" in page.words
    assert "123.4567" in page.words and "2.4e" not in page.words
    assert "0" * 50 not in page.words


def test_an_audit_file_that_is_none(tmp_path):
    (tmp_path / "a.json").write_text('{"ok": true}')
    with pytest.raises(FileError, match=r"a\.json is damaged"):
        read_audit(tmp_path / "a.json")


def test_rows_and_genes_have_the_order_that_was_compared(compared, screen, tmp_path):
    X, y = screen.X, screen.y
    path = tmp_path / "report.html"
    for given, said in (
        ((X.iloc[::-1], y.iloc[::-1]), "X has rows in another order"),
        ((X, y.iloc[:, ::-1]), "y has genes in another order"),
        ((X, y.add_prefix("other")), "y has genes that were not compared"),
    ):
        with pytest.raises(ValueError, match=said):
            write_html(compared, *given, path)
        with pytest.raises(ValueError, match=said):
            RowErrorDisplay.from_comparison(compared, *given, "ridge")
    assert not path.exists()
    write_html(compared, X.reset_index(drop=True), y.to_numpy(), path)


def test_wrong_arguments(compared, screen, tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.html"):
        write_html(compared, screen.X, screen.y, tmp_path / "r.pdf")
    with pytest.raises(ValueError, match="pass the X and y that were given"):
        write_html(compared, screen.X[:5], screen.y[:5], tmp_path / "r.html")
    (tmp_path / "r.html").write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_html(compared, screen.X, screen.y, tmp_path / "r.html")
    write_html(compared, screen.X, screen.y, tmp_path / "r.html", overwrite=True)
