"""The address guard: no address that a customer supplies leads inside our own network."""

from __future__ import annotations

import ipaddress
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.webhooks.address_guard import AddressGuard, AllowedNetwork, is_global
from schemas.errors import AddressRefused, BadSettings

PUBLIC_V4, PUBLIC_V6 = "93.184.216.34", "2606:2800:220:1::1"


def answering(*answers: str) -> AddressGuard:
    return AddressGuard(resolver=lambda host, port: answers)


def refused(guard: AddressGuard, url: str) -> str:
    with pytest.raises(AddressRefused) as error:
        guard.check(url, field="webhook.url")
    assert error.value.field == "webhook.url"
    return error.value.detail


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("https://example.com", "example.com", 443, "/"),
        ("HTTPS://Example.COM:8443/a/b?c=d%20e", "example.com", 8443, "/a/b?c=d%20e"),
        ("https://example.com?x=1", "example.com", 443, "/?x=1"),
        ("https://bücher.example/", "xn--bcher-kva.example", 443, "/"),
        (f"https://{PUBLIC_V4}/", PUBLIC_V4, 443, "/"),
        (f"https://[{PUBLIC_V6}]:443/", PUBLIC_V6, 443, "/"),
    ],
)
def test_ordinary_addresses_are_pinned(url: str, host: str, port: int, path: str) -> None:
    """A public https address passes, with its name for SNI and its checked addresses beside it."""
    target = answering(PUBLIC_V4, PUBLIC_V6).check(url)
    assert (target.scheme, target.host, target.port, target.path) == ("https", host, port, path)
    assert set(target.addresses) <= {PUBLIC_V4, PUBLIC_V6}


def test_the_host_header_names_what_the_customer_wrote() -> None:
    """The Host header has the name, and the port when it is not the usual one."""
    guard = answering(PUBLIC_V4)
    assert guard.check("https://example.com/").authority == "example.com"
    assert guard.check("https://example.com:8443/").authority == "example.com:8443"
    assert guard.check(f"https://[{PUBLIC_V6}]:8443/").authority == f"[{PUBLIC_V6}]:8443"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com",
        "ftp://example.com/",
        "http://example.com/",
        "https:///x",
        "https://:443/",
        "https://example.com:80/",
        "https://example.com:22/",
        "https://example.com:0443/",
        "https://example.com:99999/",
        "https://example.com:/",
        "https://example.com:+443/",
        "https://example.com:４４３/",
        "https://user@example.com/",
        "https://user:pass@example.com/",
        "https://example.com@10.0.0.1/",
        "https://@example.com/",
        "https://example.com#@10.0.0.1/",
        "https://example.com/#fragment",
        "https://example.com\\@10.0.0.1/",
        "https://example.com/a b",
        "https://example.com/\r\nx: y",
        "https://exam\tple.com/",
        " https://example.com/",
        "https://example.com/é",
        "https://example.com./",
        "https://example..com/",
        "https://-example.com/",
        "https://%31%30.0.0.1/",
        "https://127.0.0.1./",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.0.0.1/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://127.0.1/",
        "https://1.2.3.4.5/",
        "https://01.2.3.4/",
        "https://0/",
        "https://1.2.3.0x4/",
        "https://256.1.1.1/",
        "https://１２７.0.0.1/",
        "https://①②⑦.0.0.1/",
        "https://127。0。0。1/",
        "https://127．0．0．1/",
        "https://example｡com/",
        "https://[127.0.0.1]/",
        "https://[fe80::1%25eth0]/",
        "https://[fe80::1%eth0]/",
        "https://[::1/",
        "https://::1/",
        "https://[[::1]]/",
        "https://[::1]x/",
        "https://[v1.a]/",
        "https://[]/",
        "https://ex\u00adample.com\u200b/",
        "https://" + "a" * 64 + ".com/",
        "https://" + "a." * 130 + "com/",
        "https://example.com/" + "x" * 2048,
    ],
)
def test_odd_spellings_are_refused(url: str) -> None:
    """Whatever is not a plain https address in its one canonical spelling is refused, even if the name resolves."""
    refused(answering(PUBLIC_V4), url)


PRIVATE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.0.1", "169.254.169.254",
    "100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "168.63.129.16",
    "::", "::1", "::127.0.0.1", "::ffff:10.0.0.1", "::ffff:93.184.216.34", "::ffff:0:93.184.216.34", "64:ff9b::10.0.0.1", "64:ff9b::93.184.216.34",
    "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "2001:20::1", "2002:7f00:1::1",
    "2002:5db8:d822::1", "3fff::1", "5f00::1", "fc00::1", "fd00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1",
    "ff02::1", "ff0e::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    """Refused as an answer of the resolver, among good answers in any place, and written out in the address."""
    for answers in ([address], [PUBLIC_V4, address], [address, PUBLIC_V6]):
        assert "public internet" in refused(answering(*answers), "https://example.com/")
    literal = f"[{address}]" if ":" in address else address
    refused(answering(PUBLIC_V4), f"https://{literal}/")


@settings(deadline=None)
@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_what_passes_is_public_and_carries_no_other_address(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """For every address there is: what the guard takes is global unicast, and embeds no IPv4 address."""
    if not is_global(address):
        refused(answering(str(address)), "https://example.com/")
        return
    assert address.is_global and not (
        address.is_private or address.is_loopback or address.is_link_local or address.is_multicast
    )
    if isinstance(address, ipaddress.IPv6Address):
        assert address.ipv4_mapped is None and address.sixtofour is None and address.teredo is None


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["::ffff:0:0", "64:ff9b::", "2002::", "::"]))
def test_no_ipv4_address_comes_in_through_ipv6(number: int, prefix: str) -> None:
    """Mapped, NAT64, 6to4 and compatible forms of any IPv4 address are refused."""
    shift = 80 if prefix == "2002::" else 0
    assert not is_global(ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | number << shift))


@settings(deadline=None)
@given(st.text(max_size=60), st.text(max_size=20))
def test_no_text_breaks_the_guard(host: str, path: str) -> None:
    """Any text at all ends in a pinned public target or in AddressRefused."""
    try:
        target = answering(PUBLIC_V4).check(f"https://{host}/{path}")
    except AddressRefused:
        return
    assert all(is_global(ipaddress.ip_address(address)) for address in target.addresses)
    assert target.host.isascii() and target.path.isascii() and not set(target.host) & set(" @/\\%#?")


def test_names_without_an_address_are_refused() -> None:
    """A name that does not resolve, a resolver that answers nonsense and one that never answers are refused."""

    def fails(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    never = threading.Event()
    assert "no address" in refused(AddressGuard(resolver=fails), "https://example.com/")
    assert "no address" in refused(answering(), "https://example.com/")
    assert "no address" in refused(answering("nonsense"), "https://example.com/")
    hanging = AddressGuard(resolver=lambda host, port: [str(never.wait())], resolve_seconds=0.05)
    assert "no address" in refused(hanging, "https://example.com/")
    never.set()


def test_private_targets_need_an_explicit_network_and_port() -> None:
    """An allowed network is reachable on its port, by http as well; every other port, network and host is not."""
    allow = (AllowedNetwork.parse("127.0.0.0/8:8080"), AllowedNetwork.parse("fd00:1::/32:*"))
    guard = AddressGuard(
        allow=allow, resolver=lambda host, port: ["127.0.0.1"] if host == "localhost" else [PUBLIC_V4]
    )
    assert guard.check("http://localhost:8080/hook").addresses == ("127.0.0.1",)
    assert guard.check("https://127.1.2.3:8080/").port == 8080
    assert guard.check("http://[fd00:1::5]:9/").addresses == ("fd00:1::5",)
    assert guard.check("https://example.com/").addresses == (PUBLIC_V4,)
    for url in ("http://localhost:8081/", "https://localhost/", "http://10.0.0.1:8080/", "http://[fd00:2::5]:9/",
                "http://[::ffff:127.0.0.1]:8080/", "http://example.com/", "http://example.com:8080/", "https://example.com:8080/"):  # fmt: skip
        refused(guard, url)


def test_one_private_answer_spoils_an_allowed_name() -> None:
    """A name with one allowed and one other private address is refused."""
    guard = AddressGuard(
        allow=(AllowedNetwork.parse("127.0.0.1/32:443"),),
        resolver=lambda host, port: ["127.0.0.1", "10.0.0.1"],
    )
    refused(guard, "https://example.com/")


@pytest.mark.parametrize(
    "text",
    ["", "10.0.0.0/8", "10.0.0.1:80", "10.0.0.1/8:80", "10.0.0.0/8:0", "10.0.0.0/8:x", "10.0.0.0/8:70000"],
)
def test_malformed_allowances_are_the_operators_mistake(text: str) -> None:
    """An entry without bits or port, or with host bits set, is refused when it is read."""
    with pytest.raises(BadSettings):
        AllowedNetwork.parse(text)
