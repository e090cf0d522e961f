"""A deleted run at the edge: polls, streams, sockets and media addresses know nothing of it; and answers that drip."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile

import pytest
from django.test import Client

from marketplace.models import Membership, User
from playground import assets, live, predictions
from playground.edge import inner, media
from playground.models import Asset
from playground.predictions import delete as deletion
from playground.predictions import state_of
from tests.edge.asgi import ask, run
from tests.predictions import cast

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def made(world):
    row = cast.submit(world.ada)
    assert cast.succeed(cast.claim()[0])
    media._known.clear()
    return cast.again(row)


def test_a_poll_that_was_answered_from_memory_is_a_404_at_once(world, made):
    path = f"/api/v1/predictions/{made.uid}"

    async def story():
        assert (await ask("GET", path, headers=world.headers())).status == 200
        assert (await ask("GET", path, headers=world.headers())).status == 200
        done = await asyncio.to_thread(deletion.delete, world.ada, [made.public_id], by=None)
        for address in (path, f"{path}?wait=5", f"{path}/events"):
            answer = await ask("GET", address, headers=world.headers())
            assert answer.status == 404, address
            assert answer.json()["code"] == "not_found"
        await asyncio.to_thread(deletion.undo, world.ada, done.deletion.uid)
        assert (await ask("GET", path, headers=world.headers())).status == 200

    run(story())


def test_what_a_slow_worker_still_publishes_is_not_shown(world, made):
    predictions.delete_one(world.ada, made.public_id, by=None)
    live.publish([state_of(made)])
    assert live.read(made.public_id) is None
    answer = run(ask("GET", f"/api/v1/predictions/{made.uid}/events", headers=world.headers()))
    assert answer.status == 404


def test_its_media_are_gone_within_a_second(world, made):
    address = assets.address(Asset.objects.get())

    async def story():
        assert (await ask("GET", address)).status == 200
        done = await asyncio.to_thread(deletion.delete, world.ada, [made.public_id], by=None)
        await asyncio.sleep(media.KEEP_SECONDS)
        assert (await ask("GET", address)).status == 404
        await asyncio.to_thread(deletion.undo, world.ada, done.deletion.uid)
        assert (await ask("GET", address)).status == 200

    assert media.KEEP_SECONDS <= 1
    run(story())


def test_delete_over_the_edge(world, made):
    path = f"/api/v1/predictions/{made.uid}"
    assert run(ask("DELETE", path, headers=world.headers(world.mal_key))).status == 404
    for _ in range(2):
        answer = run(ask("DELETE", path, headers=world.headers()))
        assert (answer.status, answer.body) == (204, b"")
    assert run(ask("GET", path, headers=world.headers())).status == 404


@pytest.fixture
def browser(world):
    user = User.objects.create_user("ada@example.test", "a long password")
    Membership.objects.create(workspace=world.ada, user=user)
    client = Client()
    client.force_login(user)
    return {"Cookie": f"sessionid={client.cookies['sessionid'].value}"}


def test_an_export_is_sent_while_it_is_made(world, browser, monkeypatch):
    from playground.predictions import export

    monkeypatch.setattr(export, "BATCH", 1)
    for _ in range(3):
        cast.submit(world.ada)
    pieces = []
    kept = inner._next

    def count(source):
        piece = kept(source)
        pieces.append(piece)
        return piece

    monkeypatch.setattr(inner, "_next", count)
    answer = run(ask("GET", "/dashboard/history/export/jsonl", headers=browser))
    assert answer.status == 200
    assert len([json.loads(line) for line in answer.body.splitlines()]) == 3
    assert len(pieces) == 4  # one for each batch, and the end
    assert "content-length" not in answer.headers


def test_a_zip_arrives_whole(world, browser, made):
    from playground.predictions import export

    packed = zipfile.ZipFile(io.BytesIO(b"".join(export.as_zip([made]))))
    assert packed.testzip() is None
    assert len(packed.namelist()) == 2
