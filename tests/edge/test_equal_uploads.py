"""Uploads of the same bytes: each is an asset of its own, and what is stored goes with the last of them."""

from __future__ import annotations

import asyncio

import pytest

from playground import assets
from playground.assets import uploads
from playground.models import Asset
from tests.edge.asgi import ask, run
from tests.edge.uploading import PATH, call, clean_up, left, send, take
from tests.examiner import files
from tests.overtaking import overtaking
from tests.predictions import cast

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("folder")]


def test_each_upload_is_an_asset_over_bytes_that_are_kept_once(world, folder):
    data = files.picture()
    first, again = send(world, data), send(world, data, X_Filename="other.png")
    assert (first.status, again.status) == (201, 201)
    assert first.json()["id"] != again.json()["id"]
    assert again.json()["filename"] == "other.png"
    assert (len(left(folder)), uploads.used_bytes(world.ada)) == (2, len(data))
    soon = take(world, data, lifetime=60)
    assert soon.expires_at < Asset.objects.earliest("pk").expires_at
    assert send(world, data, key=world.mal_key).status == 201
    assert len(left(folder)) == 4  # nothing is shared across workspaces
    assert call(world, "DELETE", f"{PATH}/{again.json()['id']}").status == 204
    Asset.objects.filter(pk=soon.pk).update(expires_at="2020-01-01T00:00Z")
    assert assets.purge_expired() == 1
    clean_up()
    kept = Asset.objects.get(workspace=world.ada)
    assert (kept.uid, assets.read(kept)) == (first.json()["id"], data)
    assert run(ask("GET", assets.thumbnail_address(kept))).status == 200
    assert call(world, "DELETE", f"{PATH}/{kept.uid}").status == 204
    clean_up()
    assert len(left(folder)) == 2
    assert assets.read(Asset.objects.get()) == data


@pytest.mark.parametrize("comes_first", ["delete", "upload"])
def test_bytes_that_are_uploaded_and_deleted_at_once_stay_with_who_has_them(world, folder, comes_first):
    data = files.picture()
    first, rows = take(world, data), []
    acts = [lambda: assets.delete(first), lambda: rows.append(take(world, data))]
    assert overtaking(*(acts if comes_first == "delete" else reversed(acts))) is None
    clean_up()
    [row] = rows
    assert (assets.read(row), Asset.objects.get()) == (data, row)
    assert len(left(folder)) == 2
    assets.delete(row)
    clean_up()
    assert left(folder) == []


def test_what_a_run_made_and_what_is_uploaded_of_it_go_apart(world, folder):
    row = cast.submit(world.ada, model=world.model)
    (job,) = cast.claim()
    cast.succeed(job)
    [made] = row.assets.all()
    data = assets.read(made)
    sent = take(world, data)
    assert sent.sha256 == made.sha256
    assets.delete(sent)
    clean_up()
    assert assets.read(made) == data
    sent = take(world, data)
    assets.delete(made)
    clean_up()
    assert assets.read(sent) == data


def test_many_at_once_of_the_same_bytes_are_kept_once(world, folder):
    async def story():
        sent = (ask("POST", PATH, headers=world.headers(), body=files.picture()) for _ in range(5))
        return {answer.json()["id"] for answer in await asyncio.gather(*sent)}

    assert len(run(story())) == 5
    clean_up()
    assert len(left(folder)) == 2
    assert uploads.used_bytes(world.ada) == len(files.picture())
