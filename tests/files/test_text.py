"""Text, whatever a program or a system made of it."""

import gzip
import os
from pathlib import Path

import pytest

from sklperturb.files._identifiers import as_identifier, as_identifiers
from sklperturb.files._reading import FileError
from sklperturb.files._text import read_lines, read_text, text_suffix

PACKED = gzip.compress(b"a,b\n" * 99, mtime=0)
TEXT = "gène\tÅ\n007\n"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_same_text(tmp_path, encoding, end, pack):
    mark = "\ufeff" if encoding.endswith("-be") else ""
    content = (mark + TEXT.replace("\n", end)).encode(encoding)
    (tmp_path / "file").write_bytes(pack(content))
    assert read_text(tmp_path / "file") == TEXT
    assert read_lines(tmp_path / "file") == ["gène\tÅ", "007"]


def test_lines_end_at_line_ends_only(tmp_path):
    (tmp_path / "file").write_text("a\x0cb\u2028c\n\nd", encoding="utf-8")
    assert read_lines(tmp_path / "file") == ["a\x0cb\u2028c", "", "d"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a\nb\nTGF-\xdf\n", r"not in UTF-8: see line 3\. .*iconv -f latin1 -t utf-8"),
        (b"a\0b", "is binary"),
        ("ab".encode("utf-16-le"), "iconv -f utf-16le"),
        (b"PK\x03\x04...", "Excel workbook; export that as CSV"),
        (b"\x89HDF\r\n", "HDF5"),
        (PACKED[:-9], "by gzip and damaged: Compressed file end"),
        (PACKED[:-8] + bytes(8), "by gzip and damaged: CRC"),
        (b"\xff\xfea", "not in UTF-8|utf-16"),
    ],
)
def test_no_text(tmp_path, content, message):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(FileError, match=message) as error:
        read_text(tmp_path / "file")
    assert str(tmp_path / "file") in str(error.value)


def test_swollen_text(tmp_path, monkeypatch):
    monkeypatch.setattr("sklperturb.files._text._FREE_BYTES", 2**20)
    (tmp_path / "file").write_bytes(gzip.compress(b"a" * 2**20))
    assert len(read_text(tmp_path / "file")) == 2**20
    (tmp_path / "file").write_bytes(gzip.compress(b"a" * (2**20 + 1)))
    with pytest.raises(FileError, match="holds more than 1 MiB"):
        read_text(tmp_path / "file")
    with pytest.raises(FileError, match="holds more than 0 MiB"):
        read_text(tmp_path / "file", max_bytes=9)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_text(tmp_path / "no")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_text(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(FileError, match="a pipe, a socket or a device"):
            read_text(path)


def test_suffixes():
    names = ("a.csv", "a.b.CSV.gz", "a.GMT", "a.gz", "a")
    found = [text_suffix(Path(name)) for name in names]
    assert found == [".csv", ".csv", ".gmt", "", ""]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((value, "1") for value in (1, 1.0, "1", "1.0", " 1 ", b"1")),
        *(("001", "001"), ("1e5", "1e5"), ("A.0", "A.0"), ("-3.0", "-3")),
        *((0.5, "0.5"), (True, "True"), (10**20, "1" + "0" * 20)),
        *((value, None) for value in (None, float("nan"), "", "  ")),
        *((name, name) for name in ("NA", "nan", "None")),
        *((float(text), text) for text in ("inf", "-inf")),
    ],
)
def test_identifiers(value, expected):
    assert as_identifier(value) == expected
    assert as_identifiers([value, "x", value]).tolist() == [expected, "x", expected]
