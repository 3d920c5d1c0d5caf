"""Single cells in the spellings of the public collections."""

import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sklperturb.datasets import PerturbationSchema, load_perturbseq


def cells_of(**columns):
    n_cells = len(next(iter(columns.values())))
    obs = pd.DataFrame(columns, index=[f"cell{i}" for i in range(n_cells)])
    counts = np.arange(n_cells * 4).reshape(n_cells, 4) % 5
    var = pd.DataFrame(index=["KLF1", "CEBPE", "MYC", "TP53"])
    return anndata.AnnData(sparse.csr_matrix(counts.astype("float32")), obs, var)


LAYOUTS = {
    "vcc": {
        "target_gene": ["non-targeting", "KLF1", "MYC", "CTRL"],
        "batch": ["b1", "b1", "b2", "b2"],
    },
    "gears": {
        "condition": ["ctrl", "KLF1+ctrl", "ctrl+MYC", "CTRL+ctrl"],
        "dose_val": ["1", "1+1", "1+1", "1+1"],
        "control": [1, 0, 0, 0],
    },
    "perturbench": {
        "condition": ["control", "KLF1", "MYC", "CTRL"],
        "cell_type": ["k562"] * 4,
    },
    "scperturb": {
        "perturbation": ["control", "KLF1", "MYC", "CTRL_g1"],
        "perturbation_type": ["CRISPR"] * 4,
        "cell_line": ["K562"] * 4,
    },
}


@pytest.mark.filterwarnings("ignore:.* holds 'CTRL")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_are_recognised_and_spelled_alike(layout):
    screen = load_perturbseq(cells_of(**LAYOUTS[layout]))
    assert screen.layout == layout
    labels = screen.X[screen.schema.perturbation].tolist()
    # CTRL is a gene too, chymotrypsin-like protease.
    last = "CTRL_g1" if layout == "scperturb" else "CTRL"
    assert labels == ["control", "KLF1", "MYC", last]
    assert screen.is_control.tolist() == [True, False, False, False]
    assert screen.X["control"].dtype == bool
    assert screen.schema.dose is None
    assert list(screen.X.index) == list(screen.y.obs_names)


def test_combinations_have_one_spelling():
    cells = cells_of(condition=["MYC+KLF1", "KLF1+MYC", "ctrl", "TP53+ctrl"])
    labels = load_perturbseq(cells).X["condition"].tolist()
    assert labels == ["KLF1+MYC", "KLF1+MYC", "control", "TP53"]


def test_scperturb_underscores_split_only_where_the_file_counts_two():
    cells = cells_of(
        perturbation=["control", "MYC_KLF1", "AC_1", "TP53"],
        perturbation_type=["CRISPR"] * 4,
        nperts=[0, 2, 1, 1],
    )
    labels = load_perturbseq(cells).X["perturbation"].tolist()
    assert labels == ["control", "KLF1+MYC", "AC_1", "TP53"]


def test_tahoe_has_doses_and_names_with_plus_signs():
    cells = cells_of(
        drug=["DMSO_TF", "Bortezomib", "(+)-JQ1"],
        cell_line_id=["CVCL_0131"] * 3,
        plate=["p1", "p1", "p2"],
        drugname_drugconc=[
            "[('DMSO_TF', 0.0, 'uM')]",
            "[('Bortezomib', 50.0, 'nM')]",
            "broken",
        ],
    )
    screen = load_perturbseq(cells)
    assert screen.layout == "tahoe"
    assert screen.X["drug"].tolist() == ["control", "Bortezomib", "(+)-JQ1"]
    np.testing.assert_allclose(screen.X["dose_uM"], [0, 0.05, np.nan])
    assert screen.schema.batch == "plate"
    assert screen.schema.dose == "dose_uM"


def test_schema_names_columns_and_controls():
    cells = cells_of(guide=["g0", "KLF1", "g0", "MYC"], line=["A", "A", "B", "B"])
    schema = PerturbationSchema("guide", context="line", control_labels="g0")
    screen = load_perturbseq(cells, schema)
    assert screen.is_control.tolist() == [True, False, True, False]
    assert screen.layout is None
    assert screen.schema.context == "line"
    with pytest.raises(ValueError, match=r"names the columns \['nowhere'\]"):
        load_perturbseq(cells, PerturbationSchema("guide", context="nowhere"))


def test_control_column_counts_in_a_file_without_layout():
    cells = cells_of(gene=["none", "KLF1", "none"], is_control=[True, False, True])
    screen = load_perturbseq(cells)
    assert screen.X["gene"].tolist() == ["control", "KLF1", "control"]


def test_a_named_control_column_decides_in_a_known_layout():
    cells = cells_of(
        target_gene=["non-targeting", "AAVS1", "KLF1", "non-targeting"],
        is_ntc=["0", "1", "0", "1"],
    )
    schema = PerturbationSchema("target_gene", control="is_ntc")
    screen = load_perturbseq(cells, schema)
    assert screen.is_control.tolist() == [False, True, False, True]
    assert screen.X["is_ntc"].tolist() == [False, True, False, True]
    labels = ["non-targeting", "control", "KLF1", "control"]
    assert screen.X["target_gene"].tolist() == labels
    absent = PerturbationSchema("target_gene", control="nowhere")
    with pytest.raises(ValueError, match=r"names the columns \['nowhere'\]"):
        load_perturbseq(cells, absent)


def test_controls_without_a_label_that_a_column_marks_are_kept():
    cells = cells_of(
        gene=[None, "KLF1", None, "MYC"], is_control=[True, False, False, False]
    )
    with pytest.raises(ValueError, match="1 of 4 cells have no 'gene'"):
        load_perturbseq(cells)
    screen = load_perturbseq(cells, drop_unassigned=True)
    assert screen.X["gene"].tolist() == ["control", "KLF1", "MYC"]
    assert screen.is_control.tolist() == [True, False, False]


def test_labels_of_fixed_length_are_decoded():
    cells = cells_of(target_gene=["non-targeting", "KLF1+MYC"], batch=["b1", "b2"])
    for name in cells.obs:
        values = cells.obs[name].str.encode("utf-8")
        cells.obs[name] = values.astype(object)
    screen = load_perturbseq(cells)
    assert screen.X["target_gene"].tolist() == ["control", "KLF1+MYC"]
    assert screen.X["batch"].tolist() == ["b1", "b2"]
    assert screen.is_control.tolist() == [True, False]


def test_no_control_is_said():
    with pytest.warns(UserWarning, match=r"no cell is a control.*\['sg1'"):
        load_perturbseq(cells_of(target_gene=["sg1", "sg1", "KLF1"]))


def test_the_label_of_controls_is_nearly_right():
    schema = PerturbationSchema("gene", control_labels="ntc ")
    with pytest.warns(UserWarning, match="Did you mean 'NTC' for 'ntc'"):
        load_perturbseq(cells_of(gene=["NTC", "A"]), schema)
    found = load_perturbseq(cells_of(gene=["ntc", "A"]), schema)
    assert found.is_control.tolist() == [True, False]


def test_missing_values_of_any_type():
    names = pd.array(["control", "A", pd.NA], dtype="string")
    cells = cells_of(gene=names, cell_type=names[[0, 2, 1]])
    screen = load_perturbseq(cells, drop_unassigned=True)
    assert screen.X["gene"].tolist() == ["control", "A"]
    assert screen.X["cell_type"].tolist() == ["control", None]


def test_unassigned_cells():
    cells = cells_of(target_gene=["non-targeting", None, "KLF1"])
    with pytest.raises(ValueError, match="1 of 3 cells have no 'target_gene'"):
        load_perturbseq(cells)
    screen = load_perturbseq(cells, drop_unassigned=True)
    assert len(screen.X) == screen.y.n_obs == 2


def test_missing_context_stays_missing():
    cells = cells_of(
        target_gene=["non-targeting", "KLF1", "MYC"], cell_type=["A", None, "B"]
    )
    X = load_perturbseq(cells).X
    assert X["cell_type"].tolist() == ["A", None, "B"]


def test_repeated_genes_are_refused():
    cells = cells_of(target_gene=["non-targeting", "KLF1"])
    cells.var_names = ["A", "A", "B", "C"]
    with pytest.raises(ValueError, match="1 genes that occur more than once"):
        load_perturbseq(cells)


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
@pytest.mark.parametrize("backed", [False, True])
@pytest.mark.filterwarnings("ignore:Writing zarr", "ignore:.* holds 'CTRL")
def test_files(tmp_path, suffix, backed):
    cells = cells_of(**LAYOUTS["vcc"])
    path = tmp_path / f"cells{suffix}"
    (cells.write_h5ad if suffix == ".h5ad" else cells.write_zarr)(path)
    screen = load_perturbseq(path, backed=backed)
    assert screen.layout == "vcc"
    np.testing.assert_array_equal(
        screen.y[[2, 0]].X.toarray(), cells.X[[2, 0]].toarray()
    )
    if backed:
        assert not sparse.issparse(screen.y.X) and screen.y.X.format == "csr"
        rows = screen.y[[3, 2, 0]][[2, 0]]
        np.testing.assert_array_equal(rows.X.toarray(), cells.X[[0, 3]].toarray())


def test_broken_and_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_perturbseq(tmp_path / "no.h5ad")
    broken = tmp_path / "broken.h5ad"
    broken.write_bytes(b"not a file of this kind")
    with pytest.raises(ValueError, match="cannot be read as AnnData"):
        load_perturbseq(broken)
    with pytest.raises(ValueError, match=r"ends in '\.csv'"):
        load_perturbseq(broken.rename(tmp_path / "cells.csv"))
    with pytest.raises(ValueError, match="layout='tahoe' has the perturbation"):
        load_perturbseq(cells_of(target_gene=["A"]), layout="tahoe")
    with pytest.raises(ValueError, match=r"'layout' .*Got 'arc'"):
        load_perturbseq(cells_of(target_gene=["A"]), layout="arc")


def test_norman_mcfaline(shared_data):
    path = shared_data("norman_mcfaline") / "devel.h5ad"
    screen = load_perturbseq(path)
    assert screen.layout == "perturbench"
    assert screen.is_control.sum() == 400
    combined = screen.X["condition"].str.contains("+", regex=False)
    assert screen.X.loc[combined, "condition"].nunique() == 15
    assert "KLF1+SET" in set(screen.X["condition"])  # the file has SET+KLF1


COMPOUNDS = [
    *("DMSO", "(+)-JQ1", "L-(+)-Rhamnose", "S(+)-Ibuprofen", "atenolol-(+|-)"),
    *("(+)-3-(1-propyl-piperidin-3-yl)-phenol", "Metformin + HCl", "vitamin C+"),
]


@pytest.mark.parametrize("column", ["sm_name", "drug", "compound", "stim"])
def test_names_of_compounds_are_left_as_they_are(column):
    schema = None
    if column == "stim":
        schema = PerturbationSchema(column, combines=False)
    screen = load_perturbseq(cells_of(**{column: COMPOUNDS}), schema)
    assert screen.X[column].tolist() == ["control", *COMPOUNDS[1:]]
    assert "combinations" not in screen.DESCR
    assert [screen.schema.split(name) for name in screen.X[column][1:]] == [
        (name,) for name in COMPOUNDS[1:]
    ]


def test_brackets_keep_a_name_whole_where_labels_combine():
    names = [*COMPOUNDS[:6], "(+)-JQ1+BRD4"]
    screen = load_perturbseq(cells_of(perturbation=names))
    assert screen.X["perturbation"].tolist() == ["control", *names[1:]]
    assert "6 perturbations, 1 of them combinations" in screen.DESCR


def test_compounds_of_scperturb_combine_where_the_file_counts_two():
    labels = ["control", "A + HCl", "A+B", "B_A", "C"]
    cells = cells_of(
        perturbation=labels,
        perturbation_type=["drug"] * 5,
        nperts=[0, 1, 2, 2, 1],
    )
    found = load_perturbseq(cells).X["perturbation"].tolist()
    assert found == ["control", "A + HCl", "A+B", "A+B", "C"]
    del cells.obs["nperts"]
    screen = load_perturbseq(cells)
    assert screen.X["perturbation"].tolist() == labels
    assert not screen.schema.labels_combine


def test_a_schema_says_that_compounds_combine():
    schema = PerturbationSchema("drug", combines=True)
    screen = load_perturbseq(cells_of(drug=["DMSO", "B+A", "A"]), schema)
    assert screen.X["drug"].tolist() == ["control", "A+B", "A"]
    assert screen.schema.combines


def test_doses_are_read_with_their_units():
    cells = cells_of(
        drug=["DMSO", "A", "A", "B"], dose=["0", "50 nM", "1e-2 mM", "3 \u00b5M"]
    )
    screen = load_perturbseq(cells)
    assert screen.X["dose"].tolist() == [0, 0.05, 10, 3]
    assert screen.schema.dose == "dose"
    assert "micromoles per litre" in screen.DESCR
    assert "micromoles" not in load_perturbseq(cells_of(drug=["DMSO"], dose=[1])).DESCR


@pytest.mark.parametrize("doses", [["100 ng/ml"] * 3, ["1", "high", "2"], ["1+1"] * 3])
def test_a_dose_that_is_named_is_never_blanked(doses):
    cells = cells_of(drug=["DMSO", "A", "B"], dose=doses)
    with pytest.raises(ValueError, match="Column 'dose' is named as the dose and hold"):
        load_perturbseq(cells, PerturbationSchema("drug", dose="dose"))
    if doses[0] == "1+1":  # which GEARS writes everywhere
        assert "dose" not in load_perturbseq(cells).X
    else:
        with pytest.warns(UserWarning, match="'dose' is left out, since it holds"):
            assert "dose" not in load_perturbseq(cells).X


@pytest.mark.parametrize("doses", [[0, 1, np.inf], [0, -1, 2], ["0", "-5 nM", "1 nM"]])
def test_doses_are_finite_and_not_negative(doses):
    cells = cells_of(drug=["DMSO", "A", "B"], dose=doses)
    with pytest.raises(ValueError, match="numbers of 0 or more"):
        load_perturbseq(cells, PerturbationSchema("drug", dose="dose"))
    with pytest.warns(UserWarning, match=r"left out, .* \['(inf|-1|-5 nM)'"):
        assert "dose" not in load_perturbseq(cells).X


def test_a_column_of_units_beside_the_doses_is_read():
    def load(units, doses=(0, 10, 10)):
        drug = ["DMSO", "A", "B"]
        return load_perturbseq(cells_of(drug=drug, dose=doses, dose_unit=units))

    screen = load(["nM", "nM", "uM"])
    assert screen.X["dose"].tolist() == [0, 0.01, 10]
    assert "micromoles per litre" in screen.DESCR
    assert load([None, "nM", "uM"], [None, 10, 10]).X["dose"].tolist()[1:] == [0.01, 10]
    assert load(["ug/ml"] * 3).X["dose"].tolist() == [0, 10, 10]
    with pytest.warns(UserWarning, match=r"left out, since it holds \['10 ug/ml'"):
        load(["uM", "ug/ml", "uM"])


def test_doses_of_tahoe_that_cannot_be_read_are_said():
    texts = ["[('DMSO_TF', 0.0, 'uM')]", "[('A', 5, 'ug/ml')]"]
    cells = cells_of(drug=["DMSO_TF", "A"], drugname_drugconc=texts)
    with pytest.warns(UserWarning, match="'ug/ml'.* no dose can be read"):
        assert load_perturbseq(cells).X["dose_uM"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("labels", "n_found"),
    [
        (["A;B", "A|B", "A & B", "A\uff0bB"], 4),
        (["A_B", "A", "B"], 1),
        (["A_ctrl", "NegCtrl0_B", "NegCtrl0_NegCtrl1"], 3),
        (["A,B", "A/B", "A-B", "A", "B"], 3),
        (["A_1", "HLA-A", "A", "NKX2-1", "NTC_1", "(A|-)-x", "A:C", "A+B"], 0),
    ],
)
def test_combinations_with_another_sign_than_a_plus(labels, n_found):
    cells = cells_of(perturbation=["control", *labels])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_perturbseq(cells)
        load_perturbseq(cells, PerturbationSchema("perturbation", combines=False))
    found = [f"{w.message}" for w in caught if "like combinations" in f"{w.message}"]
    assert len(found) == (n_found > 0)
    assert all(f" {n_found} labels of column" in message for message in found)


def test_one_of_several_controls_is_misspelt():
    cells = cells_of(target_gene=["non-targeting", "NTC", "A"])
    schema = PerturbationSchema("target_gene", control_labels=("non-targeting", "ntc"))
    with pytest.warns(UserWarning, match="Did you mean 'NTC' for 'ntc'"):
        load_perturbseq(cells, schema)


def test_names_that_look_the_same_are_shown_letter_by_letter():
    cells = cells_of(target_gene=["non-targeting", "e\u0301x", "\xe9x"])
    with pytest.warns(UserWarning, match=r"'e\\u0301x' and '\\xe9x'"):
        load_perturbseq(cells)


def test_several_labels_of_controls():
    labels = ["non-targeting", "NTC", "safe-targeting", "B"]
    cells = cells_of(target_gene=labels)
    with pytest.warns(UserWarning, match=r"holds 'NTC', 'safe-targeting' in 2 rows"):
        screen = load_perturbseq(cells)
    assert screen.is_control.tolist() == [True, False, False, False]
    for names in (labels[:3], labels[:1]):
        schema = PerturbationSchema("target_gene", control_labels=names)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = load_perturbseq(cells, schema).is_control.sum()
        assert found == len(names)


@pytest.mark.parametrize("text", ["nan", "None", "NA", "unknown", "", " "])
def test_text_that_looks_like_a_missing_label_is_kept_and_said(text):
    cells = cells_of(perturbation=["control", "A", text])
    with pytest.warns(UserWarning, match="looks like a missing label"):
        screen = load_perturbseq(cells)
    assert screen.X["perturbation"].tolist() == ["control", "A", text.strip()]
    assert screen.is_control.tolist() == [True, False, False]


def test_labels_that_differ_in_case_only():
    cells = cells_of(target_gene=["non-targeting", "Klf1", "KLF1"])
    with pytest.warns(UserWarning, match="'KLF1' and 'Klf1'"):
        load_perturbseq(cells)


def test_columns_that_are_nearly_known():
    cells = cells_of(target_gene=["non-targeting", "A"], **{"Cell Type": ["B", "B"]})
    with pytest.warns(UserWarning, match="'Cell Type' is not read: as context"):
        load_perturbseq(cells)
    schema = PerturbationSchema("target_gene", context="cell_type")
    with pytest.raises(ValueError, match="Did you mean 'Cell Type' for 'cell_type'"):
        load_perturbseq(cells, schema)


def test_a_column_twice():
    cells = cells_of(target_gene=["non-targeting", "A"], batch=["1", "2"])
    cells.obs.columns = ["target_gene", "target_gene"]
    with pytest.raises(ValueError, match=r"columns \['target_gene'\] more than once"):
        load_perturbseq(cells)


def test_labels_of_several_types():
    cells = cells_of(
        perturbation=["control", 1, 1.0, "1", True], batch=[1.0, 2.0, 1.0, np.nan, 2.0]
    )
    X = load_perturbseq(cells).X
    assert X["perturbation"].tolist()[:4] == ["control", "1", "1", "1"]
    assert X["batch"].tolist() == ["1", "2", "1", None, "2"]


def test_columns_that_are_numbers():
    obs = pd.DataFrame({1: ["A", "B"]}, index=list("xy"))
    cells = anndata.AnnData(np.ones((2, 2)))
    cells.obs = obs.set_index(cells.obs_names)
    with pytest.raises(ValueError, match=r"are called \[1\], so none is known"):
        load_perturbseq(cells)
