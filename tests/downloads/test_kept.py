"""Files that a server truncates, corrupts, stalls: none is kept, and each is told."""

import hashlib
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sklperturb.downloads._kept import fetch_file, get_data_home
from sklperturb.downloads._screens import SCREENS, RemoteFile
from sklperturb.downloads._transfer import DownloadError
from sklperturb.files._reading import FileError
from sklperturb.files._unfinished import NoRoomError
from tests.server import Answer

CONTENT = b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = len(CONTENT) // 2
PAGE = b"<!DOCTYPE html><html><body>Please sign in</body></html>"
ROOT = Path(__file__).parents[2]
QUICK = {"delay": 0.01, "timeout": 0.3}


SIZE = len(CONTENT)


def remote(server, *, sha256=SHA256, size=SIZE, hosts=()):
    return RemoteFile("file.h5ad", server.address(), size, sha256, hosts)


def files(folder):
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def test_fetches_once_and_then_needs_no_network(server, tmp_path):
    server.answers["file.h5ad"] = [Answer(CONTENT)]
    folder = tmp_path / "a" / "b"
    path = fetch_file(remote(server), folder, **QUICK)
    assert path.read_bytes() == CONTENT
    assert files(folder) == ["file.h5ad"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()
    gone = RemoteFile("file.h5ad", "https://localhost:1/x", len(CONTENT), SHA256)
    assert fetch_file(gone, folder, download_if_missing=False) == path
    assert len(server.asked) == 1
    assert server.asked[0][1]["Accept-Encoding"] == "identity"


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_bars_are_for_a_terminal(server, tmp_path, capsys, monkeypatch):
    server.answers["file.h5ad"] = [Answer(CONTENT)]
    fetch_file(remote(server), tmp_path / "quiet", **QUICK)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sklperturb.downloads._kept._LONG", 0)
    for _ in range(2):
        fetch_file(remote(server), tmp_path, **QUICK)
    err = capsys.readouterr().err
    assert "256k/256k" in err and "Checking file.h5ad" in err


def test_nothing_is_downloaded_unasked(server, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"download_if_missing=False.*http"):
        fetch_file(remote(server), tmp_path / "new", download_if_missing=False)
    assert not server.asked and not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "answer, message, asked",
    [
        (Answer(CONTENT[:HALF], length=len(CONTENT), ranges=False), "in 2 tries", 2),
        (Answer(CONTENT[:HALF], length=None, ranges=False), "bytes arrived", 2),
        (Answer(CONTENT[:HALF] + b"!" + CONTENT[HALF + 1 :]), "SHA-256 is not", 1),
        (Answer(b"PAR1" + CONTENT[4:]), "no h5ad file", 1),
        (
            Answer(CONTENT[:HALF], length=len(CONTENT), stall=2, ranges=False),
            "tries",
            2,
        ),
        (Answer(b"", length=len(CONTENT), stall=2), "in 2 tries", 2),
        (Answer(CONTENT + b"more"), "announces 256012 bytes where 256008", 1),
        (Answer(CONTENT + b"more" * 9999, length=None), "more than it may", 1),
        (Answer(CONTENT[:HALF]), "announces 128004 bytes where", 1),
        (Answer(PAGE), "announces", 1),
        (Answer(PAGE + bytes(len(CONTENT) - len(PAGE))), "sends a web page", 1),
        (Answer(CONTENT, Content_Type="text/html"), "with a web page", 1),
        (Answer(CONTENT, Content_Encoding="gzip"), "packs the file", 1),
        (Answer(b"", 202), r"202 \(Accepted\)", 1),
        (Answer(b"", 403), r"403 \(Forbidden\)", 1),
        (Answer(b"", 404), r"404 \(Not Found\)", 1),
        (Answer(CONTENT, 206, Content_Range="bytes 7-9/10"), "another part", 1),
        (Answer(b"", 503), r"2 tries; .* 503 \(Service Unavailable\)", 2),
        (Answer(b"", 599), "answered 599", 1),
        (Answer(b"", 302, Location="/file.h5ad"), "more than 5 times", 6),
        (Answer(b"", 302, Location="https://evil.test/x"), "host evil.test", 1),
        (Answer(b"", 302, Location="http://evil.test/x"), "host evil.test", 1),
        (Answer(b"", 302, Location="//127.0.0.1@evil.test/x"), "host evil.test", 1),
        (Answer(b"", 302, Location="file:///etc/passwd"), "host None", 1),
        (Answer(b"", 302, Location="ftp://127.0.0.1/x"), "leads to ftp", 1),
        (Answer(b"", 302, Location="http://[x"), "cannot be read: Invalid", 1),
    ],
)
def test_a_bad_file_is_never_kept(server, tmp_path, answer, message, asked):
    server.answers["file.h5ad"] = [answer]
    with pytest.raises(DownloadError, match=message) as raised:
        fetch_file(remote(server), tmp_path, n_retries=1, **QUICK)
    told = str(raised.value)
    assert server.address() in told and "Nothing was kept" in told
    assert f"save it as {tmp_path / 'file.h5ad'}" in told or "SHA-256" in told
    assert files(tmp_path) == []
    assert len(server.asked) == asked


def test_a_connection_that_stays_open_does_no_harm(server, tmp_path):
    server.answers["file.h5ad"] = [Answer(CONTENT, stall=2)]
    path = fetch_file(remote(server), tmp_path, n_retries=0, **QUICK)
    assert path.read_bytes() == CONTENT


def test_a_link_to_another_host_is_followed_if_it_is_known(server, tmp_path):
    there = server.address("other", host="localhost")
    server.answers["file.h5ad"] = [Answer(b"", 302, Location=there)]
    server.answers["other"] = [Answer(CONTENT)]
    with pytest.raises(DownloadError, match="host localhost"):
        fetch_file(remote(server), tmp_path, **QUICK)
    path = fetch_file(remote(server, hosts=("localhost",)), tmp_path, **QUICK)
    assert path.read_bytes() == CONTENT


def test_only_https_but_to_this_machine(tmp_path):
    plain = RemoteFile("file.h5ad", "http://zenodo.org/file.h5ad", 5, SHA256)
    with pytest.raises(DownloadError, match="only https"):
        fetch_file(plain, tmp_path)


@pytest.mark.parametrize("tag", [{}, {"ETag": '"a"'}])
def test_what_broke_off_is_taken_up(server, tmp_path, tag):
    broken = Answer(CONTENT[:HALF], length=len(CONTENT), **tag)
    server.answers["file.h5ad"] = [Answer(b"", 500), broken, Answer(CONTENT, **tag)]
    path = fetch_file(remote(server), tmp_path, n_retries=2, **QUICK)
    assert path.read_bytes() == CONTENT
    asked = [headers for _, headers in server.asked]
    assert "Range" not in asked[1]
    assert asked[2]["Range"] == f"bytes={HALF // 2**16 * 2**16}-"  # whole blocks of it
    assert asked[2].get("If-Range") == tag.get("ETag")


def test_without_hash_and_tag_it_begins_again(server, tmp_path):
    broken = Answer(CONTENT[:HALF], length=len(CONTENT))
    server.answers["file.h5ad"] = [broken, Answer(CONTENT)]
    path = fetch_file(remote(server, sha256=None), tmp_path, n_retries=1, **QUICK)
    assert path.read_bytes() == CONTENT
    assert "Range" not in server.asked[1][1]


def test_a_server_that_knows_no_parts_sends_all_again(server, tmp_path):
    broken = Answer(CONTENT[:HALF], length=len(CONTENT))
    server.answers["file.h5ad"] = [broken, Answer(CONTENT, ranges=False)]
    path = fetch_file(remote(server), tmp_path, n_retries=1, **QUICK)
    assert path.read_bytes() == CONTENT


def test_a_hash_that_nobody_says_is_kept(server, tmp_path, caplog):
    caplog.set_level(logging.INFO, "sklperturb")
    server.answers["file.h5ad"] = [Answer(CONTENT)]
    unknown = remote(server, sha256=None, size=int(len(CONTENT) * 0.9))
    path = fetch_file(unknown, tmp_path, **QUICK)
    record = tmp_path / "file.h5ad.sha256"
    assert record.read_text() == f"{SHA256}  file.h5ad\n"
    assert "no public source says" in caplog.text and SHA256 in caplog.text
    assert fetch_file(unknown, tmp_path, download_if_missing=False) == path

    path.write_bytes(CONTENT + b"x")
    with pytest.raises(FileError, match=r"what it had first.*remove .*sha256"):
        fetch_file(unknown, tmp_path, **QUICK)
    path.unlink()  # what is downloaded again must be the same, too
    server.answers["file.h5ad"] = [Answer(CONTENT[:-1] + b"x")]
    with pytest.raises(DownloadError, match=r"that of .*sha256"):
        fetch_file(unknown, tmp_path, **QUICK)
    assert files(tmp_path) == ["file.h5ad.sha256"]

    record.write_text("nonsense\n")
    with pytest.raises(FileError, match="holds no SHA-256"):
        fetch_file(unknown, tmp_path, **QUICK)


@pytest.mark.parametrize("size", [0.5, 2])
def test_without_hash_the_size_must_be_about_right(server, tmp_path, size):
    server.answers["file.h5ad"] = [Answer(CONTENT)]
    with pytest.raises(DownloadError, match="announces"):
        fetch_file(
            remote(server, sha256=None, size=int(len(CONTENT) * size)),
            tmp_path,
            **QUICK,
        )


def test_a_file_put_there_by_hand_is_checked(server, tmp_path):
    (tmp_path / "file.h5ad").write_bytes(CONTENT)
    fetch_file(remote(server), tmp_path)
    assert files(tmp_path) == ["file.h5ad"]
    fetch_file(remote(server, sha256=None), tmp_path)
    assert files(tmp_path) == ["file.h5ad", "file.h5ad.sha256"]
    (tmp_path / "file.h5ad").write_bytes(b"other")
    with pytest.raises(FileError, match="of the published file"):
        fetch_file(remote(server), tmp_path)
    (tmp_path / "file.h5ad").write_bytes(b"")
    with pytest.raises(FileError, match="is empty"):
        fetch_file(remote(server), tmp_path)
    assert not server.asked


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only(server, tmp_path, caplog):
    server.answers["file.h5ad"] = [Answer(CONTENT)]
    (tmp_path / "file.h5ad").write_bytes(CONTENT)
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path):
        folder.chmod(0o555)
    try:
        assert fetch_file(remote(server, sha256=None), tmp_path).name == "file.h5ad"
        assert "No hash can be kept" in caplog.text
        with pytest.raises(PermissionError, match="may not write"):
            fetch_file(remote(server), tmp_path / "empty")
    finally:
        for folder in (tmp_path, tmp_path / "empty"):
            folder.chmod(0o755)
    assert not server.asked


def test_a_folder_that_cannot_be_written_to_is_named(server, tmp_path, monkeypatch):
    def denied(folder, *_):
        raise PermissionError(f"You may not write to the folder {folder}.")

    monkeypatch.setattr("sklperturb.downloads._kept.check_output_folder", denied)
    with pytest.raises(PermissionError, match="may not write"):
        fetch_file(remote(server), tmp_path)
    monkeypatch.setattr("sklperturb.downloads._kept._record", denied)
    (tmp_path / "file.h5ad").write_bytes(CONTENT)
    assert fetch_file(remote(server, sha256=None), tmp_path).exists()


def test_a_disk_that_is_full(server, tmp_path):
    with pytest.raises(NoRoomError, match=r"data_home=.*SKLPERTURB_DATA"):
        fetch_file(remote(server, size=2**60), tmp_path)
    assert not server.asked


def test_a_proxy_is_asked(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", server.address(""))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.answers["file.h5ad"] = [Answer(CONTENT)]
    behind = RemoteFile(
        "file.h5ad", "http://localhost:1/file.h5ad", len(CONTENT), SHA256
    )
    assert fetch_file(behind, tmp_path, **QUICK).read_bytes() == CONTENT
    assert server.asked[0][0] == "http://localhost:1/file.h5ad"


def start_fetching(file, folder, **options):
    """Fetch a file in a process of its own."""
    code = (
        "from pathlib import Path\n"
        "from sklperturb.downloads._kept import fetch_file\n"
        "from sklperturb.downloads._screens import RemoteFile\n"
        f"print(fetch_file({file!r}, Path({str(folder)!r}), **{options!r}))"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, **pipes)


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_two_processes_at_once(server, tmp_path):
    # Neither gets the end before both have begun.
    server.answers["file.h5ad"] = [Answer(CONTENT, length=None, stall=30)]
    wanted = remote(server, sha256=None)
    running = [start_fetching(wanted, tmp_path) for _ in range(2)]
    wait_for(lambda: len(server.asked) == 2)
    server.over.set()
    for process in running:
        out, err = process.communicate(timeout=30)
        assert (out.strip(), process.returncode) == (str(tmp_path / "file.h5ad"), 0), (
            err
        )
    assert (tmp_path / "file.h5ad").read_bytes() == CONTENT
    assert files(tmp_path) == ["file.h5ad", "file.h5ad.sha256"]


def test_what_a_killed_process_left_is_removed(server, tmp_path):
    server.answers["file.h5ad"] = [Answer(CONTENT[:HALF], length=None, stall=60)]
    process = start_fetching(remote(server), tmp_path)
    wait_for(lambda: server.asked)
    process.kill()
    process.communicate(timeout=30)
    assert files(tmp_path) and not (tmp_path / "file.h5ad").exists()
    server.answers["file.h5ad"] = [Answer(CONTENT)]
    fetch_file(remote(server), tmp_path, **QUICK)
    assert files(tmp_path) == ["file.h5ad"]


def test_the_folder(monkeypatch):
    monkeypatch.delenv("SKLPERTURB_DATA", raising=False)
    monkeypatch.setenv("HOME", "/home/someone")
    assert get_data_home() == Path("/home/someone/sklperturb_data")
    assert get_data_home("~/x") == Path("/home/someone/x")
    monkeypatch.setenv("SKLPERTURB_DATA", "/data")
    assert get_data_home() == Path("/data")
    assert get_data_home("here") == Path("here")


def test_what_is_known_of_each_screen():
    for name, screen in SCREENS.items():
        assert screen.name == name and screen.size > 0
        assert screen.license and screen.found
        assert "doi:" in screen.citation or "GEO" in screen.citation
        names = [file.name for file in screen.files]
        assert len(set(names)) == len(names)
        for file in screen.files:
            assert file.url.startswith("https://") and Path(file.name).name == file.name
            assert file.sha256 is None or len(bytes.fromhex(file.sha256)) == 32
    hashes = [f.sha256 for s in SCREENS.values() for f in s.files if f.sha256]
    assert len(set(hashes)) == len(hashes)
