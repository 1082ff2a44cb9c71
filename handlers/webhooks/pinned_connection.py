"""A connection to a checked address and to no other, each of whose steps gets only the time that is left."""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Callable
from typing import Self

from typing_extensions import Buffer

from handlers.webhooks.address_guard import PinnedTarget

CONNECT_SECONDS = 5.0


def connect(
    target: PinnedTarget, tls: ssl.SSLContext, deadline: Deadline, *, connect_seconds: float = CONNECT_SECONDS
) -> TimedSocket:
    """To the first checked address that takes it; OSError, TimeoutError or ssl.SSLError when none does."""
    connecting = deadline.within(connect_seconds)
    plain = _first_to_answer(target, connecting)
    if target.scheme == "http":
        return TimedSocket(plain, deadline)
    try:
        plain.settimeout(connecting.left())
        # The certificate must be for the name that the customer gave, not for the address that was pinned.
        return TimedSocket(tls.wrap_socket(plain, server_hostname=target.host), deadline)
    except BaseException:
        plain.close()
        raise


def _first_to_answer(target: PinnedTarget, connecting: Deadline) -> socket.socket:
    """A connection to the first checked address that takes one; a host name is never resolved here."""
    failure: OSError = OSError("no address")
    for position, address in enumerate(target.addresses):
        share = connecting.left() / (len(target.addresses) - position)
        try:
            return socket.create_connection((address, target.port), timeout=share)
        except OSError as error:
            failure = error
    raise failure


class Deadline:
    """A point in time by which everything must have happened; monotonic."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left; TimeoutError when there are none."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def within(self, seconds: float) -> Deadline:
        """The earlier of this one and `seconds` from now."""
        return Deadline(min(seconds, self.left()))


class TimedSocket:
    """A socket each of whose operations gets only the time that is left, so that many slow ones do not add up.

    Has what http.client uses of a socket. Leaving the context closes it; `close` does not, because http.client closes
    its side while the answer is still being read.
    """

    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        self._socket, self._deadline = connected, deadline

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def sendall(self, data: Buffer) -> None:
        self._socket.settimeout(self._deadline.left())
        self._socket.sendall(data)

    def receive_into(self, buffer: Buffer) -> int:
        self._socket.settimeout(self._deadline.left())
        return self._socket.recv_into(buffer)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Incoming(self.receive_into))

    def close(self) -> None:
        pass


class _Incoming(io.RawIOBase):
    def __init__(self, receive_into: Callable[[Buffer], int]) -> None:
        self._receive_into = receive_into

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        return self._receive_into(buffer)
