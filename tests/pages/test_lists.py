"""The gallery: filters, pages, empty states, and a fixed number of queries; receipts; health."""

from __future__ import annotations

import re

import pytest
from django.utils import timezone

from playground.models import Asset
from playground.pages import gallery
from tests.predictions import cast


def shelve(count):
    for number in range(count):
        cast.shelve(name=f"vase-{number:02}", tagline=f"Vase number {number}", recipe__n=number)


def test_the_gallery_names_price_task_and_runs(world):
    body = world.nobody.get("/").content.decode()
    for piece in ("kiln/", "vase", "$0.0040 / image", "text to image", "0 runs", "cold"):
        assert piece in body, piece


def test_search_finds_every_word_and_says_when_it_finds_none(world):
    shelve(3)
    assert "vase-01" in world.nobody.get("/", {"q": "kiln number 1"}).content.decode()
    body = world.nobody.get("/", {"q": "number dragon"}).content.decode()
    assert "No model matches" in body
    assert "Show all models" in body
    assert "No model matches" in world.nobody.get("/", {"task": "text-to-video"}).content.decode()


@pytest.mark.parametrize(
    "values", [{"page": "-1"}, {"page": "x"}, {"page": "9" * 50}, {"sort": "x"}, {"q": "\0" * 300}]
)
def test_strange_filters_are_harmless(world, values):
    assert world.nobody.get("/", values).status_code == 200


def test_pages_of_the_gallery(world):
    shelve(gallery.PAGE + 2)
    first = world.nobody.get("/?sort=newest").content.decode()
    assert "page=2" in first
    second = world.nobody.get("/?sort=newest&page=2").content.decode()
    assert "Previous page" in second
    part = world.nobody.get(
        "/?sort=newest&page=2", headers={"HX-Request": "true", "HX-Target": "more"}
    ).content.decode()
    assert "<html" not in part
    assert part.count('<article class="card">') == 3


def test_the_gallery_asks_the_database_a_fixed_number_of_questions(world, django_assert_max_num_queries):
    shelve(3)
    with django_assert_max_num_queries(6):
        world.nobody.get("/")
    shelve(20)
    with django_assert_max_num_queries(6):
        world.nobody.get("/")
    with django_assert_max_num_queries(10):
        world.ada.get("/")


def test_a_models_page_too(world, django_assert_max_num_queries):
    for _ in range(6):
        world.made()
    with django_assert_max_num_queries(16):
        world.ada.get(world.page)


def test_an_expired_picture_leaves_the_page_whole(world):
    row = world.made()
    Asset.objects.update(expires_at=timezone.now())
    assert "The result has expired" in world.ada.get(f"/p/{row.uid}").content.decode()
    assert row.uid in world.ada.get("/dashboard/history").content.decode()
    assert "Run again" in world.ada.get(f"/p/{row.uid}").content.decode()


def test_what_took_the_time_is_a_bar_and_its_table(world):
    row = world.made()
    measured = {"load_s": 2.5, "steps_s": 1.5, "decode_s": 0.0001, "store_s": 0.4, "steps": 4}
    row.metrics = {
        **row.metrics,
        **measured,
        "steps_per_second": 3.2,
        "peak_memory_bytes": 1_500_000_000,
        "batch": 3,
    }
    row.started_at = row.finished_at - cast.later(seconds=5)
    row.created_at = row.started_at - cast.later(seconds=7)
    row.save()
    for path in ("", "/receipt"):
        body = world.ada.get(f"/p/{row.uid}{path}").content.decode()
        for label, value in (
            *(("Queued", "7.0 s"), ("Loading weights", "2.5 s"), ("4 steps", "1.5 s"), ("Storing", "0.4 s")),
            *(("Handing over", "0.6 s"), ("Steps a second", "3.2"), ("Peak memory", "1.5 GB")),
        ):
            assert re.search(rf"<dt>(<span[^>]*></span>)?{label}</dt><dd>{value}</dd>", body), label
        assert "Decoding" not in body  # less than a millisecond
    assert "these are the times of the whole batch of 3" in world.ada.get(f"/p/{row.uid}").content.decode()


def test_the_receipt_adds_up(world):
    row = world.made(num_images=3)
    context = world.ada.get(f"/p/{row.uid}").context
    assert context["receipt"]["released_micros"] == 0
    assert sum(line["amount_micros"] for line in context["quote"]["lines"]) == row.cost_micros == 12_000


def test_health_is_json(world):
    answer = world.nobody.get("/healthz")
    assert answer.status_code == 503  # no engine runs in this process's tests
    assert any("engine" in problem for problem in answer.json()["problems"])


def test_health_names_what_is_broken_and_keeps_its_secrets(world, monkeypatch):
    from django.db import OperationalError

    from playground import health

    def down():
        raise OperationalError("password of user vitrine")

    monkeypatch.setattr(health, "_database", down)
    monkeypatch.setattr(health, "_checked", (float("-inf"), []))
    said = world.nobody.get("/healthz").content.decode()
    monkeypatch.setattr(health, "_checked", (float("-inf"), []))
    assert "database: does not answer" in said
    assert "password" not in said


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("cela", ["kiln/celadon-xl"]),
        ("XL", ["kiln/celadon-xl"]),
        ("foggy hil", ["kiln/mist"]),
        ("kiln hills", ["kiln/mist"]),
        ("mist celadon", []),
        ("adon", []),  # a word begins with what is searched for
        ("upscale", ["kiln/larger"]),
        ("' | :* & !", []),
        ("it's", []),
        ("\\", []),
        ("celadon:*", ["kiln/celadon-xl"]),
    ],
)
def test_search_finds_beginnings_of_words(world, words, found):
    cast.shelve(name="celadon-xl", tagline="Glazes that do not exist yet", recipe__n=1)
    cast.shelve(name="mist", tagline="Foggy hills", recipe__n=2)
    cast.shelve(name="larger", tagline="Four times the edge", task="upscale", recipe__n=3)
    page = world.nobody.get("/", {"q": words})
    assert [card.listing.model_id for card in page.context["cards"]] == found
    api = world.nobody.get("/api/v1/models", {"search": words}).json()["results"]
    assert [one["id"] for one in api] == found


def test_the_closest_comes_first_and_what_is_edited_is_found_anew(world):
    from marketplace.models import Listing, Publisher

    cast.shelve(name="amber", tagline="Like honey", recipe__n=1)
    cast.shelve(name="honey", tagline="Like amber", recipe__n=2)
    page = world.nobody.get("/", {"q": "honey"})
    assert [card.listing.name for card in page.context["cards"]] == ["honey", "amber"]
    Listing.objects.filter(name="amber").update(tagline="Like resin")
    assert [c.listing.name for c in world.nobody.get("/", {"q": "resin"}).context["cards"]] == ["amber"]
    Publisher.objects.filter(name="kiln").update(title="Oven House")
    assert len(world.nobody.get("/", {"q": "oven"}).context["cards"]) == 3


def test_the_cheapest_comes_first(world):
    cast.shelve(name="dear", prices=[{"unit": "image", "unit_price": "1"}], recipe__n=1)
    cast.shelve(name="cheap", prices=[{"unit": "image", "unit_price": "0.0001"}], recipe__n=2)
    cast.shelve(
        name="both",
        prices=[{"unit": "image", "unit_price": "0.001"}, {"unit": "request", "unit_price": "0.01"}],
        recipe__n=3,
    )
    page = world.nobody.get("/", {"sort": "cheapest"})
    assert [card.listing.name for card in page.context["cards"]] == ["cheap", "vase", "both", "dear"]
    cast.shelve(name="dear", prices=[{"unit": "image", "unit_price": "0"}], recipe__n=1)
    api = world.nobody.get("/api/v1/models", {"sort": "cheapest", "limit": 2}).json()["results"]
    assert [one["id"] for one in api] == ["kiln/dear", "kiln/cheap"]


def test_ones_own_private_models_are_on_the_shelf_for_oneself_only(world):
    from marketplace.models import Publisher

    cast.shelve(name="hidden", visibility="private", recipe__n=1)
    from tests.pages.world import person

    pia = person(Publisher.objects.get(name="kiln").workspace, "pia@example.test")
    assert "hidden" in pia.get("/", {"q": "hidden"}).content.decode().split('id="shelf"')[1]
    assert "No model matches" in world.ada.get("/", {"q": "hidden"}).content.decode()
    for tab in ("", "/api", "/examples", "/readme", "/versions"):
        assert pia.get(f"/m/kiln/hidden{tab}").status_code == 200
        assert world.ada.get(f"/m/kiln/hidden{tab}").status_code == 404


def test_pages_follow_by_themselves_and_then_on_request(world):
    shelve(gallery.PAGE * 2)
    assert 'hx-trigger="click, intersect once"' in world.nobody.get("/?sort=newest").content.decode()
    monkey = world.nobody.get(f"/?sort=newest&page={gallery.AUTOMATIC_PAGES + 1}").content.decode()
    assert "intersect" not in monkey


def test_all_files_of_a_run_are_one_archive(world):
    import io
    import zipfile

    row = world.made(num_images=3)
    answer = world.ada.get(f"/p/{row.uid}/zip")
    names = zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content))).namelist()
    assert "manifest.json" in names
    assert len(names) == 4
    assert world.ada.get(f"/p/{world.failed().uid}/zip").status_code == 302
