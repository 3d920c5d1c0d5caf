"""Tables as people, spreadsheets and R write them."""

import gzip

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sklperturb.files._reading import FileError
from sklperturb.files._tables import (
    read_header,
    read_indexed_parquet,
    read_parquet,
    read_rows,
    read_table,
)

NAMES = ["NA", "None", "nan", "007", "1e5", "TRUE", "5-HT, free", 'a "b"', "x\ny"]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz"])
def test_names_stay_as_they_are(tmp_path, suffix):
    path = tmp_path / f"names{suffix}"
    table = pd.DataFrame({"name": NAMES, "number": np.arange(9.0) / 10})
    table.to_csv(path, sep="," if ".csv" in suffix else "\t", index=False)
    pd.testing.assert_frame_equal(read_table(path, ["name"]), table)
    assert read_table(path, True)["number"].tolist() == [f"0.{i}" for i in range(9)]
    assert read_header(path) == ["name", "number"]
    assert read_rows(path)[4] == ["007", "0.3"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id,plate\n1,007\n2,12\n", {"id": [1, 2], "plate": ["007", "12"]}),
        ("id,x\n1,0.5\n2,\n", {"id": [1, 2], "x": [0.5, np.nan]}),
        ("id,x\n1,-0.5\n2,0\n", {"id": [1, 2], "x": [-0.5, 0]}),
        ("id\n99999999999999999999\n1\n", {"id": ["99999999999999999999", "1"]}),
        (" id , x\n1,True\n\n  \n2,False\n", {"id": [1, 2], "x": [True, False]}),
        ("sep=;\nid;x\n1;2\n", {"id": [1], "x": [2]}),
        (",x\n0,1\n", {"Unnamed: 0": [0], "x": [1]}),
        ("id,x,\n1,2,\n", {"id": [1], "x": [2]}),
        ('\n\n"id","x"\n1,"a,b"\n', {"id": [1], "x": ["a,b"]}),
    ],
)
def test_values(tmp_path, text, expected):
    path = tmp_path / "table.csv"
    for content in (text, text.replace("\n", "\r\n"), "\ufeff" + text):
        path.write_bytes(content.encode())
        pd.testing.assert_frame_equal(read_table(path), pd.DataFrame(expected))


def test_numbers_are_those_that_were_written(tmp_path):
    values = np.random.default_rng(0).normal(size=1000)
    pd.DataFrame({"value": values}).to_csv(tmp_path / "a.csv", index=False)
    np.testing.assert_array_equal(read_table(tmp_path / "a.csv")["value"], values)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "id,x\n1,2\n1,2,3\n", "line 3 has 3 fields, and the header has 2"),
        ("a.csv", "id,x\n1\n", "line 2 has 1 fields, and the header has 2"),
        ("a.csv", 'id,x\n"1\n2",3\n4\n', "line 4 has 1 fields"),
        ("a.csv", "# note\nid,x\n#\n1\n", "line 4 has 1 fields"),
        ("a.csv", "sep=,\nid,x\n1\n", "line 3 has 1 fields"),
        ("a.csv", "x,y\nr1,1,2\nr2,1,2\n", "R's write.table needs col.names=NA"),
        ("a.csv", 'id,x\n1,"2\n', "line 2 has quotes that are not closed"),
        ("a.csv", "id,x\n", "has a header and no rows"),
        ("a.csv", "\n\n", "a line with names of columns is needed"),
        ("a.csv", "id,x,id\n1,2,3\n", r"more than once, such as \['id'\]"),
        ("a.csv", "id, id\n1,2\n", r"more than once, such as \['id'\]"),
        ("a.csv", "id,,x\n1,2,3\n", "has no name for column 2"),
        ("a.csv", "id;x\n1;2,5\n", "separated by semicolons, and commas are expected"),
        ("a.csv", "id\tx\n1\t2\n", r"by tabs.*sep='\\t'\)\.to_csv"),
        ("a.tsv", "id,x\n1,2\n", "separated by commas, and tabs are expected"),
        ("a.csv", ",".join(f"c{i}" for i in range(200_000)), "has 200000 columns"),
        ("a.csv", "id,x\n1,\0\n", "is binary"),
    ],
)
def test_no_table(tmp_path, name, text, message):
    path = tmp_path / name
    for file, content in (
        (path, text.encode()),
        (tmp_path / f"{name}.gz", gzip.compress(text.encode())),
    ):
        file.write_bytes(content)
        with pytest.raises(FileError, match=message) as error:
            read_table(file, comment="#")
        assert str(file) in str(error.value)


@pytest.fixture
def parquet(tmp_path):
    return tmp_path / "table.parquet"


def test_parquet_keeps_named_levels_as_columns(parquet):
    table = pd.DataFrame({"x": [1.0, 2.0]}, index=pd.Index(["a", "b"], name="gene"))
    table.to_parquet(parquet)
    assert read_parquet(parquet).to_dict("list") == {"gene": ["a", "b"], "x": [1, 2]}
    pd.testing.assert_frame_equal(read_indexed_parquet(parquet), table)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table([[1], [2]], ["G", "G"]), r"more than once, such as \['G'\]"),
        (pa.table({"x": [[1, 2]]}), r"columns of lists or the like, such as \['x'\]"),
        (pa.table({"x": [{"a": 1}]}), "columns of lists"),
    ],
)
def test_no_parquet_table(parquet, table, message):
    pq.write_table(table, parquet)
    with pytest.raises(FileError, match=message) as error:
        read_parquet(parquet)
    assert str(parquet) in str(error.value)


def test_damaged_parquet(parquet):
    pq.write_table(pa.table({"x": np.arange(10_000)}), parquet)
    whole = parquet.read_bytes()
    for content in (whole[:-50], b"PAR1", b"x" * 99, whole[:4] + b"\0" * 2000 + whole):
        parquet.write_bytes(content)
        with pytest.raises(FileError, match="cannot be read as parquet") as error:
            read_parquet(parquet)
        assert "\n" not in str(error.value)


def test_parquet_larger_than_memory(parquet):
    # Equal values take next to nothing in the file.
    chunk = pa.array(np.zeros(2**20)).dictionary_encode()
    table = pa.table({f"x{i}": chunk for i in range(4)})
    with pq.ParquetWriter(parquet, table.schema) as writer:
        writer.write_table(table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("psutil.virtual_memory", lambda: _Memory)
        with pytest.raises(FileError, match=r"needs 0\.0 GiB of memory, and 0\.0 GiB"):
            read_parquet(parquet)


class _Memory:
    available = 2**24
