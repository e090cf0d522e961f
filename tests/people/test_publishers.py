"""Publishers: which names can be had, and by whom when many want one; renaming, closing and opening again."""

from __future__ import annotations

import io
import re
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.urls import get_resolver
from django.utils import timezone

from billing import ledger
from marketplace import catalog, people, publishers
from marketplace.models import Listing, Publisher, Workspace
from playground import departures, predictions
from tests.at_once import at_once
from tests.billing.cast import new_workspace
from tests.people import cast
from tests.predictions import cast as runs
from tests.until import until


def open_for(workspace: Workspace, name: str = "northlight", **given) -> Publisher:
    return publishers.found(workspace, name=name, **{"agreed": True, "by": None, **given})


def run(*args: str) -> str:
    out = io.StringIO()
    call_command("publisher", *args, stdout=out)
    return out.getvalue().strip()


def test_a_workspace_becomes_a_publisher(team, settings):
    settings.PUBLISHER_SHARE_PERCENT = 72
    made = open_for(team.workspace, title="  North\u0007light   Studio ", by=team.users["owner"])
    assert (made.name, made.title, made.workspace) == ("northlight", "North light Studio", team.workspace)
    assert (made.share_percent, made.agreed_by) == (Decimal(72), team.users["owner"])
    assert made.agreed_at is not None
    assert publishers.find(team.workspace, "northlight") == made
    with pytest.raises(publishers.NotFound):
        publishers.find(new_workspace(), "northlight")
    with pytest.raises(publishers.Refused, match="publishes as northlight already"):
        open_for(team.workspace, "southlight")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        *(
            (name, "pattern")
            for name in ("", "a", "A-Studio", "a b", "é", "-ab", "ab-", "a--b", "a_b", "x" * 40, "ａb")
        ),
        *(
            (name, "not_allowed")
            for name in (
                *("vitrine", "v1trine", "vit-rine", "ap1", "stripe", "m0dels", "off1cial"),
                *("vitrine-payments", "the-v1trine", "vit-rine2"),
            )
        ),
        *((name, "taken") for name in ("kiln", "ki-ln", "k1ln", "klln")),
    ],
)
def test_names_that_cannot_be_had(team, name, code):
    runs.publisher("kiln")
    with pytest.raises(publishers.Invalid) as caught:
        open_for(team.workspace, name)
    assert [(error.field, error.code) for error in caught.value.errors] == [("name", code)]
    assert publishers.of(team.workspace).count() == 0


def test_terms_are_agreed_to_and_all_that_is_wrong_is_said(team):
    with pytest.raises(publishers.Invalid) as caught:
        open_for(team.workspace, "A", title="x" * 81, agreed=False)
    assert [error.field for error in caught.value.errors] == ["name", "title", "terms"]


def test_names_of_pages_are_no_names_of_publishers():
    """What stands in the place of a name under /publish and /m."""
    words = set()
    for pattern in get_resolver().url_patterns:
        words |= set(re.findall(r"^(?:publish|m)/([a-z]+)", str(pattern.pattern)))
    assert {"models", "earnings", "settings"} <= words <= publishers.RESERVED


@pytest.mark.django_db(transaction=True)
def test_of_many_who_want_a_name_at_once_one_gets_it():
    wanting = [new_workspace() for _ in range(6)]
    names = ["glaze", "gla-ze", "g1aze", "glaze", "giaze", "gl-aze"]
    found = at_once(*(partial(open_for, one, name) for one, name in zip(wanting, names, strict=True)))
    assert [type(one) for one in found if isinstance(one, Exception)] == [publishers.Invalid] * 5
    assert Publisher.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_workspace_that_asks_twice_at_once_has_one():
    one = new_workspace()
    found = at_once(*(partial(open_for, one, name) for name in ("glaze", "slip", "bisque", "raku")))
    assert [type(other) for other in found if isinstance(other, Exception)] == [publishers.Refused] * 3
    assert Publisher.objects.count() == 1


def test_a_name_changes_until_there_is_a_model(team):
    made = open_for(team.workspace, "kiln")
    assert publishers.change(made, name="kilns", title="Kilns").name == "kilns"
    with pytest.raises(publishers.Invalid):
        publishers.change(made, name="vitrine")
    publishers.change(made, name="ki-lns")  # what looks like its own name, and is nobody else's
    made = publishers.change(made, name="kiln")
    runs.shelve()
    with pytest.raises(publishers.Refused, match="its name stays"):
        publishers.change(made, name="oven")
    assert publishers.change(made, title="Oven").title == "Oven"
    assert Publisher.objects.get().name == "kiln"


def test_closing_takes_the_models_off_the_shelf_and_nothing_else(team):
    made = open_for(team.workspace, "kiln")
    runs.shelve()
    runs.shelve(name="jug", recipe__n=1)
    payer = runs.payer()
    waiting = runs.submit(payer)
    said = departures.preview_publisher(made)
    assert (said.listings, said.open_runs, said.pending_micros) == (["kiln/jug", "kiln/vase"], 1, 0)
    assert publishers.close(made)
    assert not publishers.close(made)
    assert set(Listing.objects.values_list("visibility", flat=True)) == {"private"}
    catalog.forget()
    with pytest.raises(catalog.NotFound):
        runs.submit(payer)
    assert runs.succeed(runs.claim()[0])  # what was accepted goes on, and earns
    assert runs.again(waiting).status == "succeeded"
    assert ledger.publisher_balance(made.pk).pending_micros == runs.PRICE_MICROS * 8 // 10
    with pytest.raises(catalog.InvalidManifest, match="closed"):
        runs.shelve()
    listing = Listing.objects.get(name="vase")
    with pytest.raises(catalog.InvalidListing, match="stays private"):
        catalog.describe(listing, catalog.Said("A vase.", "", "", "public"))
    with pytest.raises(publishers.Invalid):
        open_for(new_workspace(), "kiln")
    with pytest.raises(publishers.Refused, match="open it again"):
        open_for(team.workspace, "oven")
    assert publishers.reopen(made)
    assert not publishers.reopen(made)
    runs.shelve()  # and the manifest does not put it back
    assert Listing.objects.get(name="vase").visibility == "private"
    catalog.describe(listing, catalog.Said("A vase.", "", "", "public"))
    assert runs.submit(payer).status == "queued"
    runs.money_is_right()


def test_a_workspace_closes_with_its_publisher(team):
    made = open_for(team.workspace, "kiln")
    runs.shelve(visibility="unlisted")
    with pytest.raises(departures.CannotGo, match="kiln/vase"):
        departures.close_workspace(team.workspace, by=team.users["owner"])
    catalog.pause(Listing.objects.get())
    departures.close_workspace(team.workspace, by=team.users["owner"])
    made.refresh_from_db()
    assert made.is_closed
    assert Listing.objects.get().visibility == "private"
    with pytest.raises(publishers.Refused, match="deleted"):
        publishers.reopen(made)
    with pytest.raises(CommandError, match="deleted"):
        run("reopen", "kiln")
    with pytest.raises(publishers.Refused, match="deleted"):
        open_for(team.workspace, "oven")


@pytest.mark.django_db(transaction=True)
def test_a_publisher_is_not_opened_again_while_its_workspace_closes(team):
    made = open_for(team.workspace, "kiln")
    publishers.close(made)

    def waits() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid <> pg_backend_pid()"
                " AND datname = current_database()"
            )
            return bool(cursor.fetchone()[0])

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            departures.close_workspace(team.workspace, by=team.users["owner"])
            asked = pool.submit(at_once, partial(publishers.reopen, made))
            until(waits, "somebody who opens it waits for the workspace")
        assert [type(one) for one in asked.result(timeout=60)] == [publishers.Refused]
    assert Publisher.objects.get().is_closed


def test_who_may(team):
    for role, may in {"owner": True, "admin": True, "developer": False, "billing": False}.items():
        assert people.may(role, people.Act.PUBLISHER) is may


def test_unlisted_private_and_paused(team):
    payer, house = runs.payer(), open_for(team.workspace, "kiln").workspace
    runs.shelve(visibility="unlisted")
    listing = Listing.objects.get()
    assert not catalog.listings().exists()
    assert catalog.tasks() == []
    assert catalog.listings(workspace=house).get() == listing
    assert runs.submit(payer).status == "queued"
    Listing.objects.update(visibility="public")
    assert catalog.listings().get() == listing
    assert catalog.pause(listing)
    assert not catalog.pause(listing)
    catalog.forget()
    assert not catalog.listings().exists()
    assert catalog.tasks() == []
    assert catalog.listing("kiln/vase").is_paused
    with pytest.raises(predictions.CannotRun, match="paused by its publisher"):
        runs.submit(payer)
    with pytest.raises(predictions.CannotRun):
        runs.submit(house)
    assert ledger.balance(payer.pk).held_micros == runs.PRICE_MICROS
    assert runs.succeed(runs.claim()[0])
    assert catalog.resume(listing)
    assert not catalog.resume(listing)
    catalog.forget()
    assert runs.submit(payer).status == "queued"


def test_what_was_said_by_hand_outlives_the_next_version(team):
    open_for(team.workspace, "kiln")
    runs.shelve(readme="# Vase")
    listing = Listing.objects.get()
    catalog.describe(listing, catalog.Said(" A  tall\nvase. ", "# Vase", "", "unlisted"))
    listing.refresh_from_db()
    assert (listing.tagline, listing.edited) == ("A tall vase.", ["tagline", "visibility"])
    runs.shelve(readme="# Another", recipe__n=2)
    listing.refresh_from_db()
    assert (listing.tagline, listing.readme, listing.visibility) == ("A tall vase.", "# Another", "unlisted")
    catalog.describe(listing, catalog.Said("A vase.", "# Another", "", "public"))  # as the manifest has it
    listing.refresh_from_db()
    assert listing.edited == []
    runs.shelve(tagline="A jug.", readme="# Another", recipe__n=2)
    listing.refresh_from_db()
    assert listing.tagline == "A jug."
    catalog.describe(listing, catalog.Said("A jug.", "# Another", "", "public"))  # saved as it was
    listing.refresh_from_db()
    assert listing.edited == []


def test_a_readme_that_a_form_sends_back_as_it_was_is_not_set_by_hand(team):
    open_for(team.workspace, "kiln")
    runs.shelve(readme="# Vase\n\nTall.\n")  # as files end
    listing = Listing.objects.get()
    catalog.describe(listing, catalog.Said("Another.", "# Vase\r\n\r\nTall.\r\n", "", "public"))
    listing.refresh_from_db()
    assert listing.edited == ["tagline"]
    runs.shelve(readme="# Vase\n\nTaller.\n", recipe__n=2)
    listing.refresh_from_db()
    assert (listing.tagline, listing.readme) == ("Another.", "# Vase\n\nTaller.\n")


def test_what_a_version_said_first_can_be_said_by_hand(team):
    """A version keeps the manifest that it came with, and the same build may be published with other words."""
    open_for(team.workspace, "kiln")
    runs.shelve(tagline="A vase.")
    runs.shelve(tagline="A jug.")
    listing = Listing.objects.get()
    catalog.describe(listing, catalog.Said("A vase.", listing.readme, "", "public"))
    runs.shelve(tagline="A jug.")
    listing.refresh_from_db()
    assert (listing.tagline, listing.edited) == ("A vase.", ["tagline"])


@pytest.mark.parametrize(
    ("said", "field"),
    [
        (("", "", "", "public"), "tagline"),
        (("x" * 161, "", "", "public"), "tagline"),
        (("A.", "x" * 100_001, "", "public"), "readme"),
        (("A.", "", "", "secret"), "visibility"),
    ],
)
def test_what_a_model_cannot_say(team, said, field):
    open_for(team.workspace, "kiln")
    runs.shelve()
    before = Listing.objects.values().get()
    with pytest.raises(catalog.InvalidListing) as caught:
        catalog.describe(Listing.objects.get(), catalog.Said(*said))
    assert [error.field for error in caught.value.errors] == [field]
    assert Listing.objects.values().get() == before


def test_by_the_operators_hand(team):
    slug = team.workspace.slug
    assert run("list") == "there is no publisher"
    assert run("open", slug, "kiln", "--title", "Kiln") == f"{slug} publishes as kiln"
    assert run("rename", "kiln", "oven") == "it is oven now"
    assert run("title", "oven", "The Oven") == "it is shown as The Oven now"
    assert run("close", "oven") == "oven is closed"
    assert run("list").endswith("0 models  closed")
    assert run("reopen", "oven") == "oven is open; its models are private"
    assert Publisher.objects.get().agreed_by is None
    for wrong, said in (
        (("open", "nowhere", "glaze"), "no workspace"),
        (("open", slug, "glaze"), "already"),
        (("close", "nobody"), "no publisher"),
        (("rename", "oven", "vitrine"), "keeps for itself"),
    ):
        with pytest.raises(CommandError, match=said):
            run(*wrong)


def test_a_model_is_published_under_a_name_that_was_opened(team, tmp_path):
    """What the commands that publish take as --publisher."""
    open_for(team.workspace, "kiln")
    manifest = tmp_path / "vase.toml"
    manifest.write_text(
        'name = "vase"\ntagline = "A vase."\ntask = "text-to-image"\nlicense = "MIT"\nlane = "cpu"\n'
        '[[prices]]\nunit = "request"\nunit_price = "0.004"\n[recipe]\nfamily = "testcard"\n'
        '[endpoint]\nmax_seconds = 60\nstart_within_seconds = 60\n[endpoint.input]\ntype = "object"\n'
        '[endpoint.input.properties.prompt]\ntype = "string"\n'
        '[endpoint.output]\ntype = "object"\n'
    )
    out = io.StringIO()
    call_command("publish", str(manifest), "--publisher", "kiln", stdout=out)
    assert out.getvalue().strip() == "kiln/vase"
    found = catalog.own_listing(team.workspace, "kiln", "vase")
    assert catalog.callable_endpoint("kiln/vase", workspace=None, now=timezone.now()).listing == found
    with pytest.raises(catalog.NotFound):
        catalog.own_listing(cast.runs.payer(), "kiln", "vase")
