"""Files on their way in, through the edge as a program sends them."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json

import pytest
from django.conf import settings as django_settings

from marketplace import keys
from playground import assets, examiner
from playground.assets import Arrival, uploads
from playground.edge import intake
from playground.edge import uploads as edge_uploads
from playground.models import Asset, Upload, UploadPart
from tests.edge.asgi import ask, begin, run
from tests.edge.uploading import PATH, call, left, put, send, take
from tests.examiner import files
from tests.outbound.server import saying, serving

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("folder")]


def test_a_raw_body_becomes_an_asset(world, folder):
    data = files.picture()
    answer = send(world, data, Content_Type="image/png", X_Filename="a%20cat.png")
    assert answer.status == 201, answer.body
    found = answer.json()
    assert (found["content_type"], found["width"], found["height"]) == ("image/png", 640, 400)
    assert (found["size"], found["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert (found["filename"], found["kind"], found["prediction"]) == ("a cat.png", "upload", None)
    assert answer.headers["location"].endswith(f"/api/v1/assets/{found['id']}")
    row = Asset.objects.get()
    assert assets.read(row) == data
    assert not Upload.objects.exists()
    assert len(left(folder)) == 2  # the file and its thumbnail
    seen = run(ask("GET", found["url"].removeprefix(django_settings.PUBLIC_URL)))
    assert (seen.status, seen.body) == (200, data)


def form(*parts: tuple[str, bytes], boundary: str = "xyz") -> tuple[bytes, dict[str, str]]:
    body = b"".join(
        b"--%s\r\n%s\r\n\r\n%s\r\n" % (boundary.encode(), head.encode(), data) for head, data in parts
    )
    return body + f"--{boundary}--\r\n".encode(), {
        "Content_Type": f"multipart/form-data; boundary={boundary}"
    }


FILE = 'Content-Disposition: form-data; name="file"; filename="C:\\\\x\\\\cat.png"\r\nContent-Type: image/png'


def test_a_form_with_one_file_becomes_an_asset(world):
    data = files.picture()
    body, headers = form(('Content-Disposition: form-data; name="note"', b"hello"), (FILE, data))
    answer = send(world, body, **headers)
    assert answer.status == 201, answer.body
    assert (answer.json()["filename"], answer.json()["size"]) == ("cat.png", len(data))


@pytest.mark.parametrize("step", [1, 7, 64, 5000])
def test_a_form_that_comes_in_pieces(world, step):
    data = b"\r\n--xy" + files.picture(size=(30, 30)) + b"\r\n--xy\r\n"
    body, _ = form((FILE, data))
    from playground.edge.multipart import OneFile

    parser, out = OneFile(b"xyz"), b""
    for at in range(0, len(body), step):
        out += parser.feed(body[at : at + step])
    parser.end()
    assert (out, parser.filename, parser.content_type) == (data, "C:\\x\\cat.png", "image/png")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (form((FILE, b"a"), (FILE, b"b"))[0], "multipart/form-data; boundary=xyz"),
        (form(('Content-Disposition: form-data; name="a"', b"a"))[0], "multipart/form-data; boundary=xyz"),
        (form((FILE, files.picture()))[0][:-9], "multipart/form-data; boundary=xyz"),
        (form((FILE, b"a"))[0], "multipart/form-data"),
        (form((FILE, b"a"))[0], "multipart/form-data; boundary=other"),
        (b"--xyz\r\n" + b"A: b\r\n" * 3000, "multipart/form-data; boundary=xyz"),
        (b"x" * 70_000, "multipart/form-data; boundary=xyz"),
        (
            b"--xyz" + b"\r\n\r\n\r\n--xyz" * 20_000 + form((FILE, files.picture()))[0][5:],
            "multipart/form-data; boundary=xyz",
        ),
    ],
)
def test_forms_out_of_order_are_malformed(world, folder, body, kind):
    answer = send(world, body, Content_Type=kind)
    assert (answer.status, answer.json()["code"]) == (400, "malformed_request")
    assert not Upload.objects.exists()
    assert left(folder) == []


@pytest.mark.parametrize(
    ("data", "kind", "reason"),
    [
        (b"", "image/png", "empty"),
        (files.picture()[:-200], "image/png", "truncated"),
        (files.picture(), "image/jpeg", "mismatch"),
        (files.picture("JPEG"), "image/png", "mismatch"),
        (files.picture(), "text/html", "unsupported"),
        (b"<svg xmlns='x'>", "image/svg+xml", "unsupported"),
        (b"<svg xmlns='x'>", "", "unsupported"),
        (b"<html>", "image/png", "unsupported"),
        (files.bomb(), "image/png", "too_many_pixels"),
        (files.film("GIF", frames=700, size=(2, 2)), "image/gif", "too_many_frames"),
    ],
)
def test_hostile_files_are_refused_with_their_reason(world, folder, data, kind, reason):
    answer = send(world, data, **({"Content_Type": kind} if kind else {}))
    assert (answer.status, answer.json()["code"], answer.json()["reason"]) == (422, "unusable_file", reason)
    assert left(folder) == []
    assert not Upload.objects.exists()
    assert not Asset.objects.exists()


def test_ten_declared_gigabytes_are_refused_before_a_byte(world):
    async def story():
        headers = {**world.headers(), "Content-Length": str(10 * 2**30)}
        exchange = begin("POST", PATH, headers=headers, body=None)
        return (await exchange.start())[0], json.loads(await exchange.body())

    status, problem = run(story())
    assert (status, problem["code"]) == (413, "body_too_large")
    announced = call(world, "POST", f"{PATH}/uploads", {"size": 10 * 2**30})
    assert (announced.status, announced.json()["code"]) == (413, "body_too_large")
    assert announced.json()["max_bytes"] == django_settings.MAX_UPLOAD_BYTES


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Content-Length": "50"}, 401, "not_authenticated"),
        ({"Content-Length": "50", "Authorization": "Bearer nonsense"}, 401, "invalid_key"),
        ({"Transfer-Encoding": "chunked", "Authorization": "ada"}, 411, "length_required"),
        ({"Content-Length": "50", "Authorization": "read"}, 403, "missing_scope"),
        ({"Content-Length": "50", "Authorization": "ada", "Content-Type": "text/html"}, 422, "unusable_file"),
    ],
)
def test_what_may_not_come_is_refused_unread(world, headers, status, code):
    _, reader = keys.make(world.ada, name="reads", scopes=["assets:read"])
    known = {"ada": f"Bearer {world.ada_key}", "read": f"Bearer {reader}"}
    headers = {name: known.get(value, value) for name, value in headers.items()}

    async def story():
        exchange = begin("POST", PATH, headers=headers, body=None)
        exchange.sent.put_nowait({"type": "http.request", "body": b"x" * 50, "more_body": False})
        answered = (await exchange.start())[0], json.loads(await exchange.body())
        return *answered, exchange.sent.qsize()

    assert run(story())[::2] == (status, 1)
    assert run(story())[1]["code"] == code


def test_quota_and_unfinished_uploads_are_bounded(world, settings):
    settings.UPLOAD_QUOTA_BYTES = 300_000
    for size in (200_000, 100_000):
        assert call(world, "POST", f"{PATH}/uploads", {"size": size}).status == 201
    refused = call(world, "POST", f"{PATH}/uploads", {"size": 1})
    assert (refused.status, refused.json()["code"]) == (409, "quota_reached")
    assert (refused.json()["used_bytes"], refused.json()["quota_bytes"]) == (300_000, 300_000)
    assert send(world, files.picture(size=(30, 30))).json()["code"] == "quota_reached"
    assert call(world, "POST", f"{PATH}/uploads", {"size": 1}, key=world.mal_key).status == 201
    Upload.objects.update(expires_at="2020-01-01T00:00Z")
    for _ in range(uploads.MAX_UNFINISHED):
        assert call(world, "POST", f"{PATH}/uploads", {"size": 1}).status == 201
    refused = call(world, "POST", f"{PATH}/uploads", {"size": 1})
    assert (refused.status, refused.json()["code"]) == (429, "too_many_uploads")


def test_a_client_that_leaves_leaves_nothing(world, folder):
    async def story():
        exchange = begin("POST", PATH, headers={**world.headers(), "Content-Length": "1000"}, body=None)
        exchange.sent.put_nowait({"type": "http.request", "body": b"x" * 10, "more_body": True})
        await exchange.leave()
        return exchange.received.empty()

    assert run(story())
    assert left(folder) == []
    assert not Upload.objects.exists()


def test_a_client_that_stalls_is_told(world, folder, monkeypatch):
    monkeypatch.setattr(intake, "STALL_SECONDS", 0.1)

    async def story():
        exchange = begin("POST", PATH, headers={**world.headers(), "Content-Length": "1000"}, body=None)
        return (await exchange.start())[0], json.loads(await exchange.body())["code"]

    assert run(story()) == (408, "upload_stalled")
    assert left(folder) == []
    assert not Upload.objects.exists()


def test_a_full_disk_is_said_plainly(world, folder, monkeypatch):
    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(assets.Arrival, "write", full)
    answer = send(world, files.picture())
    assert (answer.status, answer.json()["code"]) == (507, "storage_full")
    assert left(folder) == []
    assert not Upload.objects.exists()


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(uploads, "PART_BYTES", 1000)


def test_parts_in_any_order_become_an_asset(world, folder, small_parts):
    data = files.picture(size=(100, 80))
    announced = {
        "filename": "cat.png",
        "content_type": "image/png",
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    begun = call(world, "POST", f"{PATH}/uploads", {"size": len(data), **announced})
    assert begun.status == 201, begun.body
    upload = begun.json()
    path = upload["urls"]["get"].removeprefix(django_settings.PUBLIC_URL)
    count = upload["part_count"]
    assert count == -(-len(data) // 1000) > 3
    pieces = [data[n * 1000 : (n + 1) * 1000] for n in range(count)]
    assert put(world, f"{path}/parts/2", b"x" * 1000).status == 200
    early = call(world, "POST", f"{path}/complete")
    assert (early.status, early.json()["code"]) == (409, "upload_incomplete")
    assert early.json()["missing_parts"][:2] == [1, 3]
    for number in reversed(range(1, count + 1)):
        assert put(world, f"{path}/parts/{number}", pieces[number - 1]).status == 200
    there = call(world, "GET", path).json()
    assert [one["number"] for one in there["parts"]] == list(range(1, count + 1))
    assert there["parts"][1]["sha256"] == hashlib.sha256(pieces[1]).hexdigest()
    done = call(world, "POST", f"{path}/complete")
    assert (done.status, done.json()["sha256"]) == (201, hashlib.sha256(data).hexdigest())
    again = call(world, "POST", f"{path}/complete")
    assert (again.status, again.json()["id"]) == (200, done.json()["id"])
    assert call(world, "GET", path).json()["asset"]["id"] == done.json()["id"]
    assert put(world, f"{path}/parts/1", pieces[0]).status == 404
    assert assets.read(Asset.objects.get()) == data
    assert not UploadPart.objects.exists()


@pytest.mark.parametrize(("ends", "status"), [("completed", 200), ("deleted", 404)])
def test_an_upload_that_ends_while_it_is_completed(world, folder, monkeypatch, ends, status):
    data = files.picture()
    upload = call(world, "POST", f"{PATH}/uploads", {"size": len(data)}).json()
    path = upload["urls"]["get"].removeprefix(django_settings.PUBLIC_URL)
    assert put(world, f"{path}/parts/1", data).status == 200
    join = uploads.join

    def overtaken(row: Upload, numbers: tuple[int, ...]) -> Arrival:
        """Another request has come to its end by the time that this one reads the parts."""
        if ends == "deleted":
            uploads.abandon(row)
        else:
            with join(row) as arrival:
                uploads.finish(row, arrival, examiner.examine(arrival.file))
        return join(row, numbers)

    monkeypatch.setattr(uploads, "join", overtaken)
    answer = call(world, "POST", f"{path}/complete")
    assert answer.status == status, answer.body
    if ends == "completed":
        assert answer.json()["id"] == Asset.objects.get().uid


def test_an_upload_that_has_become_another_file_while_it_is_completed(world, folder, monkeypatch):
    """As where a part is sent again, and the upload completed once more, before the first answer."""
    data = files.picture()
    upload = call(world, "POST", f"{PATH}/uploads", {"size": len(data)}).json()
    path = upload["urls"]["get"].removeprefix(django_settings.PUBLIC_URL)
    assert put(world, f"{path}/parts/1", data).status == 200
    other, join = take(world, files.picture(size=(20, 20))), uploads.join

    def overtaken(row: Upload, numbers: tuple[int, ...]) -> Arrival:
        arrival = join(row, numbers)
        Upload.objects.filter(pk=row.pk).update(asset=other)
        return arrival

    monkeypatch.setattr(uploads, "join", overtaken)
    answer = call(world, "POST", f"{path}/complete")
    assert (answer.status, answer.json()["code"]) == (403, "forbidden")
    assert "Another file" in answer.json()["detail"]
    assert Asset.objects.get() == other


def test_parts_of_the_wrong_size_or_number_are_refused(world, small_parts):
    upload = call(world, "POST", f"{PATH}/uploads", {"size": 2500}).json()
    path = upload["urls"]["get"].removeprefix(django_settings.PUBLIC_URL)
    for number, size in ((1, 999), (1, 1001), (3, 1000), (0, 1000), (4, 500)):
        answer = put(world, f"{path}/parts/{number}", b"x" * size)
        assert (answer.status, answer.json()["code"]) == (400, "malformed_request"), number
    assert not UploadPart.objects.exists()


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x", "text/plain"])
def test_a_part_is_bytes_whatever_it_calls_itself(world, kind):
    upload = call(world, "POST", f"{PATH}/uploads", {"size": 2}).json()
    path = upload["urls"]["get"].removeprefix(django_settings.PUBLIC_URL)
    headers = {**world.headers(), "Content-Type": kind}
    answer = run(ask("PUT", f"{path}/parts/1", headers=headers, body=b"{}"))
    assert (answer.status, answer.json()["sha256"]) == (200, hashlib.sha256(b"{}").hexdigest())


def test_addresses_of_parts_that_cannot_be(world):
    upload = call(world, "POST", f"{PATH}/uploads", {"size": 2}).json()
    path = upload["urls"]["get"].removeprefix(django_settings.PUBLIC_URL)
    assert put(world, f"{path}/parts/12345678", b"xy").status == 400
    for wrong in (f"{path}/parts/-1", f"{path}/parts/{'9' * 5000}", f"{path}{'x' * 90}/parts/1"):
        answer = put(world, wrong, b"xy")
        assert (answer.status, answer.json()["code"]) == (404, "not_found"), wrong


def test_an_upload_is_announced_once_under_a_key(world):
    headers = {**world.headers(), "Content-Type": "application/json", "Idempotency-Key": "one"}

    def announce(size):
        body = json.dumps({"size": size}).encode()
        return run(ask("POST", f"{PATH}/uploads", headers=headers, body=body))

    first, again = announce(1500), announce(1500)
    assert (first.status, again.status) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert Upload.objects.count() == 1
    assert announce(1600).json()["code"] == "idempotency_conflict"
    path = first.json()["urls"]["get"].removeprefix(django_settings.PUBLIC_URL)
    assert run(ask("DELETE", path, headers=world.headers())).status == 204
    assert (announce(1500).status, announce(1500).json()["code"]) == (409, "idempotency_conflict")
    assert not Upload.objects.exists()


@pytest.mark.parametrize("change", ["sha256", "content_type", "content"])
def test_an_upload_that_is_not_what_was_announced_is_forgotten(world, folder, change):
    data = files.picture(size=(100, 80))
    announced = {"size": len(data), "sha256": "0" * 64} if change == "sha256" else {"size": len(data)}
    if change == "content_type":
        announced["content_type"] = "image/jpeg"
    upload = call(world, "POST", f"{PATH}/uploads", announced).json()
    path = upload["urls"]["get"].removeprefix(django_settings.PUBLIC_URL)
    assert put(world, f"{path}/parts/1", data if change != "content" else b"x" * len(data)).status == 200
    done = call(world, "POST", f"{path}/complete")
    assert (done.status, done.json()["code"]) == (422, "unusable_file")
    assert call(world, "GET", path).status == 404
    assert not Asset.objects.exists()


def test_uploads_of_others_are_not_there(world):
    upload = call(world, "POST", f"{PATH}/uploads", {"size": 100}).json()
    path = upload["urls"]["get"].removeprefix(django_settings.PUBLIC_URL)
    asset = send(world, files.picture()).json()
    for method, where in (
        ("GET", path),
        ("DELETE", path),
        ("POST", f"{path}/complete"),
        ("GET", f"{PATH}/{asset['id']}"),
        ("DELETE", f"{PATH}/{asset['id']}"),
    ):
        assert call(world, method, where, key=world.mal_key).status == 404, (method, where)
    assert put(world, f"{path}/parts/1", b"x" * 100, key=world.mal_key).status == 404
    assert call(world, "GET", PATH, key=world.mal_key).json()["results"] == []
    assert Asset.objects.count() == Upload.objects.count() == 1


def test_an_asset_can_be_listed_and_deleted(world):
    asset = send(world, files.picture()).json()
    listed = call(world, "GET", f"{PATH}?kind=upload").json()["results"]
    assert [one["id"] for one in listed] == [asset["id"]]
    assert call(world, "GET", f"{PATH}/{asset['id']}").json() == listed[0]
    assert call(world, "GET", f"{PATH}?kind=strange").status == 422
    assert call(world, "DELETE", f"{PATH}/{asset['id']}").status == 204
    assert call(world, "GET", f"{PATH}/{asset['id']}").status == 404


def test_an_upload_can_be_given_up_and_expires(world, small_parts):
    upload = call(world, "POST", f"{PATH}/uploads", {"size": 1500}).json()
    path = upload["urls"]["get"].removeprefix(django_settings.PUBLIC_URL)
    put(world, f"{path}/parts/2", b"x" * 500)
    assert call(world, "DELETE", path).status == 204
    assert call(world, "GET", path).status == 404
    call(world, "POST", f"{PATH}/uploads", {"size": 1500})
    Upload.objects.update(expires_at="2020-01-01T00:00Z")
    assert assets.purge_uploads() == 1
    assert not UploadPart.objects.exists()


def test_a_file_is_fetched_from_an_address(world, settings, folder):
    settings.OUTBOUND_PRIVATE = "loopback"
    data = files.picture()
    with serving(saying(body=data, Content_Type="image/png")) as server:
        answer = call(world, "POST", PATH, {"url": f"{server.url}/some/cat.png?x=1"})
    assert (answer.status, answer.json()["filename"]) == (201, "cat.png")
    settings.OUTBOUND_PRIVATE = ""
    refused = call(world, "POST", PATH, {"url": "http://127.0.0.1:9999/a.png"})
    assert (refused.status, refused.json()["code"], refused.json()["reason"]) == (
        422,
        "url_not_fetched",
        "private",
    )
    wrong = call(world, "POST", PATH, {"uri": "x"})
    assert {error["field"] for error in wrong.json()["errors"]} == {"uri", "url"}
    assert len(left(folder)) == 2


def test_uploads_at_once_are_bounded(world, monkeypatch):
    monkeypatch.setattr(edge_uploads._crowd, "limit", 1)

    async def story():
        first = begin("POST", PATH, headers={**world.headers(), "Content-Length": "1000"}, body=None)
        while not edge_uploads._crowd._open:  # noqa: ASYNC110 - it has no event for tests
            await asyncio.sleep(0.02)
        second = await ask("POST", PATH, headers=world.headers(), body=files.picture())
        await first.leave()
        third = await ask("POST", PATH, headers=world.headers(), body=files.picture())
        return second.status, second.json()["code"], third.status

    assert run(story()) == (429, "too_many_uploads", 201)
