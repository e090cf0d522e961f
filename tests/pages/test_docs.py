"""The documentation: all of it is there, its links lead somewhere, and the code that it shows runs."""

from __future__ import annotations

import contextlib
import html
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime

import pytest

from billing import ledger
from billing.ledger import RefundReason
from marketplace.keys import SCOPES
from playground.api import openapi
from playground.api.codes import CODES, FAILURES, FIELD_CODES
from playground.docs import clients, moving, recipes
from playground.models import Webhook
from playground.webhooks import signing
from tests.billing.cast import new_workspace
from tests.conftest import free_port
from tests.pages.test_access import INLINE
from tests.predictions import cast


def page(client, path="/docs") -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def test_for_everybody(world):
    for who in (world.ada, world.mal, world.nobody):
        assert "Documentation" in page(who)
    assert ">Docs</a>" in page(world.nobody, "/")


def test_every_operation_code_and_scope_is_there(world):
    body = html.unescape(page(world.nobody))
    for path in openapi.document()["paths"]:
        assert path in body, path
    for name in (*CODES, *FAILURES, *FIELD_CODES, *SCOPES, *RefundReason.values):
        assert f"<code>{name}</code>" in body, name
    assert INLINE.search(body) is None


def test_links_on_the_page_lead_somewhere(world):
    body = page(world.nobody)
    ids = re.findall(r'\sid="([^"]+)"', body)
    assert len(ids) == len(set(ids))
    assert {one for one in re.findall(r'href="#([^"]+)"', body) if one not in ids} <= {"main"}


def test_figures_are_those_of_the_installation(world, settings):
    settings.API_REQUESTS_PER_MINUTE, settings.GRANTED_OPEN_RUNS, settings.REFUND_DAYS = 10, 3, 0
    body = re.sub(r"\s+", " ", page(world.nobody))
    assert "RateLimit-Limit: 10 RateLimit-Remaining: 8 " in body
    assert "a workspace may have 3 runs open at once." in body
    assert "with its tax: by the operator." in body
    settings.API_REQUESTS_PER_MINUTE = 0
    body = page(world.nobody)
    assert "RateLimit-Limit: " not in body
    assert "This installation sets no limit." in body


def test_it_is_small_on_the_way(world):
    answer = world.nobody.get("/docs", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(answer.content) < 40_000


@pytest.mark.parametrize("language", ["curl", "python", "javascript", "nothing"])
def test_the_quickstart_calls_a_model_that_is_there(world, language):
    body = html.unescape(page(world.nobody, f"/docs?l={language}"))
    code = re.search(r'<code id="quickstart-code">(.*?)</code>', body, re.DOTALL)[1]
    assert "kiln/vase" in code
    assert "VITRINE_API_KEY" in code


def test_as_text(world):
    cast.shelve(name="sly", tagline="x\n## Not a heading", visibility="public")
    cast.shelve(name="liar", tagline="[Free](https://evil.example) <b>`now`</b>\u202e", visibility="public")
    short, full = (world.nobody.get(path).content.decode() for path in ("/llms.txt", "/llms-full.txt"))
    assert short.startswith("# Vitrine\n")
    assert "kiln/vase" in short
    assert "$0.004 per image" in short
    assert "\n## Not a heading" not in short
    assert r"Its publisher says: \[Free\](https://evil.example) \<b\>\`now\`\</b\>" + "\n" in short
    assert full.startswith(short)
    for path in openapi.document()["paths"]:
        assert path in full
    for code in CODES:
        assert f"`{code}`" in full


def test_clients_of_other_services_find_their_settings(world, settings):
    settings.PUBLIC_URL, settings.TLS_PORT, settings.CONNECT_PORT = "https://media.example", 9443, 9444
    full = page(world.nobody, "/llms-full.txt")
    pages = {house: page(world.nobody, f"/docs?c={house}") for house in clients.HOUSES}
    assert clients.ways()[0].id in page(world.nobody, "/docs?c=nobody")
    for way in clients.here():
        assert f'<code id="{way.id}">{html.escape(way.code)}</code>' in pages[way.house], way.id
        assert f"```\n{way.code}\n```\n\n{way.runs}\n" in full
    seen = {
        clients.HOUSES[house]: html.unescape(re.sub(r"</?code>", "`", body)) for house, body in pages.items()
    }
    for one in moving.every():
        of = [one.whose] if one.whose in seen else list(seen)
        assert all(one.there in seen[name] and one.here in seen[name] for name in of), one.here
        assert one.here in full


def test_ports_for_clients_that_insist_on_https_are_those_that_there_are(world, settings):
    settings.PUBLIC_URL, settings.TLS_PORT, settings.CONNECT_PORT = "http://127.0.0.1:8000", 9443, 9444
    there = page(world.nobody, "/docs?c=fal")
    assert "at port 9443" in there
    assert "Port 9444 listens" in there
    assert "off at present" not in there + page(world.nobody, "/llms-full.txt")
    settings.CONNECT_PORT = 0
    assert "<code>CONNECT_PORT</code>, which is off at present." in page(world.nobody, "/docs?c=fal")
    settings.TLS_PORT = 0
    without = page(world.nobody, "/docs?c=fal")
    assert "find nothing here at present" in without
    assert without.count("<code>TLS_PORT</code>, which is off at present.") == 3
    assert "It needs TLS_PORT, which is off at present." in page(world.nobody, "/llms-full.txt")


def test_a_private_model_is_not_told_of(world):
    cast.shelve(name="secret", visibility="private")
    assert "kiln/secret" not in world.nobody.get("/llms.txt").content.decode()
    assert "kiln/secret" not in page(world.nobody)


def post(port, body, headers) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", body, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_the_receivers_verify(tmp_path, language):
    code, name, command = {
        "python": (recipes.VERIFY_PYTHON, "verify.py", sys.executable),
        "javascript": (recipes.VERIFY_JAVASCRIPT, "verify.mjs", "node"),
    }[language]
    if language == "javascript" and shutil.which("node") is None and os.environ.get("CI") != "true":
        pytest.skip("there is no node here")
    (tmp_path / name).write_text(code)
    signer = Webhook(secret=signing.new_secret())
    port = free_port()
    env = {**os.environ, "VITRINE_WEBHOOK_SECRET": signer.secret, "PORT": str(port)}
    running = subprocess.Popen([command, str(tmp_path / name)], env=env, stdout=subprocess.PIPE, text=True)
    with running as server, contextlib.ExitStack() as at_the_end:
        at_the_end.callback(server.kill)
        now, body = datetime.now(UTC), '{"type":"prediction.succeeded","data":{"id":"p_1"}}'
        good = signing.headers(signer, message_id="evt_1", body=body, now=now)
        until_up(port)
        assert post(port, body.encode(), good) == 204
        assert server.stdout.readline().split() == ["prediction.succeeded", "p_1"]
        assert post(port, body.replace("p_1", "p_2").encode(), good) == 400
        assert post(port, body.encode(), {**good, "webhook-id": "evt_2"}) == 400
        assert post(port, body.encode(), {"webhook-id": "evt_1"}) == 400
        old = signing.headers(signer, message_id="evt_1", body=body, now=datetime.fromtimestamp(1, UTC))
        assert post(port, body.encode(), old) == 400
        signing.replace(other := Webhook(secret=signer.secret), now=now)
        both = signing.headers(other, message_id="evt_1", body=body, now=now)
        assert post(port, body.encode(), both) == 204


def until_up(port):
    deadline = time.monotonic() + 60
    while True:
        try:
            post(port, b"", {})
        except OSError:
            assert time.monotonic() < deadline, "the receiver did not come up"
            time.sleep(0.1)
        else:
            return


@pytest.mark.django_db(transaction=True)
def test_the_program_that_checks_the_books_does(tmp_path, client):
    workspace = new_workspace(granted=5, bought=1000)
    noted = ledger.seal()[-1].hash
    ledger.credit(workspace.pk, 7, key="topup:more", source="bought")
    new_workspace(bought=99)
    head = ledger.seal()[-1].hash
    ledger.credit(workspace.pk, 1, key="topup:unsealed", source="bought")
    program, file = tmp_path / "check.py", tmp_path / "export.jsonl"
    program.write_text(recipes.CHECK_PYTHON)
    lines = list(ledger.export_workspace(workspace.pk, workspace.public_id))

    def check(lines, seal):
        file.write_text("".join(lines))
        command = [sys.executable, "-I", str(program), str(file), seal]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    said = check(lines, noted)
    assert said.returncode == 0, said.stderr
    assert f"The chain contains {noted}" in said.stdout
    assert f"{head} {{'workspace_granted': 5, 'workspace_bought': 1008}}" in said.stdout
    assert "contains" not in check(lines, "1" * 64).stdout
    assert check([line.replace("1000", "2000") for line in lines], noted).returncode != 0
    assert head in client.get("/docs").content.decode()
