"""Bodies that mean harm or nothing: always an answer in words, never a 500, nothing started and nothing held."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing import ledger, limits
from playground.models import Prediction
from tests.api.shapes import assert_problem

GOOD = {"model": "kiln/vase", "input": {"prompt": "a vase"}}


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


MALFORMED = {
    "empty object cut": raw('{"model": "kiln/vase"'),
    "garbage": b"\x00\x01\xff",
    "text": raw("hello"),
    "not utf-8": b'{"model": "\xff\xfe"}',
    "utf-16": json.dumps(GOOD).encode("utf-16"),
    "nan": raw('{"model": "kiln/vase", "input": {"steps": NaN}}'),
    "infinity": raw('{"model": "kiln/vase", "input": {"steps": -Infinity}}'),
    "overflow": raw('{"model": "kiln/vase", "input": {"steps": 1e999}}'),
    "endless integer": raw('{"model": "kiln/vase", "input": {"steps": ' + "9" * 5000 + "}}"),
    "twice the same": raw('{"model": "a/b", "model": "kiln/vase", "input": {"prompt": "a"}}'),
    "twice inside": raw('{"model": "kiln/vase", "input": {"prompt": "a", "prompt": "b"}}'),
    "late twice": raw('{"input": {' + "".join(f'"a{n}": 1, ' for n in range(150_000)) + '"a149999": 1}}'),
    "null character": raw('{"model": "kiln/vase", "input": {"prompt": "a\\u0000b"}}'),
    "null in a name": raw('{"model": "kiln/vase", "input": {"prompt": "a", "\\u0000": 1}}'),
    "half a character": raw('{"model": "kiln/vase", "input": {"prompt": "\\ud800"}}'),
    "deep list": raw('{"model": "kiln/vase", "input": ' + "[" * 100_000 + "]" * 100_000 + "}"),
    "deep object": raw('{"input": ' * 40 + "1" + "}" * 40),
    "very many values": raw("[" + "1," * 300_000 + "1]"),
    "trailing": raw(json.dumps(GOOD) + "x"),
    "two": raw(json.dumps(GOOD) * 2),
}


@pytest.fixture(params=["quotes", "predictions"])
def path(request):
    return request.param


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(world, path, name):
    answer = world.ada.post(path, raw=MALFORMED[name])
    assert_problem(answer, "malformed_request")
    assert "sys." not in answer.json()["detail"]
    nothing_happened(world)


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ([], "body", "type"),
        ("text", "body", "type"),
        (None, "model", "required"),
        ({}, "model", "required"),
        ({**GOOD, "model": None}, "model", "required"),
        ({**GOOD, "model": ""}, "model", "required"),
        ({**GOOD, "model": 5}, "model", "type"),
        ({**GOOD, "model": ["kiln/vase"]}, "model", "type"),
        ({**GOOD, "model": "k" * 200}, "model", "too_long"),
        ({**GOOD, "input": None}, "input", "required"),
        ({**GOOD, "input": "a vase"}, "input", "type"),
        ({**GOOD, "input": []}, "input", "type"),
        ({**GOOD, "prompt": "a"}, "prompt", "unknown"),
        ({"model": "kiln/vase"}, "input.prompt", "required"),
        ({"model": "kiln/vase", "input": {"prompt": ""}}, "input.prompt", "required"),
        ({"model": "kiln/vase", "input": {"prompt": 5}}, "input.prompt", "type"),
        ({"model": "kiln/vase", "input": {"prompt": "a" * 201}}, "input.prompt", "too_long"),
        ({"model": "kiln/vase", "input": {"prompt": "a", "steps": 41}}, "input.steps", "too_large"),
        ({"model": "kiln/vase", "input": {"prompt": "a", "steps": 1.5}}, "input.steps", "type"),
        ({"model": "kiln/vase", "input": {"prompt": "a", "steps": "4"}}, "input.steps", "type"),
        ({"model": "kiln/vase", "input": {"prompt": "a", "steps": True}}, "input.steps", "type"),
        ({"model": "kiln/vase", "input": {"prompt": "a", "steps": 10**300}}, "input.steps", "too_large"),
        ({"model": "kiln/vase", "input": {"prompt": "a", "stepz": 4}}, "input.stepz", "unknown"),
    ],
)
def test_wrong_fields(world, path, body, field, code):
    sent = b"" if body is None else json.dumps(body).encode()
    problem = assert_problem(world.ada.post(path, raw=sent), "invalid_input", field=field)
    assert code in [error["code"] for error in problem["errors"] if error["field"] == field]
    assert all(error["message"] for error in problem["errors"])
    nothing_happened(world)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("start_within", 0, "too_small"),
        ("start_within", -5, "too_small"),
        ("start_within", 10**9, "too_large"),
        ("start_within", 1.5, "type"),
        ("start_within", "10", "type"),
        ("start_within", True, "type"),
        ("max_cost_micros", -1, "too_small"),
        ("max_cost_micros", 2**60, "too_large"),
        ("max_cost_micros", "1", "type"),
        ("exact", "true", "type"),
        ("exact", 1, "type"),
        ("exact", None, "required"),
        ("idempotency_key", "x", "unknown"),
        ("priority", 5, "unknown"),
        ("via", "page", "unknown"),
    ],
)
def test_wrong_options(world, field, value, code):
    problem = assert_problem(world.ada.run(**{field: value}), "invalid_input", field=field)
    assert code in [error["code"] for error in problem["errors"]]
    nothing_happened(world)


def test_all_that_is_wrong_is_said_at_once(world):
    answer = world.ada.post("predictions", {"input": [], "exact": "yes", "start_within": 0, "extra": 1})
    problem = assert_problem(answer, "invalid_input")
    assert {e["field"] for e in problem["errors"]} == {"model", "input", "exact", "start_within", "extra"}
    limits = {e["field"]: e["allowed"] for e in problem["errors"]}
    assert limits["start_within"] == 1
    assert limits["exact"] == "boolean"
    assert "start_within" in limits["extra"]


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "",
    ],
)
def test_other_media_types(world, path, content_type):
    answer = world.ada.post(path, raw=json.dumps(GOOD).encode(), content_type=content_type)
    assert_problem(answer, "unsupported_media_type")
    nothing_happened(world)


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.a+json"]
)
def test_json_by_its_other_names(world, content_type):
    answer = world.ada.post("quotes", raw=json.dumps(GOOD).encode(), content_type=content_type)
    assert answer.status_code == 200


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "*/*", "nonsense", "text/event-stream"])
def test_the_answer_is_json_whatever_is_asked_for(world, accept):
    answer = world.ada.get("balance?format=xml", Accept=accept)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_body_that_is_too_large(world, path, settings):
    settings.MAX_BODY_BYTES = 2000
    answer = world.ada.post(path, {**GOOD, "input": {"prompt": "a" * 5000}})
    assert assert_problem(answer, "body_too_large")["max_bytes"] == 2000
    nothing_happened(world)


@pytest.mark.parametrize("key", ["", "k" * 256, "tab\tkey", "schlüssel"])
def test_an_idempotency_key_out_of_shape(world, key):
    answer = world.ada.post("predictions", GOOD, Idempotency_Key=key)
    assert_problem(answer, "malformed_request")
    nothing_happened(world)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=1e9",
        "limit=" + "9" * 9999,
        "limit=%D9%A3",
    ],
)
def test_limits_that_are_none(world, query):
    for listing in ("models", "predictions"):
        assert_problem(world.ada.get(f"{listing}?{query}"), "invalid_input", field="limit")


@pytest.mark.parametrize(
    "query", ["cursor=", "cursor=x", "cursor=n", "cursor=%00", "cursor=n" + "0" * 26, "cursor=é"]
)
def test_cursors_that_are_none(world, query):
    for listing in ("models", "predictions"):
        assert_problem(world.ada.get(f"{listing}?{query}"), "invalid_cursor")


@pytest.mark.parametrize(
    "name", ["kiln", "kiln/none", "a/b/c", "../..", "kiln/vase:zz", "kiln/vase:0", "KILN/vase", "é/é"]
)
def test_models_that_are_none(world, path, name):
    assert_problem(world.ada.post(path, {**GOOD, "model": name}), "not_found")
    nothing_happened(world)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=8), one, max_size=4),
    max_leaves=10,
)
NEAR = st.fixed_dictionaries(
    {},
    optional={
        "model": st.just("kiln/vase") | JSON,
        "input": st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("prompt", "steps", "seed", "num_images"), JSON)
        )
        | JSON,
        "start_within": JSON,
        "max_cost_micros": JSON,
        "exact": JSON,
    },
)


@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(body=NEAR | JSON, junk=st.binary(max_size=12))
def test_whatever_is_sent_is_answered(world, body, junk):
    for sent in (json.dumps(body).encode(), junk):
        answer = world.ada.post("predictions", raw=sent)
        assert answer.status_code in {201, 400, 402, 404, 422}, answer.text
        if answer.status_code != 201:
            assert_problem(answer, answer.json()["code"])
    assert ledger.verify() == []


def nothing_happened(world) -> None:
    assert not Prediction.objects.exists()
    assert ledger.balance(world.workspace.pk).held_micros == 0


def test_what_is_wrong_within_a_list_or_a_choice_is_named(world):
    def errors(**change):
        limit = {"scope": "workspace", "period": "month", "limit_micros": 5_000, **change}
        body = assert_problem(world.ada.post("limits", limit), "invalid_input")
        return {one["field"]: (one["code"], one["allowed"]) for one in body["errors"]}

    assert errors(alert_at=[50, 0, "x"]) == {
        "alert_at[1]": ("too_small", 1),
        "alert_at[2]": ("type", "integer"),
    }
    assert errors(alert_at=[1, 2, 3, 4, 5, 6]) == {"alert_at": ("too_many", limits.MAX_ALERTS)}
    assert errors(alert_at=50) == {"alert_at": ("type", "array")}
    assert errors(period="year") == {"period": ("not_allowed", list(limits.PERIODS))}
