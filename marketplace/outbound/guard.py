"""Which addresses may be spoken to."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

MAX_URL = 2048
MAX_ADDRESSES = 16  # of one name; all of them are checked
MAX_LOOKUPS = 16  # at once, in this process: a resolver that hangs holds a thread for as long
PORTS = {"http": 80, "https": 443}
# Above 1023 anybody may serve, but for what speaks something else there and might be talked into something over HTTP.
NOT_HTTP = {
    *(
        1433,
        1521,
        1719,
        1720,
        1723,
        2049,
        2375,
        2376,
        2379,
        3306,
        3389,
        3659,
        4045,
        4190,
        5060,
        5061,
        5432,
        5672,
    ),
    *(
        5900,
        6000,
        6379,
        6443,
        6566,
        6665,
        6666,
        6667,
        6668,
        6669,
        6679,
        6697,
        9042,
        9092,
        9200,
        9300,
        10080,
        10250,
    ),
    *(11211, 27017),
}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# IANA's special-purpose registries, written out: what `is_global` makes of them differs between releases of Python.
_CLOSED = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24"),
        *("192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # Azure's own, which answers only its virtual machines
        # Of IPv6 only 2000::/3 is in use; in it, what is not for everybody, or carries an IPv4 address.
        *("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
    )
)
_IN_USE = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # how IPv4 looks where the network has IPv6 only
_ISATAP = (0x00005EFE, 0x02005EFE)

_lookups = threading.BoundedSemaphore(MAX_LOOKUPS)


class Failed(Exception):
    """The exchange did not come about, or not to its end. `str()` is a sentence for whoever gave the address.

    `code` is one of url, scheme, port, private, unknown_host, refused, tls, timeout, too_large, redirects, status,
    media_type, encoding, broken.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be asked, as far as it itself says: the rest is for its addresses to say."""

    scheme: str
    host: str  # without brackets
    port: int
    path: str
    url: str


def target_of(url: str) -> Target:
    """The parts of `url`. Raises Failed for one that is not asked, whatever it resolves to."""
    if len(url) > MAX_URL:
        raise Failed("url", f"The address has more than {MAX_URL:,} characters.")
    if any(sign <= " " or sign in "\\\x7f" for sign in url):
        raise Failed("url", "The address holds a space, a backslash or a control character; encode it.")
    try:
        parts = parse_url(url)
        host = (parts.host or "").strip("[]").rstrip(".")
    except (LocationParseError, ValueError, UnicodeError):
        raise Failed(
            "url", "This is no complete address. One looks like https://example.com/picture.png."
        ) from None
    if parts.scheme not in PORTS or "://" not in url:
        raise Failed("scheme", "The address must start with https:// or http://.")
    if not host or len(host) > 253:
        raise Failed("url", "The address names no host.")
    if parts.auth is not None:
        raise Failed("url", "The address carries a user name or a password; remove it.")
    port = parts.port if parts.port is not None else PORTS[parts.scheme]
    if port not in PORTS.values() and (port < 1024 or port in NOT_HTTP):
        raise Failed("port", f"Port {port} is not asked: use 443, 80 or one above 1023 that serves HTTP.")
    path = parts._replace(scheme=None, auth=None, host=None, port=None, fragment=None).url or "/"
    return Target(parts.scheme, host, port, path if path.startswith("/") else f"/{path}", url)


def check(url: str) -> None:
    """Raises Failed for a URL that is never asked, whatever it resolves to; asks nobody."""
    target_of(url)


def addresses_of(target: Target, *, until: float) -> list[str]:
    """The addresses behind the target, all of them checked, resolved by `until` (monotonic). Raises Failed."""
    found = _resolved(target, until)
    if not found:
        raise Failed("unknown_host", f"There is no host {target.host[:100]}.")
    for one in found:
        if not is_open(one):
            raise Failed("private", f"{target.host[:100]} is no public address, and only those are asked.")
    return found


def is_open(text: str) -> bool:
    """Whether an address is everybody's, or this machine's where that is allowed."""
    try:
        address: Address = ipaddress.ip_address(text)
    except ValueError:  # with a zone, so of one link
        return False
    if address.is_loopback:
        return bool(settings.OUTBOUND_PRIVATE == "loopback")
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return is_open(str(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)))
        if address not in _IN_USE or (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
            return False
    return not any(address in network for network in _CLOSED if network.version == address.version)


def _resolved(target: Target, until: float) -> list[str]:
    """What the system's resolver says, asked in a thread of its own, as it cannot be told how long to take."""
    answer: list[str] = []
    problem: list[Exception] = []

    def ask() -> None:
        try:
            answer.extend(_look_up(target.host, target.port))
        except Exception as error:
            problem.append(error)
        finally:
            _lookups.release()

    late = Failed("timeout", f"{target.host[:100]} could not be looked up in time.")
    if not _lookups.acquire(timeout=max(0.0, until - time.monotonic())):
        raise late
    thread = threading.Thread(target=ask, name="outbound-lookup", daemon=True)
    thread.start()
    thread.join(max(0.0, until - time.monotonic()))
    if thread.is_alive():
        raise late
    if problem and not isinstance(problem[0], OSError | UnicodeError):
        raise problem[0]
    return list(dict.fromkeys(answer))[:MAX_ADDRESSES]


def _look_up(host: str, port: int) -> list[str]:
    found: list[Any] = []
    with contextlib.suppress(socket.gaierror):
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(one[4][0]) for one in found]
