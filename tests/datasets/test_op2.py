import os
import warnings

import anndata
import numpy as np
import pandas as pd
import pytest

from sklperturb.datasets import (
    PerturbationSchema,
    load_op2,
    make_chemical_screen,
    write_screen,
)

CONDITIONS = ["cell_type", "sm_name", "sm_lincs_id", "SMILES", "control"]


pytestmark = pytest.mark.filterwarnings("ignore:.* holds .NA. as text")


@pytest.fixture
def train():
    return pd.DataFrame(
        {
            "cell_type": ["NK", "B", "NK", "NK"],
            "sm_name": ["Aone", "Aone", "Btwo", "NA"],
            "sm_lincs_id": ["LSM-1", "LSM-1", None, "LSM-3"],
            "SMILES": ["C", "C", "CC", None],
            "control": [True, True, False, False],
            "G1": [1.0, 2.0, 3.0, 4.0],
            "G2": [-1.0, -20.0, 30.0, 0.5],
        }
    )


@pytest.fixture
def id_map():
    return pd.DataFrame(
        {
            "id": [0, 1, 2],
            "cell_type": ["B", "B", "B"],
            "sm_name": ["NA", "Btwo", "New"],
        }
    )


@pytest.fixture
def folder(tmp_path, train, id_map):
    train.to_parquet(tmp_path / "de_train.parquet")
    id_map.to_csv(tmp_path / "id_map.csv", index=False)
    return tmp_path


def _load_quietly(folder, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # A compound is called so.
        warnings.filterwarnings("ignore", message=".* holds 'NA' as text")
        return load_op2(folder, **options)


def test_a_table_of_text_is_read_like_parquet(folder, train):
    expected = _load_quietly(folder)
    (folder / "de_train.parquet").unlink()
    train["sm_name"] = ["007", "007", "1e5", "NA"]  # names, and no numbers
    train.to_csv(folder / "de_train.csv", index=False)
    screen = _load_quietly(folder)
    assert screen.X["sm_name"].tolist() == ["007", "007", "1e5", "NA"]
    pd.testing.assert_frame_equal(screen.y, expected.y)
    others = [column for column in CONDITIONS if column != "sm_name"]
    pd.testing.assert_frame_equal(
        screen.X[others].fillna(""), expected.X[others].fillna("")
    )
    assert "from de_train.csv" in screen.DESCR
    with pytest.raises(ValueError, match=r"only de_train\.csv, which has no layers"):
        load_op2(folder, layer="logFC")


def test_some_roles_are_named_and_the_others_inferred(tmp_path, train):
    names = {"sm_name": "Agent", "cell_type": "Line 1"}
    train.rename(columns=names).to_csv(tmp_path / "de_train.csv", index=False)
    roles = {"perturbation": "Agent", "context": "Line 1"}
    screen = _load_quietly(tmp_path, schema=roles)
    assert screen.schema.columns() == ["Agent", "Line 1", "control", "SMILES"]
    assert screen.target_names == ["G1", "G2"]
    with pytest.raises(ValueError, match=r"no column 'Agnet'.*mean 'Agent'\?"):
        load_op2(tmp_path, schema=roles | {"perturbation": "Agnet"})
    with pytest.raises(ValueError, match=r"'contxt'.*'context'"):
        load_op2(tmp_path, schema={"perturbation": "Agent", "contxt": "Line 1"})


def test_kaggle_layout(folder, train):
    screen = _load_quietly(folder)
    pd.testing.assert_frame_equal(screen.X, train[CONDITIONS])
    pd.testing.assert_frame_equal(screen.y, train[["G1", "G2"]])
    assert screen.target_names == ["G1", "G2"]
    assert screen.y_test is None
    assert screen.schema.columns() == ["sm_name", "cell_type", "control", "SMILES"]
    assert list(screen.X_test.columns) == CONDITIONS
    assert screen.X_test.index.name == "id"
    # A compound that is really called NA, one without LINCS id, and a new one.
    assert screen.X_test["sm_name"].tolist() == ["NA", "Btwo", "New"]
    assert screen.X_test["sm_lincs_id"].tolist() == ["LSM-3", None, None]
    assert screen.X_test["SMILES"].tolist() == [None, "CC", None]
    assert screen.X_test["control"].tolist() == [False, False, False]
    assert "1 occur nowhere in training: New" in screen.DESCR


def test_what_perturbations_are_called(folder, train, id_map):
    assert "compounds in training, 3 to predict" in load_op2(folder).DESCR
    names = {"sm_name": "target_gene"}
    train.drop(columns="SMILES").rename(columns=names).to_parquet(
        folder / "de_train.parquet"
    )
    id_map.rename(columns=names).to_csv(folder / "id_map.csv", index=False)
    found = load_op2(folder).DESCR
    assert "perturbations in training, 3 to predict" in found
    assert "compound" not in found


def test_control_flag_of_a_row_to_predict_comes_from_its_compound(folder, id_map):
    id_map["sm_name"] = ["Aone", "Btwo", "New"]
    id_map.to_csv(folder / "id_map.csv", index=False)
    assert load_op2(folder).X_test["control"].tolist() == [True, False, False]


def test_id_map_with_smiles_in_another_column_order(folder, id_map):
    id_map["SMILES"] = ["CCC", None, "CCCC"]
    id_map = id_map[["SMILES", "sm_name", "id", "cell_type"]].iloc[::-1]
    id_map.to_csv(folder / "id_map.csv", index=False)
    screen = load_op2(folder)
    assert screen.X_test.index.tolist() == [2, 1, 0]
    assert screen.X_test["SMILES"].tolist() == ["CCCC", "CC", "CCC"]
    assert list(screen.X_test.columns) == CONDITIONS
    assert list(screen.id_map.columns) == ["SMILES", "sm_name", "id", "cell_type"]


def test_new_context(folder, id_map):
    id_map["cell_type"] = ["B", "B", "Platelets"]
    id_map.to_csv(folder / "id_map.csv", index=False)
    assert "1 occur nowhere in training: Platelets" in load_op2(folder).DESCR


def test_numeric_names_match(folder, train, id_map):
    train["sm_name"] = ["1", "1", "2", "3"]
    id_map["sm_name"] = [2, 3, 4]
    train.to_parquet(folder / "de_train.parquet")
    id_map.to_csv(folder / "id_map.csv", index=False)
    screen = load_op2(folder)
    assert screen.X_test["SMILES"].tolist() == ["CC", None, None]


def test_sample_submission_orders_the_genes(folder):
    (folder / "sample_submission.csv").write_text("id,G2,G1\n0,0,0\n")
    assert load_op2(folder).target_names == ["G2", "G1"]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("id,G1,G2,G3", r"de_train.parquet lacks 1 genes .*\['G3'\]"),
        ("id,G1", r"sample_submission.csv lacks 1 genes .*\['G2'\]"),
        ("id,G1,G1,G2", r"1 column names that occur more than once, such as \['G1'\]"),
    ],
)
def test_sample_submission_that_disagrees(folder, header, message):
    (folder / "sample_submission.csv").write_text(header + "\n")
    with pytest.raises(ValueError, match=message):
        load_op2(folder)


def test_clip(folder):
    screen = load_op2(folder, clip=10)
    assert screen.y["G2"].tolist() == [-1.0, -10.0, 10.0, 0.5]
    assert "clipped to +-10" in screen.DESCR


def test_wrong_options(folder):
    with pytest.raises(ValueError, match=r"'clip' .* Got 0"):
        load_op2(folder, clip=0)
    with pytest.raises(TypeError, match=r"'clip' .* Got 'a'"):
        load_op2(folder, clip="a")
    with pytest.raises(ValueError, match=r"'on_nonfinite' .* Got 'drop'"):
        load_op2(folder, on_nonfinite="drop")
    with pytest.raises(ValueError, match=r"has only de_train.parquet"):
        load_op2(folder, layer="t")


def test_duplicate_rows_are_dropped(folder, train):
    pd.concat([train, train.iloc[[3, 0, 0]]]).to_parquet(folder / "de_train.parquet")
    with pytest.warns(UserWarning, match="dropped 3 rows that repeat") as record:
        screen = load_op2(folder)
    assert record[0].filename == __file__
    pd.testing.assert_frame_equal(screen.y, train[["G1", "G2"]])
    pd.testing.assert_frame_equal(screen.X, train[CONDITIONS])
    assert "3 duplicate rows were dropped" in screen.DESCR


def test_repeated_conditions_are_kept(folder, train):
    again = train.iloc[[1]].assign(G1=5.0)
    pd.concat([train, again]).to_parquet(folder / "de_train.parquet")
    with pytest.warns(UserWarning, match=r"1 conditions .* \('Aone', 'B'\)"):
        screen = load_op2(folder)
    assert len(screen.X) == 5


def test_declared_replicates_do_not_warn(folder, train):
    both = pd.concat([train.assign(donor=1), train.assign(donor=2, G1=5.0)])
    both.to_parquet(folder / "de_train.parquet")
    screen = _load_quietly(folder)
    assert screen.schema.replicate == "donor"
    assert screen.target_names == ["G1", "G2"]
    assert screen.X_test["donor"].isna().all()


def test_nonfinite_values(folder, train):
    train["G1"] = [np.nan, np.inf, -np.inf, 4.0]
    train.to_parquet(folder / "de_train.parquet")
    with pytest.raises(
        ValueError, match=r"3 values .* \['G1'\] and 3 rows, first \('Aone', 'NK'\)"
    ):
        load_op2(folder)
    screen = load_op2(folder, on_nonfinite="replace")
    assert screen.y["G1"].tolist() == [0.0, 30.0, -30.0, 4.0]
    assert "3 values of de_train.parquet were not finite" in screen.DESCR


def test_text_that_spells_numbers(folder, train):
    train["G1"] = ["1.5", "2", " 3 ", "-4e-1"]
    train["G2"] = train["G2"].astype("Float32")
    train["note"] = ["x", "y", None, "z"]
    train["checked"] = [True, None, False, True]
    train.to_parquet(folder / "de_train.parquet")
    screen = load_op2(folder)
    assert screen.y["G1"].tolist() == [1.5, 2.0, 3.0, -0.4]
    assert (screen.y.dtypes == np.float64).all()
    assert list(screen.X.columns) == [*CONDITIONS, "note", "checked"]


def test_blank_text_is_a_missing_number(folder, train):
    train["G1"] = ["1.5", "", "nan", "2"]
    train.to_parquet(folder / "de_train.parquet")
    screen = load_op2(folder, on_nonfinite="replace")
    assert screen.y["G1"].tolist() == [1.5, 0.0, 0.0, 2.0]


def test_text_among_numbers(folder, train):
    train["G1"] = ["1.5", "low", "3", "low"]
    train.to_parquet(folder / "de_train.parquet")
    with pytest.raises(ValueError, match=r"'G1' .* 2 of 4 values .* 'low'"):
        load_op2(folder)


def test_numbers_named_in_the_schema_are_conditions(folder, train):
    schema = PerturbationSchema("sm_name", "cell_type", dose="G1")
    screen = load_op2(folder, schema=schema)
    assert screen.target_names == ["G2"]
    assert "G1" in screen.X
    assert screen.X_test["G1"].isna().all()


@pytest.mark.parametrize(
    "spelling",
    [
        [1, 1, 0, 0],
        [1.0, 1.0, 0.0, 0.0],
        ["True", "TRUE", "False", "false"],
        ["1", "1", "0", None],
    ],
)
def test_spellings_of_the_control_flag(folder, train, spelling):
    train["control"] = spelling
    train.to_parquet(folder / "de_train.parquet")
    screen = load_op2(folder)
    assert screen.X["control"].tolist() == [True, True, False, False]
    assert screen.X["control"].dtype == bool


def test_a_column_of_units_beside_the_doses_is_read(folder, train, tmp_path):
    units = ["nM", "uM", "mM", "nM"]
    train.assign(dose=[1000.0, 2, 3, 0], dose_unit=units).to_parquet(
        folder / "de_train.parquet"
    )
    X = load_op2(folder).X
    assert X["dose"].tolist() == [1, 2, 3000, 0]
    assert set(X["dose_unit"]) == {"uM"}  # so that what is written is read alike


def test_unknown_control_flag(folder, train):
    train["control"] = ["yes", "no", "no", "no"]
    train.to_parquet(folder / "de_train.parquet")
    with pytest.raises(ValueError, match="holds 'yes'; allowed are True, False"):
        load_op2(folder)


def test_no_control_column(folder, train):
    train.drop(columns="control").to_parquet(folder / "de_train.parquet")
    screen = load_op2(folder)
    assert screen.schema.control == "control"
    assert not screen.X["control"].any()
    assert not screen.X_test["control"].any()


def test_conditions_in_the_index(folder, train):
    train.set_index(["cell_type", "sm_name"]).to_parquet(folder / "de_train.parquet")
    assert load_op2(folder).X["sm_name"].tolist() == train["sm_name"].tolist()


def test_missing_labels(folder, train, id_map):
    train.loc[2, "sm_name"] = None
    train.to_parquet(folder / "de_train.parquet")
    with pytest.raises(ValueError, match=r"'sm_name' of de_train.parquet .* row 2"):
        load_op2(folder)


def test_truncated_id_map(folder):
    (folder / "id_map.csv").write_text("id,cell_type,sm_name\n0,B,Aone\n1,B\n")
    with pytest.raises(ValueError, match=r"id_map.csv: line 3 has 2 fields, .* has 3"):
        load_op2(folder)
    (folder / "id_map.csv").write_text("id,cell_type,sm_name\n0,B,Aone\n1,B,\n")
    with pytest.raises(ValueError, match=r"'sm_name' of id_map.csv is missing in 1"):
        load_op2(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,cell_type,sm_name\n0,B,x\n0,B,y\n", "1 repeated ids, such as 0"),
        ("id,cell_type,sm_name\n0,B,x\n,B,y\n", "1 rows without an id"),
        ("cell_type,sm_name\nB,x\n", r"lacks the columns \['id'\]"),
        ("id,id,cell_type\n0,0,B\n", r"occur more than once, such as \['id'\]"),
        ("id,cell_type,sm_name\n1,B,x\n1.0,B,y\n", "1 repeated ids, such as 1"),
        ("", "id_map.csv is empty"),
        ("id,cell_type,sm_name\n", "id_map.csv has a header and no rows"),
        ("id,cell_type,sm_name\n0,B,x,7\n", "line 2 has 4 fields, .* header has 3"),
        ("id;cell_type;sm_name\n0;B;x\n", "id_map.csv is separated by semicolons"),
        (",".join(f"c{i}" for i in range(200_000)) + "\n0\n", "has 200000 columns"),
    ],
)
def test_wrong_id_map(folder, text, message):
    (folder / "id_map.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_op2(folder)


def test_missing_files(tmp_path, folder):
    (folder / "id_map.csv").unlink()
    (folder / "de_train.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds nothing. Allowed are the Kag"):
        load_op2(folder)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_op2(folder / "nowhere")
    (folder / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="pass the folder that holds it"):
        load_op2(folder / "file")


def test_broken_files(folder):
    path = folder / "de_train.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"de_train.parquet cannot be read as parquet"):
        load_op2(folder)
    (folder / "de_train.h5ad").write_bytes(b"not HDF5")
    with pytest.raises(ValueError, match=r"de_train.h5ad cannot be read as AnnData"):
        load_op2(folder, layer="t")


def test_binary_id_map(folder):
    (folder / "id_map.csv").write_bytes(b"\x89HDF\r\n\x81\xff")
    with pytest.raises(ValueError, match=r"id_map.csv is no text; it seems to be HDF5"):
        load_op2(folder)


def test_no_genes_and_no_rows(folder, train):
    train[CONDITIONS].to_parquet(folder / "de_train.parquet")
    with pytest.raises(ValueError, match="has no column of numbers, so no genes"):
        load_op2(folder)
    train.iloc[:0].to_parquet(folder / "de_train.parquet")
    with pytest.raises(ValueError, match="has no rows"):
        load_op2(folder)


def test_duplicate_gene_columns(folder):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pa.table([["B"], ["x"], [1.0], [2.0]], ["cell_type", "sm_name", "G", "G"])
    parquet.write_table(table, folder / "de_train.parquet")
    with pytest.raises(ValueError, match=r"occur more than once, such as \['G'\]"):
        load_op2(folder)


@pytest.fixture
def benchmark_folder(tmp_path):
    """Write a small screen as the benchmark's two h5ad files."""
    anndata = pytest.importorskip("anndata")
    screen = make_chemical_screen(4, 12, 8, random_state=0)
    for name, X, y in (
        ("train", screen.X, screen.y),
        ("test", screen.X_test, screen.y_test),
    ):
        obs = X.assign(split=name, sm_name=X["sm_name"].astype("category"))
        obs.index = [f"row{i}" for i in range(len(X))]
        values = y.to_numpy()
        if name == "test":  # neither rows nor genes in the order of the others
            obs, values = obs.iloc[::-1], values[::-1, ::-1]
        genes = screen.target_names if name == "train" else screen.target_names[::-1]
        anndata.AnnData(
            obs=obs,
            var=pd.DataFrame(index=genes),
            layers={
                "clipped_sign_log10_pval": values.clip(-4, 4),
                "sign_log10_pval": values,
            },
        ).write_h5ad(tmp_path / f"de_{name}.h5ad")
    return tmp_path, screen


def test_benchmark_layout(benchmark_folder):
    folder, screen = benchmark_folder
    screen.id_map[["id", "sm_name", "cell_type"]].to_csv(
        folder / "id_map.csv", index=False
    )
    loaded = load_op2(folder)
    pd.testing.assert_frame_equal(loaded.X[CONDITIONS], screen.X)
    pd.testing.assert_frame_equal(loaded.y, screen.y.clip(-4, 4))
    pd.testing.assert_frame_equal(loaded.X_test[CONDITIONS], screen.X_test)
    pd.testing.assert_frame_equal(loaded.y_test, screen.y_test.clip(-4, 4))
    assert "clipped_sign_log10_pval" in loaded.DESCR
    unclipped = load_op2(folder, layer="sign_log10_pval", clip=2)
    pd.testing.assert_frame_equal(unclipped.y_test, screen.y_test.clip(-2, 2))


def test_benchmark_layout_without_id_map(benchmark_folder):
    folder, screen = benchmark_folder
    loaded = load_op2(folder, layer="sign_log10_pval")
    assert loaded.id_map["id"].tolist() == list(range(len(screen.X_test)))
    assert loaded.id_map["sm_name"].tolist() == screen.X_test["sm_name"].tolist()[::-1]
    assert np.array_equal(loaded.y_test, screen.y_test.iloc[::-1])


def test_benchmark_layout_without_answers(benchmark_folder):
    folder, screen = benchmark_folder
    screen.id_map.to_csv(folder / "id_map.csv", index=False)
    (folder / "de_test.h5ad").unlink()
    assert load_op2(folder).y_test is None
    (folder / "id_map.csv").unlink()
    asked = load_op2(folder)
    assert len(asked.X_test) == len(asked.id_map) == 0
    assert list(asked.X_test.columns) == list(asked.X.columns)


def test_nothing_to_predict(folder, train):
    whole = load_op2(folder)
    (folder / "id_map.csv").unlink()
    screen = load_op2(folder)
    assert screen.y.equals(whole.y) and screen.X.equals(whole.X)
    assert list(screen.X_test.columns) == list(whole.X_test.columns)
    assert len(screen.X_test) == 0 and screen.X_test.index.name == "id"
    assert "0 to predict" in screen.DESCR and "0 conditions to predict" in screen.DESCR


def test_unknown_layer(benchmark_folder):
    folder, _ = benchmark_folder
    with pytest.raises(
        ValueError, match=r"no layer 'logFC'; it has \['clipped_sign_log10_pval', 'si"
    ):
        load_op2(folder, layer="logFC")


def test_condition_without_an_answer(benchmark_folder):
    folder, screen = benchmark_folder
    screen.id_map.loc[1, "sm_name"] = "Another"
    screen.id_map.to_csv(folder / "id_map.csv", index=False)
    with pytest.raises(ValueError, match=r"de_test.h5ad lacks 1 of the .*'Another'"):
        load_op2(folder)


def test_parquet_comes_first_unless_a_layer_is_named(benchmark_folder, train, id_map):
    folder, screen = benchmark_folder
    train.to_parquet(folder / "de_train.parquet")
    screen.id_map.to_csv(folder / "id_map.csv", index=False)
    assert load_op2(folder).target_names == ["G1", "G2"]
    layer = "sign_log10_pval"
    assert load_op2(folder, layer=layer).target_names == screen.target_names


def test_real_hepatocytes(shared_data):
    screen = _load_quietly(shared_data("tggates_op2_layout"))
    assert screen.y.shape == (613, 293)
    assert screen.X_test.shape == (242, 5)
    assert screen.X["SMILES"].isna().sum() == 235
    assert "5 occur nowhere in training: Alpidem, Buspirone" in screen.DESCR


def test_real_consensus_signatures(shared_data):
    screen = _load_quietly(shared_data("l1000_consensus_op2_layout"), clip=10)
    assert screen.y.shape == (900, 978)
    assert screen.y.abs().max(axis=None) == 10
    assert (screen.y.dtypes == np.float64).all()
    assert screen.X_test["SMILES"].notna().all()
    assert screen.X_test["sm_lincs_id"].isna().all()


def test_generated_design_agrees_with_the_real_one(shared_data):
    design = shared_data("op2_design")
    real = pd.read_csv(design / "kaggle_train_obs_614.csv")
    generated = make_chemical_screen(n_genes=2, random_state=0).X
    assert list(generated.columns) == list(real.columns)
    assert (
        generated["cell_type"].value_counts().to_dict()
        == real["cell_type"].value_counts().to_dict()
    )


def rewritten(folder, train, id_map=None):
    train.to_parquet(folder / "de_train.parquet")
    if id_map is not None:
        id_map.to_csv(folder / "id_map.csv", index=False)
    return folder


def test_names_to_predict_that_are_nearly_known(folder, train, id_map):
    id_map = id_map.assign(cell_type=["b", "B", "B "], sm_name=["NA", "btwo", "New"])
    with pytest.warns(UserWarning, match="'B' for 'B ', 'B' for 'b'"):
        load_op2(rewritten(folder, train, id_map))
    with pytest.warns(UserWarning, match="Did you mean 'Btwo' for 'btwo'"):
        load_op2(folder)
    id_map = id_map.rename(columns={"cell_type": "Cell Type"})
    with pytest.raises(ValueError, match="Did you mean 'Cell Type' for 'cell_type'"):
        load_op2(rewritten(folder, train, id_map))


def test_doses_of_signatures(folder, train, id_map):
    train["dose_uM"] = ["50 nM", "1 uM", "1e-3 mM", None]
    screen = load_op2(rewritten(folder, train, id_map.assign(dose_uM="2 nM")))
    np.testing.assert_array_equal(screen.X["dose_uM"], [0.05, 1, 1, np.nan])
    assert screen.X_test["dose_uM"].tolist() == [0.002] * 3
    assert screen.schema.dose == "dose_uM"
    train["dose_uM"] = ["5 ng/ml", "1", "1", "1"]
    with pytest.warns(UserWarning, match=r"dose_uM' .* holds \['5 ng/ml'\]"):
        screen = load_op2(rewritten(folder, train))
    assert screen.schema.dose is None
    assert screen.X["dose_uM"].tolist() == train["dose_uM"].tolist()
    schema = PerturbationSchema("sm_name", "cell_type", "control", dose="dose_uM")
    with pytest.raises(ValueError, match=r"'dose_uM' of .* is named as the dose"):
        load_op2(folder, schema=schema)


WITH, WITHOUT = ["1 nM", "10 nM", "1 nM", "0"], [1, 10, 1, 0]
BESIDE = {"dose": WITHOUT, "dose_unit": "nM"}


@pytest.mark.parametrize("given", [{"dose": WITH}, BESIDE])
def test_doses_have_a_unit_in_all_files_or_in_none(folder, train, id_map, given):
    rewritten(folder, train.assign(**given), id_map.assign(dose=[1, 10, 0]))
    with pytest.raises(
        ValueError, match=r"with a unit in de_train.parquet, and others"
    ):
        load_op2(folder)
    rewritten(folder, train.assign(dose=WITHOUT), id_map.assign(dose="5 nM"))
    with pytest.raises(
        ValueError, match=r"such as 1. Give all of them a unit, or none"
    ):
        load_op2(folder)
    known = train.assign(dose=WITHOUT, id=range(4))
    known.to_parquet(folder / "de_test.parquet")
    rewritten(folder, train.assign(**given), id_map)
    with pytest.raises(ValueError, match=r"without one in de_test.parquet"):
        load_op2(folder)


@pytest.mark.parametrize("given", [{"dose": WITH}, BESIDE])
def test_doses_that_were_converted_are_read_alike(folder, train, id_map, given):
    asked = id_map.assign(dose=["2 nM", "3 uM", None])
    screen = load_op2(rewritten(folder, train.assign(**given), asked))
    assert screen.X["dose"].tolist() == [0.001, 0.01, 0.001, 0]
    assert set(screen.X["dose_unit"]) == set(screen.X_test["dose_unit"]) == {"uM"}
    screen.y_test = pd.DataFrame(0.0, screen.X_test.index, screen.y.columns)
    again = load_op2(write_screen(folder / "again", screen))
    pd.testing.assert_frame_equal(again.X, screen.X)
    pd.testing.assert_frame_equal(again.X_test, screen.X_test)


def test_known_answers_at_several_doses_need_no_id_map(tmp_path, train):
    train.assign(dose=[1, 10, 1, 10]).to_parquet(tmp_path / "de_train.parquet")
    answers = train.assign(cell_type="B", dose=[1, 10, 1, 10])
    answers["sm_name"] = ["Y", "Y", "Z", "Z"]
    answers.to_parquet(tmp_path / "de_test.parquet")
    screen = load_op2(tmp_path)
    assert screen.id_map["dose"].tolist() == [1, 10, 1, 10]
    assert screen.X_test["dose"].tolist() == [1, 10, 1, 10]
    np.testing.assert_array_equal(screen.y_test["G2"], train["G2"])


def test_columns_that_may_be_no_genes(folder, train):
    odd = {"n_cells": 20.0, "Dose (uM)": 1.0, "Unnamed: 0": 0.0}
    with pytest.warns(UserWarning, match=r"'n_cells', 'Dose \(uM\)'.*read as genes"):
        load_op2(rewritten(folder, train.assign(**odd)))


def test_a_gene_that_holds_text(folder, train):
    train.insert(6, "G3", ["x", "y", "x", "y"])
    with pytest.warns(UserWarning, match=r"\['G3'\] stand among the genes"):
        screen = load_op2(rewritten(folder, train))
    assert screen.target_names == ["G1", "G2"]
    assert screen.X["G3"].tolist() == ["x", "y", "x", "y"]


def test_numbers_of_any_type_are_one_label(folder, train, id_map):
    train["cell_type"] = [1.0, 1.0, 2.0, 2.0]
    screen = load_op2(rewritten(folder, train, id_map.assign(cell_type=1)))
    assert set(screen.X["cell_type"]) == {"1", "2"}
    assert set(screen.X_test["cell_type"]) == {"1"}
    assert "occur nowhere" not in screen.DESCR.splitlines()[1]


@pytest.mark.parametrize("kind", [[1, 2, None, 1], ["a", None, "b", "b"]])
def test_categories_with_missing_values(benchmark_folder, kind):
    folder, *_ = benchmark_folder
    path = folder / "de_train.h5ad"
    cells = anndata.read_h5ad(path)
    values = np.resize(np.array(kind, object), cells.n_obs)
    cells.obs["plate"] = pd.Categorical(values)
    cells.write_h5ad(path)
    assert load_op2(folder).X["plate"].tolist() == values.tolist()


@pytest.mark.parametrize("change", [str, float, "{}.0".format, int])
def test_ids_of_any_type_are_the_same(tmp_path, change):
    screen = make_chemical_screen(4, 20, 30, random_state=0)
    write_screen(tmp_path, screen)
    answers = pd.read_parquet(tmp_path / "de_test.parquet")
    answers["id"] = [change(value) for value in answers["id"]]
    answers.iloc[::-1].to_parquet(tmp_path / "de_test.parquet")
    pd.testing.assert_frame_equal(load_op2(tmp_path).y_test, screen.y_test)


def test_ids_with_leading_zeros_are_names(folder, id_map):
    id_map["id"] = ["001", "002", "1"]
    id_map.to_csv(folder / "id_map.csv", index=False)
    assert load_op2(folder).X_test.index.tolist() == ["001", "002", "1"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_tables_of_spreadsheets(folder, id_map, encoding):
    expected = load_op2(folder)
    text = "\r\n" + id_map.to_csv(index=False, lineterminator="\r\n") + "\r\n"
    (folder / "id_map.csv").write_bytes(text.encode(encoding))
    (folder / "sample_submission.csv").write_bytes("id,G1,G2\r\n".encode(encoding))
    found = load_op2(folder)
    pd.testing.assert_frame_equal(found.X_test, expected.X_test)
    pd.testing.assert_frame_equal(found.id_map, expected.id_map)


@pytest.mark.filterwarnings("ignore:.*occur in more than one row")
@pytest.mark.parametrize(
    ("column", "wrong", "message"),
    [
        ("cell_type", "cel_typ", r"id_map.csv has .*'cell_type', and de_train.parquet"),
        ("cell_type", "celltype", r"id_map.csv lacks .*'celltype'.*as de_train calls"),
        ("sm_name", "smname", r"^de_train.parquet: No column of .*'smname'"),
    ],
)
def test_a_misspelt_column_of_the_training_rows(folder, train, column, wrong, message):
    train.rename(columns={column: wrong}).to_parquet(folder / "de_train.parquet")
    with pytest.raises(ValueError, match=message):
        load_op2(folder)


@pytest.mark.parametrize(
    "name", ["de_train.parquet", "id_map.csv", "sample_submission.csv"]
)
def test_pipes_are_not_opened(folder, name):
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(ValueError, match=f"{name} is a pipe, a socket or a device"):
        load_op2(folder)
