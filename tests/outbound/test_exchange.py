"""Exchanges with a real server that is slow, wrong, too large, or sends one elsewhere."""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import subprocess
import threading
import time

import pytest

from marketplace import outbound
from marketplace.outbound import exchange, guard
from tests.outbound.server import saying, serving


@pytest.fixture(autouse=True)
def _loopback(settings):
    settings.OUTBOUND_PRIVATE = "loopback"


def fetch(url: str, **named):
    return outbound.get(url, **{"max_bytes": 1000, "seconds": 30, **named})


def fetched(url: str, **named):
    """What was found, and its content; the file is closed."""
    found = fetch(url, **named)
    with found.file as file:
        return found, file.read()


@pytest.fixture
def never():
    """What a server waits for that does not go on: the end of the test."""
    over = threading.Event()
    yield over
    over.set()


def code_of(url: str, **named) -> str:
    with pytest.raises(outbound.Failed) as failed:
        fetch(url, **named)
    return failed.value.code


def test_a_file_is_fetched_whole():
    with serving(saying(body=b"x" * 900, Content_Type="Image/PNG; a=b")) as server:
        found = fetch(f"{server.url}/a%20b?c=d#e")
        with found.file as file:
            assert (file.read(), found.size, found.content_type) == (b"x" * 900, 900, "image/png")
    head = server.asked[0].decode()
    assert head.startswith("GET /a%20b?c=d HTTP/1.1\r\n")
    assert f"Host: localhost:{server.port}\r\n" in head
    assert "Accept-Encoding: identity\r\n" in head


def test_proxies_of_the_environment_are_not_asked(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:9")
    with serving(saying(body=b"x")) as server:
        assert fetched(server.url)[0].size == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_a_few_times(status):
    def script(connection, asked):
        number = int(asked.split()[1][1:] or b"0")
        answer = saying(status, Location=f"/{number + 1}") if number < 3 else saying(body=b"here")
        answer(connection, asked)

    with serving(script) as server:
        assert fetched(server.url)[0].url == f"{server.url}/3"
        assert code_of(server.url, redirects=2) == "redirects"


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("http://10.0.0.1/", "private"),
        ("http://169.254.169.254/latest/meta-data/", "private"),
        ("//[::ffff:127.0.0.1]/", "private"),
        ("http://127.0.0.1:22/", "port"),
        ("file:///etc/passwd", "scheme"),
        ("ftp://localhost/", "scheme"),
        ("http://user:word@localhost/", "url"),
        ("http://[::1", "url"),
    ],
)
def test_each_hop_is_checked_anew(location, code):
    with serving(saying(302, Location=location)) as server:
        assert code_of(server.url) == code


def test_a_redirect_to_this_machine_is_refused(settings, monkeypatch):
    """The first hop is a public name here, which the pinned connection reaches on this machine."""
    settings.OUTBOUND_PRIVATE = ""
    with serving(saying(302, Location="http://127.0.0.1:8000/-/secret")) as server:
        monkeypatch.setattr(
            guard, "_look_up", lambda host, port: ["127.0.0.1" if host[0] == "1" else "93.184.216.34"]
        )
        real = socket.create_connection
        monkeypatch.setattr(
            exchange.socket,
            "create_connection",
            lambda address, **named: real(("127.0.0.1", address[1]), **named),
        )
        assert code_of(f"http://public.test:{server.port}/") == "private"
    assert len(server.asked) == 1


def test_a_name_is_resolved_once_so_that_a_second_answer_cannot_lead_inside(monkeypatch, settings):
    settings.OUTBOUND_PRIVATE = ""
    asked, reached = [], []

    def rebinding(host, port):
        asked.append(host)
        return ["93.184.216.34"] if len(asked) == 1 else ["127.0.0.1"]

    def connect(address, **named):
        reached.append(address[0])
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr(guard, "_look_up", rebinding)
    monkeypatch.setattr(exchange.socket, "create_connection", connect)
    assert code_of("http://rebinding.test/") == "refused"
    assert (asked, reached) == (["rebinding.test"], ["93.184.216.34"])


def test_one_private_address_among_several_is_enough_to_refuse(monkeypatch, settings):
    settings.OUTBOUND_PRIVATE = ""
    monkeypatch.setattr(guard, "_look_up", lambda host, port: ["93.184.216.34", "10.0.0.1"])
    assert code_of("http://both.test/") == "private"


def test_a_declared_length_beyond_the_limit_is_not_read():
    with serving(saying(body=b"x", length=10 * 2**30)) as server:
        assert code_of(server.url) == "too_large"


def test_a_body_that_goes_on_beyond_the_limit_is_cut_off():
    def script(connection, asked):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(b"x" * 65536)

    with serving(script) as server:
        assert code_of(server.url, max_bytes=300_000) == "too_large"


def test_a_body_that_is_shorter_than_it_said_is_broken():
    with serving(saying(body=b"x" * 10, length=20)) as server:
        assert code_of(server.url) == "broken"


def test_chunks_are_put_together_and_broken_ones_refused():
    whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    with serving(lambda connection, asked: connection.sendall(whole)) as server:
        assert fetched(server.url)[1] == b"abcde"
    with serving(lambda connection, asked: connection.sendall(whole[:-12])) as server:
        assert code_of(server.url) == "broken"


@pytest.mark.parametrize("where", ["status", "headers", "body", "chunk"])
def test_a_slow_drip_ends_at_the_deadline(where, never):
    starts = {
        "status": b"HTTP/1.1 ",
        "headers": b"HTTP/1.1 200 OK\r\nX-A: ",
        "body": b"HTTP/1.1 200 OK\r\n\r\n",
        "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    }

    def script(connection, asked):
        connection.sendall(starts[where])
        while not never.wait(0.05):
            connection.sendall(b"1")

    with serving(script) as server:
        assert code_of(server.url, seconds=0.6) == "timeout"


def test_a_server_that_says_nothing_ends_at_the_deadline(never):
    with serving(lambda connection, asked: never.wait()) as server:
        assert code_of(server.url, seconds=0.4) == "timeout"


def test_a_resolver_that_hangs_ends_at_the_deadline(monkeypatch, never):
    monkeypatch.setattr(guard, "_look_up", lambda host, port: never.wait() and [])
    assert code_of("http://slow.test/", seconds=0.3) == "timeout"


def test_an_unknown_host_is_named():
    assert code_of("http://nowhere.invalid/") == "unknown_host"


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert code_of(f"http://localhost:{port}/") == "refused"


def test_a_compression_bomb_is_not_even_read():
    bomb = gzip.compress(b"\0" * 10_000_000)
    with serving(saying(body=bomb, Content_Encoding="gzip")) as server:
        assert code_of(server.url, max_bytes=2**20) == "encoding"


def test_other_statuses_and_types_are_refused():
    with serving(saying(404, b"gone")) as server:
        assert code_of(server.url) == "status"
    with serving(saying(body=b"<p>", Content_Type="text/html")) as server:
        assert code_of(server.url, accept=["image/*"]) == "media_type"
        assert fetched(server.url)[0].content_type == "text/html"
    with serving(saying(body=b"x", Content_Type="application/octet-stream")) as server:
        assert fetched(server.url, accept=["image/*"])[0].size == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000,
    ],
)
def test_what_is_no_http_is_broken(answer):
    with serving(lambda connection, asked: connection.sendall(answer)) as server:
        assert code_of(server.url) == "broken"


def test_a_post_is_answered_whatever_the_status():
    with serving(saying(302, b"see there", Location="http://localhost/other")) as server:
        answer = outbound.post(
            f"{server.url}/hook", b'{"a":1}', {"Content-Type": "application/json", "Host": "evil.test"},
            seconds=5, max_answer_bytes=3,
        )  # fmt: skip
    assert (answer.status, answer.body, answer.is_whole) == (302, b"see", False)
    assert answer.headers["Location"] == "http://localhost/other"
    assert server.asked[0].endswith(b'\r\n\r\n{"a":1}')
    assert b"evil.test" not in server.asked[0]


def test_a_post_whose_answer_drips_has_its_status(never):
    def script(connection, asked):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nab")
        never.wait()

    with serving(script) as server:
        answer = outbound.post(server.url, b"", {}, seconds=2, max_answer_bytes=100)
    assert (answer.status, answer.is_whole) == (200, False)


def test_a_header_cannot_bring_another(monkeypatch):
    with serving(saying()) as server, pytest.raises(outbound.Failed):
        outbound.post(server.url, b"", {"X-A": "b\r\nX-C: d"}, seconds=5, max_answer_bytes=10)


def test_deadlines_leave_no_threads_behind():
    with serving(saying(body=b"x")) as server:
        for _ in range(5):
            fetched(server.url, seconds=600)
    deadline = time.monotonic() + 60
    while any(isinstance(one, threading.Timer) for one in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for trusted.test, which is its own authority."""
    folder = tmp_path_factory.mktemp("tls")
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=trusted.test",
    ]
    made += [
        "-addext",
        "subjectAltName=DNS:trusted.test",
        "-keyout",
        str(folder / "key"),
        "-out",
        str(folder / "crt"),
    ]
    subprocess.run(made, check=True, capture_output=True)
    return folder


def test_tls_names_and_trusts(certificate, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "crt", certificate / "key")
    named = []
    context.sni_callback = lambda connection, name, _: named.append(name)
    monkeypatch.setattr(guard, "_look_up", lambda host, port: ["127.0.0.1"])
    with serving(saying(body=b"sealed"), tls=context) as server:
        address = f"https://trusted.test:{server.port}/"
        assert code_of(address) == "tls"
        trust = ssl.create_default_context(cafile=certificate / "crt")
        monkeypatch.setattr(exchange, "_trust", lambda: trust)
        assert fetched(address)[1] == b"sealed"
        assert named[-1] == "trusted.test"
        assert f"Host: trusted.test:{server.port}\r\n".encode() in server.asked[-1]
        assert code_of(f"https://other.test:{server.port}/") == "tls"
