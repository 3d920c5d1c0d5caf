"""Read tables: CSV and TSV that people and spreadsheets write, and parquet."""

import csv
import io
import re
from contextlib import contextmanager

import pandas as pd
import psutil
from pandas.api.types import is_numeric_dtype

from sklperturb.files._reading import FileError, check_file, reading, short
from sklperturb.files._text import read_text, text_suffix

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": "\t", ".gmt": "\t"}
_NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_EXCEL = re.compile(r'"?sep=(.)"?\n')
# A number with leading zeros is a name: of a plate, a well, an id.
_CODE = re.compile(r"\s*[+-]?0\d")
_CODE_WITHIN = re.compile(r'[,;\t|"\n ][+-]?0\d')


def read_table(path, text=(), *, comment=None, max_columns=20_000):
    """Read a table of text with a header, ``.csv`` or ``.tsv``, also as ``.gz``.

    Parameters
    ----------
    path : path-like
        Separated by commas if it ends in ``.csv``, else by tabs, unless its first line
        is Excel's ``sep=``.
    text : True or iterable of str, default=()
        Columns to keep as text, with ``"NA"``, ``"nan"``, ``"1e5"`` and ``"TRUE"`` as
        they are; True keeps all. In other columns what spells a number is one, unless
        a number of the column has leading zeros.
    comment : str, default=None
        Lines that begin with it are left out.
    max_columns : int, default=20_000
        More are refused: every one takes time, and they are no table of its kind.

    Returns
    -------
    table : DataFrame of shape (n_rows, n_columns)
        An empty field is missing. Names of columns have no blanks around them.

    Raises
    ------
    OSError
        If the file does not exist or may not be read.
    FileError
        If it is no text, has another separator, no rows, a row with more or fewer
        fields than the header, too many columns, or a column without a name or with
        that of another.
    """
    content, separator = _read(path, comment)
    with reading(path, "a table"):
        names = [name.strip() for name in _header(content, separator, path)]
        if len(names) > max_columns:
            raise FileError(
                f"{path} has {len(names)} columns, and at most {max_columns} are "
                "expected. Is it the right file?"
            )
        _check_fields(content, separator, len(names), path)
        frame = _parse(content, separator, names, text)
        if text is not True and _CODE_WITHIN.search(content):
            spelled = _parse(content, separator, names, True)
            numeric = frame.columns[[*map(is_numeric_dtype, frame.dtypes)]]
            codes = [n for n in numeric if any(map(_CODE.match, spelled[n].dropna()))]
            frame = _parse(content, separator, names, {*text, *codes})
    return _drop_nameless(frame, path)


def read_rows(path):
    """Return the rows of a table of text that has no header, as lists of text."""
    content, separator = _read(path, None)
    with reading(path, "a table"):
        rows = csv.reader(io.StringIO(content), delimiter=separator, strict=True)
        return [[field.strip() for field in row] for row in rows if _is_row(row)]


def read_header(path):
    """Read the names of the columns of a table of text as they are written."""
    content, separator = _read(path, None)
    with reading(path, "a table"):
        return _header(content, separator, path)


def read_parquet(path):
    """Read a parquet file; named levels of the index become columns.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    table : DataFrame of shape (n_rows, n_columns)

    Raises
    ------
    OSError
        If the file does not exist or may not be read.
    FileError
        If it is no parquet, is damaged, names a column twice, holds lists or the like,
        or needs more memory than there is.
    """
    frame = read_indexed_parquet(path)
    named = [name for name in frame.index.names if name is not None]
    return frame.reset_index(level=named).reset_index(drop=True)


def read_parquet_header(path):
    """Read the names of the columns of a parquet file; see `read_parquet`."""
    with _parquet(path) as file:
        return file.schema_arrow.names


def read_indexed_parquet(path, columns=None):
    """Read a parquet file with the index that pandas wrote; see `read_parquet`.

    Parameters
    ----------
    path : path-like
    columns : list of str, default=None
        Those to read, and no other; None reads all. The index comes besides.
    """
    import pyarrow as pa

    with _parquet(path) as file:
        schema = file.schema_arrow
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns])
        if nested := [f.name for f in schema if pa.types.is_nested(f.type)]:
            raise FileError(
                f"{path} has columns of lists or the like, such as {nested[:3]}; "
                "allowed are numbers and text. Split or remove them."
            )
        needed = 8 * file.metadata.num_rows * len(schema)
        if needed > (free := psutil.virtual_memory().available):
            raise FileError(
                f"{path} needs {needed / 2**30:.1f} GiB of memory, and "
                f"{free / 2**30:.1f} GiB are free."
            )
        frame = file.read(columns, use_pandas_metadata=True).to_pandas()
        frame.columns = frame.columns.astype(str)
    return frame


@contextmanager
def _parquet(path):
    """Yield an open parquet file, whose columns have different names."""
    import pyarrow.parquet as pq

    path = check_file(path)
    with reading(path, "parquet"), path.open("rb") as opened:
        file = pq.ParquetFile(opened, page_checksum_verification=True)
        check_unique_columns(file.schema_arrow.names, path)
        yield file


def check_unique_columns(names, path):
    """Raise if a name occurs twice."""
    index = pd.Index(names)
    if not index.is_unique:
        twice = list(index[index.duplicated()].unique())
        raise FileError(
            f"{path} has {len(twice)} column names that occur more than once, such as "
            f"{short(twice[:3])}. Rename or remove the repeated columns."
        )


def _read(path, comment):
    """Return the text of a table and its separator; what is no row becomes blank."""
    content = read_text(path, "a table")
    separator = _SEPARATORS.get(text_suffix(path), "\t")
    if excel := _EXCEL.match(content):
        separator, content = excel[1], "\n" + content[excel.end() :]
    if comment is not None:
        content = re.sub(f"^{re.escape(comment)}.*", "", content, flags=re.MULTILINE)
    return content, separator


def _header(content, separator, path):
    """Return the names of the columns, or raise if they are none."""
    rows = csv.reader(io.StringIO(content), delimiter=separator)
    names = next(filter(_is_row, rows), [])
    if not names:
        raise FileError(f"{path} is empty; a line with names of columns is needed.")
    if other := _other_separator(names, separator):
        raise FileError(
            f"{path} is separated by {_NAMES[other]}, and {_NAMES.get(separator)} are "
            f"expected. Convert it: pandas.read_csv({path.name!r}, sep={other!r})"
            ".to_csv('converted.csv', index=False); pass decimal=',' too if it has "
            "decimal commas."
        )
    check_unique_columns([name for name in map(str.strip, names) if name], path)
    return names


def _other_separator(names, separator):
    """Return what separates the columns, if it seems not to be what is expected."""
    if len(names) > 1:
        return None
    return max(
        (other for other in _NAMES if other != separator and other in names[0]),
        key=names[0].count,
        default=None,
    )


def _is_row(fields):
    return len(fields) > 1 or any(map(str.strip, fields))


def _check_fields(content, separator, wanted, path):
    """Raise if a row has other fields than the header, or there is none."""
    rows = 0
    for line, n_fields in _count_fields(content, separator, path):
        if n_fields not in (0, wanted):
            raise FileError(
                f"{path}: line {line} has {n_fields} fields, and the header has "
                f"{wanted}. A field that holds the separator needs quotes; R's "
                "write.table needs col.names=NA."
            )
        rows += n_fields > 0
    if rows < 2:
        raise FileError(f"{path} has a header and no rows.")


def _count_fields(content, separator, path):
    """Yield the line of each row and the number of its fields, 0 where it is blank."""
    if '"' not in content:  # many times faster
        for number, line in enumerate(content.split("\n"), start=1):
            yield number, line.count(separator) + 1 if line.strip(" ") else 0
        return
    rows = csv.reader(io.StringIO(content), delimiter=separator, strict=True)
    try:
        for row in rows:
            yield rows.line_num, len(row) if _is_row(row) else 0
    except csv.Error as error:
        raise FileError(
            f"{path}: line {rows.line_num} has quotes that are not closed or not "
            f"doubled ({error})."
        ) from error


def _parse(content, separator, names, text):
    """Return the table, with columns without a name called by their numbers."""
    labels = [name or number for number, name in enumerate(names)]
    kept = names if text is True else set(text)
    pairs = zip(names, labels, strict=True)
    wanted = {label: str for name, label in pairs if name in kept}
    return pd.read_csv(
        io.StringIO(content),
        sep=separator,
        names=labels,
        header=0,
        index_col=False,
        dtype=wanted,
        keep_default_na=False,
        na_values=[""],
        low_memory=False,
        float_precision="round_trip",  # what pandas wrote is what is read
    )


def _drop_nameless(frame, path):
    """Drop columns without a name and values; the first may be a written index."""
    nameless = [name for name in frame if isinstance(name, int)]
    filled = [name for name in nameless if frame[name].notna().any()]
    if any(filled):
        raise FileError(
            f"{path} has no name for column {next(filter(None, filled)) + 1}. Name or "
            "remove it."
        )
    frame = frame.drop(columns=[name for name in nameless if name not in filled])
    return frame.rename(columns={0: "Unnamed: 0"})
