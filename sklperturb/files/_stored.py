"""Members of a zip without compression: where they lie, and reading them in place."""

import struct
import zipfile
import zlib

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_MARK = b"PK\x03\x04"
_ENCRYPTED = 0x1


def member_places(path, infos, end):
    """Return the first byte of each member, and that after its last, by name.

    Parameters
    ----------
    path : Path
        Of the zip.
    infos : list of zipfile.ZipInfo
        All its members.
    end : int
        Where the list of the members begins.

    Raises
    ------
    ValueError
        If a member is compressed or encrypted, lies in another one, or is not where
        the list says.
    """
    places, free = {}, 0
    with open(path, "rb", buffering=0) as file:
        for info in sorted(infos, key=lambda info: info.header_offset):
            if info.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{info.filename!r} is compressed")
            if info.flag_bits & _ENCRYPTED:
                raise ValueError(f"{info.filename!r} is encrypted")
            header = info.header_offset
            file.seek(header)
            mark, name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
            start = header + _LOCAL_HEADER.size + name + extra
            stop = start + info.file_size
            inside = free <= header and stop <= end
            if mark != _MARK or not inside or info.compress_size != stop - start:
                raise ValueError(f"{info.filename!r} is not where it should be")
            places[info.filename] = start, stop
            free = stop
    return places


class Member:
    """The bytes of a member, read once from the first to the last.

    The reader of `zipfile` copies each byte, which takes as long as reading it.

    Parameters
    ----------
    file : binary file
        The zip, without a buffer of its own.
    place : (int, int)
        Of the member, from `member_places`.

    Attributes
    ----------
    crc32 : int
        Of what was read.
    left : int
        How many bytes were not read yet.
    """

    def __init__(self, file, place):
        start, stop = place
        file.seek(start)
        self._file = file
        self.left = stop - start
        self.crc32 = 0

    def readinto(self, block):
        """Fill `block`, or as much of it as there is; return how many bytes."""
        block = block[: self.left]
        size = self._file.readinto(block)
        self.left -= size
        self.crc32 = zlib.crc32(block[:size], self.crc32)
        return size

    def read(self):
        """Return the bytes that are left."""
        data = bytearray(self.left)
        if self.readinto(memoryview(data)) != len(data):
            raise EOFError("it ends within a member")
        return bytes(data)
