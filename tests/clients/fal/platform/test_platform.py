"""The platform API: the shelf, prices, usage, requests and keys in fal's shapes, and to whom they are shown."""

from __future__ import annotations

import datetime as dt
import re
import time
from urllib.parse import quote

import pytest
from django.conf import settings
from django.utils import timezone
from drf_spectacular.validation import validate_schema
from jsonschema import Draft202012Validator
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from marketplace import keys
from marketplace.ids import parse
from marketplace.models import ApiKey
from playground import assets
from playground.api.authentication import HasWorkspace
from playground.facades.fal import described
from playground.facades.fal.platform import timeframes
from playground.models import Prediction
from tests.predictions import cast

V1 = "/fal/v1"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def error(answer, status: int) -> dict:
    assert answer.status_code == status, answer.text
    (name,) = answer.json()
    assert name == "error"
    return answer.json()["error"]


def check_openapi(document: dict) -> None:
    """It keeps to the version of OpenAPI that it names, and so do its schemas; every reference leads somewhere."""
    validate_schema(document)
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)

    def walk(value) -> None:
        if isinstance(value, list):
            for one in value:
                walk(one)
        if isinstance(value, dict):
            assert not {"nullable", "x-order", "x-media", "x-measure", "x-secret"} & set(value)
            if isinstance(reference := value.get("$ref"), str):
                found = document
                for name in reference.removeprefix("#/").split("/"):
                    found = found[name]
            for one in value.values():
                walk(one)

    walk(document)
    for item in document["paths"].values():
        for name, operation in item.items():
            if name in {"get", "post", "put"}:
                assert operation["responses"]


def ran(world, **named) -> Prediction:
    """A run of Ada's by her key that succeeded."""
    answer = world.ada.run(**named)
    assert answer.status_code == 201, answer.text
    (job,) = cast.claim()
    cast.succeed(job, pictures=named.get("input", {}).get("num_images", 1))
    return Prediction.objects.get(public_id=parse(answer.json()["id"], "p"))


def test_models_are_listed_page_by_page(world):
    cast.shelve(name="jug", task="image-to-image")
    first = world.nobody.get(f"{V1}/models?limit=1").json()
    assert (first["has_more"], len(first["models"])) == (True, 1)
    second = world.nobody.get(f"{V1}/models?limit=1&cursor={first['next_cursor']}").json()
    assert (second["has_more"], second["next_cursor"]) == (False, None)
    ids = {one["endpoint_id"] for page in (first, second) for one in page["models"]}
    assert ids == {"kiln/vase", "kiln/jug"}
    about = first["models"][0]["metadata"]
    assert (about["status"], about["is_favorited"], about["kind"]) == ("active", None, "inference")
    assert about["model_url"] == f"{settings.PUBLIC_URL}/fal/run/{first['models'][0]['endpoint_id']}"


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("q=jug", ["kiln/jug"]),
        ("category=text-to-image", ["kiln/vase"]),
        ("endpoint_id=kiln/jug,kiln/vase&category=text-to-image", ["kiln/vase"]),
        ("endpoint_id=kiln/jug", ["kiln/jug"]),
        ("status=deprecated", []),
        ("q=%00", []),
    ],
)
def test_models_are_found(world, query, ids):
    cast.shelve(name="jug", task="image-to-image")
    answer = world.nobody.get(f"{V1}/models?{query}")
    assert [one["endpoint_id"] for one in answer.json()["models"]] == ids


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("models?status=new", "status"),
        ("models?expand=all", "expand"),
        ("models?limit=0", "limit"),
        ("models/usage?start=yesterday", "start"),
        ("models/usage?timezone=Europe/Oslo", "timezone"),
        ("models/usage?timeframe=year", "timeframe"),
        ("models/analytics?endpoint_id=kiln/vase&bound_to_timeframe=maybe", "bound_to_timeframe"),
        ("models/analytics", "endpoint_id"),
        ("models/requests/by-endpoint?endpoint_id=kiln/vase&sort_by=luck", "sort_by"),
        ("storage/files/acl", "url"),
        ("models/requests/search?only_api_requests=perhaps", "only_api_requests"),
        ("models/requests/search?query=a&endpoint_id=kiln/vase,kiln/jug", "endpoint_id"),
    ],
)
def test_a_wrong_field_is_named(world, query, field):
    told = error(world.ada.get(f"{V1}/{query}"), 400)
    assert told["type"] == "validation_error"
    assert told["message"].startswith(f"{field} ")
    assert [one["field"] for one in told["errors"]] == [field]


def test_what_is_asked_wrongly_is_told_in_its_own_shape(world):
    assert error(world.nobody.get(f"{V1}/models?cursor=n0"), 400)["type"] == "validation_error"
    assert error(world.nobody.get(f"{V1}/models?endpoint_id=kiln/none"), 404)["type"] == "not_found"
    assert error(world.nobody.get(f"{V1}/models?endpoint_id=kiln/vase/dev"), 404)["type"] == "not_found"
    assert error(world.nobody.get(f"{V1}/models/usage"), 401)["type"] == "authorization_error"
    assert error(world.ada.get(f"{V1}/nothing/here"), 404)["type"] == "not_found"
    for room in (
        "workflows",
        "assets/collections",
        "serverless/apps",
        "compute/instances",
        "models/requests/search?image_url=https://x.test/a.png",
        "organization/teams",
        "account/focus",
    ):
        told = error(world.ada.get(f"{V1}/{room}"), 501)
        assert (told["type"], "here" in told["message"]) == ("not_implemented", True)
    assert error(world.ada.put(f"{V1}/storage/settings", {}), 501)["type"] == "not_implemented"


def test_the_document_of_an_app_keeps_to_openapi_and_orders_its_fields(world):
    (found,) = world.nobody.get(f"{V1}/models?expand=openapi-3.0&endpoint_id=kiln/vase").json()["models"]
    alone = world.nobody.get("/fal/api/openapi/queue/openapi.json?endpoint_id=kiln/vase").json()
    assert found["openapi"] == alone
    check_openapi(alone)
    assert alone["servers"] == [{"url": f"{settings.PUBLIC_URL}/fal/queue"}]
    assert alone["info"]["x-fal-metadata"]["endpointId"] == "kiln/vase"
    taken = alone["components"]["schemas"]["VaseInput"]
    assert taken["x-fal-order-properties"] == ["prompt", "num_images", "steps", "seed", "token"]
    assert taken["properties"]["prompt"]["ui"]["important"] is True
    shown = described.shown({"type": "integer", "nullable": True, "enum": [1, 2], "exclusiveMinimum": 0})
    assert shown == {"type": ["integer", "null"], "enum": [1, 2, None], "exclusiveMinimum": 0}
    assert alone["x-fal-order-paths"] == list(alone["paths"])
    assert alone["paths"]["/kiln/vase/realtime"]["x-fal-protocol"]["type"] == "realtime"


def test_prices_and_estimates(world):
    answer = world.nobody.get(f"{V1}/models/pricing?endpoint_id=kiln/vase").json()
    (price,) = answer["prices"]
    assert (price["unit"], price["unit_price"], price["currency"]) == ("image", 0.004, "USD")

    def estimate(kind: str, **given):
        body = {"estimate_type": kind, "endpoints": {"kiln/vase": given}}
        return world.ada.post(f"{V1}/models/pricing/estimate", body)

    assert estimate("unit_price", unit_quantity=50).json()["total_cost"] == pytest.approx(0.2)
    assert estimate("historical_api_price", call_quantity=10).json()["total_cost"] == pytest.approx(0.04)
    ran(world, input={"num_images": 2})
    assert estimate("historical_api_price", call_quantity=10).json()["total_cost"] == pytest.approx(0.08)
    error(estimate("unit_price", call_quantity=1), 400)
    error(estimate("guess"), 400)
    error(world.nobody.post(f"{V1}/models/pricing/estimate", {}), 401)


def test_usage_says_what_was_charged_and_to_whom(world):
    ran(world, input={"num_images": 2})
    ran(world)
    answer = world.ada.get(
        f"{V1}/models/usage?expand=time_series&expand=summary,auth_method&timeframe=hour"
    ).json()
    (row,) = answer["summary"]
    assert (row["endpoint_id"], row["unit"], row["quantity"]) == ("kiln/vase", "image", 3)
    assert (row["unit_price"], row["cost_total"]) == (0.004, pytest.approx(0.012))
    key_id = row["auth_method_structured"]["api_key_id"]
    assert ApiKey.objects.get(key_id=key_id.removeprefix("vt_")).workspace == world.workspace
    assert sum(one["quantity"] for bucket in answer["time_series"] for one in bucket["results"]) == 3
    alone = world.ada.get(f"{V1}/models/usage?expand=auth_method_structured").json()
    assert alone["time_series"][0]["results"][0]["auth_method_structured"]["api_key_id"] == key_id
    none = world.ada.get(f"{V1}/models/usage?api_key_id=vt_{'0' * 12}&expand=summary").json()
    assert none["summary"] == []
    assert world.mal.get(f"{V1}/models/usage?expand=summary").json()["summary"] == []


def test_each_charge_is_an_event(world):
    rows = [ran(world), ran(world, input={"num_images": 3})]
    first = world.ada.get(f"{V1}/models/billing-events?limit=1").json()
    (event,) = first["billing_events"]
    assert event["request_id"] == str(rows[1].public_id)
    assert (event["output_units"], event["unit_price"]) == (3, 0.004)
    assert event["cost_estimate_nano_usd"] == 12_000_000
    following = world.ada.get(f"{V1}/models/billing-events?cursor={first['next_cursor']}").json()
    assert [one["request_id"] for one in following["billing_events"]] == [str(rows[0].public_id)]
    one = world.ada.get(f"{V1}/models/billing-events?request_id={rows[0].public_id}").json()
    assert len(one["billing_events"]) == 1
    assert world.mal.get(f"{V1}/models/billing-events").json()["billing_events"] == []


def test_analytics_count_and_measure(world):
    ran(world)
    world.ada.run()
    (job,) = cast.claim()
    cast.fail(job)
    asked = "expand=summary,request_count,success_count,error_count,p50_duration"
    (row,) = world.ada.get(f"{V1}/models/analytics?endpoint_id=kiln/vase&{asked}").json()["summary"]
    assert (row["request_count"], row["success_count"], row["error_count"]) == (2, 1, 1)
    assert row["p50_duration"] >= 0
    series = world.ada.get(f"{V1}/models/analytics?endpoint_id=kiln/vase").json()["time_series"]
    assert sum(one["request_count"] for bucket in series for one in bucket["results"]) == 2
    assert world.mal.get(f"{V1}/models/analytics?endpoint_id=kiln/vase").json()["time_series"] == []


def test_requests_by_endpoint(world):
    rows = [ran(world), ran(world)]
    world.ada.run()  # still open, so it has no end to be listed by
    listed = world.ada.get(f"{V1}/models/requests/by-endpoint?endpoint_id=kiln/vase&expand=payloads").json()
    assert [one["request_id"] for one in listed["items"]] == [str(row.public_id) for row in reversed(rows)]
    assert listed["items"][0]["json_input"]["prompt"] == "a vase"
    assert listed["items"][0]["json_output"]["images"][0]["url"].startswith("http")
    assert listed["items"][0]["status_code"] == 200
    page = world.ada.get(
        f"{V1}/models/requests/by-endpoint?endpoint_id=kiln/vase&limit=1&sort_by=duration"
    ).json()
    more = world.ada.get(
        f"{V1}/models/requests/by-endpoint?endpoint_id=kiln/vase&sort_by=duration&cursor={page['next_cursor']}"
    ).json()
    assert {one["request_id"] for one in (*page["items"], *more["items"])} == {str(r.public_id) for r in rows}
    for who, query in ((world.mal, ""), (world.ada, "&status=user_error"), (world.ada, "&end=2020-01-01")):
        found = who.get(f"{V1}/models/requests/by-endpoint?endpoint_id=kiln/vase{query}").json()
        assert found["items"] == []


def test_payloads_are_deleted_with_their_media(world):
    row = ran(world)
    path = f"{V1}/models/requests/{row.public_id}/payloads"
    error(world.mal.delete(path), 404)
    (gone,) = world.ada.delete(path).json()["cdn_delete_results"]
    assert gone["exception"] is None
    assert not Prediction.objects.of(world.workspace).exists()
    assert world.ada.get(f"{V1}/models/usage?expand=summary").json()["summary"][0]["quantity"] == 1


def test_keys_are_made_listed_and_ended(world, key_with):
    made = world.ada.post(f"{V1}/keys", {"alias": "shop"}).json()
    assert made["key"] == f"{made['key_id']}:{made['key_secret']}"
    assert keys.resolve(made["key"]).workspace == world.workspace
    listed = world.ada.get(f"{V1}/keys?expand=creator_info").json()
    assert [one["alias"] for one in listed["keys"]] == ["shop", "Ada's"]
    assert made["key_secret"] not in world.ada.get(f"{V1}/keys").text
    error(world.mal.delete(f"{V1}/keys/{made['key_id']}"), 404)
    error(world.ada.delete(f"{V1}/keys/%00"), 404)
    assert world.ada.delete(f"{V1}/keys/{made['key_id']}").status_code == 204
    assert world.ada.delete(f"{V1}/keys/{made['key_id']}").status_code == 204
    assert [one["alias"] for one in world.ada.get(f"{V1}/keys").json()["keys"]] == ["Ada's"]
    weak = key_with(scopes=["models:read"])
    assert error(weak.post(f"{V1}/keys", {"alias": "more"}), 403)["type"] == "authorization_error"
    error(weak.get(f"{V1}/account/billing"), 403)


def test_the_account(world):
    answer = world.ada.get(f"{V1}/account/billing?expand=credits").json()
    assert answer["username"] == world.workspace.slug
    assert answer["credits"] == {"current_balance": 1.0, "available_balance": 1.0, "currency": "USD"}
    assert "credits" not in world.ada.get(f"{V1}/account/billing").json()
    assert world.nobody.get(f"{V1}/meta").json() == {"webhook_ip_ranges": []}


def test_a_file_is_open_to_its_address_and_may_have_one_that_ends_sooner(world):
    row = ran(world)
    url = world.ada.get(f"/fal/queue/kiln/vase/requests/{row.public_id}").json()["images"][0]["url"]
    sign, acl = (f"{V1}/storage/files/{what}?url={quote(url)}" for what in ("sign", "acl"))
    signed = world.ada.post(sign, {"expiration_seconds": 60}).json()["signed_url"]
    until = assets.open_address(signed.split("/")[4]).expires_at
    assert 60 <= until - time.time() + 1 <= 92
    assert world.ada.get(acl).json() == {"default": "allow", "rules": []}
    assert world.ada.put(acl, {"default": "allow"}).json()["rules"] == []
    for closed, field in (({"default": "hide"}, "default"), ({"default": "allow", "rules": [1]}, "rules")):
        assert error(world.ada.put(acl, closed), 400)["errors"][0]["field"] == field
    (wrong,) = error(world.ada.post(sign, {"expiration_seconds": 604801}), 400)["errors"]
    assert wrong["field"] == "expiration_seconds"
    error(world.mal.get(acl), 404)
    error(world.ada.get(f"{V1}/storage/files/acl?url=https://x.test/a.png"), 404)
    assert world.ada.get(f"{V1}/storage/settings").json()["expiration_duration_seconds"] == 7 * 86400


def test_requests_are_found_by_their_words_or_all_of_them(world):
    made = [ran(world, input={"prompt": text}) for text in ("a blue vase", "a red vase", "a blue jug")]
    waiting = world.ada.run(input={"prompt": "a green vase"}).json()["id"]
    at = f"{V1}/models/requests/search"

    def found(query: str, who=world.ada) -> list[str]:
        ids, cursor = [], ""
        while True:
            page = who.get(f"{at}?limit=1&{query}{cursor}").json()
            ids += [one["request_id"] for one in page["results"]]
            if not page["has_more"]:
                return ids
            cursor = f"&cursor={page['next_cursor']}"

    first, second, third = (str(row.public_id) for row in made)
    assert found("") == [str(parse(waiting, "p")), third, second, first]
    assert found("query=blue&min_similarity=0.5") == [third, first]
    assert found("query=vase%20red&endpoint_id=kiln/vase") == [second]
    assert found("endpoint_id=kiln/jug,kiln/vase&only_api_requests=true")[1:] == [third, second, first]
    assert found("exclude_api_requests=true") == found("query=blue&exclude_api_requests=true") == []
    assert found("", world.mal) == found("query=blue", world.mal) == []
    newest, last = world.ada.get(f"{at}?limit=2").json()["results"]
    assert (newest["status_code"], newest["ended_at"], newest["json_output"]) == (None, None, None)
    assert (last["status_code"], last["json_input"]["prompt"]) == (200, "a blue jug")
    assert last["json_output"]["images"]
    error(world.ada.get(f"{at}?query=blue&cursor=x"), 400)


def test_a_request_is_found_by_its_name_for_ninety_days(world):
    row = ran(world)
    Prediction.objects.update(created_at=timezone.now() - dt.timedelta(days=80))
    at = f"{V1}/models/requests/by-endpoint?endpoint_id=kiln/vase"
    found = [world.ada.get(f"{at}{more}").json()["items"] for more in ("", f"&request_id={row.public_id}")]
    assert [len(one) for one in found] == [0, 1]


@pytest.mark.parametrize(
    ("query", "step", "since", "until"),
    [
        ("start=2027-03-03T10:20:30Z&end=2027-03-03T11:00:00Z", "minute", "03-03T10:20", "03-03T11:00"),
        ("start=2027-03-03T10:20:30Z&end=2027-03-04T11:00:01Z", "hour", "03-03T10:00", "03-04T12:00"),
        ("start=2027-03-03T10:20:30Z&end=2027-03-20", "day", "03-03T00:00", "03-20T00:00"),
        ("start=2027-03-03&end=2027-05-20", "week", "03-01T00:00", "05-24T00:00"),
        ("start=2027-01-31&end=2027-12-02", "month", "01-01T00:00", "01-01T00:00"),
        (
            "start=2027-03-03T10:20:00%2B01:00&end=2027-03-20&timeframe=hour",
            "hour",
            "03-03T09:00",
            "03-20T00:00",
        ),
        ("start=2027-03-03&end=2027-05-20&bound_to_timeframe=false", "week", "03-03T00:00", "05-20T00:00"),
    ],
)
def test_a_range_of_time_has_its_step_and_begins_and_ends_with_one(query, step, since, until):
    request = Request(APIRequestFactory().get(f"/?{query}"))
    asked, found = timeframes.framed(request, default=dt.timedelta(days=1))
    assert found == step
    assert [f"{one:%m-%dT%H:%M}" for one in (asked.since, asked.until)] == [since, until]


def test_a_day_is_from_its_midnight_and_no_range_is_endless(world):
    today = timezone.now().astimezone(dt.UTC).date()
    assert world.ada.get(f"{V1}/models/usage?start={today}").status_code == 200
    error(world.ada.get(f"{V1}/models/usage?start=2001-01-01"), 400)
    error(world.ada.get(f"{V1}/models/usage?start=9999-12-31T23:59:59-23:00"), 400)
    error(world.ada.get(f"{V1}/models/usage?cursor=AAAA"), 400)


def test_every_address_asks_who_calls(world):
    """All that is not open to everybody, or to whoever has the address, needs a key, whatever the method."""
    from playground.facades.fal.rest_routes import urlpatterns

    asked = 0
    for pattern in urlpatterns:
        view = pattern.callback.cls
        path = re.sub(r"<[^>]*>", "1", str(pattern.pattern))
        assert set(view.scopes) == {name for name in METHODS if hasattr(view, name.lower())}, view
        if view.permission_classes != (HasWorkspace,):
            continue
        for method in view.scopes:
            answer = world.nobody.client.generic(method, f"/{path}")
            assert answer.status_code == 401, (method, path)
            asked += 1
    assert asked > 15
