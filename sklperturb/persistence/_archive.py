"""The members of a model file: how they are written, and checked when read."""

import hashlib
import io
import re
import stat
import zipfile

from sklperturb.files._reading import FileError, check_file, reading, short
from sklperturb.files._stored import Member, member_places
from sklperturb.files._writing import written_whole

MANIFEST, ARRAYS, CARD = "manifest.json", "arrays.safetensors", "card.md"
WHAT = "a model that sklperturb saved"
_MEMBER = re.compile(
    r"manifest\.json|arrays\.safetensors|card\.md|boosters/[0-9]{1,6}\.txt"
)
_MOST_MEMBERS = 10_000
_MOST_BYTES = {MANIFEST: 2**25, CARD: 2**22}
# Fixed, so that the same model gives the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)
_ZIP, _END_OF_ZIP = b"PK\x03\x04", b"PK\x05\x06"
# Of files beyond 2 GiB, whose end comes twice: first with numbers of 64 bits.
_PLACE_OF_64, _END_64 = b"PK\x06\x07", b"PK\x06\x06"
# How pickles begin: those in use, PyTorch's older files, and what was text once.
_PICKLE = re.compile(
    rb"\x80[\x02-\x05]|c[\w.]+\n[\w.]+\n(\(|p\d)|\([dl]p\d|\(i[\w.]+\n[\w.]+\n"
)


def write_members(path, members, manifest):
    """Write bytes by name to a zip without compression, whole or not at all.

    Numbers hardly get smaller; and who reads a file that is not compressed cannot be
    sent more than its size.

    Parameters
    ----------
    path : Path
    members : dict of str to bytes or `StoredArrays`
    manifest : callable
        Makes the manifest of what it says of the members, by name. It comes last, since
        that is known once they are written.

    Raises
    ------
    ValueError
        If the model has more parts than a file may have.
    """
    if len(members) >= _MOST_MEMBERS:
        raise ValueError(
            f"{path} cannot hold this model: it has more than {_MOST_MEMBERS} boosters."
        )
    with written_whole(path) as unfinished:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
            said = {
                name: _write_member(archive, name, data, path)
                for name, data in members.items()
            }
            _write_member(archive, MANIFEST, manifest(said), path)


def _write_member(archive, name, data, path):
    """Write a member; return what the manifest says of it."""
    size = len(data)
    if size > _MOST_BYTES.get(name, size):
        raise ValueError(
            f"{path} cannot hold this model: its {name} would have {size} bytes, and "
            f"{_MOST_BYTES[name]} are allowed. A forest of fewer or smaller trees has "
            "a shorter one."
        )
    info = zipfile.ZipInfo(name, _DATE)
    info.file_size = size
    with archive.open(info, "w") as file:
        for block in data.blocks() if hasattr(data, "blocks") else (data,):
            file.write(block)
    return {"crc32": info.CRC, "size": size}


class Archive:
    """A model file that is open.

    Parameters
    ----------
    path : str or path-like

    Raises
    ------
    OSError
        If the file does not exist or may not be read.
    FileError
        If it is no zip, or holds what a model does not.

    Attributes
    ----------
    path : Path
    """

    def __init__(self, path):
        self.path = check_file(path, "model")
        with open(self.path, "rb") as file:
            start = file.read(500)
        if _PICKLE.match(start):
            raise FileError(
                f"{self.path} is not {WHAT}: it is a pickle, which is never opened, "
                "since it could run any code. Save the model with sklperturb.save."
            )
        if not start.startswith(_ZIP):
            raise FileError(f"{self.path} is not {WHAT}: it is no .skpt.")
        with reading(self.path, WHAT):
            self._check_directory()
            with zipfile.ZipFile(self.path) as archive:
                infos = archive.infolist()
                self._members = self._check_members(infos)
                self._places = member_places(self.path, infos, archive.start_dir)
            self._file = open(self.path, "rb", buffering=0)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._file.close()

    def _refuse(self, what):
        raise FileError(
            f"{self.path} is not {WHAT}: {what}. Get the file again, or save the model "
            "again."
        )

    def _check_directory(self):
        """Refuse a list of members that is long, before Python makes objects of it."""
        with open(self.path, "rb") as file:
            file.seek(-min(98, self.path.stat().st_size), 2)
            last = file.read()
        before, end = last[:-22], last[-22:]
        if not end.startswith(_END_OF_ZIP):
            self._refuse("it does not end as it should, and may be truncated")
        n_members, size = end[10:12], end[12:16]
        if before[-20:].startswith(_PLACE_OF_64):  # then the other does not count
            if not before.startswith(_END_64):
                self._refuse("it does not end as it should")
            n_members, size = before[32:40], before[40:48]
        n_members = int.from_bytes(n_members, "little")
        if n_members > _MOST_MEMBERS or (
            int.from_bytes(size, "little") > 200 * _MOST_MEMBERS
        ):
            self._refuse(f"it has {n_members} members")

    def _check_members(self, infos):
        members, total = {}, 0
        if len(infos) > _MOST_MEMBERS:
            self._refuse(f"it has {len(infos)} members")
        for info in infos:
            name = info.orig_filename
            if name == "state.npy":
                raise FileError(
                    f"{self.path} was written by the fit-cells of a version before "
                    "0.1, whose .npz is not read any more. Fit the model again: what "
                    "fit-cells writes now is a .skpt."
                )
            if not _MEMBER.fullmatch(name):
                self._refuse(f"it holds {short(name)}")
            if name in members:
                self._refuse(f"it holds {short(name)} twice")
            if info.flag_bits & 0x1:
                self._refuse(f"{name} is encrypted")
            mode = info.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                self._refuse(f"{name} is a link or a folder")
            stored = info.compress_type == zipfile.ZIP_STORED
            if not stored or info.compress_size != info.file_size:
                self._refuse(f"{name} is compressed, which no model file is")
            if info.file_size > _MOST_BYTES.get(name, info.file_size):
                self._refuse(f"{name} has {info.file_size} bytes, too many")
            total += info.file_size
            members[name] = info
        if total > self.path.stat().st_size:
            self._refuse("its members are larger than the file")
        for name in (MANIFEST, ARRAYS, CARD):
            if name not in members:
                self._refuse(f"it has no {name}")
        return members

    def names(self):
        """Return the names of all members but the manifest."""
        return [name for name in self._members if name != MANIFEST]

    def read(self, name, expected=None, how=None):
        """Return what a member holds, once its bytes are what the manifest says.

        Parameters
        ----------
        name : str
        expected : dict with "size" and "crc32" or "sha256", default=None
            None is for the manifest itself, which has the zip's checksum only.
        how : callable, default=None
            Makes something of an open file and its size. By default the bytes.

        Raises
        ------
        FileError
            If they are not.
        """
        info = self._members[name]
        expected = expected or {"size": info.file_size}
        if info.file_size != expected["size"]:
            self._refuse(f"{name} has {info.file_size} bytes, not {expected['size']}")
        if info.CRC != expected.get("crc32", info.CRC):
            self._refuse(f"{name} was changed: the manifest lists another checksum")
        with reading(self.path, WHAT):
            member = file = Member(self._file, self._places[name])
            if "sha256" in expected:  # in files of version 1
                data = member.read()
                if hashlib.sha256(data).hexdigest() != expected["sha256"]:
                    self._refuse(f"{name} was changed: the manifest lists another hash")
                file = io.BytesIO(data)
            found = file.read() if how is None else how(file, info.file_size)
            if member.crc32 != info.CRC:
                self._refuse(f"{name} is damaged: its checksum is another one")
            return found
