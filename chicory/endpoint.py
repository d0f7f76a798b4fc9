"""A small HTTP endpoint in threads of its own: it answers also while an event loop is blocked."""

from __future__ import annotations

import io
import logging
import selectors
import socket
import threading
import time
from functools import partial
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from types import TracebackType
from typing import Any, Self

from chicory.answers import Answer, Respond, as_json
from chicory.errors import ConfigurationError

PATIENCE = 5.0
"""Seconds that a client may take to ask, however it spreads its bytes, or to read the answer."""

logger = logging.getLogger("chicory.health")


class Endpoint:
    """Answers GET and HEAD, between entering and leaving ``with``.

    Args:
        host: the address to listen on; ``0.0.0.0`` or ``::`` for all.
        port: likewise; 0 for any that is free.
        respond: says what to answer.

    Raises (on entering): ``ConfigurationError`` where the port cannot be had.

    Attributes:
        url: where it is to be found, once it is open.
    """

    def __init__(self, host: str, port: int, respond: Respond) -> None:
        self.url = ""
        self._address = (host, port)
        self._respond = respond

    def __enter__(self) -> Self:
        host, port = self._address
        try:
            self._server = _Server(self._address, partial(_Handler, self._respond))
        except (OSError, OverflowError) as error:
            raise ConfigurationError(
                f"health_port: {host}:{port} cannot be listened on: {error}"
            ) from None
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_address[1]}"
        self._ours, self._theirs = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="chicory health", daemon=True)
        self._thread.start()
        logger.info("health on %s/live, /ready, /metrics", self.url)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ours.close()  # which wakes the thread
        self._thread.join()
        self._theirs.close()
        self._server.server_close()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._server, selectors.EVENT_READ)
            selector.register(self._theirs, selectors.EVENT_READ)
            while not any(key.fileobj is self._theirs for key, _ in selector.select()):
                self._server.handle_request()


def answer_on(line: socket.socket, respond: Respond) -> None:
    """Answer the one request that comes over an open connection, and close it."""
    with line:
        try:
            _Handler(respond, line, ("", 0), None)
        except OSError as error:
            logger.debug("a client went away: %s", error)


def ask_on(line: socket.socket, path: str, seconds: float) -> Answer:
    """Ask for a path over an open connection. Raises ``OSError`` where no answer comes in time."""
    connection = HTTPConnection("worker")
    line.settimeout(seconds)
    connection.sock = line
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return Answer(response.status, response.read(), response.getheader("Content-Type", ""))
    except HTTPException as error:
        raise ConnectionError(repr(error)) from error
    finally:
        connection.close()


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    timeout = 0  # a request that was there may be gone by

    def __init__(self, address: tuple[str, int], handler: Any) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)
        self.socket.setblocking(False)  # noqa: FBT003  (its signature)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  (the base's)
        logger.debug("a client went away", exc_info=True)  # noqa: LOG014  (it is called in one)


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE

    def __init__(self, respond: Respond, request: Any, client: Any, server: Any) -> None:
        self._respond = respond
        super().__init__(request, client, server)

    def setup(self) -> None:
        """Take a question only whole and in time: else a byte now and then keeps a thread."""
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_Question(self.connection, self.timeout or PATIENCE))

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        try:
            answer = self._respond(self.path)
        except Exception as error:
            logger.exception("%s could not be answered", self.path)
            answer = as_json(500, {"error": repr(error)})
        self.connection.settimeout(self.timeout)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if with_body:
            self.wfile.write(answer.body)

    def version_string(self) -> str:
        """What the header ``Server`` says."""
        return "chicory"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (its name there)
        """Probes come every few seconds: no line for each."""


class _Question(io.RawIOBase):
    """What comes over a connection within so many seconds."""

    def __init__(self, line: socket.socket, seconds: float) -> None:
        self._line = line
        self._ends = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("it does not come to an end")
        self._line.settimeout(left)
        return self._line.recv_into(buffer)
