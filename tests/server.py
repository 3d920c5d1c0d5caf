"""A server on this machine that does what it is told, and counts who asks."""

import contextlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Answer:
    """What the server does when it is asked once.

    Parameters
    ----------
    body : bytes
    code : int, default=200
    length : int or None, default=-1
        Bytes that are announced; -1 are those of the body, None announces none.
    stall : float, default=0
        Seconds of silence after the body.
    ranges : bool, default=True
        Whether parts are given.
    **headers
    """

    def __init__(self, body, code=200, *, length=-1, stall=0, ranges=True, **headers):
        self.body, self.code, self.length, self.stall = body, code, length, stall
        self.ranges, self.headers = ranges, headers


class Server(ThreadingHTTPServer):
    """Gives the answers one after the other, and the last one from then on."""

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked = {}, []
        self.over = threading.Event()

    def address(self, name="file.h5ad", host="127.0.0.1"):
        return f"http://{host}:{self.server_port}/{name}"

    def handle_error(self, request, client_address):
        pass  # clients that hang up are what is tested


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.rpartition("/")[2]
        self.server.asked.append((self.path, dict(self.headers)))
        answers = self.server.answers[name]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        body, code, length = answer.body, answer.code, answer.length
        headers = {k.replace("_", "-"): v for k, v in answer.headers.items()}
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if start and answer.ranges and code == 200:
            whole, first = len(body), int(start[1])
            body, code = body[first:], 206
            if first >= whole:
                code, body = 416, b""
            headers["Content-Range"] = f"bytes {first}-{whole - 1}/{whole}"
        self.send_response(code)
        length = len(body) if length == -1 else length
        if length is not None:
            headers["Content-Length"] = str(length)
        for header, value in headers.items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        if answer.stall:
            self.server.over.wait(answer.stall)
        self.close_connection = True

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving():
    """Yield a server that runs as long as the block."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
