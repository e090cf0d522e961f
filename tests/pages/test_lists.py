"""The gallery: filters, pages, empty states, and a fixed number of queries; receipts; health."""

from __future__ import annotations

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
    assert "The picture has expired" in world.ada.get(f"/p/{row.uid}").content.decode()
    assert row.uid in world.ada.get("/dashboard/history").content.decode()
    assert "Run again" in world.ada.get(f"/p/{row.uid}").content.decode()


def test_the_receipt_adds_up(world):
    row = world.made(num_images=3)
    context = world.ada.get(f"/p/{row.uid}").context
    assert context["released_micros"] == 0
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
