"""The platform API: the shelf, prices, usage, requests and keys in fal's shapes, and to whom they are shown."""

from __future__ import annotations

import datetime as dt
import re

import pytest
from django.conf import settings
from django.utils import timezone

from marketplace import keys
from marketplace.ids import parse
from marketplace.models import ApiKey
from playground.api.authentication import HasWorkspace
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
    """Every reference leads somewhere, and nothing is written as only later versions of OpenAPI have it."""
    assert document["openapi"].startswith("3.0.")

    def walk(value) -> None:
        if isinstance(value, list):
            for one in value:
                walk(one)
        if isinstance(value, dict):
            assert not {"const", "x-order", "x-media", "x-measure", "x-secret"} & set(value)
            assert isinstance(value.get("exclusiveMinimum", False), (bool, dict))
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


def test_what_is_asked_wrongly_is_told_in_its_own_shape(world):
    assert error(world.nobody.get(f"{V1}/models?status=new"), 422)["type"] == "validation_error"
    assert error(world.nobody.get(f"{V1}/models?expand=all"), 422)["type"] == "validation_error"
    assert error(world.nobody.get(f"{V1}/models?limit=0"), 422)["type"] == "validation_error"
    assert error(world.nobody.get(f"{V1}/models?cursor=n0"), 400)["type"] == "validation_error"
    assert error(world.nobody.get(f"{V1}/models?endpoint_id=kiln/none"), 404)["type"] == "not_found"
    assert error(world.nobody.get(f"{V1}/models?endpoint_id=kiln/vase/dev"), 404)["type"] == "not_found"
    assert error(world.nobody.get(f"{V1}/models/usage"), 401)["type"] == "authorization_error"
    assert error(world.ada.get(f"{V1}/models/usage?start=yesterday"), 422)["type"] == "validation_error"
    assert error(world.ada.get(f"{V1}/models/usage?timezone=Europe/Oslo"), 422)["type"] == "validation_error"
    assert error(world.ada.get(f"{V1}/nothing/here"), 404)["type"] == "not_found"
    for room in (
        "workflows",
        "assets/collections",
        "serverless/apps",
        "compute/instances",
        "storage/settings",
    ):
        assert error(world.ada.get(f"{V1}/{room}"), 501)["type"] == "not_implemented"


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
    error(estimate("unit_price", call_quantity=1), 422)
    error(estimate("guess"), 422)
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
    assert [one["request_count"] for one in series[0]["results"]] == [2]
    assert world.mal.get(f"{V1}/models/analytics?endpoint_id=kiln/vase").json()["time_series"] == []
    error(world.ada.get(f"{V1}/models/analytics"), 422)


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


def test_a_day_is_from_its_midnight_and_no_range_is_endless(world):
    today = timezone.now().astimezone(dt.UTC).date()
    assert world.ada.get(f"{V1}/models/usage?start={today}").status_code == 200
    error(world.ada.get(f"{V1}/models/usage?start=2001-01-01"), 422)
    error(world.ada.get(f"{V1}/models/usage?start=9999-12-31T23:59:59-23:00"), 422)
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
