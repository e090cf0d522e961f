"""Replicate's routes, one request at a time: what is taken, what is refused and how that is said, and who sees what."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
from django.utils import timezone
from standardwebhooks import Webhook as Verifier

from marketplace import catalog
from marketplace.dispatch import redis_client
from marketplace.ids import encode, parse
from marketplace.models import Listing, Outbox, Workspace
from playground import predictions, webhooks
from playground.assets import Arrival, labels
from playground.facades.replicate.telling import KEPT_LOG, Telling
from playground.models import Asset, Delivery, Prediction
from playground.predictions import progress
from playground.predictions.files import made
from playground.predictions.settle import CLOSED_TASK
from playground.webhooks.events import MAX_PAYLOAD_BYTES, closed, progressed, started
from tests.predictions import cast
from tests.webhooks import receiver as servers
from tests.webhooks import story

HOST = "http://testserver"
KEYS = {
    *("id", "model", "version", "input", "logs", "output", "data_removed", "error", "source", "status"),
    *("created_at", "started_at", "completed_at", "metrics", "urls"),
}


def run(caller, path="/v1/models/kiln/vase/predictions", headers=None, **body):
    return caller.post(path, {"input": {"prompt": "a vase"}, **body}, **(headers or {}))


def refused(answer, status: int, said: str = "") -> dict:
    """The answer is an error in Replicate's shape that says so; its body."""
    body = answer.json()
    assert (answer.status_code, body["status"]) == (status, status), body
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert body["title"]
    assert said in body["detail"]
    return body


def version_of(model: str = "kiln/vase") -> str:
    owner, name = model.split("/")
    return Listing.objects.get(publisher__name=owner, name=name).default_version.sha256


@pytest.fixture
def picture(world):
    """A stored picture of Ada's."""
    return stored(world.workspace)


def stored(workspace) -> Asset:
    with Arrival() as arrival:
        arrival.write(cast.png(9, edge=16))
        return made(workspace, None, arrival, filename="vase.png", wait_seconds=30)


def shelve_painter() -> None:
    painter = cast.manifest(name="painter")
    painter["endpoint"]["input"]["properties"] |= {
        "image": {"type": "string", "x-media": ["image/*"], "x-order": 9},
        "output_format": {"type": "string", "enum": ["png", "jpeg"], "default": "png"},
    }
    catalog.publish(cast.publisher(), painter)
    catalog.forget()


def test_every_way_to_name_what_runs(world):
    sha = version_of()
    answers = [
        run(world.ada),
        *(
            run(world.ada, "/v1/predictions", version=named)
            for named in (sha, "kiln/vase", f"kiln/vase:{sha}", "kiln/vase:latest")
        ),
    ]
    for answer in answers:
        body = answer.json()
        assert answer.status_code == 201, body
        assert set(body) == KEYS
        assert (body["status"], body["version"], body["model"]) == ("starting", sha, "kiln/vase")
        assert answer.headers["Location"] == body["urls"]["get"] == f"{HOST}/v1/predictions/{body['id']}"
        assert world.ada.get(body["urls"]["get"]).json() == body
    rows = Prediction.objects.all()
    assert {row.via for row in rows} == {"replicate"}
    assert len({row.pk for row in rows}) == len(answers)


def test_what_curl_calls_a_form_is_read_as_json(world):
    """`curl -d` says so of every body, and examples leave it at that."""
    form, path = "application/x-www-form-urlencoded", "/v1/models/kiln/vase/predictions"
    answer = world.ada.post(path, raw=b'{"input": {"prompt": "a vase"}}', content_type=form)
    assert (answer.status_code, answer.json()["input"]["prompt"]) == (201, "a vase")
    assert world.ada.post(path, raw=b"input=a+vase", content_type=form).status_code == 400
    assert Prediction.objects.count() == 1


def test_what_a_client_sends_as_a_habit_is_said_in_the_log(world):
    asked = {"prompt": "a vase", "num_outputs": 2, "go_fast": True}
    body = run(world.ada, input=asked, stream=True).json()
    assert body["input"]["num_images"] == 2
    assert "go_fast" in body["logs"]
    row = Prediction.objects.get()
    assert [one["field"] for one in row.asked["ignored"]] == ["go_fast"]


def test_what_cannot_be_is_refused_in_the_callers_words(world):
    body = refused(run(world.ada, input={"prompt": "x", "num_outputs": 9}), 422, "input.num_outputs")
    assert body["invalid_fields"][0]["field"] == "input.num_outputs"
    body = refused(run(world.ada, input={}), 422, "prompt is required")
    assert body["title"] == "Input validation failed"
    body = refused(run(world.ada, "/v1/predictions", model="kiln/vase"), 422)
    assert body["detail"] == "- version is required\n- Additional property model is not allowed\n"
    refused(run(world.ada, input=[1]), 422, "input must be an object")
    refused(world.ada.post("/v1/predictions", raw=b"{"), 400)
    refused(run(world.ada, webhook="ftp://x"), 422, "webhook")
    refused(
        run(world.ada, webhook="http://a.example", webhook_events_filter=["never"]),
        422,
        "webhook_events_filter",
    )
    own = {"auth": "vt_secret", "userAgent": "replicate-javascript", "baseUrl": HOST}
    assert "vt_secret" not in json.dumps(refused(run(world.ada, input=own), 422, "make a new token"))
    assert not Prediction.objects.exists()


def test_a_version_that_is_not_there(world):
    for named in ("0" * 64, "kiln/nothing", f"kiln/vase:{'0' * 64}", "vase", "kiln/vase:x y"):
        body = refused(run(world.ada, "/v1/predictions", version=named), 422, "version does not exist")
        assert body["title"] == "Invalid version or not permitted"
    refused(run(world.ada, "/v1/models/kiln/nothing/predictions"), 404)


def test_the_life_of_a_run(world):
    uid = run(world.ada, input={"prompt": "a vase", "num_outputs": 2}).json()["id"]
    (job,) = cast.claim()
    cast.step(job, 2)
    assert world.ada.get(f"/v1/predictions/{uid}").json()["status"] == "processing"
    assert cast.succeed(job, pictures=2)
    body = world.ada.get(f"/v1/predictions/{uid}").json()
    assert body["status"] == "succeeded"
    assert [urlsplit(url).netloc for url in body["output"]] == ["testserver"] * 2
    assert body["logs"].split("\n")[-1].endswith("| 4/4")
    assert body["metrics"]["predict_time"] >= 0
    for spelled in (f"p_{uid}", str(parse(uid))):
        assert world.ada.get(f"/v1/predictions/{spelled}").json() == body
    canceled = world.ada.post(f"/v1/predictions/{uid}/cancel", raw=b"")
    assert (canceled.status_code, canceled.json()) == (200, body)


def test_a_run_is_canceled(world):
    uid = run(world.ada).json()["id"]
    assert world.ada.post(f"/v1/predictions/{uid}/cancel", raw=b"").json()["status"] == "canceled"
    assert Prediction.objects.get().cost_micros == 0


@pytest.mark.parametrize(
    ("said", "seconds"), [("90", 90), ("15s", 15), ("1m", 60), ("1m30s", 90), ("24h", 86400)]
)
def test_a_run_that_is_given_a_time(world, said, seconds):
    before = timezone.now()
    body = run(world.ada, headers={"Cancel_After": said}).json()
    row = Prediction.objects.get()
    assert 0 <= (row.cancel_by - before).total_seconds() - seconds < 60
    assert body["deadline"].endswith("Z")
    assert abs((timezone.datetime.fromisoformat(body["deadline"]) - row.cancel_by).total_seconds()) < 60


@pytest.mark.parametrize("said", ["soon", "4s", "25h", "-5s", "1s1m", "9" * 30, "\u0661\u0660s"])
def test_a_time_that_cannot_be_given(world, said):
    refused(
        run(world.ada, headers={"Cancel_After": said.encode("ascii", "ignore").decode() or "x"}),
        422,
        "Cancel-After",
    )


def test_runs_are_listed_a_hundred_at_a_time(world, monkeypatch):
    monkeypatch.setattr("playground.facades.replicate.runs.PAGE", 2)
    made = [run(world.ada).json()["id"] for _ in range(5)]
    run(world.mal)
    found, address = [], "/v1/predictions"
    while address:
        shown = world.ada.get(address).json()
        assert set(shown) == {"results", "next", "previous"}
        found += [one["id"] for one in shown["results"]]
        address = shown["next"]
        assert address is None or address.startswith(f"{HOST}/v1/predictions?cursor=")
    assert found == made[::-1]
    middle = Prediction.objects.get(public_id=parse(made[2])).created_at.isoformat().replace("+00:00", "Z")
    after = world.ada.get(f"/v1/predictions?created_after={middle}").json()
    assert [one["id"] for one in after["results"]] == [made[4], made[3]]
    assert "created_after=" in after["next"]
    before = world.ada.get(f"/v1/predictions?created_before={middle}").json()
    assert [one["id"] for one in before["results"]] == [made[1], made[0]]
    assert world.ada.get("/v1/predictions?source=web").json()["results"] == []
    refused(world.ada.get("/v1/predictions?created_after=yesterday"), 422, "created_after")
    refused(world.ada.get("/v1/predictions?cursor=x"), 400)


def test_nobody_sees_the_runs_and_files_of_others(world, picture):
    uid, file = run(world.ada).json()["id"], encode(picture.public_id)
    for caller, status in ((world.mal, 404), (world.nobody, 401)):
        refused(caller.get(f"/v1/predictions/{uid}"), status)
        refused(caller.post(f"/v1/predictions/{uid}/cancel", raw=b""), status)
        refused(caller.get(f"/v1/files/{file}"), status)
        refused(caller.delete(f"/v1/files/{file}"), status)
    assert Prediction.objects.get().status == "queued"
    assert world.ada.get(f"/v1/files/{file}").status_code == 200
    shelve_painter()
    asked = {"prompt": "x", "image": f"{HOST}/v1/files/{file}"}
    stolen = run(world.mal, "/v1/models/kiln/painter/predictions", input=asked)
    refused(stolen, 422, "input.image: image is no file of this workspace")


def test_a_file_of_ones_own_is_an_input(world, picture):
    shelve_painter()
    address = world.ada.get(f"/v1/files/{encode(picture.public_id)}").json()["urls"]["get"]
    asked = {"prompt": "x", "image": address, "output_format": "jpg"}  # as Replicate's models call it
    body = run(world.ada, "/v1/models/kiln/painter/predictions", input=asked).json()
    assert (body["input"]["image"], body["input"]["output_format"]) == (address, "jpeg")
    row = Prediction.objects.get()
    assert row.input["image"] == picture.uid
    assert row.lane == cast.LANE  # nothing is fetched first


def test_files_are_listed_described_and_deleted(world, picture):
    labels.label(picture, {"shelf": 3})
    uid = encode(picture.public_id)
    body = world.ada.get(f"/v1/files/{uid}").json()
    assert (body["id"], body["name"], body["content_type"]) == (uid, "vase.png", "image/png")
    assert (body["metadata"], body["etag"]) == ({"shelf": 3}, body["checksums"]["sha256"])
    assert body["expires_at"].endswith("Z")
    assert world.ada.get("/v1/files").json()["results"] == [body]
    assert world.mal.get("/v1/files").json()["results"] == []
    assert world.ada.delete(f"/v1/files/{uid}").status_code == 204
    refused(world.ada.get(f"/v1/files/{uid}"), 404)


def test_whoever_is_named_is_told(world, receiver):
    asked = {"webhook": receiver.url, "webhook_events_filter": ["start", "completed"]}
    body = run(world.ada, **asked).json()
    assert (body["webhook"], body["webhook_events_filter"]) == (receiver.url, ["start", "completed"])
    (job,) = cast.claim()
    (row,) = Outbox.objects.all()
    started(message_id=row.pk)
    assert story.deliver() == 1
    cast.succeed(job)
    (row,) = Outbox.objects.all()
    closed(message_id=row.pk)
    assert story.deliver() == 1
    secret = world.ada.get("/v1/webhooks/default/secret").json()["key"]
    assert secret.count("_") == 1
    told = [Verifier(secret).verify(one.body, one.headers) for one in receiver.messages]
    assert [one["status"] for one in told] == ["processing", "succeeded"]
    now = world.ada.get(f"/v1/predictions/{body['id']}").json()
    assert {**now, "urls": 0, "output": 0} == {**told[1], "urls": 0, "output": 0}
    assert len(told[1]["output"]) == 1


def test_whoever_wants_the_log_is_told_as_it_grows(world, receiver, monkeypatch):
    """At most now and then, never what is over, and without a second try."""
    monkeypatch.setattr(progress, "PAUSE_MS", 600_000)  # longer than any test: time passes where it says so
    uid = parse(run(world.ada, webhook=receiver.url, webhook_events_filter=["logs"]).json()["id"])

    def handled() -> int:
        rows = list(Outbox.objects.filter(task=progress.PROGRESS_TASK))
        for row in rows:
            progressed(message_id=row.pk)
        return len(rows)

    def let_pass():
        redis_client().delete(f"progress:{uid.hex}")

    (job,) = cast.claim()
    cast.step(job, 1)
    cast.step(job, 2)
    assert handled() == 1
    assert story.deliver() == 1
    let_pass()
    receiver.behaviour = servers.say(500)
    cast.step(job, 3)
    assert handled() == 1
    story.deliver()
    assert [row.status for row in Delivery.objects.all()] == ["failed"]  # the one before it is kept no longer
    receiver.behaviour = servers.say(200)
    let_pass()
    cast.step(job, 4)
    assert handled() == 1
    let_pass()
    cast.step(job, 4)
    cast.succeed(job)  # before what was on its way has gone out
    assert handled() == 1
    (row,) = Outbox.objects.filter(task=CLOSED_TASK)
    closed(message_id=row.pk)
    assert story.deliver() == 1
    verifier = Verifier(webhooks.request_secret(world.workspace).secret)
    told = [verifier.verify(one.body, one.headers) for one in receiver.messages]
    assert [one["status"] for one in told] == ["processing", "processing", "succeeded"]
    assert [one["logs"].rpartition("| ")[2] for one in told] == ["2/4", "3/4", "4/4"]
    assert [bool(one["output"]) for one in told] == [False, False, True]


def test_runs_that_did_not_ask_cost_nothing_as_they_go(world, monkeypatch):
    run(world.ada, webhook="https://x.example", webhook_events_filter=["start", "output", "completed"])
    run(world.ada)
    jobs = [*cast.claim(), *cast.claim()]
    monkeypatch.setattr(progress.dispatch, "redis_client", None)
    for job in jobs:
        cast.step(job, 1)
    assert not Outbox.objects.filter(task=progress.PROGRESS_TASK).exists()


def test_a_start_is_news_until_the_end(world, receiver):
    run(world.ada, webhook=receiver.url, webhook_events_filter=["start"])
    receiver.behaviour = servers.say(500)
    (job,) = cast.claim()
    (row,) = Outbox.objects.all()
    started(message_id=row.pk)
    story.deliver()
    assert Delivery.objects.get().status == "pending"
    cast.succeed(job)
    story.let_pass()
    story.deliver()
    assert Delivery.objects.get().status == "failed"


def test_only_what_was_asked_for_is_told(world, receiver):
    run(world.ada, webhook=receiver.url, webhook_events_filter=["output"])
    (job,) = cast.claim()
    cast.fail(job)
    for row in Outbox.objects.all():
        closed(message_id=row.pk)
    assert story.deliver() == 0
    assert run(world.ada, webhook=None).status_code == 201
    assert run(world.ada, webhook_completed=receiver.url).json()["webhook_events_filter"] == ["completed"]


def test_a_letter_that_would_be_too_long(world, receiver):
    run(world.ada, webhook=receiver.url, input={"prompt": "a vase"})
    row = Prediction.objects.with_model().get()
    row.logs = "ü" * MAX_PAYLOAD_BYTES
    body = Telling().body(row, "prediction.succeeded")
    assert len(body.encode()) <= MAX_PAYLOAD_BYTES
    assert len(json.loads(body)["logs"]) == KEPT_LOG


def test_the_shelf(world):
    (shown,) = world.nobody.get("/v1/models").json()["results"]
    assert (shown["owner"], shown["name"], shown["visibility"]) == ("kiln", "vase", "public")
    one = world.nobody.get("/v1/models/kiln/vase").json()
    assert one == shown
    assert one["latest_version"]["id"] == version_of()
    assert "prompt" in one["latest_version"]["openapi_schema"]["components"]["schemas"]["Input"]["properties"]
    versions = world.nobody.get("/v1/models/kiln/vase/versions").json()["results"]
    assert versions == [one["latest_version"]]
    assert world.nobody.get(f"/v1/models/kiln/vase/versions/{version_of()}").json() == versions[0]
    refused(world.nobody.get(f"/v1/models/kiln/vase/versions/{version_of()[:12]}"), 404)
    refused(world.nobody.get("/v1/models/kiln/nothing"), 404)
    readme = world.nobody.get("/v1/models/kiln/vase/readme")
    assert (readme.status_code, readme.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    for query, found in (("sort_by=model_created_at&sort_direction=asc", 1), ("", 1)):
        assert len(world.nobody.get(f"/v1/models?{query}").json()["results"]) == found
    refused(world.nobody.get("/v1/models?sort_by=luck"), 422, "sort_by")
    Listing.objects.update(visibility="private")
    assert world.mal.get("/v1/models").json()["results"] == []
    refused(world.mal.get("/v1/models/kiln/vase"), 404)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"vas", "text/plain"), (b'"vase"', "text/plain"), (b'"vase"', "application/json")],
)
def test_models_are_searched_by_a_method_of_its_own(world, body, content_type):
    asked = world.nobody.client.generic("QUERY", "/v1/models", body, content_type)
    assert [one["name"] for one in asked.json()["results"]] == ["vase"]
    for nothing in (b"teapot\0", b'"teapot\\ud800"'):
        none = world.nobody.client.generic("QUERY", "/v1/models", nothing, content_type)
        assert none.json()["results"] == []


def test_examples_are_shown_to_everybody(world):
    uid = run(world.ada).json()["id"]
    (job,) = cast.claim()
    cast.succeed(job)
    predictions.pin(Prediction.objects.with_model().get(public_id=parse(uid)), by=None)
    (shown,) = world.mal.get("/v1/models/kiln/vase/examples").json()["results"]
    assert (shown["id"], shown["status"], len(shown["output"])) == (uid, "succeeded", 1)
    assert "cost_micros" not in shown["metrics"]
    assert "stream" not in shown["urls"]
    assert world.mal.get("/v1/models/kiln/vase").json()["default_example"] == shown


def test_a_stream_is_not_to_be_followed_once_its_workspace_is_closed(world):
    uid = run(world.ada).json()["id"]
    (job,) = cast.claim()
    cast.succeed(job)
    stream = urlsplit(world.ada.get(f"/v1/predictions/{uid}").json()["urls"]["stream"]).path
    assert world.nobody.get(stream).status_code == 200
    Workspace.objects.filter(pk=world.workspace.pk).update(closed_at=timezone.now())
    refused(world.nobody.get(stream), 404)


def test_an_owner_says_what_its_model_is(world):
    owner = caller_of(cast.publisher().workspace)
    said = owner.patch("/v1/models/kiln/vase", {"description": "A jug.", "readme": "# Jug"})
    assert (said.status_code, said.json()["description"]) == (200, "A jug.")
    assert owner.get("/v1/models/kiln/vase/readme").content == b"# Jug"
    refused(owner.patch("/v1/models/kiln/vase", {"github_url": "https://x.example"}), 422, "github_url")
    refused(owner.patch("/v1/models/kiln/vase", {"description": ""}), 422, "description is required")
    refused(world.mal.patch("/v1/models/kiln/vase", {"description": "Mine."}), 404)
    refused(owner.delete("/v1/models/kiln/vase"), 403)
    refused(owner.delete(f"/v1/models/kiln/vase/versions/{version_of()}"), 403)
    refused(world.mal.delete("/v1/models/kiln/vase"), 404)
    refused(owner.post("/v1/models", {"owner": "kiln", "name": "jug"}), 501, "manifest")


def caller_of(workspace):
    from marketplace import keys
    from tests.api.programs import Caller

    return Caller(keys.make(workspace, name="owner")[1])


def test_what_lies_around(world):
    account = world.ada.get("/v1/account").json()
    assert (account["type"], account["username"]) == ("organization", world.workspace.slug)
    (collection,) = world.ada.get("/v1/collections").json()["results"]
    assert collection["slug"] == "text-to-image"
    assert len(world.ada.get("/v1/collections/text-to-image").json()["models"]) == 1
    refused(world.ada.get("/v1/collections/nothing"), 404)
    assert isinstance(world.ada.get("/v1/hardware").json(), list)
    found = world.ada.get("/v1/search?query=vase").json()
    assert [one["model"]["name"] for one in found["models"]] == ["vase"]
    assert (found["query"], found["pages"]) == ("vase", [])
    assert [one["slug"] for one in world.ada.get("/v1/search?query=image").json()["collections"]] == [
        "text-to-image"
    ]
    refused(world.ada.get("/v1/search"), 422, "query is required")
    refused(world.ada.get("/v1/search?query=x&limit=51"), 422, "limit")


def test_what_is_not_there_says_so_in_shape(world):
    for path in ("/v1/deployments", "/v1/trainings"):
        assert world.ada.get(path).json() == {"previous": None, "next": None, "results": []}
    for method, path, status in (
        ("post", "/v1/deployments", 501),
        ("get", "/v1/deployments/a/b", 404),
        ("delete", "/v1/deployments/a/b", 404),
        ("post", "/v1/deployments/a/b/predictions", 404),
        ("get", "/v1/trainings/abc", 404),
        ("post", "/v1/trainings/abc/cancel", 404),
        ("post", f"/v1/models/kiln/vase/versions/{version_of()}/trainings", 501),
        ("post", f"/v1/models/kiln/vase/versions/{'0' * 64}/trainings", 404),
        ("delete", "/v1/predictions", 405),
    ):
        body = refused(getattr(world.ada, method)(path), status)
        assert body["detail"]


ROUTES = [
    ("get", "/v1/predictions", "predictions:read"),
    ("post", "/v1/predictions", "predictions:write"),
    ("post", "/v1/models/kiln/vase/predictions", "predictions:write"),
    ("get", "/v1/predictions/{id}", "predictions:read"),
    ("post", "/v1/predictions/{id}/cancel", "predictions:write"),
    ("patch", "/v1/models/kiln/vase", "publishers:write"),
    ("delete", "/v1/models/kiln/vase", "publishers:write"),
    ("post", "/v1/models", "publishers:write"),
    ("get", "/v1/files", "assets:read"),
    ("post", "/v1/files", "assets:write"),
    ("get", "/v1/files/{id}", "assets:read"),
    ("delete", "/v1/files/{id}", "assets:write"),
    ("get", "/v1/account", "workspace:read"),
    ("get", "/v1/webhooks/default/secret", "webhooks:write"),
    ("get", "/v1/deployments", "models:read"),
    ("post", "/v1/deployments", "predictions:write"),
    ("get", "/v1/trainings", "predictions:read"),
]


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
def test_what_a_key_needs(world, key_with, method, path, scope):
    from marketplace.keys import SCOPES

    path = path.format(id="0" * 26)
    body = [{}] if method in {"post", "patch"} else []
    without = key_with(scopes=[one for one in SCOPES if one != scope])
    refused(getattr(without, method)(path, *body), 403, scope)
    assert getattr(key_with(scopes=[scope]), method)(path, *body).status_code not in {401, 403}
    assert refused(getattr(world.nobody, method)(path, *body), 401)["title"] == "Unauthenticated"
