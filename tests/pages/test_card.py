"""The live card: five faces drawn from a state alone."""

from __future__ import annotations

import datetime as dt

import pytest
from django.conf import settings

from marketplace.ids import encode, uuid7
from playground.pages import card

PUBLIC_ID = uuid7()
UID = encode(PUBLIC_ID, "p")


def state(status, **changes):
    ends = (dt.datetime.now(dt.UTC) + dt.timedelta(days=1)).isoformat()
    image = {"url": f"{settings.PUBLIC_URL}/media/x/a.png", "width": 192, "height": 192, "expires_at": ends}
    made = {
        "id": PUBLIC_ID.hex,
        "model": "kiln/vase",
        "ratio": [192, 192],
        "held_micros": 4000,
        "workspace": 1,
        "status": status,
        "attempt": 1,
        "step": 0,
        "steps": 0,
        "preview": None,
        "started_at": None,
        "created_at": 1.0,
        "elapsed_ms": None,
        "logs": [],
        "output": None,
        "error": None,
        "cost_micros": None,
        "note": "",
    }
    if status == "running":
        made |= {"step": 9, "steps": 20, "started_at": 2.0, "preview": "data:image/webp;base64,AAAA"}
    if status == "succeeded":
        made |= {"output": {"images": [image], "seed": 7}, "cost_micros": 4000, "elapsed_ms": 4600}
    if status == "failed":
        made |= {
            "error": {"code": "x", "message": "The <picture> came out black."},
            "cost_micros": 0,
            "elapsed_ms": 400,
        }
    if status == "canceled":
        made |= {"step": 9, "steps": 20, "cost_micros": 0, "elapsed_ms": 1600}
    return made | changes


@pytest.mark.parametrize(
    ("status", "pieces"),
    [
        ("queued", ["Waiting", "$0.0040 held", "Cancel", 'data-since="1.000"']),
        (
            "running",
            ['value="9" max="20"', "step 9 of 20", "$0.0040 held", "Cancel", "data:image/webp;base64,AAAA"],
        ),
        ("succeeded", ["4.6 s", "$0.0040 charged", "192 × 192", "seed 7", 'href="/media/x/a.png" download']),
        ("failed", ["The &lt;picture&gt; came out black.", "Nothing was charged.", "Retry"]),
        ("canceled", ["Stopped at step 9", "Nothing charged", "Run again"]),
    ],
)
def test_faces(status, pieces):
    html = card.render(state(status))
    assert f'id="prediction-{UID}" data-status="{status}"' in html
    assert html.count('aria-live="polite"') == 1
    assert 'viewBox="0 0 192 192"' in html
    for piece in pieces:
        assert piece in html, piece


def test_drawing_needs_no_database(django_assert_num_queries, db):
    with django_assert_num_queries(0):
        for status in ("queued", "running", "succeeded", "failed", "canceled"):
            card.render(state(status), position=2, reason="2 ahead of you.")


@pytest.mark.parametrize(
    ("position", "said"),
    [(0, "Next in line"), (1, "2nd in line"), (2, "3rd in line"), (10, "11th in line"), (20, "21st in line")],
)
def test_places_in_the_queue(position, said):
    assert said in card.render(state("queued"), position=position)


def test_reasons_are_said():
    assert "Loading weights, about 9 s." in card.render(
        state("queued"), position=1, reason="Loading weights, about 9 s."
    )
    assert "The worker was lost." in card.render(state("queued", note="The worker was lost."))
    assert "attempt 2" in card.render(state("running", attempt=2))


def test_a_partial_charge_is_said():
    html = card.render(state("canceled", cost_micros=1800))
    assert "$0.0018 charged" in html
    assert "Nothing charged" not in html


def test_an_expired_picture_is_said():
    gone = state("succeeded", output={"images": [None], "seed": 7})
    assert "The result has expired" in card.render(gone)
    old = state("succeeded")
    old["output"]["images"][0]["expires_at"] = "2020-01-01T00:00:00+00:00"
    assert "The result has expired" in card.render(old)


def test_several_pictures_share_the_stage():
    four = state("succeeded")
    four["output"]["images"] *= 4
    html = card.render(four)
    assert 'data-of="4"' in html
    assert html.count("data-zoom") == 4
    assert html.count("Download all") == 1


def test_the_running_face_speaks_in_quarters():
    said = {step: card.face(state("running", step=step)).said for step in range(21)}
    assert len(set(said.values())) == 5


def test_fifty_pictures_are_a_sheet_that_scrolls():
    many = state("succeeded")
    many["output"]["images"] *= 50
    html = card.render(many)
    assert 'data-of="many" tabindex="0"' in html
    assert html.count('data-medium="image"') == 50
    assert "Download all" in html
    assert "50 files" in html


@pytest.mark.parametrize(
    ("media_type", "piece"),
    [
        ("video/mp4", "<video src"),
        ("audio/mpeg", "<audio src"),
        ("model/gltf-binary", 'data-medium="file"'),
        ("image/webp", "<img src"),
    ],
)
def test_media_are_shown_by_their_type(media_type, piece):
    one = state("succeeded")
    made = one["output"]["images"][0] | {"content_type": media_type, "size": 12_000}
    one["output"] = {"result": {"file": made}}
    html = card.render(one)
    assert piece in html
    assert 'href="/media/x/a.png" download' in html


def test_json_and_log_are_on_the_card_and_the_preview_is_not_in_them():
    html = card.render(state("running", logs=["one <b>", "two"]))
    assert "one &lt;b&gt;\ntwo" in html
    assert html.count("data:image/webp;base64,AAAA") == 1
    assert "&quot;status&quot;: &quot;running&quot;" in html


@pytest.mark.parametrize("code", sorted(card.ADVICE))
def test_a_failure_says_what_to_do(code):
    html = card.render(state("failed", error={"code": code, "message": "It broke. Nothing was charged."}))
    assert "It broke." in html
    assert html.split("<pre")[0].count("Nothing was charged.") == 1
    assert card.ADVICE[code] in html


def test_output_without_media_is_done_and_not_expired():
    html = card.render(state("succeeded", output={"text": "words", "seed": None}))
    assert "It is done" in html
    assert "expired" not in html
