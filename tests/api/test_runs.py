"""Running through the API: quote, create, read, cancel, list, balance, and what goes wrong on the way."""

from __future__ import annotations

import json
import re
from urllib.parse import urlsplit

import pytest
from django.test import Client
from django.utils import timezone

from billing import ledger
from marketplace import catalog, keys, people
from marketplace.models import Offer, User
from playground import predictions
from playground.api.codes import CODES, FAILURES, FIELD_CODES
from playground.models import Prediction
from tests.api.shapes import assert_problem
from tests.predictions import cast

QUOTE = {"model": "kiln/vase", "input": {"prompt": "a vase", "num_images": 2}}


def test_a_request_that_is_overtaken_by_the_end_of_its_workspace(world, monkeypatch):
    monkeypatch.setattr(keys, "KEEP_SECONDS", 10**6)  # as if the key had been looked up a moment ago
    keys.forget()
    assert world.ada.get("balance").status_code == 200
    type(world.workspace).objects.filter(pk=world.workspace.pk).update(closed_at=timezone.now())
    for answer in (world.ada.run(), world.ada.post("webhooks", {"url": "https://example.test/"})):
        assert "This workspace was deleted." in assert_problem(answer, "forbidden")["detail"]
    assert "deleted" in assert_problem(world.ada.post("keys", {"name": "late"}), "forbidden")["detail"]
    assert ledger.balance(world.workspace.pk).held_micros == 0
    keys.forget()


def test_an_open_run_is_not_deleted_unless_it_may_be_canceled(world):
    uid = world.ada.run().json()["id"]
    assert_problem(world.ada.delete(f"predictions/{uid}"), "prediction_open")
    assert_problem(world.ada.delete(f"predictions/{uid}?cancel=maybe"), "invalid_input", field="cancel")
    assert world.ada.get(f"predictions/{uid}").json()["status"] == "queued"
    assert world.ada.delete(f"predictions/{uid}?cancel=true").status_code == 204
    assert_problem(world.ada.get(f"predictions/{uid}"), "not_found")


def test_the_shelf(world):
    shown = world.nobody.get("models").json()
    assert set(shown) == {"results", "next", "previous"}
    (vase,) = shown["results"]
    assert (vase["id"], vase["publisher"], vase["name"]) == ("kiln/vase", "kiln", "vase")
    assert vase["prices"] == [
        {"unit": "image", "unit_price": "0.004", "currency": "USD", "conditions": {}, "from_runs": 0}
    ]
    whole = world.nobody.get("models/kiln/vase").json()
    assert list(whole["input_schema"]["properties"]) == ["prompt", "num_images", "steps", "seed", "token"]
    assert whole["limits"]["max_seconds"] == 60
    assert whole["versions"] == [
        {
            "id": vase["version"],
            "created_at": whole["versions"][0]["created_at"],
            "is_default": True,
            "measurements": [],
        }
    ]
    assert whole["is_available"] is True
    assert (
        world.ada.post("quotes", {"model": whole["id"], "input": whole["example_input"]}).status_code == 200
    )
    assert not re.search(r'"(pk|workspace_id|id)": ?\d', json.dumps([shown, whole]))


def test_a_version_can_be_named(world):
    old = world.nobody.get("models/kiln/vase").json()["version"]
    cast.shelve(endpoint__max_seconds=70)
    new = world.nobody.get("models/kiln/vase").json()
    assert new["version"] != old
    assert [one["is_default"] for one in new["versions"]] == [True, False]
    asked = {**QUOTE, "model": f"kiln/vase:{old[:12]}"}
    assert world.ada.post("predictions", asked).json()["version"] == old
    assert world.ada.post("predictions", QUOTE).json()["version"] == new["version"]
    assert_problem(world.ada.post("predictions", {**QUOTE, "model": f"kiln/vase:{'0' * 64}"}), "not_found")


def test_a_quote_holds_nothing(world):
    quote = world.ada.post("quotes", QUOTE).json()
    assert quote["model"] == "kiln/vase"
    assert quote["lines"] == [
        {"unit": "image", "quantity": "2", "unit_price": "0.004", "amount_micros": 8000}
    ]
    assert quote["amount_micros"] == 8000
    assert quote["currency"] == "USD"
    assert quote["expires_at"]
    assert world.ada.get("balance").json()["held_micros"] == 0
    assert not Prediction.objects.exists()


def test_create_read_and_finish(world):
    before = world.ada.get("balance").json()
    assert before["available_micros"] == before["balance_micros"] == 1_000_000
    answer = world.ada.post(
        "predictions", {**QUOTE, "start_within": 50, "max_cost_micros": 8000, "exact": True}
    )
    assert answer.status_code == 201
    body = answer.json()
    assert answer.headers["Location"] == body["urls"]["get"]
    assert "Idempotent-Replayed" not in answer.headers
    assert body["id"].startswith("p_")
    assert (body["status"], body["held_micros"], body["cost_micros"], body["exact"]) == (
        "queued",
        8000,
        None,
        True,
    )
    assert body["input"]["seed"] is not None
    assert body["quote"]["amount_micros"] == 8000
    held = world.ada.get("balance").json()
    assert (held["balance_micros"], held["held_micros"], held["available_micros"]) == (
        1_000_000,
        8000,
        992_000,
    )
    path = urlsplit(body["urls"]["get"]).path
    (job,) = cast.claim()
    cast.step(job, 2)
    running = world.ada.get(path).json()
    assert (running["status"], running["step"], running["steps"], running["attempt"]) == ("running", 2, 4, 1)
    cast.succeed(job, pictures=2)
    done = world.ada.get(path).json()
    assert (done["status"], done["cost_micros"], done["held_micros"]) == ("succeeded", 8000, 0)
    first = done["output"]["images"][0]
    assert set(first) >= {"url", "content_type", "width", "height", "sha256", "size", "expires_at"}
    assert world.ada.get("balance").json()["available_micros"] == 992_000
    assert set(body) == set(done)


def test_cancel(world):
    run = world.ada.run().json()
    answer = world.ada.post(f"predictions/{run['id']}/cancel")
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["cost_micros"]) == ("canceled", 0)
    again = world.ada.post(f"predictions/{run['id']}/cancel", raw=b"")
    assert again.json() == answer.json()
    assert_problem(
        world.ada.post(f"predictions/{run['id']}/cancel", {"why": 1}), "invalid_input", field="why"
    )


def test_the_same_request_twice_is_one_run(world):
    first = world.ada.run(max_cost_micros=9000)
    one = world.ada.post("predictions", QUOTE, Idempotency_Key="order 1")
    two = world.ada.post("predictions", QUOTE, Idempotency_Key="order 1")
    assert (one.status_code, two.status_code) == (201, 201)
    assert one.json() == two.json()
    assert first.json()["id"] != one.json()["id"]
    assert two.headers["Idempotent-Replayed"] == "true"
    assert two.headers["Location"] == one.headers["Location"]
    (job,) = cast.claim()
    cast.fail(job)
    (job,) = cast.claim()
    cast.succeed(job, pictures=2)
    later = world.ada.post("predictions", QUOTE, Idempotency_Key="order 1").json()
    assert (later["id"], later["status"]) == (one.json()["id"], "succeeded")
    assert later["output"]["images"]
    other = {**QUOTE, "input": {"prompt": "another"}}
    assert_problem(world.ada.post("predictions", other, Idempotency_Key="order 1"), "idempotency_conflict")
    assert world.mal.post("predictions", other, Idempotency_Key="order 1").status_code == 201
    assert Prediction.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_a_request_in_flight_says_when_to_come_back(transactional_db, world):
    import threading

    from django.db import connection, transaction

    from playground.predictions import idempotency

    inside, finish = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic():
            idempotency.claim(world.workspace, "order 1", "")
            inside.set()
            finish.wait(30)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(30)
    try:
        answer = world.ada.post("predictions", QUOTE, Idempotency_Key="order 1")
        assert_problem(answer, "idempotency_in_flight")
        assert int(answer.headers["Retry-After"]) >= 1
    finally:
        finish.set()
        thread.join()
    assert world.ada.post("predictions", QUOTE, Idempotency_Key="order 1").status_code == 201


def test_without_credit(world):
    for _ in range(250):
        cast.submit(world.workspace)
    body = assert_problem(world.ada.post("predictions", QUOTE), "insufficient_credit")
    amounts = {name: body[name] for name in CODES["insufficient_credit"].extras}
    assert amounts == {
        "balance_micros": 1_000_000,
        "held_micros": 1_000_000,
        "available_micros": 0,
        "needed_micros": 8000,
        "currency": "USD",
    }
    assert world.ada.post("quotes", QUOTE).status_code == 200


def test_beyond_a_limit(world):
    scope = ledger.SpendScope("workspace", str(world.workspace.pk))
    ledger.set_limit(workspace_id=world.workspace.pk, scope=scope, period="day", limit_micros=5000)
    body = assert_problem(world.ada.post("predictions", QUOTE), "limit_reached")
    assert (body["scope"], body["period"], body["limit_micros"]) == ("workspace", "day", 5000)
    assert body["resets_at"].endswith("00:00:00+00:00")
    assert str(world.workspace.pk) not in body["detail"]
    assert not Prediction.objects.exists()


def test_above_the_callers_own_cap(world):
    body = assert_problem(world.ada.run(max_cost_micros=3999), "cost_above_cap")
    assert (body["quote_micros"], body["max_cost_micros"]) == (4000, 3999)
    assert world.ada.run(max_cost_micros=4000).status_code == 201


def test_no_price_and_no_offer(world):
    cast.shelve(name="priceless", prices=[{"unit": "second", "unit_price": "1"}])
    cast.shelve(name="shut")
    Offer.objects.filter(endpoint__version__listing__name="shut").update(is_enabled=False)
    catalog.forget()
    for path in ("quotes", "predictions"):
        assert_problem(world.ada.post(path, {**QUOTE, "model": "kiln/priceless"}), "cannot_price")
    assert_problem(world.ada.post("predictions", {**QUOTE, "model": "kiln/shut"}), "model_unavailable")
    assert world.nobody.get("models/kiln/shut").json()["is_available"] is False


# Lists


def _walk(who, path):
    """All pages forwards, then backwards; the ids in the order of each walk."""
    page = who.get(path).json()
    pages = [page]
    assert page["previous"] is None
    while page["next"]:
        page = who.get(page["next"]).json()
        pages.append(page)
    forwards = [one["id"] for page in pages for one in page["results"]]
    back = [page]
    while page["previous"]:
        page = who.get(page["previous"]).json()
        back.insert(0, page)
    assert [one["id"] for page in back for one in page["results"]] == forwards
    return forwards, pages


def test_pages_of_runs(world):
    runs = [cast.submit(world.workspace).uid for _ in range(7)]
    cast.submit(world.other)
    found, pages = _walk(world.ada, "predictions?limit=3")
    assert found == runs[::-1]
    assert [len(page["results"]) for page in pages] == [3, 3, 1]
    assert pages[0]["next"].startswith("http://testserver/api/v1/predictions?")
    whole, pages = _walk(world.ada, "predictions?limit=7")
    assert whole == found
    assert len(pages) == 1
    assert world.ada.get("predictions?limit=1").json()["results"][0]["id"] == runs[-1]


def test_pages_stay_in_place_while_rows_come(world):
    runs = [cast.submit(world.workspace).uid for _ in range(4)]
    first = world.ada.get("predictions?limit=2").json()
    new = cast.submit(world.workspace).uid
    second = world.ada.get(first["next"]).json()
    assert [one["id"] for one in second["results"]] == [runs[1], runs[0]]
    back = world.ada.get(second["previous"]).json()
    assert [one["id"] for one in back["results"]] == [runs[3], runs[2]]
    front = world.ada.get(back["previous"]).json()
    assert [one["id"] for one in front["results"]] == [new]


def test_filters_of_runs(world):
    cast.shelve(name="jug")
    vase = cast.submit(world.workspace)
    jug = cast.submit(world.workspace, model="kiln/jug")
    predictions.cancel(vase)

    def found(query):
        return [one["id"] for one in world.ada.get(f"predictions?{query}").json()["results"]]

    assert found("status=canceled") == [vase.uid]
    assert found("status=queued&model=kiln/jug") == [jug.uid]
    assert found("model=kiln/none") == found("model=%00") == []
    body = assert_problem(world.ada.get("predictions?status=done"), "invalid_input", field="status")
    assert "succeeded" in body["errors"][0]["allowed"]
    page = world.ada.get("predictions?limit=1&status=queued").json()
    assert page["next"] is None


def test_a_cursor_is_no_way_into_another_workspace(world):
    for _ in range(3):
        cast.submit(world.workspace)
    foreign = urlsplit(world.ada.get("predictions?limit=1").json()["next"])
    assert_problem(world.mal.get(f"{foreign.path}?{foreign.query}"), "invalid_cursor")


def test_pages_of_models(world):
    for n in range(6):
        cast.shelve(name=f"pot-{n}", featured=n % 2)
    for sort in ("featured", "runs", "newest"):
        found, _ = _walk(world.nobody, f"models?limit=2&sort={sort}")
        assert len(found) == len(set(found)) == 7
    featured, _ = _walk(world.nobody, "models?limit=2")
    assert set(featured[:3]) == {"kiln/pot-1", "kiln/pot-3", "kiln/pot-5"}
    assert [one["id"] for one in world.nobody.get("models?search=vase").json()["results"]] == featured
    assert [one["id"] for one in world.nobody.get("models?search=pot-3").json()["results"]] == ["kiln/pot-3"]
    assert world.nobody.get("models?task=text-to-video").json()["results"] == []
    assert world.nobody.get("models?search=%00&task=%00").status_code == 200
    assert_problem(world.nobody.get("models?sort=best"), "invalid_input", field="sort")


# Sessions of our own pages


@pytest.fixture
def signed_in(world):
    user = User.objects.create_user("ada@vitrine.test", "a long password")
    workspace = people.make_workspace("adas-own", owner=user)
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    return client, workspace


def test_a_session_reads(signed_in):
    client, workspace = signed_in
    assert client.get("/api/v1/balance").json()["workspace"] == workspace.slug


def test_a_session_writes_with_its_token_only(signed_in):
    client, workspace = signed_in
    ledger.credit(workspace.pk, 1_000_000, key="promo:ada")
    answer = client.post("/api/v1/predictions", QUOTE, content_type="application/json")
    assert_problem(answer, "forbidden")
    assert not Prediction.objects.exists()
    token = "a" * 32
    client.cookies["csrftoken"] = token
    answer = client.post(
        "/api/v1/predictions", QUOTE, content_type="application/json", headers={"X-CSRFToken": token}
    )
    assert answer.status_code == 201, answer.text
    assert Prediction.objects.get().created_by.email == "ada@vitrine.test"


def test_a_key_counts_more_than_a_session(world, signed_in):
    client, _ = signed_in
    answer = client.get("/api/v1/balance", headers=world.ada.headers({}))
    assert answer.json()["workspace"] == world.workspace.slug
    answer = client.get("/api/v1/balance", headers={"Authorization": "Bearer vt_nothing"})
    assert_problem(answer, "invalid_key")


def test_somebody_without_a_workspace(db):
    client = Client()
    client.force_login(User.objects.create_user("new@vitrine.test", "a long password"))
    assert_problem(client.get("/api/v1/balance"), "not_authenticated")


# Limits of the server


def test_too_many_requests(world, settings):
    settings.API_REQUESTS_PER_MINUTE = 3
    answers = [world.ada.get("balance") for _ in range(8)]  # a window may end in between
    assert [one.status_code for one in answers[:3]] == [200] * 3
    refused = [one for one in answers if one.status_code != 200]
    assert refused
    assert_problem(refused[0], "throttled")
    assert 1 <= int(refused[0].headers["Retry-After"]) <= 60
    assert world.mal.get("balance").status_code == 200
    settings.API_REQUESTS_PER_MINUTE = 0
    assert world.ada.get("balance").status_code == 200


def test_our_own_faults_are_answered_in_shape(world, monkeypatch):
    from django.db import OperationalError

    def broken(*_, **__):
        raise failure

    monkeypatch.setattr(ledger, "balance", broken)
    failure: Exception = ZeroDivisionError("secret of the house")
    body = assert_problem(world.ada.get("balance"), "internal_error")
    assert "secret" not in json.dumps(body)
    failure = OperationalError("connection to server at /secret/socket failed")
    answer = world.ada.get("balance")
    assert_problem(answer, "unavailable")
    assert answer.headers["Retry-After"]
    assert "socket" not in answer.text


def test_the_callers_request_id_comes_back(world):
    answer = world.nobody.get("balance", X_Request_Id="my-own-id-1234")
    assert assert_problem(answer, "not_authenticated")["request_id"] == "my-own-id-1234"
    for hostile in ("a b", "<script>", "x" * 65):
        assert world.nobody.get("balance", X_Request_Id=hostile).headers["X-Request-Id"] != hostile


def test_the_list_of_codes_is_sound():
    for code, kind in CODES.items():
        assert re.fullmatch(r"[a-z_]+", code)
        assert 400 <= kind.status < 600
        assert kind.title
        assert kind.meaning.endswith(".")
    statuses = [kind.status for kind in CODES.values()]
    assert statuses == sorted(statuses)  # as the table of the documentation shows them
    assert all(FIELD_CODES.values())
    assert all(one.meaning.endswith(".") for one in FAILURES.values())
