"""Addresses that are never asked, however they are spelled."""

from __future__ import annotations

import time

import pytest

from marketplace import outbound
from marketplace.outbound.guard import addresses_of, is_open, target_of


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.88.99.1"),
        *("198.18.0.1", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
        *(
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "::8.8.8.8",
            "fe80::1",
            "fe80::1%eth0",
        ),
        *(
            "fc00::1",
            "fd00:ec2::254",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:7f00:1::",
            "2002:808:808::",
        ),
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "100::1", "3fff::1", "5f00::1"),
        *("2600::5efe:7f00:1", "2600::200:5efe:a00:1"),
    ],
)
def test_closed(address):
    assert not is_open(address)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "93.184.216.34",
        "172.32.0.1",
        "100.128.0.1",
        "2606:4700::1111",
        "2a00:1450::1",
        "64:ff9b::808:808",
    ],
)
def test_open(address):
    assert is_open(address)


def test_loopback_is_this_machine_only(settings):
    settings.OUTBOUND_PRIVATE = "loopback"
    assert is_open("127.0.0.1")
    assert is_open("::1")
    for address in ("10.0.0.1", "0.0.0.0", "::ffff:127.0.0.1", "64:ff9b::a00:1", "169.254.169.254"):
        assert not is_open(address)


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "0",
        "localhost",
        "[::1]",
        "[::ffff:7f00:1]",
        "①②⑦.0.0.1",
    ],
)
def test_spellings_of_this_machine(host):
    with pytest.raises(outbound.Failed) as failed:
        addresses_of(target_of(f"http://{host}/"), until=time.monotonic() + 5)
    assert failed.value.code in {"private", "url", "unknown_host"}


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("", "scheme"),
        ("example.com/a", "scheme"),
        ("//example.com/a", "scheme"),
        ("javascript:alert(1)", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("gopher://example.com/", "scheme"),
        ("http:example.com", "scheme"),
        ("http://", "url"),
        ("http:///a", "url"),
        ("http://user@example.com/", "url"),
        ("http://:word@example.com/", "url"),
        ("http://example.com\\@10.0.0.1/", "url"),
        ("http://exa mple.com/", "url"),
        ("http://example.com/\r\nHost: a", "url"),
        ("http://example.com:99999/", "url"),
        ("http://example.com:x/", "url"),
        ("http://[::1/", "url"),
        ("http://example.com:22/", "port"),
        ("http://example.com:6379/", "port"),
        ("http://example.com:0/", "port"),
        ("http://example.com/" + "a" * 3000, "url"),
    ],
)
def test_what_is_no_address(url, code):
    with pytest.raises(outbound.Failed) as failed:
        target_of(url)
    assert failed.value.code == code


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTPS://Example.COM", ("https", "example.com", 443, "/")),
        ("http://example.com:8080?a=b#c", ("http", "example.com", 8080, "/?a=b")),
        ("http://example.com./a/../b", ("http", "example.com", 80, "/b")),
        ("https://[2606:4700::1111]/x", ("https", "2606:4700::1111", 443, "/x")),
        ("https://example.com/é", ("https", "example.com", 443, "/%C3%A9")),
    ],
)
def test_parts(url, expected):
    target = target_of(url)
    assert (target.scheme, target.host, target.port, target.path) == expected
