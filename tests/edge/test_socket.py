"""The card over a websocket: for people of the workspace, from our own pages, until the end."""

from __future__ import annotations

import importlib

import pytest
from django.conf import settings
from django.contrib import auth
from django.http import HttpRequest

from marketplace.models import Membership, User
from playground.edge import socket as edge_socket
from playground.edge.hub import hub
from tests.edge.asgi import run, socket
from tests.live.test_hub import do
from tests.predictions import cast

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def plain_static_files(settings):
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}


def sign_in(workspace, email: str) -> str:
    """A person of the workspace; their session cookie."""
    user = User.objects.create_user(email, "a long password")
    Membership.objects.create(workspace=workspace, user=user)
    request = HttpRequest()
    request.session = importlib.import_module(settings.SESSION_ENGINE).SessionStore()
    auth.login(request, user)
    request.session.save()
    return f"{settings.SESSION_COOKIE_NAME}={request.session.session_key}"


async def closed(exchange) -> int | None:
    """The code that a socket is closed with."""
    while (message := await exchange.next())["type"] != "websocket.close":
        pass
    return message.get("code")


def test_the_card_comes_at_once_changes_and_ends(world):
    row, cookie = cast.submit(world.ada), sign_in(world.ada, "ada@example.test")

    async def story():
        exchange = socket(f"/ws/p/{row.uid}", cookie=cookie)
        assert (await exchange.next())["type"] == "websocket.accept"
        cards = [(await exchange.next())["text"]]
        (job,) = await do(cast.claim)
        await do(cast.step, job, 2)
        await do(cast.succeed, job)
        while (message := await exchange.next())["type"] == "websocket.send":
            cards.append(message["text"])
        return cards, message["code"]

    cards, code = run(story())
    assert code == 1000
    assert all(f'id="prediction-{row.uid}"' in card for card in cards)
    assert "/media/" in cards[-1]
    assert "/media/" not in cards[0]


def test_strangers_get_no_card(world):
    row = cast.submit(world.ada)
    ada, mal = sign_in(world.ada, "ada@example.test"), sign_in(world.mal, "mal@example.test")
    path = f"/ws/p/{row.uid}"

    async def story():
        return [
            await closed(socket(path)),
            await closed(socket(path, cookie=f"{settings.SESSION_COOKIE_NAME}=nonsense")),
            await closed(socket(path, cookie=mal)),
            await closed(socket(f"/ws/p/p_{'0' * 26}", cookie=ada)),
            await closed(socket("/ws/p/nonsense", cookie=ada)),
        ]

    assert run(story()) == [4401, 4401, 4404, 4404, 4404]


@pytest.mark.parametrize(
    "origin", ["", "http://evil.example", "http://localhost:9999", "null", "http://localhost.evil.example"]
)
def test_only_our_own_pages_may_open_one(world, origin):
    row, cookie = cast.submit(world.ada), sign_in(world.ada, "ada@example.test")

    async def story():
        exchange = socket(f"/ws/p/{row.uid}", cookie=cookie, origin=origin)
        return (await exchange.next())["type"]

    assert run(story()) == "websocket.close"


def test_addresses_that_are_none(world):
    async def story():
        return [(await socket(path).next())["type"] for path in ("/ws/other", "/ws/p/", "/ws/p/a/b", "/")]

    assert run(story()) == ["websocket.close"] * 4


def test_a_person_has_so_many_sockets(world, monkeypatch):
    monkeypatch.setattr(edge_socket._crowd, "limit", 2)
    row, cookie = cast.submit(world.ada), sign_in(world.ada, "ada@example.test")
    path = f"/ws/p/{row.uid}"

    async def story():
        two = [socket(path, cookie=cookie) for _ in range(2)]
        for one in two:
            await one.next()
            await one.next()
        refused = await closed(socket(path, cookie=cookie))
        await two[0].leave_socket()
        third = socket(path, cookie=cookie)
        await third.next()
        assert row.uid in (await third.next())["text"]
        return refused

    assert run(story()) == 4429


def test_what_a_viewer_says_is_not_heard_and_the_end_of_the_process_is_told(world):
    row, cookie = cast.submit(world.ada), sign_in(world.ada, "ada@example.test")

    async def story():
        exchange = socket(f"/ws/p/{row.uid}", cookie=cookie)
        await exchange.next()
        await exchange.next()
        for _ in range(100):
            await exchange.sent.put({"type": "websocket.receive", "text": "<script>"})
        await hub().close()
        return await closed(exchange)

    assert run(story()) == 1012
