"""The document that is published: complete, true to the code, and the table of scopes that it shows."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import get_type_hints

import pytest
from django.urls import URLPattern, get_resolver
from jsonschema import Draft202012Validator

from marketplace.keys import SCOPES
from playground.api import openapi, rates
from playground.api.billing import TopUpJson
from playground.api.codes import CODES
from playground.api.keys import CallingKeyJson, KeyJson, KeyWithSecretJson
from playground.api.limits import LimitJson
from playground.api.payouts import PayoutJson
from playground.api.publishers import EarnedJson, PublisherJson, StatementJson
from playground.api.schemas import SCHEMAS
from playground.assets import AssetJson
from playground.assets.uploads import PartJson, UploadJson
from playground.docs import reference
from playground.edge.present import Event
from playground.invoices import InvoiceJson, ListedJson
from playground.predictions.present import PredictionJson
from playground.receipts import ReceiptJson, RefundJson
from playground.statements import UsageJson, UsageSumsJson
from playground.webhooks.present import DeliveryJson, WebhookJson
from tests.api.shapes import assert_problem

METHODS = ("get", "post", "put", "patch", "delete")


def routes():
    """Each address of the API as OpenAPI writes it, and its view."""
    for pattern in get_resolver().url_patterns:
        if isinstance(pattern, URLPattern) and str(pattern.pattern).startswith("api/v1/"):
            yield "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(pattern.pattern)), pattern.callback.cls


def methods_of(view):
    return [method for method in METHODS if hasattr(view, method)]


def test_no_route_without_a_decision_about_its_scope():
    undecided = [
        (path, method)
        for path, view in routes()
        for method in methods_of(view)
        if method.upper() not in view.scopes
    ]
    assert undecided == []
    unknown = {scope for _, view in routes() for scope in view.scopes.values() if scope} - set(SCOPES)
    assert unknown == set()


def test_of_many_who_ask_first_all_get_the_whole_document():
    whole = openapi.document()
    openapi._made.cache_clear()
    with ThreadPoolExecutor(4) as threads:
        found = [one.result() for one in [threads.submit(openapi.document) for _ in range(4)]]
    assert all(one is found[0] for one in found)
    assert found[0] == whole


def test_every_route_is_in_the_document_with_its_scope():
    paths = openapi.document()["paths"]
    for path, view in routes():
        assert set(paths[path]) == set(methods_of(view)), path
        for method in methods_of(view):
            operation = paths[path][method]
            assert operation.get("x-scope") == view.scopes[method.upper()]
            assert operation["summary"]
            assert any(status.startswith("2") for status in operation["responses"])
    assert len(openapi.document()["paths"]) == len(list(routes())) + 1  # media


def test_names_of_operations_are_told_apart():
    ids = [one["operationId"] for item in openapi.document()["paths"].values() for one in item.values()]
    assert len(ids) == len(set(ids))


def test_every_reference_leads_somewhere_and_every_schema_is_one():
    text = json.dumps(openapi.document())
    components = openapi.document()["components"]
    for kind, name in set(re.findall(r'"#/components/(\w+)/([\w-]+)"', text)):
        assert name in components[kind], name
    for one in components["schemas"].values():
        Draft202012Validator.check_schema(one)


def test_every_code_of_ours_is_a_schema_and_operations_name_what_they_need():
    schemas = openapi.document()["components"]["schemas"]
    assert {f"Problem_{code}" for code in CODES} <= set(schemas)
    answers = openapi.document()["components"]["responses"]
    elsewhere = {code for code in CODES if f"`{code}`" in openapi.ABOUT}
    assert set(CODES) == {code for name in answers for code in name.split("_or_")} | elsewhere
    run = openapi.document()["paths"]["/api/v1/predictions"]["post"]["responses"]
    assert {
        "201",
        "400",
        "401",
        "402",
        "403",
        "404",
        "408",
        "409",
        "413",
        "415",
        "422",
        "429",
        "500",
        "503",
    } <= set(run)
    assert "411" not in run  # it may come in chunks, which a file may not
    assert "411" in openapi.document()["paths"]["/api/v1/assets"]["post"]["responses"]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("Prediction", PredictionJson),
        ("Event", Event),
        ("Webhook", WebhookJson),
        ("Delivery", DeliveryJson),
        ("Key", KeyJson),
        ("KeyWithSecret", KeyWithSecretJson),
        ("CallingKey", CallingKeyJson),
        ("Limit", LimitJson),
        ("TopUp", TopUpJson),
        ("Usage", UsageJson),
        ("UsageSums", UsageSumsJson),
        ("Receipt", ReceiptJson),
        ("Refund", RefundJson),
        ("Invoice", InvoiceJson),
        ("InvoiceInShort", ListedJson),
        ("Publisher", PublisherJson),
        ("Statement", StatementJson),
        ("Payout", PayoutJson),
        ("Asset", AssetJson),
        ("Upload", UploadJson),
        ("Part", PartJson),
    ],
)
def test_schemas_are_those_of_the_code(name, shape):
    assert set(SCHEMAS[name]["properties"]) == set(get_type_hints(shape))


def test_what_was_earned_is_summed_up_the_same_everywhere():
    named = set(get_type_hints(EarnedJson))
    assert set(SCHEMAS["Earnings"]["properties"]["total"]["properties"]) == named
    assert set(SCHEMAS["EarnedOnDay"]["required"]) == {"day", *named}


def test_every_operation_says_what_it_answers():
    silent = [
        (path, method)
        for path, item in openapi.document()["paths"].items()
        for method, operation in item.items()
        if "2XX" in operation["responses"]
    ]
    assert silent == []


def test_bodies_that_are_files():
    paths = openapi.document()["paths"]
    body = paths["/api/v1/assets"]["post"]["requestBody"]
    assert set(body["content"]) == {"application/json", "application/octet-stream", "multipart/form-data"}
    part = paths["/api/v1/assets/uploads/{upload_id}/parts/{number}"]["put"]
    assert set(part["requestBody"]["content"]) == {"application/octet-stream"}
    assert body["required"]
    assert part["requestBody"]["required"]
    assert "415" not in part["responses"]
    assert "422" not in part["responses"]
    assert "200" in paths["/api/v1/usage.csv"]["get"]["responses"]


def test_the_members_of_problems_have_types():
    schemas = openapi.document()["components"]["schemas"]
    told = schemas["Problem_unusable_file"]["allOf"][1]["properties"]["reason"]
    assert told["type"] == "string"
    assert schemas["Problem_upload_incomplete"]["allOf"][1]["properties"]["missing_parts"]["type"] == "array"


@pytest.mark.parametrize("path", ["key", "keys", "usage", "usage?group_by=key", "usage?group_by=member"])
def test_answers_are_as_described(world, path):
    document = openapi.document()
    operation = document["paths"][f"/api/v1/{path.partition('?')[0]}"]["get"]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    answer = world.ada.get(path)
    assert answer.status_code == 200
    validate(document, schema, answer.json())


def test_the_document_is_public_and_its_examples_are_valid(world):
    answer = world.nobody.get("openapi.json")
    assert answer.status_code == 200
    document = answer.json()
    assert document["openapi"].startswith("3.1")
    for item in document["paths"].values():
        for operation in item.values():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if "example" in body:
                validate(document, body["schema"], body["example"])
            for response in operation["responses"].values():
                for content in response.get("content", {}).values():
                    if "example" in content:
                        validate(document, content["schema"], content["example"])


def validate(document, schema, value):
    Draft202012Validator({**schema, "components": document["components"]}).validate(value)


def test_the_schema_of_one_model(world):
    answer = world.nobody.get("models/kiln/vase/schema")
    assert answer.headers["Content-Type"] == "application/schema+json"
    described = answer.json()
    Draft202012Validator.check_schema(described)
    assert next(iter(described["properties"])) == "prompt"
    assert_problem(world.nobody.get("models/kiln/nothing/schema"), "not_found")


def test_the_table_of_scopes_is_the_codes(world):
    shown = {(one.method, one.path): one.scope for one in reference.permissions()}
    for path, view in routes():
        for method in methods_of(view):
            without = "any key" if view.authentication_classes else ""
            assert shown[method.upper(), path] == (view.scopes[method.upper()] or without)


def test_figures_before_it_is_too_much(world, settings):
    settings.API_REQUESTS_PER_MINUTE = 1000
    first, second = (world.ada.get("balance") for _ in range(2))
    left = [int(one.headers[rates.REMAINING]) for one in (first, second)]
    assert first.headers[rates.LIMIT] == "1000"
    assert left[1] == left[0] - 1 or left[1] == 999
    assert 1 <= int(first.headers[rates.RESET]) <= 60
    for answer in (
        world.ada.get("predictions/none"),
        world.ada.post("quotes", raw=b"{"),
        world.nobody.get("balance"),
    ):
        assert answer.headers[rates.REMAINING]
    refused = world.ada.client.get("/api/v1/balance", headers={"Authorization": "Bearer vt_no"})
    assert_problem(refused, "invalid_key")
    assert refused.headers[rates.LIMIT] == "1000"


def test_guessing_keys_is_held_up(world, settings, monkeypatch):
    from marketplace.dispatch import redis_client

    settings.API_REQUESTS_PER_MINUTE = 2
    monkeypatch.setattr(rates, "WINDOW_SECONDS", 10**9)
    for name in redis_client().keys("throttle:*"):
        redis_client().delete(name)
    answers = [
        world.nobody.client.get("/api/v1/balance", headers={"Authorization": f"Bearer vt_{n}"})
        for n in range(3)
    ]
    assert [one.json()["code"] for one in answers] == ["invalid_key", "invalid_key", "throttled"]
    assert int(answers[2].headers["Retry-After"]) >= 1
    assert answers[2].headers[rates.REMAINING] == "0"
    for name in redis_client().keys("throttle:*"):
        redis_client().delete(name)


def test_without_a_limit_there_are_no_figures(world, settings):
    settings.API_REQUESTS_PER_MINUTE = 0
    assert rates.LIMIT not in world.ada.get("balance").headers


def test_the_workspace_of_a_key(world, key_with):
    key = key_with(scopes=["workspace:read"])
    found = key.get("workspace").json()
    assert (found["slug"], found["member_count"]) == (world.workspace.slug, 0)
    assert found["caller"] == {"kind": "key", "scopes": ["workspace:read"], "role": None}
    assert str(world.workspace.pk) not in str(found["id"])


def test_options_and_head(world):
    options = world.ada.client.options("/api/v1/predictions", headers=world.ada.headers({}))
    assert options.status_code == 204
    assert {"GET", "POST", "HEAD", "OPTIONS"} == set(options.headers["Allow"].split(", "))
    head = world.ada.client.head("/api/v1/balance", headers=world.ada.headers({}))
    assert (head.status_code, head.content) == (200, b"")
