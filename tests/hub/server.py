"""The local Hub on a port of this machine, with a line that breaks where a test asks.

with serving() as server:
    server.fault = Fault("cut", at=3)   # the connection breaks at the fourth request from now
    subprocess.run(..., env=server.environment(tmp_path, token="hf_write"))
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.hub.local_hub import Answer, LocalHub, Request

# Nothing listens there: what would leave this machine fails at once.
NOWHERE_ELSE = {"HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": "127.0.0.1"}


@dataclass
class Fault:
    """What goes wrong, and when.

    Attributes:
        kind: `"cut"`: the connection breaks in the middle of the request, which is lost. `"lose"`: the request is
            carried out, and the connection breaks before the answer. `"half"`: it breaks in the middle of the answer.
            `"slow"`: the answer takes `seconds`. `"hang"`: there is none, for as long as the server runs. A number: an
            error of that status.
        at: The number of the request, counted from 0 when the fault is set; or how it begins, such as `"PUT /lfs/"`.
        lasting: Every request from there on, not only this one.
    """

    kind: str | int
    at: int | str = 0
    lasting: bool = False
    seconds: float = 0.3


class Server(ThreadingHTTPServer):
    """A `LocalHub` behind a socket; see [`serving`]."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = LocalHub()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.requests: list[str] = []  # "METHOD path" since the fault was set, broken ones included
        self.reached = threading.Event()  # the fault has struck
        self.closed = threading.Event()
        self._fault: Fault | None = None
        self._lock = threading.Lock()

    @property
    def fault(self) -> Fault | None:
        return self._fault

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        with self._lock:
            self._fault = fault
            self.requests.clear()
            self.reached.clear()

    def note(self, line: str) -> Fault | None:
        """Count a request; the fault that strikes it, if one does."""
        with self._lock:
            self.requests.append(line)
            fault = self._fault
            if fault is None or (self.reached.is_set() and not fault.lasting):
                return None
            here = line.startswith(fault.at) if isinstance(fault.at, str) else len(self.requests) > fault.at
            if not (here or self.reached.is_set()):
                return None
            self.reached.set()
            return fault

    def environment(self, home: Path, token: str | None = None, **more: str) -> dict[str, str]:
        """The environment of a process that takes this server for the Hub, and keeps its cache in `home`."""
        base = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and "proxy" not in k.lower()}
        own = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            **NOWHERE_ELSE,
        }
        return {**base, **own, **({"HF_TOKEN": token} if token else {}), **more}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no error of the server."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a small answer would wait 40 ms for company
    wbufsize = -1
    server: Server

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        fault = self.server.note(f"{self.command} {self.path}")
        kind = fault.kind if fault else None
        if kind == "cut":
            self.rfile.read(int(self.headers.get("Content-Length") or 0) // 2)
            self._break()
            return
        body = self._body()
        if fault and kind == "hang":
            self.server.closed.wait()
            return
        if fault and kind == "slow":
            time.sleep(fault.seconds)
        if isinstance(kind, int):
            self._send(Answer(f"injected {kind}".encode(), kind, {"X-Error-Message": f"injected {kind}"}))
            return
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, url.path, parse_qs(url.query), headers, body, self.server.url)
        answer = self.server.hub.answer(request)
        if kind == "lose":
            self._break()
            return
        if kind == "half":
            self._send(answer, answer.body[: len(answer.body) // 2])
            self._break()
            return
        self._send(answer)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _break(self) -> None:
        """End the connection without a word."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def _send(self, answer: Answer, sent: bytes | None = None) -> None:
        self.send_response(answer.status)
        headers = {"Content-Type": "application/json", **answer.headers, "Content-Length": str(len(answer.body))}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body if sent is None else sent)
        self.wfile.flush()


@contextmanager
def serving() -> Iterator[Server]:
    """A server that runs until the block ends."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closed.set()
        server.shutdown()
        server.server_close()
