"""Files as fal's clients send them, to the application in this process: by token, by address, in parts out of order."""

from __future__ import annotations

import asyncio
import datetime as dt
import json

import pytest
from django.conf import settings as django_settings
from django.utils import timezone

from marketplace import keys
from playground import assets
from playground.assets import Arrival, growing, uploads
from playground.edge import gate
from playground.edge import uploads as edge_uploads
from playground.edge.crowd import Crowd, Full
from playground.models import Asset, Upload, UploadPart
from playground.predictions.files import own_file
from tests.clients.fal.asked import path_of
from tests.edge.asgi import Exchange, ask, begin, run
from tests.edge.conftest import folder  # noqa: F401 - a fixture
from tests.edge.uploading import left
from tests.examiner import files
from tests.live.test_hub import do

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("folder")]
REST, CDN = "/fal/rest/storage", "/fal/cdn/files/upload"


def asked(world, method: str, path: str, body: bytes = b"", *, key: str | None = "", **headers: str):
    """One request; with Ada's key, another, or with None none at all."""
    who = {} if key is None else {"Authorization": f"Key {key or world.ada_key}"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return run(ask(method, path, headers={**who, **named}, body=body))


def posted(world, path: str, body: object, **headers: str):
    return asked(world, "POST", path, json.dumps(body).encode(), Content_Type="application/json", **headers)


def token(world, **headers: str) -> dict:
    answer = posted(world, f"{REST}/auth/token?storage_type=fal-cdn-v3", {}, **headers)
    assert answer.status == 200, answer.body
    return answer.json()


def bearer(world) -> str:
    return f"Bearer {token(world)['token']}"


def initiated(world, **headers: str) -> tuple[str, str]:
    """The path to put a file to, and the one at which it will be."""
    body = {"file_name": "a cat.png", "content_type": "image/png"}
    answer = posted(world, f"{REST}/upload/initiate?storage_type=gcs", body, **headers)
    assert answer.status == 200, answer.body
    return path_of(answer.json()["upload_url"]), path_of(answer.json()["file_url"])


def test_a_token_says_where_to_and_until_when(world):
    told = token(world)
    assert (told["token_type"], told["base_url"]) == ("Bearer", "http://localhost/fal/cdn")
    until = dt.datetime.fromisoformat(told["expires_at"])
    assert until.utcoffset() is not None
    assert until > timezone.now() + dt.timedelta(minutes=30)


def test_a_file_is_sent_with_a_token(world, folder):  # noqa: F811
    data = files.picture()
    life = json.dumps({"expiration_duration_seconds": 86400})
    named = {"Content_Type": "image/png", "X_Fal_File_Name": "s.png", "X_Fal_Object_Lifecycle": life}
    answer = asked(world, "POST", CDN, data, key=None, Authorization=bearer(world), **named)
    assert answer.status == 200, answer.body
    seen = run(ask("GET", path_of(answer.json()["access_url"])))
    assert (seen.status, seen.body) == (200, data)
    row = Asset.objects.get()
    assert (row.workspace, row.filename) == (world.ada, "s.png")
    assert row.expires_at < timezone.now() + dt.timedelta(days=1, seconds=1)
    assert not Upload.objects.exists()


def test_a_key_does_as_well_and_a_token_for_something_else_does_not(world):
    assert asked(world, "POST", CDN, files.picture(), Content_Type="image/png").status == 200
    other = posted(world, "/fal/rest/tokens/", {"allowed_apps": ["vase"], "token_expiration": 120}).json()
    for wrong in (f"Bearer {other}", "Bearer x", "Bearer "):
        answer = asked(world, "POST", CDN, files.picture(), key=None, Authorization=wrong)
        assert (answer.status, "detail" in answer.json()) == (401, True)
    assert asked(world, "POST", CDN, files.picture(), key=None).status == 401


def test_a_token_ends_with_its_key(world):
    held = bearer(world)
    keys.revoke(keys.resolve(world.ada_key))
    assert asked(world, "POST", CDN, files.picture(), key=None, Authorization=held).status == 401


def test_a_token_is_not_for_a_key_that_may_not_upload(world):
    _, weak = keys.make(world.ada, name="weak", scopes=["predictions:write"])
    answer = posted(world, f"{REST}/auth/token?storage_type=fal-cdn-v3", {}, key=weak)
    assert answer.status == 403


@pytest.mark.parametrize("stray", [{}, {"Authorization": "Key someone:else"}])
def test_whoever_has_the_address_puts_the_file_there(world, stray, folder):  # noqa: F811
    data = files.picture(size=(900, 700))
    assert len(data) > gate.STRANGER_BYTES
    put, get = initiated(world)
    assert run(ask("GET", get)).status == 404
    answer = asked(world, "PUT", put, data, key=None, Content_Type="image/png", **stray)
    assert answer.status == 200, answer.body
    seen = run(ask("GET", get))
    assert (seen.status, seen.body) == (200, data)
    assert own_file(world.ada, django_settings.PUBLIC_URL + get).sha256 == Asset.objects.get().sha256
    assert own_file(world.mal, get) is None
    # The same again is the same; another file is refused, and both leave nothing behind.
    assert asked(world, "PUT", put, data, key=None, Content_Type="image/png").status == 200
    other = asked(world, "PUT", put, files.picture(size=(20, 20)), key=None, Content_Type="image/png")
    assert other.status == 403
    assert Asset.objects.count() == 1
    assert len(left(folder)) == 2


def test_an_address_outlives_a_file_that_was_no_good(world, folder):  # noqa: F811
    put, get = initiated(world)
    bad = asked(world, "PUT", put, b"\x89PNG\r\n\x1a\n" + b"x" * 500, key=None, Content_Type="image/png")
    assert (bad.status, "detail" in bad.json()) == (422, True)
    assert asked(world, "PUT", put, b"", key=None, Content_Type="image/png").status == 422
    assert left(folder) == []
    assert uploads.used_bytes(world.ada) == 0
    assert asked(world, "PUT", put, files.picture(), key=None, Content_Type="image/png").status == 200
    assert run(ask("GET", get)).status == 200


def test_the_same_file_at_two_addresses_is_kept_once_and_each_address_has_its_own_end(world):
    data = files.picture()
    first_put, first = initiated(world)
    life = json.dumps({"expiration_duration_seconds": 60})
    second_put, second = initiated(world, X_Fal_Object_Lifecycle=life)
    for put in (first_put, second_put):
        assert asked(world, "PUT", put, data, key=None, Content_Type="image/png").status == 200
    assert (Asset.objects.count(), uploads.used_bytes(world.ada)) == (2, len(data))
    Upload.objects.filter(lifetime=60).update(expires_at=timezone.now())
    assert (run(ask("GET", first)).status, own_file(world.ada, second)) == (200, None)


def test_places_that_are_none(world):
    put, get = initiated(world)
    data = files.picture()
    swapped = put.replace(put.rsplit("/", 1)[1], get.split("/")[2])
    for path in (put[:-2], swapped, f"{REST}/put/x"):
        assert asked(world, "PUT", path, data, key=None, Content_Type="image/png").status == 404
    Upload.objects.update(expires_at=timezone.now())
    assert asked(world, "PUT", put, data, key=None, Content_Type="image/png").status == 404


def test_parts_come_in_any_order_with_their_etags_both_ways(world, folder):  # noqa: F811
    data = files.picture(size=(900, 700))
    pieces = [data[at : at + 50_000] for at in range(0, len(data), 50_000)]
    assert len(pieces) > 2
    held = {"key": None, "Authorization": bearer(world)}
    made = asked(world, "POST", f"{CDN}/multipart", Content_Type="application/octet-stream", **held).json()
    at = f"{path_of(made['access_url'])}/multipart/{made['uploadId']}"
    told = []
    for number in reversed(range(1, len(pieces) + 1)):
        answer = asked(world, "PUT", f"{at}/{number}", pieces[number - 1], **held)
        assert answer.status == 200, answer.body
        assert answer.headers["etag"] == answer.json()["etag"]
        told.append({"partNumber": number, "etag": answer.headers["etag"]})
    named = {"Content_Type": "application/json", **held}
    for wrong in ([*told[1:], {"partNumber": 99, "etag": "x"}], [], [told[0], told[0]]):
        answer = asked(world, "POST", f"{at}/complete", json.dumps({"parts": wrong}).encode(), **named)
        assert answer.status == 400, answer.body
    for _ in range(2):  # a client that missed the answer asks again
        answer = asked(world, "POST", f"{at}/complete", json.dumps({"parts": told}).encode(), **named)
        assert answer.status == 200, answer.body
    seen = run(ask("GET", path_of(made["access_url"])))
    assert (seen.status, seen.body) == (200, data)
    assert not UploadPart.objects.exists()
    assert asked(world, "PUT", f"{at}/1", pieces[0], **held).status == 404


def test_parts_by_address_as_javascript_sends_them(world):
    data = files.picture(size=(900, 700))
    body = {"content_type": "image/png", "file_name": "big.png"}
    made = posted(world, f"{REST}/upload/initiate-multipart?storage_type=fal-cdn-v3", body).json()
    put, half = path_of(made["upload_url"]), len(data) // 2
    told = [
        asked(world, "PUT", f"{put}/{n}", part, key=None).json()
        for n, part in ((2, data[half:]), (1, data[:half]))
    ]
    whole = json.dumps({"parts": told}).encode()
    answer = asked(world, "POST", f"{put}/complete", whole, key=None, Content_Type="application/json")
    assert answer.status == 200, answer.body
    assert run(ask("GET", path_of(made["file_url"]))).body == data


def test_parts_of_others_stay_theirs(world):
    made = asked(world, "POST", f"{CDN}/multipart").json()
    at = f"{path_of(made['access_url'])}/multipart/{made['uploadId']}"
    other = asked(world, "POST", f"{CDN}/multipart", key=world.mal_key).json()
    elsewhere = f"{path_of(other['access_url'])}/multipart/{made['uploadId']}"
    assert asked(world, "PUT", f"{at}/1", b"x", key=world.mal_key).status == 404
    assert asked(world, "PUT", f"{elsewhere}/1", b"x").status == 404
    assert asked(world, "PUT", f"{at}/1", b"x", key=None).status == 401
    assert asked(world, "PUT", f"{at}/0", b"x").status in {400, 404}
    assert asked(world, "PUT", f"{at}/601", b"x").status == 400


def test_what_comes_in_parts_is_within_the_quota(world, settings, folder):  # noqa: F811
    settings.UPLOAD_QUOTA_BYTES = 1000
    made = asked(world, "POST", f"{CDN}/multipart").json()
    at = f"{path_of(made['access_url'])}/multipart/{made['uploadId']}"
    assert asked(world, "PUT", f"{at}/1", b"x" * 900).status == 200
    full = asked(world, "PUT", f"{at}/2", b"x" * 200)
    assert (full.status, full.json()["code"]) == (409, "quota_reached")
    assert asked(world, "PUT", f"{at}/1", b"x" * 100).status == 200  # smaller, in its place
    assert asked(world, "PUT", f"{at}/2", b"x" * 200).status == 200
    assert uploads.used_bytes(world.ada) == 300
    settings.MAX_UPLOAD_BYTES = 400
    assert asked(world, "PUT", f"{at}/3", b"x" * 200).status == 413


def test_no_more_room_is_taken_than_there_is_when_parts_come_at_once(world, settings):
    settings.UPLOAD_QUOTA_BYTES = 1000
    made = asked(world, "POST", f"{CDN}/multipart").json()
    at = f"{path_of(made['access_url'])}/multipart/{made['uploadId']}"
    headers = {"Authorization": f"Key {world.ada_key}"}

    async def story():
        asking = [ask("PUT", f"{at}/{n}", headers=headers, body=b"x" * 400) for n in range(1, 6)]
        return sorted(answer.status for answer in await asyncio.gather(*asking))

    assert run(story()) == [200, 200, 409, 409, 409]
    assert uploads.used_bytes(world.ada) == 800


def test_what_is_on_its_way_has_its_room_and_gives_it_back_when_it_breaks_off(world, settings, folder):  # noqa: F811
    settings.UPLOAD_QUOTA_BYTES = 1000
    made = asked(world, "POST", f"{CDN}/multipart").json()
    at = f"{path_of(made['access_url'])}/multipart/{made['uploadId']}"
    headers = {"Authorization": f"Key {world.ada_key}"}
    place, _ = initiated(world)

    def begun(path: str) -> Exchange:
        exchange = begin("PUT", path, headers={**headers, "Content-Length": "400"}, body=None)
        exchange.sent.put_nowait({"type": "http.request", "body": b"x" * 10, "more_body": True})
        return exchange

    async def used(count: int) -> None:
        while await do(uploads.used_bytes, world.ada) != count:  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.01)

    async def story():
        part, whole = begun(f"{at}/1"), begun(place)
        await used(800)
        full = [await ask("PUT", path, headers=headers, body=b"x" * 400) for path in (f"{at}/2", place)]
        await whole.leave()
        await used(400)
        second = await ask("PUT", f"{at}/2", headers=headers, body=b"x" * 400)
        part.sent.put_nowait({"type": "http.request", "body": b"x" * 390, "more_body": False})
        return [one.status for one in full], second.status, (await part.start())[0], await part.body()

    full, second, first, _ = run(story())
    assert (full, second, first) == ([409, 409], 200, 200)
    assert uploads.used_bytes(world.ada) == 800
    # What is no file gives its room back, with its parts.
    told = [
        {"partNumber": part.number, "etag": part.sha256} for part in UploadPart.objects.order_by("number")
    ]
    answer = posted(world, f"{at}/complete", {"parts": told})
    assert (answer.status, uploads.used_bytes(world.ada)) == (422, 0)


@pytest.mark.parametrize("is_kept_first", [True, False])
def test_a_part_that_is_kept_as_its_client_is_given_up_has_its_room(world, is_kept_first):
    upload = growing.begin(world.ada, by=None)
    taken = growing.take_room(upload, 400, part=1)
    on_its_way = growing.take_room(upload, 300, part=2)

    def keep() -> None:
        with Arrival() as arrival:
            arrival.write(b"x" * 400)
            growing.add_part(upload, 1, arrival, taken=taken)

    acts = [keep, lambda: growing.release(upload, taken)]
    for act in acts if is_kept_first else reversed(acts):
        act()
    growing.release(upload, on_its_way)
    assert uploads.used_bytes(world.ada) == sum(part.size for part in UploadPart.objects.all()) == 400


def test_of_several_files_that_come_to_one_address_at_once_one_stays(world):
    put, get = initiated(world)
    pictures = [files.picture(size=(20 + n, 20)) for n in range(4)]

    async def story():
        headers = {"Content-Type": "image/png"}
        answers = await asyncio.gather(*(ask("PUT", put, headers=headers, body=one) for one in pictures))
        return [one.status for one in answers], await ask("GET", get)

    statuses, found = run(story())
    assert sorted(statuses) == [200, 403, 403, 403]
    assert found.body == pictures[statuses.index(200)]
    assert Asset.objects.get().size == len(found.body) == uploads.used_bytes(world.ada)


def test_many_parts_at_once_wait_for_their_turn(world, monkeypatch):
    monkeypatch.setattr(edge_uploads._crowd, "limit", 2)
    made = asked(world, "POST", f"{CDN}/multipart").json()
    at = f"{path_of(made['access_url'])}/multipart/{made['uploadId']}"
    headers = {"Authorization": f"Key {world.ada_key}"}

    async def story():
        asking = [ask("PUT", f"{at}/{n}", headers=headers, body=b"x" * 40) for n in range(1, 11)]
        return [answer.status for answer in await asyncio.gather(*asking)]

    assert run(story()) == [200] * 10
    assert not edge_uploads._crowd._open
    assert not edge_uploads._crowd._line


def test_a_turn_is_waited_for_behind_so_many_and_so_long():
    crowd, said = Crowd(1), []

    async def come(name: str, leave: asyncio.Event | None = None, *, seconds: float = 60.0) -> None:
        try:
            async with crowd.turn(1, seconds=seconds, most=2):
                said.append(name)
                if leave is not None:
                    await leave.wait()
        except Full:
            said.append(f"no {name}")

    async def story():
        leave = asyncio.Event()
        first = asyncio.ensure_future(come("first", leave))
        await asyncio.sleep(0)
        gone, second = (asyncio.ensure_future(come(name)) for name in ("gone", "second"))
        await asyncio.sleep(0)
        await come("fourth")
        gone.cancel()
        await asyncio.sleep(0)
        await come("impatient", seconds=0.01)
        leave.set()
        await asyncio.gather(first, second)

    asyncio.run(story())
    assert said == ["first", "no fourth", "no impatient", "second"]


def test_turns_come_in_the_order_in_which_they_were_asked_for():
    crowd, said = Crowd(1), []

    async def come(name: str) -> None:
        async with crowd.turn(1, seconds=60.0, most=9):
            said.append(name)
            await asyncio.sleep(0)

    async def story():
        await asyncio.gather(*(come(name) for name in "abcdef"))

    asyncio.run(story())
    assert "".join(said) == "abcdef"
    assert not crowd._line
    assert not crowd._line


@pytest.mark.parametrize(
    ("life", "status"),
    [
        ({"initial_acl": {"default": "hide"}}, 422),
        ({"initial_acl": {"default": "allow", "rules": [{"user": "a", "decision": "forbid"}]}}, 422),
        ({"initial_acl": {"default": "allow"}}, 200),
        ({"expiration_duration_seconds": 31_536_000}, 200),
        ({"expiration_duration_seconds": "soon"}, 422),
        ([], 422),
    ],
)
def test_a_life_that_cannot_be_had_is_refused_or_told(world, life, status):
    body = {"file_name": "s.png", "content_type": "image/png"}
    answer = posted(world, f"{REST}/upload/initiate", body, X_Fal_Object_Lifecycle=json.dumps(life))
    assert answer.status == status, answer.body
    is_cut = life == {"expiration_duration_seconds": 31_536_000}
    assert answer.headers.get("x-vitrine-ignored") == ("expiration_duration_seconds" if is_cut else None)


def test_files_that_are_not_taken(world):
    for kind, data in (("application/zip", b"PK\x03\x04"), ("application/json", b"{}"), ("", b"MZ" * 50)):
        named = {"Content_Type": kind} if kind else {}
        answer = asked(world, "POST", CDN, data, **named)
        assert (answer.status, "detail" in answer.json()) == (422, True), kind
    assert not Asset.objects.exists()
    assert uploads.used_bytes(world.ada) == 0


def test_hosts_lead_to_the_same(world):
    told = posted(world, "/storage/auth/token?storage_type=fal-cdn-v3", {}, Host="rest.fal.ai").json()
    assert told["base_url"] == "http://v3.fal.media"
    answer = asked(
        world,
        "POST",
        "/files/upload",
        files.picture(),
        key=None,
        Host="v3.fal.media",
        Authorization=f"Bearer {told['token']}",
        Content_Type="image/png",
    )
    assert answer.status == 200, answer.body


def test_an_address_is_a_capability_of_its_kind_only(world):
    put, get = initiated(world)
    upload = Upload.objects.get()
    allowed = assets.open_address(get.split("/")[2])
    assert (allowed.is_upload, allowed.asset) == (True, upload.public_id)
    assert assets.open_address(put.rsplit("/", 1)[1]) is None
