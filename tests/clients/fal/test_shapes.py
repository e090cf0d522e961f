"""fal's words without a server: what its clients index must be there, and no more than three states."""

from __future__ import annotations

import base64
import json

import pytest
from django.http.request import validate_host

from marketplace.ids import encode, uuid7
from marketplace.schema import FieldError
from playground.api.problems import Problem, invalid
from playground.facades.fal import errors, headers, show, words
from playground.facades.fal.hosts import FACES, addressed

RUN = uuid7()
AT = "https://queue.fal.run/kiln/vase"
PICTURE = {
    "id": "a_1",
    "url": "https://here.test/media/cap/a_1.png",
    "content_type": "image/png",
    "size": 120,
    "width": 64,
    "height": 32,
    "sha256": "0",
    "expires_at": "2026-01-01T00:00:00+00:00",
}


def document(status="succeeded", **changes):
    made = {
        "id": encode(RUN, "p"),
        "model": "kiln/vase",
        "status": status,
        "input": {"prompt": "a vase"},
        "output": {"images": [PICTURE], "seed": 7} if status == "succeeded" else None,
        "error": None,
        "logs": "one\nWarning: two",
        "metrics": {"total_s": 1.5} if status == "succeeded" else {},
        "quote": {
            "lines": [{"unit": "image", "quantity": "1", "unit_price": "0.004", "amount_micros": 4000}]
        },
        "cost_micros": 4000 if status == "succeeded" else 0,
        "created_at": "2026-01-01T00:00:00+00:00",
        "started_at": None if status == "queued" else "2026-01-01T00:00:01+00:00",
    }
    return {**made, **changes}


@pytest.mark.parametrize(
    ("host", "path", "inside", "prefix"),
    [
        ("fal.run", "/kiln/vase", "/fal/run/kiln/vase", ""),
        ("QUEUE.fal.run:443", "/kiln/vase", "/fal/queue/kiln/vase", ""),
        ("rest.fal.ai.", "/tokens/", "/fal/rest/tokens/", ""),
        ("v3.fal.media", "/files/upload", "/fal/cdn/files/upload", ""),
        ("api.fal.ai", "/v1/models", "/fal/v1/models", "/v1"),
        ("localhost:8000", "/fal/queue/kiln/vase", "/fal/queue/kiln/vase", "/fal/queue"),
        ("localhost:8000", "/api/fal/proxy", "/fal/proxy", "/api/fal"),
        ("localhost:8000", "/fal/queued/x", "/fal/queued/x", "/fal"),
        ("fal.ai", "/api/openapi/queue/openapi.json", "/fal/api/openapi/queue/openapi.json", ""),
    ],
)
def test_a_face_is_found_by_host_and_by_prefix(host, path, inside, prefix):
    found = addressed(host, path)
    assert (found.inside, found.prefix) == (inside, prefix)


@pytest.mark.parametrize(
    ("host", "path"),
    [("localhost", "/"), ("localhost", "/falcon"), ("xfal.run", "/a/b"), ("localhost", "/api/v1/models")],
)
def test_what_is_not_fals_is_left_alone(host, path):
    assert addressed(host, path) is None


def test_every_host_name_is_let_in(settings):
    assert all(validate_host(name, settings.ALLOWED_HOSTS) for name in FACES)


def test_ids_of_apps_and_of_what_is_asked_about():
    assert words.app_of("fal-ai/flux/dev") == words.App("fal-ai", "flux", "dev")
    assert words.app_of("123-old") == words.App("123", "old")
    flow = words.app_of("workflows/acme/my-flow")
    assert (flow.base, flow.namespace) == ("workflows/acme/my-flow", "workflows")
    assert words.app_of("alone") is None
    for path in ("/kiln/vase", "/kiln/vase/dev", "/comfy/kiln/vase"):
        for end, what in {
            "": "result",
            "/": "result",
            "/status/": "status",
            "/response": "result",
            "/status": "status",
            "/cancel": "cancel",
        }.items():
            asked = words.asked_about(f"{path}/requests/{RUN}{end}")
            assert (asked.app.model, asked.id, asked.what) == ("kiln/vase", RUN, what)
    assert words.asked_about(f"/kiln/vase/requests/{RUN}/status/stream").what == "stream"
    assert words.asked_about("/kiln/vase/requests/nonsense").id is None
    assert words.asked_about("/kiln/vase") is None


def test_states_have_what_clients_index():
    waiting = show.status(document("queued", queue_position=2), {}, AT)
    assert (waiting["status"], waiting["queue_position"]) == ("IN_QUEUE", 2)
    assert waiting["status_url"] == f"{AT}/requests/{RUN}/status"
    running = show.status(document("running"), {}, AT)
    assert (running["status"], running["logs"]) == ("IN_PROGRESS", None)
    done = show.status(document(), {}, AT, with_logs=True)
    assert (done["status"], done["metrics"]) == ("COMPLETED", {"inference_time": 1.5})
    assert [one["message"] for one in done["logs"]] == ["one", "Warning: two"]
    assert [one["level"] for one in done["logs"]] == ["INFO", "WARN"]
    assert "error" not in done
    lost = show.status(document("failed", error={"code": "worker_lost", "message": "Lost."}), {}, AT)
    assert (lost["status"], lost["error"], lost["error_type"]) == (
        "COMPLETED",
        "Lost.",
        "runner_disconnected",
    )


def test_a_result_is_files_in_fals_words():
    status, sent, body = show.result(document(), {})
    assert (status, sent["x-fal-request-id"]) == (200, str(RUN))
    assert body["images"] == [
        {
            "url": PICTURE["url"],
            "content_type": "image/png",
            "file_name": "a_1.png",
            "file_size": 120,
            "width": 64,
            "height": 32,
        }
    ]
    assert body["image"] == body["images"][0]
    assert (body["seed"], body["prompt"], body["timings"]) == (7, "a vase", {"inference": 1.5})
    film = {**PICTURE, "content_type": "video/mp4", "duration_ms": 2500}
    made = show.output(document(output={"videos": [film, None], "seed": None}))
    assert (made["video"]["duration"], len(made["videos"])) == (2.5, 1)
    assert show.output(document(output={"images": [None], "seed": 1}))["images"] == []


@pytest.mark.parametrize(
    ("status", "cost", "lines", "units"),
    [
        ("succeeded", 4000, [("image", "1", "0.004", 4000)], "1"),
        ("succeeded", 2500, [("compute_second", "60", "0.001", 60_000)], "2.5"),
        ("succeeded", 9000, [("image", "1", "0.004", 4000), ("step", "5", "0.001", 5000)], None),
        ("failed", 0, [("image", "1", "0.004", 4000)], "0"),
        ("succeeded", 0, [("image", "1", "0", 0)], "0"),
    ],
)
def test_a_result_says_how_many_units_were_charged(status, cost, lines, units):
    names = ("unit", "quantity", "unit_price", "amount_micros")
    quote = {"lines": [dict(zip(names, line, strict=True)) for line in lines]}
    ended = document(status, quote=quote, cost_micros=cost, error={"code": "worker_lost", "message": "Lost."})
    assert show.result(ended, {})[1].get("X-Fal-Billable-Units") == units


@pytest.mark.parametrize(
    ("code", "status", "kind", "retry"),
    [
        ("invalid_input", 422, "value_error", "false"),
        ("unusable_output", 422, "no_media_generated", "true"),
        ("timeout", 504, "generation_timeout", "false"),
        ("start_deadline", 504, "startup_timeout", "true"),
        ("worker_lost", 503, "runner_disconnected", "true"),
        ("never heard of", 500, "internal_server_error", "false"),
    ],
)
def test_a_run_that_failed_answers_as_a_model_or_a_runner_does(code, status, kind, retry):
    failed = document("failed", error={"code": code, "message": "So it is."})
    found, sent, body = show.result(failed, {})
    assert (found, sent["X-Fal-Error-Type"], sent["X-Fal-Retryable"]) == (status, kind, retry)
    assert (body["error_type"], body["message"]) == (kind, "So it is.")
    assert "X-Fal-Request-Timeout-Type" not in sent
    detail = body["detail"]
    assert detail == "So it is." or detail == [{"loc": ["body"], "msg": "So it is.", "type": kind}]
    told = show.told(failed, {})
    assert (told["status"], told["error"], told["payload"]) == (
        "ERROR",
        f"Invalid status code: {status}",
        body,
    )


def test_the_deadline_of_a_user_is_told_apart_and_a_cancellation_is_neither():
    late = document("failed", error={"code": "start_deadline", "message": "Too late."})
    status, sent, body = show.result(late, {"has_deadline": True})
    assert (status, sent["X-Fal-Request-Timeout-Type"], body["error_type"]) == (
        504,
        "user",
        "request_timeout",
    )
    status, _, body = show.result(document("canceled"), {})
    assert (status, body["error_type"]) == (499, "client_cancelled")


def test_wishes_are_read_as_both_clients_write_them():
    python = {"X-Fal-Request-Timeout": "30.0", "X-Fal-Queue-Priority": "low", "X-Fal-Store-IO": "0"}
    found = headers.wishes(python, {"fal_webhook": "https://a.test/?b=c", "fal_max_queue_length": "3"})
    assert (found.start_within, found.priority, found.keeps_input) == (30, -1, False)
    assert (found.webhook, found.most_queued) == ("https://a.test/?b=c", 3)
    assert headers.start_within("1.5") == 2
    preference = json.dumps({"expiration_duration_seconds": 3600, "initial_acl": {"default": "allow"}})
    assert headers.lifecycle(preference) == 3600
    assert headers.wishes({}, {}) == headers.Wishes()
    unheard = {
        "X-Fal-No-Retry": "1",
        "x-fal-runner-hint": "warm",
        "X-Fal-Later": "1",
        "X-App-Fal-Upload-Policy": "{}",
    }
    neutral = {
        "x-app-fal-disable-fallback": "true",
        "X-Fal-Tags": " ",
        "x-fal-client-proxy": "x",
        "X-Falcon": "1",
    }
    assert headers.wishes({**unheard, **neutral, **python}, {}).ignored == sorted(unheard)
    assert [headers.with_logs({"logs": one}) for one in ("1", "true", "0", "false")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("sent", "query"),
    [
        ({"X-Fal-Request-Timeout": "0.1"}, {}),
        ({"X-Fal-Request-Timeout": "nan"}, {}),
        ({"X-Fal-Request-Timeout": "-3"}, {}),
        ({"X-Fal-Queue-Priority": "high"}, {}),
        ({"X-Fal-Object-Lifecycle-Preference": "[1]"}, {}),
        ({"X-Fal-Object-Lifecycle-Preference": '{"initial_acl":{"default":"hide"}}'}, {}),
        ({"X-Fal-Object-Lifecycle-Preference": '{"initial_acl":{"default":["allow"]}}'}, {}),
        ({"X-Fal-Object-Lifecycle-Preference": '{"expiration_duration_seconds":NaN}'}, {}),
        ({}, {"fal_max_queue_length": "-1"}),
    ],
)
def test_a_wish_that_cannot_be_had_is_refused_by_its_name(sent, query):
    with pytest.raises(Problem) as found:
        headers.wishes(sent, query)
    (field,) = errors.body(found.value, request_id="r")["detail"]
    assert field["loc"][:2] == (["header", *sent] if sent else ["query", *query])


def test_wrong_fields_are_told_as_pydantic_tells_them():
    problem = invalid(
        [
            FieldError("input.prompt", "required", "is required", "string"),
            FieldError("input.loras[0].path", "type", "must be text", "string"),
            FieldError("input.steps", "too_large", "must be at most 40", {"minimum": 1, "maximum": 40}),
            FieldError("input.scale", "too_small", "must be more than 0", {"exclusiveMinimum": 0}),
        ]
    )
    body = errors.body(problem, request_id="r")
    assert [one["loc"] for one in body["detail"]] == [
        ["body", "prompt"],
        ["body", "loras", 0, "path"],
        ["body", "steps"],
        ["body", "scale"],
    ]
    kinds = ["missing", "type_error", "less_than_equal", "greater_than"]
    assert [one["type"] for one in body["detail"]] == kinds
    assert body["detail"][2]["ctx"] == {"ge": 1, "le": 40}
    assert body["message"] == problem.detail
    money = Problem("insufficient_credit", "Too little.", members={"needed_micros": 4})
    assert errors.status_of(money) == 402
    assert errors.body(money, request_id="r")["needed_micros"] == 4
    assert errors.platform_body(money, request_id="r")["error"]["type"] == "authorization_error"


def test_the_keys_that_sign_can_be_looked_up(settings):
    from playground.facades.fal import letters

    settings.WEBHOOK_SEEDS = ["00" * 32, "11" * 32]
    first, second = letters.jwks()["keys"]
    assert (first["kty"], first["crv"]) == ("OKP", "Ed25519")
    assert len(base64.urlsafe_b64decode(first["x"] + "=")) == 32
    assert first["x"] != second["x"]


def test_every_way_a_run_can_fail_has_a_name_here():
    from playground.api.codes import FAILURES

    assert set(FAILURES) <= set(errors._ENDS)
