"""The form's own acts: rows, JSON, reset and undo; with htmx and without, and what hostile hands send."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from marketplace import catalog
from playground.models import Prediction
from tests.pages.test_playground import HTMX, post
from tests.predictions import cast

EVERY = Path(__file__).with_name("every.toml")


@pytest.fixture
def every(world):
    """The page of a model whose form has every control."""
    manifest = tomllib.loads(EVERY.read_text())
    for order, one in enumerate(manifest["endpoint"]["input"]["properties"].values()):
        one["x-order"] = order
    listing = catalog.publish(cast.publisher(), manifest | {"lane": cast.LANE})
    world.page = f"/m/{listing.model_id}"
    return world


def act(world, does, values, **headers):
    return post(world, {"form-act": does, **values}, act="form", client=world.nobody, **headers)


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_a_row_more_keeps_what_was_filled_in(every, headers):
    values = {
        "prompt": "mine",
        "adapters.rows": "1",
        "adapters.0.path": "x/y",
        "frame.on": "on",
        "frame.width": "3",
    }
    body = act(every, "add adapters", values, **headers).content.decode()
    assert ("<html" in body) is not bool(headers)
    assert 'name="adapters.rows" value="2"' in body
    assert 'name="adapters.0.path" type="text" value="x/y"' in body
    assert 'id="f-adapters-1-path"' in body
    field = body.split('id="f-adapters-1-path"')[1].split(">")[0]
    assert field.endswith(" autofocus")
    assert "mine</textarea>" in body


def test_rows_move_and_go(every):
    values = {"prompt": "a", "tags.rows": "2", "tags.0": "first", "tags.1": "second"}
    moved = act(every, "up tags.1", values).content.decode()
    assert moved.index('value="second"') < moved.index('value="first"')
    gone = act(every, "remove tags.0", values).content.decode()
    assert 'value="first"' not in gone
    assert 'name="tags.rows" value="1"' in gone


def test_json_and_form_are_the_same_values(every):
    values = {"prompt": "a", "num_images": "4", "tags.rows": "1", "tags.0": "x", "token": "xyzzy"}
    page = act(every, "json", values)
    shown = json.loads(page.context["text"])
    assert shown["num_images"] == 4
    assert shown["tags"] == ["x"]
    assert "xyzzy" not in page.content.decode()
    assert 'name="token" type="password"' in page.content.decode()
    back = act(every, "form", {"form-view": "json", "form-json": json.dumps(shown | {"num_images": 7})})
    assert 'name="num_images" type="number" inputmode="decimal" value="7"' in back.content.decode()


def test_a_secret_in_the_json_is_used_and_not_repeated(every):
    text = json.dumps({"prompt": "a", "token": "xyzzy-plugh", "num_images": 99})
    body = post(every, {"form-view": "json", "form-json": text}).content.decode()
    assert "must be at most 50" in body
    assert "xyzzy-plugh" not in body
    post(every, {"form-view": "json", "form-json": json.dumps({"prompt": "a", "token": "xyzzy-plugh"})})
    assert Prediction.objects.get().input["token"] == "xyzzy-plugh"


@pytest.mark.parametrize("does", ["form", "add tags", "json"])
def test_broken_json_stays_and_says_where(every, does):
    body = act(every, does, {"form-view": "json", "form-json": '{"prompt": "a",\n "x": }'}).content.decode()
    assert "Line 2, column 7" in body
    assert "&quot;x&quot;: }" in body
    assert 'aria-describedby="f-json-error f-json-hint"' in body
    refused = post(every, {"form-view": "json", "form-json": "{"}, **HTMX)
    assert (refused.status_code, refused["HX-Retarget"]) == (422, "#input")
    assert not Prediction.objects.exists()


def test_json_runs_as_the_form_does(every):
    text = json.dumps({"prompt": "a", "frame": {"width": 5, "colour": "black"}, "tags": ["x", "y"]})
    assert post(every, {"form-view": "json", "form-json": text}).status_code == 302
    row = Prediction.objects.get()
    assert row.input["frame"] == {"width": 5, "colour": "black"}
    assert row.input["tags"] == ["x", "y"]
    estimate = post(
        every, {"form-view": "json", "form-json": '{"prompt": "a", "num_images": 3}'}, act="estimate"
    )
    assert "$0.0120" in estimate.content.decode()


def test_unknown_fields_are_named_in_json(every):
    body = post(every, {"form-view": "json", "form-json": '{"prompt": "a", "dragon": 1}'}).content.decode()
    assert "<code>dragon</code> is not a field of this model" in body


def test_reset_can_be_undone(every):
    reset = act(every, "reset", {"prompt": "mine", "num_images": "9", "token": "xyzzy"})
    body = reset.content.decode()
    assert "a card</textarea>" in body
    assert "Undo" in body
    assert "xyzzy" not in body
    undone = act(every, "undo", {"prompt": "a card", "form-was": reset.context["was"]}).content.decode()
    assert "mine</textarea>" in undone
    assert 'inputmode="decimal" value="9"' in undone


def test_fields_deep_inside_show_their_errors(every):
    values = {
        "prompt": "a",
        "frame.on": "on",
        "frame.width": "99",
        "adapters.rows": "1",
        "adapters.0.path": "",
    }
    body = post(every, values).content.decode()
    assert "Width must be at most 64" in body
    assert 'id="f-frame-width-error"' in body
    assert 'aria-describedby="f-frame-width-error"' in body


def test_a_visitor_comes_back_to_nested_values(every):
    values = {
        "prompt": "mine",
        "frame.on": "on",
        "frame.width": "5",
        "tags.rows": "1",
        "tags.0": "red",
        "token": "xyzzy",
    }
    answer = post(every, values, client=every.nobody)
    assert "xyzzy" not in answer["Location"]
    back = every.nobody.get(parse_qs(urlsplit(answer["Location"]).query)["next"][0]).content.decode()
    for piece in (
        "mine</textarea>",
        'value="red"',
        'name="frame.width" type="number" inputmode="decimal" value="5"',
    ):
        assert piece in back, piece


def test_tabs_carry_what_is_filled_in_and_no_secret(every):
    query = {"prompt": "mine", "tags.rows": "1", "tags.0": "red", "token": "xyzzy"}
    body = every.nobody.get(f"{every.page}/api", query).content.decode()
    assert f"{every.page}?prompt=mine&amp;tags.rows=1&amp;tags.0=red" in body
    assert "&quot;red&quot;" in body
    assert "xyzzy" not in body.split("<main")[1]


@pytest.mark.parametrize(
    "values",
    [
        {"form-act": "add " + "tags." * 500},
        {"form-act": "remove tags." + "9" * 400},
        {"form-act": "\0"},
        {"form-act": "undo", "form-was": "[" * 5000},
        {"form-act": "undo", "form-was": '{"tags": 7, "frame": [], "prompt": {}}'},
        {"form-act": "json", "tags.rows": "99999"},
        {"form-act": "up tags.0", "tags.rows": "x"},
        {"form-act": "form", "form-view": "json", "form-json": "null"},
        {
            "form-act": "form",
            "form-view": "json",
            "form-json": '{"tags": {"a": 1}, "adapters": [1, null, []]}',
        },
        {"form-act": "json", "form-version": "0" * 400},
        {"form-act": "json", "form-version": "\0abc"},
    ],
)
def test_garbage_is_an_answer_and_no_crash(every, values):
    answer = every.nobody.post(f"{every.page}/form", values)
    assert answer.status_code in ({404} if "form-version" in values else {200})


def test_looking_at_the_forms_address_is_the_model(every):
    assert every.nobody.get(f"{every.page}/form")["Location"] == every.page


def test_out_of_credit_says_what_is_missing(every):
    from tests.pages.world import person

    poor = person(cast.payer(credit=1_000, name="poor"), "poor@example.test")
    body = post(every, {"prompt": "a"}, client=poor).content.decode()
    assert "$0.0030 more is needed" in body
    assert 'role="alert" tabindex="-1" data-focus' in body


def test_a_model_that_nothing_serves_says_so(every):
    from marketplace.models import Offer

    assert "A run would wait" in every.ada.get(every.page).content.decode()
    Offer.objects.update(is_enabled=False)
    catalog.forget()
    body = every.ada.get(every.page).content.decode()
    assert "It cannot be run now" in body
    assert "Unavailable" in body
    assert 'id="run" disabled' in body


def test_an_older_version_is_run_on_request(every):
    manifest = tomllib.loads(EVERY.read_text()) | {"lane": cast.LANE}
    del manifest["endpoint"]["input"]["properties"]["strength"]
    from marketplace.models import Listing, Version

    old = Listing.objects.get(name="every").default_version
    catalog.publish(cast.publisher(), manifest)
    catalog.forget()
    body = every.ada.get(every.page, {"version": old.sha256[:12]}).content.decode()
    assert 'name="strength"' in body
    assert f'name="form-version" value="{old.sha256}"' in body
    assert "This is not the version that everybody gets" in body
    assert 'name="strength"' not in every.ada.get(every.page).content.decode()
    answer = post(every, {"prompt": "a", "strength": "1", "form-version": old.sha256}, **HTMX)
    assert Prediction.objects.get().version_id == old.pk
    assert f"version={old.sha256[:12]}" in answer["HX-Push-Url"]
    versions = every.nobody.get(f"{every.page}/versions").content.decode()
    for piece in (
        "breaking",
        "<code>strength</code>",
        "a call that sends it is refused",
        f"?version={old.sha256[:12]}",
    ):
        assert piece in versions, piece
    assert Version.objects.filter(listing__name="every").count() == 2
    assert every.ada.get(every.page, {"version": "f" * 12}).status_code == 404


def test_use_as_input_fills_the_file_field(every):
    row = every.made()
    asset = row.assets.get()
    assert f'value="{asset.uid}"' in every.ada.get(every.page, {"use": asset.uid}).content.decode()
    assert f'value="{asset.uid}"' not in every.mal.get(every.page, {"use": asset.uid}).content.decode()
    shelf = every.ada.get("/", {"use": asset.uid}).content.decode()
    assert f'href="{every.page}?use={asset.uid}"' in shelf
    assert "Where should it go?" in shelf
    assert "Where should it go?" not in every.mal.get("/", {"use": asset.uid}).content.decode()
