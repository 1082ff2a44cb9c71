"""Which addresses a customer may make us call: parse strictly, resolve once, check every answer, pin what was checked."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field

import idna

from schemas.errors import AddressRefused, BadSettings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: Host name and port to the addresses it stands for, as text; OSError when it has none.
Resolver = Callable[[str, int], Sequence[str]]

MAX_URL_CHARS = 2048
PUBLIC_PORTS = frozenset({443, 8443})

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[^/?#]+)(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?", re.IGNORECASE
)
_AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\]]+))(?::(?P<port>[1-9][0-9]{0,4}))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
#: Code points that IDNA reads as a dot: an address written with them is an attempt to get past a filter.
_OTHER_DOTS = "\u3002\uff0e\uff61"

#: Global unicast IPv6; what of it embeds IPv4 addresses or leads somewhere special is refused below.
_GLOBAL_V6 = ipaddress.ip_network("2000::/3")
_REFUSED = tuple(
    ipaddress.ip_network(text)
    for text in (
        # Written out (IANA's special-purpose registry), because `is_global` differs between Python releases.
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT, and the metadata service of Alibaba Cloud
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, and the metadata service of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",  # multicast, reserved, broadcast
        "168.63.129.16/32",  # Azure's host agent: a public number that answers inside every virtual network
        "2001::/23",  # Teredo, ORCHID and other protocol assignments
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)


@dataclass(frozen=True, kw_only=True)
class AllowedNetwork:
    """A network inside our own walls that may be called, by http or https, on one port or on any."""

    network: Network
    port: int | None

    @classmethod
    def parse(cls, text: str, *, field: str = "webhook_allow") -> AllowedNetwork:
        """From ``127.0.0.1/32:8080``, ``fd00::/8:443`` or ``10.0.0.0/8:*``."""
        network, _, port = text.strip().rpartition(":")
        try:
            if "/" not in network or (port != "*" and not 0 < int(port) < 65536):
                raise ValueError(text)
            return cls(network=ipaddress.ip_network(network), port=None if port == "*" else int(port))
        except ValueError as error:
            raise BadSettings(
                f"{text!r} is not NETWORK/BITS:PORT, e.g. 10.1.0.0/16:8080", field=field
            ) from error

    def covers(self, address: Address, port: int) -> bool:
        return (
            self.port in (None, port) and address.version == self.network.version and address in self.network
        )


@dataclass(frozen=True, kw_only=True)
class PinnedTarget:
    """A checked address: connect to one of `addresses` only; `host` is for the Host header, SNI and the certificate."""

    scheme: str
    host: str
    port: int
    #: Path and query as they go on the request line.
    path: str
    addresses: tuple[str, ...]

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _default_port(self.scheme) else f"{host}:{self.port}"


def resolve_by_system(host: str, port: int) -> list[str]:
    """All addresses the operating system knows for `host`."""
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


@dataclass(frozen=True, kw_only=True)
class AddressGuard:
    """Refuses every address that would make us call inside our own network. Thread-safe.

    Serves webhooks and any other customer-supplied address. Check when an address is registered and again at each
    use, and connect to `PinnedTarget.addresses` alone: a second resolution could answer differently.
    """

    allow: tuple[AllowedNetwork, ...] = ()
    resolver: Resolver = dataclass_field(default=resolve_by_system, repr=False)
    #: getaddrinfo takes no timeout of its own.
    resolve_seconds: float = 5.0

    def check(self, url: str, *, field: str = "url") -> PinnedTarget:
        """The pinned target of `url`; AddressRefused naming `field` when it may not be called or has no address.

        Blocks for at most `resolve_seconds`.
        """
        try:
            return self._check(url)
        except _RefusalError as refusal:
            raise AddressRefused(refusal.args[0], field=field) from None

    def _check(self, url: str) -> PinnedTarget:
        scheme, host, port, path = _split(url)
        if not self.allow:
            _check_public(scheme, port)
        literal = _literal(host)
        addresses = [literal] if literal else self._resolve(host, port)
        # Every answer counts: with one bad address among good ones, which is called would be luck.
        for address in addresses:
            if not any(allowed.covers(address, port) for allowed in self.allow):
                _check_public(scheme, port)
                _check_global(address)
        return PinnedTarget(
            scheme=scheme, host=host, port=port, path=path, addresses=tuple(map(str, addresses))
        )

    def _resolve(self, host: str, port: int) -> list[Address]:
        answers: list[str] = []

        def ask() -> None:
            with contextlib.suppress(OSError, UnicodeError):
                answers.extend(self.resolver(host, port))

        # A thread of its own, because a hanging name server must cost this attempt and not the caller's time limit.
        asking = threading.Thread(target=ask, name="resolve", daemon=True)
        asking.start()
        asking.join(self.resolve_seconds)
        try:
            found = [ipaddress.ip_address(answer) for answer in list(answers)]
        except ValueError:
            found = []
        if not found:
            raise _RefusalError("the host name has no address")
        return found


class _RefusalError(Exception):
    """Why, before the field is known."""


def _split(url: str) -> tuple[str, str, int, str]:
    if len(url) > MAX_URL_CHARS:
        raise _RefusalError(f"longer than {MAX_URL_CHARS} characters")
    if re.search(r"[\x00-\x20\x7f\\\u0080-\u00a0]", url):
        raise _RefusalError("spaces, control characters and backslashes are not allowed")
    match = _URL.fullmatch(url)
    if match is None:
        raise _RefusalError("not an address of the form https://host/path without a fragment")
    path = (match["path"] or "/") + (match["query"] or "")
    if not path.isascii():
        raise _RefusalError("the path and query must be percent-encoded")
    if "@" in match["authority"]:
        raise _RefusalError("a user name or password is not allowed in the address")
    parts = _AUTHORITY.fullmatch(match["authority"])
    if parts is None:
        raise _RefusalError("the host or port is malformed")
    scheme = match["scheme"].lower()
    port = int(parts["port"] or _default_port(scheme))
    if port > 65535:
        raise _RefusalError("the port is out of range")
    return scheme, _bracketed(parts["v6"]) if parts["v6"] else _hostname(parts["name"]), port, path


def _bracketed(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise _RefusalError("the brackets do not hold an IPv6 address") from None


def _hostname(text: str) -> str:
    """The name in ASCII; a dotted quad only in its one canonical spelling."""
    name = text.lower()
    if not name.isascii():
        if any(dot in name for dot in _OTHER_DOTS):
            raise _RefusalError("the host holds characters that only look like dots")
        try:
            name = idna.encode(name).decode()
        except idna.IDNAError:
            raise _RefusalError("the host is not a valid international name") from None
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _RefusalError("the host is not a valid name")
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise _RefusalError("a numeric host must be four decimal numbers") from None
    return name


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _default_port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def _check_public(scheme: str, port: int) -> None:
    if scheme != "https":
        raise _RefusalError("only https addresses may be called")
    if port not in PUBLIC_PORTS:
        raise _RefusalError(f"only the ports {', '.join(map(str, sorted(PUBLIC_PORTS)))} may be called")


def _check_global(address: Address) -> None:
    if not is_global(address):
        raise _RefusalError("the address is not on the public internet")


def is_global(address: Address) -> bool:
    """Whether the address is public unicast, and not one that carries an IPv4 address inside (mapped, NAT64, 6to4, Teredo)."""
    if any(address.version == network.version and address in network for network in _REFUSED):
        return False
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_V6:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved
