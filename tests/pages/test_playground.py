"""The playground: the form, the run without and with htmx, what is refused, prices and words."""

from __future__ import annotations

import contextlib
import hashlib
import html
import json
import re

import pytest
from django.db import connection

from billing import ledger
from marketplace import people
from marketplace.ids import parse
from marketplace.models import Membership, User
from playground import predictions
from playground.models import Prediction
from playground.pages import once as form_once
from playground.predictions import delete as deletion
from playground.predictions import idempotency
from tests.predictions import cast

HTMX = {"HX-Request": "true"}


def post(world, values, *, client=None, act="run", **headers):
    return (client or world.ada).post(f"{world.page}/{act}", values, headers=headers)


def test_the_form_shows_every_control(world):
    body = world.nobody.get(world.page).content.decode()
    for piece in (
        '<textarea id="f-prompt" name="prompt"',
        '<input id="f-title" name="title" type="text"',
        'type="radio" name="num_images" value="1" checked',
        'data-slides="f-steps"',
        '<input id="f-strength" name="strength" type="number"',
        '<option value="b" selected>b</option>',
        'type="checkbox" role="switch" id="f-tile"',
        'data-dice="f-seed"',
        '<input id="f-token" name="token" type="password"',
        '<input class="pick" id="f-picture" name="picture.file" type="file"',
        'name="extra.rows" value="0"',
        "$0.0040",
    ):
        assert piece in body, piece


def test_a_plain_post_runs_and_leads_to_the_result(world):
    answer = post(world, {"prompt": "a teal vase", "num_images": "2", "tile": "on", "extra": "[1, 2]"})
    row = Prediction.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"/p/{row.uid}")
    assert row.input["num_images"] == 2
    assert row.input["tile"] is True
    assert row.input["extra"] == [1, 2]
    assert row.via == Prediction.Via.PAGE
    waiting = world.ada.get(answer["Location"]).content.decode()
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in waiting
    assert "$0.0080 held" in waiting
    cast.succeed(cast.claim()[0], pictures=2)
    done = world.ada.get(answer["Location"]).content.decode()
    assert "http-equiv" not in done
    assert "$0.0080 charged" in done
    assert done.count("data-zoom") == 2
    assert f'href="/p/{row.uid}/zip" download>' in done


def test_htmx_gets_the_card_in_place(world):
    answer = post(world, {"prompt": "a teal vase"}, **HTMX)
    row = Prediction.objects.get()
    body = answer.content.decode()
    assert answer.status_code == 200
    assert f'id="prediction-{row.uid}" data-status="queued"' in body
    assert f'ws-connect="/ws/p/{row.uid}"' in body
    assert "<html" not in body
    assert answer["HX-Push-Url"] == f"{world.page}?run={row.uid}"
    assert world.ada.get(answer["HX-Push-Url"]).status_code == 200


def once(page: str) -> str:
    """What the form on a page is known by."""
    (found,) = re.findall(r'name="form-once" value="([0-9a-f]{32})" id="form-once"', page)
    return found


def test_a_form_that_is_sent_twice_is_one_run_and_a_changed_one_another(world):
    known = once(world.ada.get(world.page).content.decode())
    assert known != once(world.ada.get(world.page).content.decode())
    values = {"prompt": "a teal vase", "form-once": known}
    first, second = post(world, values), post(world, values)
    (row,) = Prediction.objects.all()
    assert first["Location"] == second["Location"] == f"/p/{row.uid}"
    changed = {**values, "prompt": "a cobalt jug"}
    assert {post(world, changed)["Location"] for _ in range(2)}.isdisjoint({first["Location"]})
    assert Prediction.objects.count() == 2
    cast.succeed(cast.claim()[0])
    assert post(world, values)["Location"] == first["Location"]
    deletion.delete(world.workspace, [row.public_id], by=User.objects.get(email="ada@example.test"))
    (again,) = {post(world, values)["Location"] for _ in range(3)}
    assert again not in {first["Location"], post(world, changed)["Location"]}
    made = Prediction.objects.get(public_id=parse(again.removeprefix("/p/"), "p"))
    predictions.cancel(made)
    deletion.delete(world.workspace, [made.public_id], by=User.objects.get(email="ada@example.test"))
    (third,) = {post(world, values)["Location"] for _ in range(2)}
    assert third not in {first["Location"], again}
    assert Prediction.objects.count() == 4


def test_a_form_that_stays_on_its_page_is_known_by_another_name_once_it_has_run(world):
    values = {"prompt": "a teal vase", "form-once": once(world.ada.get(world.page).content.decode())}
    answer = post(world, values, **HTMX).content.decode()
    assert 'id="form-once" hx-swap-oob="true"' in answer
    assert once(answer) != values["form-once"]
    post(world, values, **HTMX)  # its answer was lost
    assert Prediction.objects.count() == 1
    post(world, {**values, "form-once": once(answer)}, **HTMX)
    assert Prediction.objects.count() == 2
    for nonsense in ("", "x" * 5000, "é" * 32, "0" * 31 + "G"):
        assert post(world, {**values, "form-once": nonsense}).status_code == 302
    assert Prediction.objects.count() == 6


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_a_form_that_is_refused_keeps_its_name_as_its_first_click_may_be_under_way(world, headers):
    known = once(world.ada.get(world.page).content.decode())
    refused = post(world, {"prompt": "a teal vase", "steps": "x", "form-once": known}, **headers)
    assert refused.status_code == 422
    assert once(refused.content.decode()) == known
    strange = post(world, {"prompt": "a teal vase", "steps": "x", "form-once": '"><b>'}, **headers)
    assert once(strange.content.decode()) != known


def test_a_visitor_is_sent_to_sign_in_and_back_to_the_form(world):
    values = {"prompt": "a cobalt jug", "steps": "7", "token": "hush"}
    answer = post(world, values, client=world.nobody)
    assert answer.status_code == 302
    assert "hush" not in answer["Location"]
    page = world.nobody.get(answer["Location"])
    back = world.nobody.get(page.context["redirect_field_value"]).content.decode()
    assert "a cobalt jug</textarea>" in back
    assert 'name="steps" type="number" inputmode="decimal" value="7"' in back
    moved = post(world, values, client=world.nobody, **HTMX)
    assert (moved.status_code, moved["HX-Redirect"]) == (204, answer["Location"])
    assert not Prediction.objects.exists()


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_errors_stand_at_their_fields(world, headers):
    values = {"prompt": "", "steps": "99", "strength": "x", "extra": "{", "style": "z", "title": "kept"}
    answer = post(world, values, **headers)
    body = answer.content.decode()
    assert answer.status_code == 422
    for piece in (
        "Prompt is required",
        "Steps must be at most 40",
        "Strength must be a number",
        "Item 1 must be a whole number",
        "Style must be one of",
        'value="kept"',
        'value="99"',
    ):
        assert piece in body, piece
    assert ("<html" in body) is not bool(headers)
    assert body.count('aria-invalid="true"') >= 4
    if headers:
        assert (answer["HX-Retarget"], answer["HX-Reswap"]) == ("#input", "outerHTML")
    assert not Prediction.objects.exists()


def test_without_credit_nothing_runs_and_the_form_says_why(world):
    poor = cast.payer(credit=1_000, name="poor")
    from tests.pages.world import person

    answer = post(world, {"prompt": "a teal vase"}, client=person(poor, "poor@example.test"))
    assert answer.status_code == 402
    assert "needs $0.0040, and $0.0010 is available" in answer.content.decode()
    assert not Prediction.objects.exists()


def test_a_limit_is_named(world):
    scope = ledger.SpendScope("workspace", str(world.workspace.pk))
    ledger.set_limit(workspace_id=world.workspace.pk, scope=scope, period="day", limit_micros=1_000)
    answer = post(world, {"prompt": "a teal vase"}, **HTMX)
    assert answer.status_code == 402
    assert "The daily limit of this workspace is $0.0010" in answer.content.decode()
    assert 'href="/dashboard/limits">Spend limits</a>' in answer.content.decode()


def test_somebody_without_a_workspace_is_told(world):
    user = User.objects.create_user("new@example.test", "a long password")
    world.nobody.force_login(user)
    answer = post(world, {"prompt": "a teal vase"}, client=world.nobody)
    assert answer.status_code == 403
    said = answer.content.decode()
    assert "no workspace" in said
    assert 'href="/dashboard/workspaces/new"' in said
    assert "Sign in to run" not in said
    refused = world.nobody.get("/dashboard/history")
    assert (refused.status_code, "belong to no workspace" in refused.content.decode()) == (403, True)
    Membership.objects.create(workspace=people.make_workspace("fresh"), user=user)
    assert post(world, {"prompt": "a teal vase"}, client=world.nobody).status_code == 402


def test_the_estimate_follows_the_form(world):
    body = post(
        world, {"prompt": "a teal vase", "num_images": "3"}, client=world.nobody, act="estimate"
    ).content.decode()
    assert "$0.0120" in body
    assert "3 images" in body
    wrong = post(world, {"prompt": "a vase", "steps": "99"}, client=world.nobody, act="estimate")
    assert wrong.status_code == 200
    assert "Steps must be at most 40" in wrong.content.decode()


def test_words_that_were_never_learned_are_named(world):
    known = post(world, {"prompt": "The TEAL vase"}, act="estimate").content.decode()
    assert "never learned" not in known
    strange = post(world, {"prompt": "a teal <b>dragon</b>, vase"}, act="estimate").content.decode()
    assert "never learned" in strange
    assert "<b>dragon</b>" in strange  # our own emphasis of a word: letters only
    assert 'hx-swap-oob="true"' in strange
    page = world.nobody.get(world.page, {"prompt": "a dragon"}).content.decode()
    assert "<b>dragon</b>" in page


def test_words_are_offered_in_the_order_of_the_prompt(world):
    body = world.nobody.get(world.page).content.decode()
    assert body.index('data-word="teal"') < body.index('data-word="vase"')
    assert f'href="{world.page}?prompt=a%20teal%20vase"' in body


def test_tweaking_takes_the_seed_and_showing_does_not(world):
    row = world.made(prompt="a cobalt jug", seed=4242)
    shown = world.ada.get(f"{world.page}?run={row.uid}").content.decode()
    tweaked = world.ada.get(f"{world.page}?from={row.uid}").content.decode()
    assert "a cobalt jug</textarea>" in shown
    assert 'name="seed" type="number" inputmode="numeric" value=""' in shown
    assert 'name="seed" type="number" inputmode="numeric" value="4242"' in tweaked


def test_running_again_is_the_same_input(world):
    row = world.failed(prompt="a cobalt jug", seed=5)
    answer = world.ada.post(f"/p/{row.uid}/again")
    made = Prediction.objects.latest("id")
    assert answer["Location"] == f"/p/{made.uid}"
    assert made.pk != row.pk
    assert made.input == row.input
    card = world.ada.post(f"/p/{row.uid}/again", headers=HTMX).content.decode()
    assert f'id="live-{Prediction.objects.latest("id").uid}"' in card
    page = world.ada.get(f"/p/{row.uid}").content.decode()
    (known,) = set(re.findall(r'name="form-once" value="([0-9a-f]{32})"', page))
    clicks = [world.ada.post(f"/p/{row.uid}/again", {"form-once": known}) for _ in range(2)]
    assert {one["Location"] for one in clicks} == {f"/p/{Prediction.objects.latest('id').uid}"}
    assert Prediction.objects.count() == 4


@contextlib.contextmanager
def taken_in_elsewhere(workspace, known, wanted):
    """Another request with the same form is being handled for as long as this lasts."""
    key = f"{workspace.pk} form {known} {idempotency.digest(wanted.body())}"
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big", signed=True)
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [number])
        yield
    finally:
        other.close()


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_running_again_while_it_is_being_run_again_leads_to_no_other_run(world, monkeypatch, headers):
    monkeypatch.setattr(form_once, "IN_FLIGHT_SECONDS", 0.0)
    row = world.failed(prompt="a cobalt jug", seed=5)
    wanted = predictions.Request(model=f"{row.model}:{row.version.sha256}", input=row.input, exact=row.exact)
    with taken_in_elsewhere(world.workspace, "a" * 32, wanted):
        answer = world.ada.post(f"/p/{row.uid}/again", {"form-once": "a" * 32}, headers=headers)
    assert answer["HX-Redirect" if headers else "Location"] == f"/p/{row.uid}"
    assert "It is being run again right now" in world.ada.get(f"/p/{row.uid}").content.decode()
    assert Prediction.objects.count() == 1


def test_running_again_what_was_secret_asks_for_it(world):
    row = world.failed(token="hush")
    answer = world.ada.post(f"/p/{row.uid}/again")
    assert answer["Location"] == f"{world.page}?from={row.uid}"
    assert "Its secret is not kept" in world.ada.get(answer["Location"]).content.decode()
    assert Prediction.objects.count() == 1


def test_canceling(world):
    row = world.run()
    answer = world.ada.post(f"/p/{row.uid}/cancel", headers=HTMX)
    assert 'data-status="canceled"' in answer.content.decode()
    assert "Nothing charged" in answer.content.decode()
    assert world.ada.post(f"/p/{row.uid}/cancel")["Location"] == f"/p/{row.uid}"
    assert ledger.balance(world.workspace.pk).available_micros == 1_000_000


@pytest.mark.parametrize("language", ["curl", "python", "javascript", "nonsense"])
def test_snippets_carry_the_values_of_the_form(world, language):
    body = world.ada.get(
        f"{world.page}/api", {"prompt": "a cobalt jug", "steps": "9", "l": language}
    ).content.decode()
    assert "a cobalt jug" in body
    assert "9" in body
    assert (
        "xyzzy" not in world.ada.get(f"{world.page}/api", {"token": "xyzzy", "l": language}).content.decode()
    )
    for name in ("prompt", "num_images", "token"):
        assert f"<code>{name}</code>" in body


@pytest.mark.parametrize(
    ("house", "word", "install"),
    [
        ("fal", "num_images", "pip install fal-client"),
        ("replicate", "num_outputs", "pip install &quot;replicate&lt;2&quot;"),
        ("openai", "n", "pip install openai"),
        ("huggingface", "prompt", "pip install huggingface_hub Pillow"),
    ],
)
def test_snippets_of_other_clients_carry_the_values_of_the_form(world, house, word, install):
    asked = {"prompt": "a <cobalt> jug", "num_images": "3", "token": "xyzzy", "c": house, "l": "python"}
    body = world.ada.get(f"{world.page}/api", asked).content.decode()
    assert f'id="by-{house}" aria-current="true"' in body
    assert 'id="in-python" aria-current="true"' in body
    assert f'<code id="install">{install}</code>' in body
    code = re.search(r'<code id="snippet">(.*?)</code>', body, re.DOTALL)[1]
    marked = re.findall(r'(?:&quot;)?(\w+)(?:&quot;: |=)<span class="v">(.*?)</span>', code)
    assert ("prompt", "&quot;a &lt;cobalt&gt; jug&quot;") in marked
    assert "xyzzy" not in body
    if house == "huggingface":
        assert "num_images is left out" in body
    else:
        assert (word, "3") in marked


def test_who_chooses_a_client_keeps_the_form_and_may_come_with_any_choice(world):
    body = world.nobody.get(f"{world.page}/api", {"steps": "9", "c": "fal", "l": "curl"}).content.decode()
    assert 'id="in-python" aria-current="true"' in body  # curl is nobody's client
    assert html.escape("?steps=9&c=openai&l=python") in body
    assert html.escape("?steps=9&c=fal&l=javascript") in body
    assert f'href="{world.page}?steps=9"' in body  # the form knows nothing of the choice
    for nobody in ("nonsense", "", "\0"):
        body = world.nobody.get(f"{world.page}/api", {"c": nobody}).content.decode()
        assert 'id="by-vitrine" aria-current="true"' in body


def test_the_readme_is_shown_and_never_obeyed(world):
    body = world.nobody.get(f"{world.page}/readme").content.decode()
    assert '<h2 id="readme-vase">Vase</h2>' in body
    assert "<em>narrow</em>" in body
    assert "<code>a &lt; b</code>" in body
    assert "98 %</td>" in body
    assert "<li>second</li>" in body
    assert '<a href="/m/kiln/vase"' in body
    assert "<script>alert" not in body
    assert 'href="javascript' not in body
    assert 'href="https://example.test/?a=1&amp;b=%222"' in body


@pytest.mark.parametrize(
    "garbage", [{"prompt": "\0"}, {"steps": "9" * 500}, {"extra": "[" * 3000}, {"seed": "1e9"}]
)
def test_garbage_is_an_answer_and_no_crash(world, garbage):
    for act, allowed in (("run", {422}), ("estimate", {200})):
        assert post(world, {"prompt": "a vase", **garbage}, act=act).status_code in allowed
    assert world.ada.get(world.page, garbage).status_code == 200
    assert world.ada.get(f"{world.page}/api", garbage).status_code == 200


def test_json_on_the_page_is_the_apis(world):
    row = world.made()
    page = world.ada.get(f"/p/{row.uid}")
    assert json.loads(page.context["document"])["id"] == row.uid
