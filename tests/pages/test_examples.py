"""Examples: who may pin what, what stays because of it, and what a visitor sees."""

from __future__ import annotations

import datetime as dt
import html
import re

import pytest
from django.utils import timezone

from marketplace import catalog
from marketplace.models import Listing, Membership, Publisher
from playground import assets, predictions
from playground.models import Asset, Example, Prediction
from playground.predictions.sweep import forget_inputs
from tests.at_once import at_once
from tests.pages.world import person
from tests.predictions import cast


@pytest.fixture
def kiln(world):
    """Somebody of the workspace that publishes the model, and one of their runs."""
    house = Publisher.objects.get(name="kiln").workspace
    cast.ledger.credit(house.pk, cast.CREDIT, source="bought", key="kiln")
    world.pia = person(house, "pia@example.test")
    world.house = house
    row = cast.submit(house, model=world.model, prompt="a cobalt jug", token="xyzzy")
    cast.succeed(cast.claim()[0], pictures=2)
    world.row = cast.again(row)
    return world


def text_of(answer) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", answer.content.decode())))


def act(world, does, *, client=None, row=None):
    return (client or world.pia).post(f"/p/{(row or world.row).uid}/example", {"act": does})


def test_a_pinned_run_is_shown_to_everybody_with_its_input_and_media(kiln):
    assert act(kiln, "pin")["Location"] == f"{kiln.page}/examples"
    body = kiln.nobody.get(f"{kiln.page}/examples").content.decode()
    assert "a cobalt jug" in body
    assert "xyzzy" not in body
    assert f"?example={kiln.row.uid}" in body
    for asset in kiln.row.assets.all():
        assert asset.uid in body or asset.position > 0
    filled = kiln.nobody.get(kiln.page, {"example": kiln.row.uid}).content.decode()
    assert "a cobalt jug</textarea>" in filled
    assert "xyzzy" not in filled
    # The example is public, the run is not.
    assert kiln.mal.get(f"/p/{kiln.row.uid}").status_code == 404


def test_what_is_pinned_does_not_expire_and_what_is_let_go_does(kiln):
    act(kiln, "pin")
    Prediction.objects.update(finished_at=timezone.now() - dt.timedelta(days=400))
    assert forget_inputs() == 0
    assert not Asset.objects.filter(expires_at__lt=timezone.now() + dt.timedelta(days=3650)).exists()
    assert assets.purge_expired() == 0
    act(kiln, "unpin")
    until = set(Asset.objects.values_list("expires_at", flat=True))
    assert all(timezone.now() < one < timezone.now() + dt.timedelta(days=2) for one in until)
    assert forget_inputs() == 1


def test_a_picture_that_is_the_cover_says_that_it_stays_public(kiln):
    act(kiln, "pin")
    run, acts = f"/p/{kiln.row.uid}", f"/p/{kiln.row.uid}/acts"
    drawer = {"HX-Request": "true", "HX-Target": "drawer"}
    for page in (kiln.pia.get(run), kiln.pia.get(acts), kiln.pia.get(run, headers=drawer)):
        assert "cover" not in text_of(page)
    Listing.objects.filter(publisher__name="kiln").update(cover=kiln.row.assets.first().uid)
    catalog.forget()
    for page in (kiln.pia.get(run), kiln.pia.get(run, headers=drawer)):
        assert "With the run deleted, the model has no cover" in text_of(page)
    assert "the cover of kiln/vase : unpinned, it stays public as that until" in text_of(kiln.pia.get(acts))
    let_go = kiln.pia.post(f"{run}/example", {"act": "unpin"}, follow=True)
    assert "still the cover of kiln/vase, which everybody sees" in text_of(let_go)
    assert "the cover of kiln/vase : public until it expires" in text_of(kiln.pia.get(acts))
    assert kiln.nobody.get("/api/v1/models/kiln/vase").json()["cover_url"]  # as it says
    kiln.pia.post(f"{run}/delete")
    assert kiln.nobody.get("/api/v1/models/kiln/vase").json()["cover_url"] is None


def test_pinning_is_for_the_publishers_members_and_their_own_runs(kiln):
    adas = kiln.made(prompt="a teal jug")
    assert act(kiln, "pin", client=kiln.ada, row=adas).status_code == 404  # her run, not her model
    assert act(kiln, "pin", row=adas).status_code == 404  # their model, not their run
    assert act(kiln, "pin", client=kiln.mal).status_code == 404
    assert act(kiln, "pin", client=kiln.nobody).status_code == 302
    assert not Example.objects.exists()


@pytest.mark.parametrize(
    ("role", "status"), [("owner", 302), ("admin", 302), ("developer", 302), ("billing", 403)]
)
def test_pinning_by_role(kiln, role, status):
    Membership.objects.filter(workspace=kiln.house).update(role=role)
    assert act(kiln, "pin").status_code == status
    assert Example.objects.exists() is (status == 302)
    acts = kiln.pia.get(f"/p/{kiln.row.uid}/acts").content.decode()
    assert ("Unpin example" in acts) is (status == 302)


def test_what_has_not_succeeded_or_is_no_longer_kept_cannot_be_pinned(kiln):
    waiting = cast.submit(kiln.house, model=kiln.model)
    act(kiln, "pin", row=waiting)
    kiln.row.assets.filter(position=0).update(expires_at=timezone.now())
    act(kiln, "pin")
    assert not Example.objects.exists()
    assert "media has expired" in kiln.pia.get(kiln.page).content.decode()


def test_examples_are_ordered_and_go_with_their_run(kiln):
    rows = [kiln.row]
    for prompt in ("second", "third"):
        row = cast.submit(kiln.house, model=kiln.model, prompt=prompt)
        for job in cast.claim(limit=4):
            cast.succeed(job)
        rows.append(cast.again(row))
    for row in rows:
        act(kiln, "pin", row=row)
    act(kiln, "up", row=rows[2])
    act(kiln, "up", row=rows[2])
    act(kiln, "up", row=rows[2])
    act(kiln, "down", row=rows[1])

    def order():
        return [one.pk for one in predictions.examples(rows[0].version.listing)]

    assert order() == [rows[2].pk, rows[0].pk, rows[1].pk]
    assert act(kiln, "nonsense", row=rows[0]).status_code == 302
    Prediction.objects.filter(pk=rows[2].pk).delete()
    assert order() == [rows[0].pk, rows[1].pk]


def test_another_models_example_fills_no_form(kiln):
    act(kiln, "pin")
    other = cast.shelve(name="other", recipe__n=2)
    assert kiln.nobody.get(f"/m/{other}", {"example": kiln.row.uid}).status_code == 404
    assert kiln.nobody.get(kiln.page, {"example": "p_nothing"}).status_code == 404


def test_an_empty_page_says_what_will_be_here(world):
    assert "The publisher has not pinned any" in world.nobody.get(f"{world.page}/examples").content.decode()


def test_shipped_examples_fill_the_form(world):
    shipped = [
        {"picture": "covers/daylight-1.webp", "input": {"prompt": "a teal vase", "steps": 7, "seed": 3}}
    ]
    model = cast.shelve(name="shipped", examples=shipped, recipe__n=3)
    page = world.nobody.get(f"/m/{model}/examples")
    body = page.content.decode()
    assert "daylight-1" in body
    (one,) = page.context["examples"]
    filled = world.nobody.get(one.url).content.decode()
    for piece in ("a teal vase", 'name="steps" type="number" inputmode="decimal" value="7"', 'value="3"'):
        assert piece in filled, piece


@pytest.mark.django_db(transaction=True)
def test_pinned_at_once_it_is_one_example():
    from tests.pages import world as worlds

    world = worlds.build()
    house = Publisher.objects.get(name="kiln").workspace
    cast.ledger.credit(house.pk, cast.CREDIT, source="bought", key="kiln")
    row = cast.submit(house, model=world.model)
    cast.succeed(cast.claim()[0])
    row = cast.again(row)
    pinned = at_once(*[lambda: predictions.pin(cast.again(row), by=None)] * 6)
    assert [one for one in pinned if isinstance(one, Exception)] == []
    assert Example.objects.count() == 1
