"""What Replicate's clients are shown, without a server: runs, progress, streams, schemas, errors."""

from __future__ import annotations

import re
from uuid import UUID

import pytest
from django.conf import settings

from marketplace.ids import encode, uuid7
from marketplace.schema import FieldError
from playground.api.problems import Problem, invalid
from playground.facades.dialect import Moment
from playground.facades.replicate import capability, cog, errors, show
from playground.facades.replicate.stream import DONE, Events, Told
from tests.predictions import cast

BASE = "https://media.example:8443"
PROGRESS = re.compile(
    r"^\s*(?P<percentage>\d+)%\s*\|.+?\|\s*(?P<current>\d+)\/(?P<total>\d+)"
)  # as clients have it
NEW = UUID("0199d0a0-0000-7000-8000-000000000001")


def document(**changes):
    """A run that waits, in our own words."""
    uid = encode(changes.pop("number", NEW), "p")
    return {
        "id": uid,
        "model": "kiln/vase",
        "version": "ab" * 32,
        "status": "queued",
        "input": {"prompt": "a vase", "seed": 7},
        "output": None,
        "error": None,
        "logs": "",
        "attempt": 0,
        "step": 0,
        "steps": 0,
        "via": "replicate",
        "metrics": {},
        "webhook": None,
        "cost_micros": None,
        "created_at": "2026-01-31T12:00:00+00:00",
        "started_at": None,
        "finished_at": None,
        "urls": {"page": f"{settings.PUBLIC_URL}/p/{uid}"},
        **changes,
    }


def ended(status: str, **changes):
    times = {"started_at": "2026-01-31T12:00:01.500000+00:00", "finished_at": "2026-01-31T12:00:03+00:00"}
    return document(status=status, cost_micros=4000, **times, **changes)


def media(*names: str | None):
    return {
        "images": [
            name
            and {
                "id": f"a_{name}",
                "url": f"{settings.PUBLIC_URL}/media/{name}",
                "content_type": "video/mp4" if name == "film" else "image/png",
            }
            for name in names
        ],
        "seed": 7,
    }


def test_a_run_that_waits():
    shown = show.prediction(document(), None, BASE)
    bare = encode(NEW)
    assert (shown["id"], shown["status"], shown["output"], shown["error"]) == (bare, "starting", None, None)
    assert (shown["created_at"], shown["started_at"], shown["completed_at"]) == (
        "2026-01-31T12:00:00Z",
        None,
        None,
    )
    assert (shown["metrics"], shown["source"], shown["data_removed"]) == ({}, "api", False)
    assert shown["urls"]["get"] == f"{BASE}/v1/predictions/{bare}"
    assert shown["urls"]["cancel"] == f"{BASE}/v1/predictions/{bare}/cancel"
    assert capability.token(NEW) in shown["urls"]["stream"]
    assert all(isinstance(one, str) for one in shown["urls"].values())
    assert "webhook" not in shown
    assert "deadline" not in shown


@pytest.mark.parametrize(
    ("status", "theirs"),
    [
        ("queued", "starting"),
        ("running", "processing"),
        ("succeeded", "succeeded"),
        ("failed", "failed"),
        ("canceled", "canceled"),
    ],
)
def test_states_that_every_client_knows(status, theirs):
    assert show.prediction(document(status=status), None, BASE)["status"] == theirs


def test_a_wait_that_ends_too_early_says_starting():
    """Any other status of a request that waits is the end to the clients, and no output the result."""
    shown = show.prediction(document(status="running", step=3, steps=4), None, BASE, is_due=True)
    assert (shown["status"], shown["output"]) == ("starting", None)


def test_a_run_that_has_ended():
    kept = {"events": ["completed"], "deadline": "2026-01-31T12:01:00+00:00"}
    done = ended("succeeded", output=media("one", "two"), webhook="https://told.example/", via="page")
    shown = show.prediction(done, kept, BASE)
    assert shown["output"] == [f"{BASE}/media/one", f"{BASE}/media/two"]
    assert shown["urls"]["web"] == f"{BASE}/p/{done['id']}"
    assert shown["metrics"] == {
        "image_count": 2,
        "predict_time": 1.5,
        "total_time": 3.0,
        "cost_micros": 4000,
        "currency": "USD",
    }
    assert (shown["deadline"], shown["source"]) == ("2026-01-31T12:01:00Z", "web")
    assert (shown["webhook"], shown["webhook_events_filter"]) == ("https://told.example/", ["completed"])
    failed = ended("failed", error={"code": "timeout", "message": "It took too long."})
    assert show.prediction(failed, None, BASE)["error"] == "It took too long."


def test_media_that_is_gone():
    assert show.prediction(ended("succeeded", output=media(None)), None, BASE)["output"] is None
    assert show.prediction(ended("succeeded", output=media(None)), None, BASE)["data_removed"] is True
    partly = show.prediction(ended("succeeded", output=media("one", None)), None, BASE)
    assert (len(partly["output"]), partly["data_removed"]) == (1, True)
    assert show.prediction(ended("succeeded", output=media("one"), input={}), None, BASE)["data_removed"]
    assert show.prediction(ended("canceled"), None, BASE)["data_removed"] is False
    for unknown in ("film", None):
        assert "image_count" not in show.metrics(ended("succeeded", output=media("one", unknown)))


def test_one_film_or_sound_stands_alone():
    """`@ai-sdk/replicate` takes no list for a film; pictures are a list also where there is one."""

    def shown(kind: str, *names: str | None):
        found = show.prediction(ended("succeeded", output={kind: media(*names)["images"]}), None, BASE)
        return found["output"], found["data_removed"]

    assert shown("videos", "one") == (f"{BASE}/media/one", False)
    assert shown("audios", None) == (None, True)
    assert shown("videos", "one", "two") == ([f"{BASE}/media/one", f"{BASE}/media/two"], False)
    assert shown("images", "one") == ([f"{BASE}/media/one"], False)


def test_files_of_the_input_are_addresses_that_can_be_sent_again():
    number = encode(uuid7())
    given = {"prompt": "a_vase", "images": [f"a_{number}"], "pair": {"file": f"a_{number}"}}
    shown = show.prediction(document(input=given), None, BASE)["input"]
    address = f"{BASE}/v1/files/{number}"
    assert shown == {"prompt": "a_vase", "images": [address], "pair": {"file": address}}


@pytest.mark.parametrize("steps", [1, 7, 100, 250, 5000])
def test_progress_is_what_the_clients_parse(steps):
    before: list[str] = []
    for step in range(0, steps + 1, max(1, steps // 23)):
        lines = show.progress(step, steps)
        assert lines[: len(before)] == before  # what was printed once stays
        before = lines
    lines = show.progress(steps, steps)
    assert len(lines) == min(steps, 100)
    for line in lines:
        assert PROGRESS.match(line), line
    assert PROGRESS.match(lines[-1]).groups() == ("100", str(steps), str(steps))
    assert show.progress(0, steps) == show.progress(3, 0) == []


def test_the_log_ends_with_how_far_it_is():
    shown = show.prediction(document(logs="loading\nready", step=1, steps=2), None, BASE)
    assert shown["logs"].split("\n") == ["Using seed: 7", "loading", "ready", " 50%|#####     | 1/2"]


def events_of(body: bytes):
    """What a reader of event streams makes of it: name, id, data."""
    found = []
    for one in body.decode().split("\n\n"):
        if one:
            lines = [line.partition(": ") for line in one.split("\n")]
            data = "\n".join(value for name, _, value in lines if name == "data")
            named = {name: value for name, _, value in lines if name != "data"}
            found.append((named["event"], named["id"], data))
    return found


def moment(shown, *logs: str, before=()) -> Moment:
    """A moment of a run, with the lines that are new in it, and those that were there `before`."""
    state = {**shown, "logs": [*before, *logs]}
    return Moment(state=state, seq=1, logs=logs, is_end=shown["finished_at"] is not None)


def test_a_stream_tells_everything_once():
    events = Events(["Using seed: 7"], BASE)
    first = events_of(events.frame(moment(document())))
    assert [one[::2] for one in first] == [("logs", "Using seed: 7")]
    assert events.frame(moment(document(status="running"))) == b""
    running = document(status="running", step=2, steps=4)
    (logs,) = events_of(events.frame(moment(running, "begun", "", "event: done\ndata: {}")))
    assert logs[2].split("\n")[:4] == ["begun", "", "event: done", "data: {}"]  # data, and no events
    assert logs[2].endswith("2/4")
    done = ended("succeeded", step=4, steps=4, output=media("one", "two"))
    last = events_of(events.frame(moment(done, "saved", before=("begun", "", "event: done\ndata: {}"))))
    assert [one[0] for one in last] == ["logs", "output", "output", "done"]
    assert [line[:5] for line in last[0][2].split("\n")] == ["saved", " 75%|", "100%|"]
    assert last[1][2] == f"{BASE}/media/one"
    assert last[-1][2] == "{}"
    ids = [one[1] for one in [*first, logs, *last]]
    assert len(set(ids)) == len(ids)


def test_a_stream_tells_of_every_end():
    failed = ended("failed", error={"code": "broken", "message": "It broke.\nBadly."})
    assert [one[::2] for one in events_of(Events([], BASE).frame(moment(failed)))] == [
        ("error", '{"detail": "It broke.\\nBadly."}'),
        ("done", '{"reason": "error"}'),
    ]
    canceled = events_of(Events([], BASE).frame(moment(ended("canceled"))))
    assert canceled[-1][2] == '{"reason": "canceled"}'


LOG = [f"line {number}" for number in range(12)]
ENDED = {"status": "succeeded", "step": 4, "steps": 4}


def whole(*moments, told=None):
    """All events of these moments, as one viewer is sent them."""
    events = Events(["Using seed: 7"], BASE, told)
    return [one for each in moments for one in events_of(events.frame(each))]


def resumed(event_id: str, *moments):
    return [(name, data) for name, _, data in whole(*moments, told=Told.read(event_id))]


def test_who_comes_back_to_a_stream_is_told_what_followed():
    """Whatever event was the last that came: nothing twice and nothing left out."""
    one = moment(document(status="running", step=1, steps=4), *LOG[:3])
    two = moment(document(status="running", step=3, steps=4), *LOG[3:7], before=LOG[:3])
    end = moment(ended(**ENDED, output=media("one", "two")), *LOG[7:], before=LOG[:7])
    told = whole(one, two, end)
    assert [name for name, _, _ in told] == ["logs", "logs", "logs", "output", "output", "done"]
    for place, (_, event_id, _) in enumerate(told[:-1], start=1):
        late = moment(end.state, *end.state["logs"])  # the first moment of who comes now has it all
        lines, others = [], []
        for name, data in resumed(event_id, late):
            (lines if name == "logs" else others).append((name, data))
        rest = [(name, data) for name, _, data in told[place:]]
        assert others == [one for one in rest if one[0] != "logs"]
        said = "\n".join(data for _, data in lines).split("\n") if lines else []
        expected = [line for name, data in rest if name == "logs" for line in data.split("\n")]
        assert sorted(said) == sorted(expected)
        assert [line for line in said if line.startswith("line")] == [
            line for line in expected if line.startswith("line")
        ]
    assert Told.read(told[-1][1]).end == DONE
    assert resumed(told[-1][1], moment(end.state, *LOG)) == []
    ids = [event_id for _, event_id, _ in whole(late, told=Told.read(told[1][1]))]
    assert not {*ids} & {event_id for _, event_id, _ in told[:2]}


def test_a_log_whose_beginning_is_not_kept_goes_on_where_it_was():
    last = whole(moment(document(status="running"), *LOG[:8]))[-1][1]
    shifted = moment(document(status="running"), *LOG[3:])
    assert resumed(last, shifted) == [("logs", "\n".join(LOG[8:]))]
    another = moment(document(status="running", attempt=2), "anew")  # an attempt that begins again
    assert resumed(last, another) == [("logs", "anew")]


def test_an_id_that_is_none_of_ours_is_the_beginning():
    first = moment(document(status="running"), "begun")
    whole_log = [("logs", "Using seed: 7\nbegun")]
    hostile = ("", "7", "1:1", "1:1-1-zz-1-1-0", f"{'9' * 40}:1-1-00000000-1-1-0", "1:1-1-00000000-1-1-3")
    for other in hostile:
        assert resumed(other, first) == whole_log, other
    forged = "1:7-999999-00000000-999999999-9999-0"  # by whoever may follow it: tells itself too little
    assert resumed(forged, first) == [("logs", "begun")]


def test_the_address_of_a_stream_allows_that_run_alone():
    number = uuid7()
    token = capability.token(number)
    assert capability.opened(token) == number
    changed = [
        token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        for place in (0, 20, 30, 42)
    ]
    for forged in (*changed, token + "=", token[:-1], "", "é" * 43, "A" * 43):
        assert capability.opened(forged) is None, forged
    assert capability.opened(capability.token(NEW)) is None  # of long ago


def test_a_schema_in_cogs_dialect():
    described = cast.manifest()["endpoint"]["input"]
    described["properties"] |= {
        "format": {"type": "string", "enum": ["png", "webp"], "default": "png", "x-order": 5},
        "image": {"type": "string", "x-media": ["image/*"], "title": "Picture", "x-order": 6},
        "Input": {"type": "string", "enum": ["a"], "x-order": 7},
        "parts": {
            "type": "array",
            "x-order": 8,
            "items": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {"type": "string", "x-media": []},
                    "kind": {"type": "string", "enum": ["a", "b"]},
                },
            },
        },
    }
    made = {"type": "object", "properties": {"images": {"type": "array"}}}
    schemas = cog.openapi(described, made)["components"]["schemas"]
    assert set(schemas) == {"Input", "Output", "format"}
    fields = schemas["Input"]["properties"]
    assert [one["x-order"] for one in fields.values()] == list(range(9))
    assert schemas["Input"]["required"] == ["prompt"]
    assert fields["format"]["allOf"] == [{"$ref": "#/components/schemas/format"}]
    assert fields["format"]["default"] == "png"
    assert schemas["format"]["enum"] == ["png", "webp"]
    assert fields["image"] == {"type": "string", "format": "uri", "title": "Picture", "x-order": 6}
    assert fields["num_images"] == {
        "type": "integer",
        "title": "Num images",
        "default": 1,
        "minimum": 1,
        "maximum": 4,
        "x-order": 1,
    }
    assert fields["token"]["x-cog-secret"] is True
    assert fields["Input"]["enum"] == ["a"]  # no component may take that name
    inner = fields["parts"]["items"]["properties"]
    assert (inner["file"]["format"], inner["kind"]["enum"]) == ("uri", ["a", "b"])
    assert schemas["Output"]["items"] == {"type": "string", "format": "uri"}
    film = cog.openapi(described, {"properties": {"videos": {"type": "array"}}})["components"]["schemas"]
    assert film["Output"] == {"type": "string", "format": "uri", "title": "Output"}


def test_errors_have_their_shape():
    body = errors.body(Problem("invalid_key", "This key is not valid."), request_id="r")
    assert (body["title"], body["status"], body["detail"]) == (
        "Unauthenticated",
        401,
        "This key is not valid.",
    )
    wrong = invalid(
        [
            FieldError("version", "required", "is required"),
            FieldError("model", "unknown", "is no field", ["input"]),
            FieldError("input.prompt", "required", "is required"),
            FieldError("input.format", "not_allowed", "must be one of png, webp", ["png", "webp"]),
        ]
    )
    body = errors.body(wrong, request_id="r")
    assert (body["title"], body["status"]) == ("Input validation failed", 422)
    assert body["detail"] == (
        "- version is required\n- Additional property model is not allowed\n"
        "- input: prompt is required\n- input.format: format must be one of png, webp\n"
    )
    assert [(one["type"], one["field"]) for one in body["invalid_fields"]] == [
        ("required", ""),
        ("additional_property_not_allowed", ""),
        ("required", "input"),
        ("enum", "input.format"),
    ]
    assert errors.headers(wrong)["x-should-retry"] == "false"
    assert "x-should-retry" not in errors.headers(Problem("throttled", "Slower."))
