"""Each page as owner, outsider and visitor; what every page promises."""

from __future__ import annotations

import re

import pytest

from marketplace.dispatch import redis_client
from playground.models import Prediction
from playground.predictions import cancel
from tests.predictions import cast

OPEN_PAGES = (
    "/",
    "{page}",
    "{page}/api",
    "{page}/readme",
    "{page}/examples",
    "{page}/versions",
    "/accounts/login",
)
OWN_PAGES = ("/p/{uid}", "/p/{uid}/card", "/p/{uid}/acts", "/p/{uid}/receipt")
INLINE = re.compile(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|=\"?javascript:", re.IGNORECASE)


def addresses(world, row):
    every = [*OPEN_PAGES, *OWN_PAGES[:-1], "/dashboard/history", "/dashboard/balance", "{page}/runs"]
    return [address.format(page=world.page, uid=row.uid) for address in every]


@pytest.mark.parametrize("address", OPEN_PAGES)
def test_a_visitor_sees_what_is_on_the_shelf(world, address):
    answer = world.nobody.get(address.format(page=world.page))
    assert answer.status_code == 200
    assert "Sign in" in answer.content.decode()


@pytest.mark.parametrize("address", OWN_PAGES)
def test_a_run_is_for_its_workspace_alone(world, address):
    row = world.made()
    address = address.format(uid=row.uid)
    assert world.ada.get(address).status_code == 200
    assert world.mal.get(address).status_code == 404
    refused = world.nobody.get(address)
    assert (refused.status_code, refused["Location"]) == (302, f"/accounts/login?next={address}")


@pytest.mark.parametrize("act", ["cancel", "again", "delete", "share", "revoke"])
def test_acts_are_for_the_workspace_alone(world, act):
    row = world.run()
    assert world.mal.post(f"/p/{row.uid}/{act}").status_code == 404
    assert world.nobody.post(f"/p/{row.uid}/{act}").status_code == 302
    assert world.ada.get(f"/p/{row.uid}/{act}").status_code == 405
    assert cast.again(row).status == Prediction.Status.QUEUED
    assert cast.again(row).deletion is None
    assert Prediction.objects.count() == 1


@pytest.mark.parametrize("spelling", ["p_zzz", "p_" + "0" * 26, "x" * 200, "%00", "<script>"])
def test_ids_that_name_nothing(world, spelling):
    assert world.ada.get(f"/p/{spelling}").status_code == 404


@pytest.mark.parametrize(
    "address", ["/m/kiln/nothing", "/m/kiln/nothing/api", "/m/Kiln/vase/readme", "/nothing"]
)
def test_a_missing_page_helps(world, address):
    answer = world.nobody.get(address)
    assert answer.status_code == 404
    assert "All models" in answer.content.decode()


def test_history_shows_ones_own_runs_only(world):
    row = world.made(prompt="a teal jug")
    assert "a teal jug" in world.ada.get("/dashboard/history").content.decode()
    assert row.uid not in world.mal.get("/dashboard/history").content.decode()
    assert world.nobody.get("/dashboard/history").status_code == 302


def test_another_workspaces_run_does_not_fill_the_form(world):
    row = world.made(prompt="a secret jug")
    for key in ("run", "from"):
        assert "a secret jug" in world.ada.get(f"{world.page}?{key}={row.uid}").content.decode()
        assert "a secret jug" not in world.mal.get(f"{world.page}?{key}={row.uid}").content.decode()
        assert "a secret jug" not in world.nobody.get(f"{world.page}?{key}={row.uid}").content.decode()


def test_nothing_inline_anywhere(world):
    """The policy forbids inline code, so no page may rely on any."""
    made, failed, stopped = world.made(num_images=2), world.failed(), cancel(world.run())
    for row in (made, failed, stopped, world.run()):
        for address in addresses(world, row):
            answer = world.ada.get(address)
            found = INLINE.search(answer.content.decode())
            assert found is None, (address, found)
            assert "'unsafe" not in answer["Content-Security-Policy"]
    assert INLINE.search(world.ada.get("/nothing").content.decode()) is None


def test_what_people_write_is_text(world):
    prompt = "<script>alert(1)</script> \"'&"
    row = world.made(prompt=prompt)
    bodies = [world.ada.get(address).content.decode() for address in addresses(world, row)]
    bodies.append(world.ada.get(world.page, {"prompt": prompt}).content.decode())
    bodies.append(world.ada.get(f"{world.page}/api", {"prompt": prompt}).content.decode())
    bodies.append(world.ada.get("/", {"q": prompt}).content.decode())
    assert sum("&lt;script&gt;alert(1)" in body for body in bodies) >= 5
    assert not any("<script>alert" in body for body in bodies)


def test_a_secret_is_shown_nowhere(world):
    row = world.run(token="hush-hush")
    cast.succeed(cast.claim()[0])
    for address in addresses(world, row):
        assert "hush-hush" not in world.ada.get(address).content.decode()
    assert "hush-hush" not in world.ada.get(f"{world.page}?from={row.uid}").content.decode()


def test_signing_in_and_out(world):
    bad = world.nobody.post("/accounts/login", {"login": "ada@example.test", "password": "wrong"})
    assert "do not match" in bad.content.decode()
    good = world.nobody.post(
        "/accounts/login",
        {"login": "ada@example.test", "password": "a long password", "next": world.page},
    )
    assert good["Location"] == world.page
    assert "/accounts/logout" in world.nobody.get("/").content.decode()
    assert world.nobody.post("/accounts/logout").status_code == 302
    assert world.nobody.get("/dashboard/history").status_code == 302


@pytest.fixture
def short_tempered(monkeypatch):
    """Two attempts per address, three per email, and a minute that does not end."""
    from playground.pages import sign_in

    monkeypatch.setattr(sign_in, "ATTEMPTS_PER_ADDRESS", 2)
    monkeypatch.setattr(sign_in, "ATTEMPTS_PER_EMAIL", 3)
    monkeypatch.setattr(sign_in, "WINDOW_SECONDS", 10**9)
    names = redis_client().keys("sign-in:*")
    if names:
        redis_client().delete(*names)
    yield
    redis_client().delete(*redis_client().keys("sign-in:*"))


def sign_in_as(world, email, *, password="wrong", address):
    answer = world.nobody.post("/accounts/login", {"login": email, "password": password}, REMOTE_ADDR=address)
    return "in" if answer.status_code == 302 else "held up" if b"Too many" in answer.content else "wrong"


def test_who_guesses_passwords_is_held_up(world, short_tempered):
    said = [sign_in_as(world, f"nobody{n}@example.test", address="192.0.2.7") for n in range(3)]
    assert said == ["wrong", "wrong", "held up"]
    ada = {"email": "ada@example.test", "password": "a long password"}
    assert sign_in_as(world, **ada, address="192.0.2.7") == "held up"
    assert sign_in_as(world, **ada, address="192.0.2.8") == "in"


def test_one_network_has_one_count_however_many_addresses_it_has(world, short_tempered):
    said = [
        sign_in_as(world, f"nobody{n}@example.test", address=f"2001:db8:0:7::{n + 1:x}") for n in range(3)
    ]
    assert said == ["wrong", "wrong", "held up"]
    assert sign_in_as(world, "nobody@example.test", address="2001:db8:0:8::1") == "wrong"


def test_one_password_is_not_guessed_from_everywhere(world, short_tempered):
    said = [sign_in_as(world, "Ada@example.test", address=f"192.0.2.{n}") for n in range(4)]
    assert said == ["wrong"] * 3 + ["held up"]
    assert sign_in_as(world, "mal@example.test", address="192.0.2.1") == "wrong"


def test_passwords_are_checked_few_at_a_time(world, short_tempered):
    from playground.pages.sign_in import CHECKS_AT_ONCE, _checks

    for _ in range(CHECKS_AT_ONCE):
        assert _checks.acquire(blocking=False)
    try:
        assert sign_in_as(world, "ada@example.test", address="192.0.2.9") == "held up"
    finally:
        for _ in range(CHECKS_AT_ONCE):
            _checks.release()
    assert sign_in_as(world, "ada@example.test", password="a long password", address="192.0.2.9") == "in"


def test_signing_in_never_leads_away(world):
    answer = world.nobody.post(
        "/accounts/login",
        {"login": "ada@example.test", "password": "a long password", "next": "https://elsewhere.test/"},
    )
    assert answer["Location"] == "/"


def test_a_post_needs_its_token(world):
    from django.test import Client

    strict = Client(enforce_csrf_checks=True)
    strict.cookies = world.ada.cookies
    answer = strict.post(f"{world.page}/run", {"prompt": "a teal vase"})
    assert answer.status_code == 403
    assert "reload the form" in answer.content.decode()
    assert not Prediction.objects.exists()


@pytest.mark.parametrize(("role", "sees", "runs"), [("billing", 200, 403), ("developer", 200, 302)])
def test_a_role_allows_what_its_table_says(world, role, sees, runs):
    row = world.run()
    world.workspace.memberships.update(role=role)
    assert world.ada.get(f"/p/{row.uid}").status_code == sees
    assert world.ada.post(f"{world.page}/run", {"prompt": "a teal vase"}).status_code == runs
    answer = world.ada.post(f"/p/{row.uid}/cancel")
    assert answer.status_code == runs
    if runs == 403:
        assert "as billing of" in answer.content.decode()
        assert cast.again(row).status == Prediction.Status.QUEUED


def test_somebody_without_a_workspace_finds_a_balance_of_nothing(world):
    world.ada.get("/")
    world.workspace.memberships.all().delete()
    answer = world.ada.get("/dashboard/balance")
    assert (answer.status_code, "–" in answer.content.decode()) == (200, True)


def test_another_name_of_the_machine_says_what_to_set(world):
    answer = world.nobody.get("/", headers={"host": "studio.example:8000"})
    body = answer.content.decode()
    assert answer.status_code == 400
    assert "ALLOWED_HOSTS" in body
    assert "studio.example:8000" in body
