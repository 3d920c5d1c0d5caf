"""Read text whatever a program or a system made of it: marks, gzip, line ends."""

import gzip
import zlib

from sklperturb.files._reading import FileError, check_file, reading

_MAX_BYTES = 2**31
# Text shrinks to a fifth or a tenth; what shrinks far more is made to fill memory.
_MAX_RATIO, _FREE_BYTES = 200, 2**26
# The longer marks first: that of UTF-32 begins with that of UTF-16.
_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_BINARY = {
    b"PAR1": "parquet",
    b"\x89HDF": "HDF5",
    b"PK\x03\x04": "a zip archive or an Excel workbook; export that as CSV",
    b"\x93NUM": "a NumPy array",
    b"%PDF": "PDF",
    b"BZh": "compressed by bzip2; unpack it",
    b"\xfd7zX": "compressed by xz; unpack it",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; unpack it",
}


def text_suffix(path):
    """Return the end of a name in small letters, before a ``.gz`` if there is one."""
    name = path.name.lower().removesuffix(".gz")
    return f".{name.rpartition('.')[2]}" if "." in name else ""


def read_text(path, kind="text", *, max_bytes=_MAX_BYTES):
    """Read a file of text.

    UTF-8 with or without its mark, and UTF-16 and UTF-32 with theirs, compressed by
    gzip or not. Lines end in ``"\\n"``, whatever they end in in the file.

    Parameters
    ----------
    path : str or path-like
    kind : str, default="text"
        What it is read as, for messages.
    max_bytes : int, default=2**31
        The most that is read.

    Returns
    -------
    text : str

    Raises
    ------
    OSError
        If the file does not exist or may not be read.
    FileError
        If it is no regular file, empty, too large, binary or of another encoding.
    """
    path = check_file(path)
    with reading(path, kind):
        text = _decode(_read_bytes(path, max_bytes), path)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path, kind="text"):
    """Return the lines of a file of text, without their ends."""
    # str.splitlines would also split at form feeds and the like.
    return read_text(path, kind).removesuffix("\n").split("\n")


def _read_bytes(path, max_bytes):
    size = path.stat().st_size
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if not packed:
        if size > max_bytes:
            raise _too_large(path, max_bytes)
        return path.read_bytes()
    limit = min(max_bytes, max(_FREE_BYTES, _MAX_RATIO * size))
    try:
        with gzip.open(path) as file:
            content = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(
            f"{path} is compressed by gzip and damaged: {error}. Get the file again."
        ) from error
    if len(content) > limit:
        raise _too_large(path, limit)
    return content


def _too_large(path, limit):
    return FileError(
        f"{path} holds more than {limit / 2**20:,.0f} MiB, too much for what it should "
        "be. Is it the right file?"
    )


def _decode(content, path):
    marked = (encoding for mark, encoding in _MARKS if content.startswith(mark))
    encoding = next(marked, "utf-8")
    if encoding == "utf-8":
        _refuse_binary(content, path)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise FileError(
            f"{path} is not in UTF-8: see line {line}. If it is in Latin-1, convert "
            f"it: iconv -f latin1 -t utf-8 {path.name} > converted"
        ) from error
    if "\0" in text:
        raise FileError(f"{path} is binary, and text is expected.")
    return text


def _refuse_binary(content, path):
    for start, kind in _BINARY.items():
        if content.startswith(start):
            raise FileError(f"{path} is no text; it seems to be {kind}.")
    if b"\0" in content:
        raise FileError(
            f"{path} is binary, and text is expected. If it is UTF-16 without a mark, "
            f"convert it: iconv -f utf-16le -t utf-8 {path.name} > converted"
        )
