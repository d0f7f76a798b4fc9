"""A TCP proxy to put in front of a server: it cuts, silences, delays and chokes connections."""

from __future__ import annotations

import math
import random
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self, TypeAlias

_CHUNK = 1 << 16
_Pair: TypeAlias = tuple[socket.socket, socket.socket]
"""The connection of a client, and the one to the server that it is passed on to."""


class Proxy:
    """Passes connections on to a loopback port until told otherwise.

    Attributes:
        port: where it listens.
        drops: how many answers it has swallowed, each with the connection it was for.
    """

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        self.drops = 0
        self._target = target
        self._tls = tls
        self._lock = threading.Lock()
        self._pairs: set[_Pair] = set()
        self._is_lost: Callable[[bytes], bool] = lambda _answer: False
        self._hear: Callable[[bytes], object] = lambda _request: None
        self._tears: bool | None = None
        self._reset: set[socket.socket] = set()
        self._delay = 0.0
        self._rate = math.inf
        self._passing = threading.Event()
        self._passing.set()
        self._answering = threading.Event()
        self._answering.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def lose(self, share: float, seed: int = 1) -> None:
        """Swallow this share of all answers."""
        dice = random.Random(seed)
        self._is_lost = lambda _answer: dice.random() < share

    def lose_if(self, is_lost: Callable[[bytes], bool]) -> None:
        """Swallow these answers."""
        self._is_lost = is_lost

    def lose_next(self) -> None:
        """Swallow one answer: the next one that is no error of Redis."""
        left = iter([True])
        self._is_lost = lambda answer: not answer.startswith(b"-") and next(left, False)

    def listen(self, hear: Callable[[bytes], object]) -> None:
        """Hear what clients say."""
        self._hear = hear

    def delay(self, seconds: float) -> None:
        """Hold back all that is passed on for that long, one piece after the other."""
        self._delay = seconds

    def throttle(self, rate: float) -> None:
        """Pass on that many bytes a second in each direction of a connection."""
        self._rate = rate

    def tear(self, *, reset: bool = False) -> None:
        """Break one connection in the middle of an answer: close it, or reset it (RST)."""
        self._tears = reset

    def freeze(self) -> None:
        """Pass nothing on, and say nothing of it."""
        self._passing.clear()

    def mute(self) -> None:
        """Pass requests on, but no answers."""
        self._answering.clear()

    def thaw(self) -> None:
        """Pass on what was held back, and all that follows."""
        self._answering.set()
        self._passing.set()

    def cut(self) -> None:
        """Break all connections."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._close(pair)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.thaw()
        self.cut()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(near,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, near: socket.socket) -> None:
        try:
            if self._tls is not None:
                near = self._tls.wrap_socket(near, server_side=True)
            far = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            near.close()
            return
        pair = (near, far)
        with self._lock:
            self._pairs.add(pair)
        upward = threading.Thread(target=self._pass, args=(near, far, pair), daemon=True)
        upward.start()
        self._pass(far, near, pair, may_lose=True)
        upward.join()
        with self._lock:
            self._pairs.discard(pair)
            self._reset.discard(near)
        near.close()
        far.close()

    def _pass(
        self,
        source: socket.socket,
        sink: socket.socket,
        pair: _Pair,
        *,
        may_lose: bool = False,
    ) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                if not may_lose:
                    self._hear(data)
                elif self._is_lost(data):
                    self.drops += 1
                    break
                elif self._tears is not None:
                    sink.sendall(data[: len(data) // 2])
                    self._tear(sink)
                    break
                self._passing.wait()
                if may_lose:
                    self._answering.wait()
                self._hold_back(len(data))
                sink.sendall(data)
        self._close(pair)

    def _tear(self, near: socket.socket) -> None:
        resets, self._tears = self._tears, None
        if resets:
            # closed with nothing to linger for, it is reset; but only if it was not shut down
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with self._lock:
                self._reset.add(near)

    def _close(self, pair: _Pair) -> None:
        near, far = pair
        with suppress(OSError):
            far.shutdown(socket.SHUT_RDWR)
        with self._lock:
            how = socket.SHUT_RD if near in self._reset else socket.SHUT_RDWR
        with suppress(OSError):
            near.shutdown(how)

    def _hold_back(self, size: int) -> None:
        seconds = self._delay + size / self._rate
        if seconds:
            time.sleep(seconds)
