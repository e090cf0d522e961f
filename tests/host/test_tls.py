"""The TLS port, its certificate, and the CONNECT port that leads to it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import queue
import socket
import ssl
import stat
import threading
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from marketplace.host import tls
from marketplace.host.lanes import lanes
from marketplace.host.places import HostProblem, Places
from marketplace.host.run import Address, Secure, _announce, workers
from marketplace.host.tunnel import Tunnel, leads_here
from tests.conftest import free_port
from tests.edge.web import serving


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return Places.at(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def found(places):
    return tls.certificate(places, "127.0.0.1")


def test_it_is_made_once_for_us_alone(places, found):
    before = {path: path.read_bytes() for path in places.tls.iterdir()}
    assert tls.certificate(places, "127.0.0.1") == found
    assert {path: path.read_bytes() for path in places.tls.iterdir()} == before
    assert {stat.S_IMODE(path.stat().st_mode) for path in before} == {0o600}


def test_the_authority_signs_for_servers_of_these_names_and_for_nothing_else(found):
    authority = x509.load_pem_x509_certificate(found.authority.read_bytes()).extensions
    uses = authority.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [ExtendedKeyUsageOID.SERVER_AUTH]
    names = authority.get_extension_for_class(x509.NameConstraints)
    assert names.critical
    told = {str(one.value) for one in names.value.permitted_subtrees}
    assert told == {"localhost", "fal.run", "fal.ai", "fal.media", "127.0.0.1/32", "::1/128"}


def test_another_host_or_a_damaged_file_makes_it_anew(tmp_path):
    places = Places.at(tmp_path)
    first = tls.certificate(places, "127.0.0.1").authority.read_bytes()
    found = tls.certificate(places, "192.0.2.7")
    assert found.authority.read_bytes() != first  # the former may not sign for that
    found.chain.write_text("nonsense")
    second = found.authority.read_bytes()
    tls.certificate(places, "192.0.2.7")
    assert found.authority.read_bytes() == second
    assert found.chain.read_text().startswith("-----BEGIN")


@pytest.mark.parametrize(
    ("target", "leads"),
    [
        ("fal.run:443", True),
        ("queue.FAL.run.:443", True),
        ("v3.fal.media:443", True),
        ("localhost:8443", True),
        ("127.0.0.1:8443", True),
        ("fal.run:80", False),
        ("notfal.run:443", False),
        ("fal.run.elsewhere.test:443", False),
        ("localhost:22", False),
        ("169.254.169.254:80", False),
        ("fal.run", False),
        ("", False),
    ],
)
def test_it_leads_nowhere_else(target, leads):
    assert leads_here(target, 8443) is leads


def test_a_usual_port_that_is_taken_is_done_without(capsys):
    here = Address("127.0.0.1", free_port())
    assert here.beside({"TLS_PORT": "0"}, "TLS_PORT", 1) is None
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        for name, without in (("TLS_PORT", "https"), ("CONNECT_PORT", "fal’s")):
            assert here.beside({}, name, port) is None
            [line] = capsys.readouterr().err.splitlines()
            assert f"port {port} of 127.0.0.1 is in use" in line
            assert f"set {name} to another one" in line
            assert without in line
        with pytest.raises(HostProblem, match="TLS_PORT"):
            here.beside({"TLS_PORT": str(port)}, "TLS_PORT", 1)
    with pytest.raises(HostProblem, match="TLS_PORT must be"):
        here.beside({"TLS_PORT": "https"}, "TLS_PORT", 1)


def test_the_web_process_and_whoever_starts_it_are_told_which_ports_there_are(places, found, capsys):
    here = Address("127.0.0.1", 8000)
    both = Secure(Address("127.0.0.1", 9443), found, Address("127.0.0.1", 9444))
    for secure, ports, said in (
        (both, ("9443", "9444"), "TLS      https://127.0.0.1:9443"),
        (Secure(both.address, found, None), ("9443", "0"), "TLS      https://127.0.0.1:9443"),
        (None, ("0", "0"), "TLS      none: port 8443 was in use; set TLS_PORT"),
    ):
        web = workers(here, lanes({"VITRINE_LANES": "cpu"}), secure)[0]
        assert (web.env["TLS_PORT"], web.env["CONNECT_PORT"]) == ports
        _announce(places, here, secure, {})
        assert said in capsys.readouterr().out
    _announce(places, here, None, {"TLS_PORT": "0"})
    assert "TLS" not in capsys.readouterr().out


@pytest.fixture(scope="module")
def secure(found, django_db_setup):
    """A web process with TLS, and a tunnel to it: their ports."""
    port, connect = free_port(), free_port()
    more = ["--tls-port", str(port), "--tls-key", str(found.key), "--tls-cert", str(found.chain)]
    ends: queue.Queue[Callable[[], object]] = queue.Queue()

    async def tunnel():
        over, loop = asyncio.Event(), asyncio.get_running_loop()
        async with await asyncio.start_server(Tunnel("127.0.0.1", port).serve, "127.0.0.1", connect):
            ends.put(lambda: loop.call_soon_threadsafe(over.set))
            await over.wait()
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*rest, return_exceptions=True)

    thread = threading.Thread(target=lambda: asyncio.run(tunnel()))
    thread.start()
    with serving(*more):
        yield port, connect
    ends.get()()
    thread.join()


def ask(port, context, method="GET", path="/healthz", *, through=None, name="localhost", body=None):
    """A request with TLS: to the port itself, or to a host name through a tunnel."""
    if through is None:
        client = http.client.HTTPSConnection("localhost", port, context=context, timeout=30)
    else:
        client = http.client.HTTPSConnection("127.0.0.1", through, context=context, timeout=30)
        client.set_tunnel(name, 443 if name != "localhost" else port)
    with contextlib.closing(client):
        client.request(method, path, body)
        answer = client.getresponse()
        return answer.status, answer.read()


@pytest.mark.django_db
def test_clients_that_insist_on_https_come_through(secure, found):
    port, connect = secure
    context = ssl.create_default_context(cafile=str(found.authority))
    assert ask(port, context, path="/api/v1/openapi.json")[0] == 200
    assert ask(port, context, "POST", "/api/v1/predictions", body=b"x" * 1_100_000)[0] == 413  # cut short
    status, page = ask(port, context, path="/api/v1/openapi.json", through=connect)
    assert (status, page[:1]) == (200, b"{")
    for name in ("fal.run", "queue.fal.run", "v3.fal.media", "rest.alpha.fal.ai"):
        # What is there is a protocol's business; that somebody answers by this name is what is asked here.
        assert ask(port, context, path="/api/v1/openapi.json", through=connect, name=name)[0] in {
            200,
            401,
            404,
        }
    with pytest.raises(OSError, match="403"):
        ask(port, context, through=connect, name="elsewhere.test")
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(port, ssl.create_default_context())
