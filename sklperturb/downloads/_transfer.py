"""Receive a file over HTTPS: from hosts that are known, whole, of the right size."""

import os
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from sklperturb._version import __version__
from sklperturb.downloads._screens import RemoteFile
from sklperturb.files._reading import one_line
from sklperturb.utils._optional import import_extra
from sklperturb.utils._progress import ProgressBar

_CHUNK = 2**16
_MOST_REDIRECTS = 5
_LONGEST_WAIT = 60  # seconds between two tries
# Answers that may be another one at the next try.
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_NO_SUCH_RANGE = 416
# Where no hash is known, a file may have been made anew: sizes may differ by so much.
_LEEWAY = 0.25
_LOCAL = ("localhost", "127.0.0.1", "::1")
_HDF5 = b"\x89HDF\r\n\x1a\n"
_HTML = (b"<!doctype html", b"<html")


class DownloadError(OSError):
    """A file that did not arrive, or not as what it should be."""


class _BrokenOff(Exception):
    """What may be over at the next try."""


@dataclass
class Transfer:
    """Receive one file, called as pooch calls its downloaders.

    What breaks off is taken up where it ended, if the server can do that and what
    arrives is known to be of the same file: by its hash, or by the server's tag.

    Parameters
    ----------
    remote : RemoteFile
    place : Path
        Where it will be in the end, for messages.
    timeout : float
        Seconds to wait for a connection, and for the next bytes.
    n_retries : int
    delay : float
        Seconds before the first of them; each one waits twice as long.

    Raises
    ------
    DownloadError
        If the file does not arrive. Proxies are those of the environment.
    """

    remote: RemoteFile
    place: Path
    timeout: float
    n_retries: int
    delay: float
    _tag: str | None = field(default=None, init=False)

    def __call__(self, url, output_file, pooch):
        """Write the file to `output_file`; the other two are pooch's."""
        requests = import_extra("A download", "fetch", "requests")
        os.unlink(output_file)  # which only this user may read, unlike other files
        with (
            requests.Session() as session,
            open(output_file, "wb") as file,
            ProgressBar(self.remote.size, self.remote.name, unit="B") as bar,
        ):
            session.headers["User-Agent"] = f"sklperturb/{__version__}"
            # Of what is packed on the way, the size would not be known.
            session.headers["Accept-Encoding"] = "identity"
            for tries in range(1, self.n_retries + 2):
                try:
                    return self._receive(session, file, bar)
                except (requests.RequestException, _BrokenOff) as error:
                    last = error
                except ValueError as error:  # such as of an address to go on to
                    told = f"gave an answer that cannot be read: {one_line(error)}"
                    raise self._refused(told) from error
                if tries <= self.n_retries:
                    time.sleep(min(self.delay * 2 ** (tries - 1), _LONGEST_WAIT))
        told = f"could not be downloaded in {tries} tries; "
        if "NameResolutionError" in str(last):
            told += (
                "this machine does not find the host: it may be offline, or need a "
                "proxy, which the environment variable HTTPS_PROXY names"
            )
        else:
            told += f"the last one ended so: {one_line(last)}"
        raise self._refused(told) from last

    def _receive(self, session, file, bar):
        """Receive what the file still lacks."""
        start = file.tell() if self._tag or self.remote.sha256 else 0
        headers = {"Range": f"bytes={start}-"} if start else {}
        if start and self._tag:
            headers["If-Range"] = self._tag
        with self._open(session, headers) as response:
            lost = response.status_code == _NO_SUCH_RANGE  # begin again
            start = 0 if lost else self._check_answer(response, start)
            file.seek(start)
            file.truncate()
            if lost:
                raise _BrokenOff(f"the server answered {_named(_NO_SUCH_RANGE)}")
            announced, (least, most) = self._announced(response, start), self._sizes()
            for chunk in response.iter_content(_CHUNK):
                if not file.tell():
                    self._check_content(chunk)
                if file.tell() + len(chunk) > (announced or most):
                    raise self._refused("sends more than it may")
                file.write(chunk)
                bar.advance(steps=file.tell() - bar.n)
        if file.tell() < (announced or least):
            raise _BrokenOff(f"{file.tell()} of {announced or least} bytes arrived")

    def _open(self, session, headers):
        """Return the answer of the server that the address leads to in the end."""
        url = self.remote.url
        for _ in range(_MOST_REDIRECTS + 1):
            self._check_address(url)
            response = session.get(
                url,
                headers=headers,
                stream=True,
                allow_redirects=False,
                timeout=self.timeout,
            )
            if not response.is_redirect:
                return response
            response.close()
            url = urljoin(url, response.headers["location"])
        raise self._refused(f"leads on more than {_MOST_REDIRECTS} times")

    def _check_address(self, url):
        """Refuse hosts that are not known, and connections that anyone can read."""
        parts = urlsplit(url)
        host = parts.hostname
        if host not in (urlsplit(self.remote.url).hostname, *self.remote.hosts):
            raise self._refused(f"leads to the host {host}, which is not known for it")
        if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOCAL):
            raise self._refused(f"leads to {parts.scheme}, and only https is allowed")

    def _check_answer(self, response, start):
        """Raise if the answer is not the file; return where in it the answer begins."""
        code, headers = response.status_code, response.headers
        if code in _PASSING:
            raise _BrokenOff(f"the server answered {_named(code)}")
        if code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            raise self._refused(f"answered {_named(code)}")
        if code == HTTPStatus.OK:
            start = 0
        elif not headers.get("content-range", "").startswith(f"bytes {start}-"):
            raise self._refused("answered with another part than was asked for")
        if headers.get("content-encoding", "identity") != "identity":
            raise self._refused("packs the file, which was not asked for")
        if "text/html" in headers.get("content-type", ""):
            raise self._refused("answered with a web page")
        tag = headers.get("etag", "")
        self._tag = tag if tag.startswith('"') else None  # a weak one does not do
        return start

    def _announced(self, response, start):
        """Return the bytes that the file has by its headers, or None."""
        length = response.headers.get("content-length", "")
        if not (length.isascii() and length.isdecimal()):
            return None
        announced, (least, most) = start + int(length), self._sizes()
        if not least <= announced <= most:
            raise self._refused(
                f"announces {announced} bytes where {self.remote.size} are expected: "
                "it is another file by now, or a page in its place"
            )
        return announced

    def _sizes(self):
        """Return the least and the most bytes that the file may have."""
        leeway = 0 if self.remote.sha256 else int(_LEEWAY * self.remote.size)
        return self.remote.size - leeway, self.remote.size + leeway

    def _check_content(self, start):
        """Raise if a file that starts like this is of another kind than its name."""
        if start.lstrip().lower().startswith(_HTML):
            raise self._refused("sends a web page")
        if self.remote.name.endswith(".h5ad") and not start.startswith(_HDF5):
            raise self._refused("sends what is no h5ad file")

    def _refused(self, what):
        return DownloadError(
            f"{self.remote.url} {what}. Nothing was kept; if you get the file by other "
            f"means, save it as {self.place}."
        )


def _named(code):
    try:
        return f"{code} ({HTTPStatus(code).phrase})"
    except ValueError:
        return f"{code}"
