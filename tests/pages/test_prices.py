"""The price page: what one types, what it means, when it holds, and that buyers pay what they were shown."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from billing import ledger
from marketplace import catalog
from marketplace.catalog import Line
from marketplace.models import Price, User
from playground.models import Prediction
from playground.pages import price_words
from tests.pages import world as worlds
from tests.pages.test_access import INLINE
from tests.predictions import cast

PAGE = "/publish/kiln/vase/prices"


def text_of(answer) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def form(*lines: tuple[str, ...], act: str = "set", **more: str) -> dict[str, str]:
    """A posted form; a line is unit, price, runs and condition, the last two if there are any."""
    values = {"rows": str(len(lines)), "act": act, **more}
    for place, line in enumerate(lines):
        for name, value in zip(("unit", "price", "runs", "when"), line, strict=False):
            values[f"line-{place}-{name}"] = value
    return values


@pytest.fixture
def pia(world):
    """Who publishes the model."""
    return worlds.person(cast.publisher().workspace, "pia@example.test")


def now_costs() -> list[tuple[str, int, str]]:
    catalog.forget()
    found = catalog.callable_endpoint("kiln/vase", workspace=None, now=timezone.now()).prices
    return [
        (str(price.unit_price.normalize()), price.from_runs, price_words.write(price.conditions))
        for price in found
    ]


def test_a_price_is_set_and_holds_for_the_next_run(world, pia):
    before = world.run()
    page = pia.get(PAGE)
    assert 'value="0.004"' in page.content.decode()
    assert "You receive $0.0032 for a typical run" in text_of(page)
    assert INLINE.search(page.content.decode()) is None
    lines = [("image", "0.01"), ("image", "$0.02", "", "steps > 20"), ("image", "0.005", "1,000")]
    assert pia.post(PAGE, form(*lines)).status_code == 302
    assert now_costs() == [("0.01", 0, ""), ("0.02", 0, "steps > 20"), ("0.005", 1000, "")]
    assert Price.objects.latest("id").set_by == User.objects.get(email="pia@example.test")
    assert world.run().held_micros == 10_000
    assert world.run(steps=21).held_micros == 20_000
    assert cast.again(before).held_micros == 4_000
    said = text_of(pia.get(PAGE))
    assert "Current" in said
    assert "Replaced" in said
    assert "$0.0200 / image if steps &gt; 20" in said
    assert "after 1,000 runs a month" in said
    api = text_of(world.nobody.get(f"{world.page}/api"))
    assert "image $0.0200 if steps &gt; 20" in api
    cast.money_is_right()


def test_a_later_price_is_shown_to_buyers_and_can_be_withdrawn(world, pia):
    start = (timezone.now() + timedelta(days=3)).strftime("%Y-%m-%dT%H:%M")
    assert pia.post(PAGE, form(("image", "0.5"), start=start)).status_code == 302
    assert now_costs() == [("0.004", 0, "")]
    catalog.forget()
    assert "$0.5000 / image" in text_of(world.nobody.get(world.page))
    page = pia.get(PAGE).content.decode()
    moment = re.search(r'name="moment" value="([^"]+)"', page)
    assert moment is not None
    assert pia.post(PAGE, {"act": "withdraw", "moment": moment[1]}).status_code == 302
    assert Price.objects.count() == 1
    for wrong in (moment[1], "", "soon", Price.objects.get().effective_from.isoformat(), "2027-01-01T00:00"):
        pia.post(PAGE, {"act": "withdraw", "moment": wrong})
    assert Price.objects.count() == 1


def test_the_preview_says_what_the_form_would_mean(world, pia):
    address = f"{PAGE}/preview"
    said = text_of(
        pia.post(address, form(("image", "0.01"), ("image", "0.02", "", "steps >= 20 and style = c")))
    )
    assert "You receive $0.0080 for a typical run" in said
    assert "Buyer pays $0.0100" in said
    assert "Fee of this site −$0.0020" in said
    assert "With steps &gt;= 20 and style = c $0.0200 $0.0160" in said
    assert "$0.0032 at today’s price" in said
    assert Price.objects.count() == 1
    said = text_of(pia.post(address, form(("image", "free"), ("wish", "1"))))
    assert "Line 1: the price must be an amount" in said
    world.made()
    said = text_of(pia.post(address, form(("compute_second", "0.001"))))
    assert "Held, at most $0.0600" in said
    assert "Buyer pays $0.0010" in said
    assert "Nobody ran it" not in said


def test_lines_are_added_and_dropped_without_a_script_and_with_one(world, pia):
    two = form(("image", "0.01"), ("image", "x", "", "steps > 9"), act="add")
    page = pia.post(PAGE, two).content.decode()
    assert page.count('name="line-') == 12
    assert 'value="steps &gt; 9"' in page
    assert "must be an amount" not in page
    part = pia.post(PAGE, {**two, "act": "drop:0"}, headers={"HX-Request": "true", "HX-Target": "price-form"})
    assert part.content.decode().lstrip().startswith("<form")
    assert part.content.decode().count('name="line-') == 4
    assert pia.post(PAGE, {**two, "act": "drop:99"}).content.decode().count('name="line-') == 8
    assert Price.objects.count() == 1


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([("image", "")], "The price must be an amount"),
        ([("image", "-1")], "The price must be from 0"),
        ([("image", "NaN")], "The price must be an amount"),
        ([("image", "0,004")], "The price must be an amount"),
        ([("image", "1e9")], "The price must be from 0"),
        ([("image", "0.00000000001")], "has more than 10 decimals"),
        ([("wish", "1")], "The unit is no unit"),
        ([("megapixel", "1")], "The unit cannot be counted"),
        ([("image", "1", "five")], "The volume must be a number"),
        ([("image", "1", "1,5")], "The volume must be a number"),
        ([("image", "1", "", "steps > 5")], "must hold for every run"),
        ([("image", "1"), ("image", "2", "", "steps > lots")], "compares"),
        ([("image", "1"), ("image", "2", "", "steps >")], "stops after"),
        ([("image", "1"), ("image", "2", "", "nothing = 5")], "no field of the input"),
        ([("image", "1"), ("image", "2", "", 'style = "')], "quotation mark"),
        ([("image", "1"), ("image", "2", "", "style = z")], "none of its choices"),
        ([("image", "1"), ("image", "2", "", "token = x")], "no price may depend on"),
        ([("image", "1"), ("image", "2", "", "x" * 900)], "more than 400"),
        ([("image", "1"), ("image", "2")], "has unit and conditions of line 1"),
        ([("image", "0.004")], "hold then already"),
    ],
)
def test_what_is_no_price_stands_beside_its_field_and_changes_nothing(pia, lines, said):
    answer = pia.post(PAGE, form(*lines))
    assert answer.status_code == 422
    assert said in text_of(answer).replace("&#x27;", "'")
    assert Price.objects.count() == 1


@pytest.mark.parametrize("start", ["soon", "2020-01-01T00:00", "2099-01-01T00:00", "2026-13-01T00:00"])
def test_moments_that_no_price_begins_at(pia, start):
    answer = pia.post(PAGE, form(("image", "1"), start=start))
    assert answer.status_code == 422
    assert "The moment must" in text_of(answer)
    assert Price.objects.count() == 1


def test_hostile_forms(pia):
    for values in (
        {},
        {"rows": "99999999"},
        {"rows": "-1"},
        {"rows": "²"},
        {"rows": "2", "line-0-unit": "\0"},
    ):
        assert pia.post(PAGE, values).status_code == 422
        assert pia.post(f"{PAGE}/preview", values).status_code == 200
    for version in ("zz", "00", "\0", "%", "a" * 500):
        assert pia.get(PAGE, {"version": version}).status_code == 404
    assert Price.objects.count() == 1


def test_a_version_has_prices_of_its_own(world, pia):
    old = catalog.callable_endpoint("kiln/vase", workspace=None, now=timezone.now()).version.sha256
    worlds.cast.shelve(endpoint__input=worlds.INPUT, recipe__n=2)
    assert pia.post(PAGE, form(("image", "0.03"), version=old[:12])).status_code == 302
    assert now_costs() == [("0.004", 0, "")]
    page = text_of(pia.get(PAGE, {"version": old[:12]}))
    assert "$0.0300 / image" in page
    assert "the default" in page


def test_the_list_of_ones_own_models(world, pia):
    assert "kiln/vase" in text_of(pia.get("/publish/prices"))
    assert "$0.0040 / image" in text_of(pia.get("/publish/prices"))
    assert "No models yet" in text_of(world.mal.get("/publish/prices"))
    assert "kiln/vase" not in text_of(world.mal.get("/publish/prices"))
    for address in (PAGE, f"{PAGE}/preview"):
        assert world.mal.post(address, form(("image", "1"))).status_code == 404
    assert Price.objects.count() == 1


# What the buyer sees


def test_nobody_pays_a_price_that_they_were_not_shown(world):
    page = world.ada.get(world.page).content.decode()
    since = re.search(r'name="form-since" value="([^"]+)"', page)
    assert since is not None
    endpoint = catalog.callable_endpoint("kiln/vase", workspace=None, now=timezone.now()).endpoint
    catalog.set_prices(endpoint, [Line("image", Decimal("0.009"), {})], by=None)
    catalog.forget()
    asked = {"prompt": "a vase", "form-since": since[1]}
    refused = world.ada.post(f"{world.page}/run", asked)
    assert refused.status_code == 409
    assert "the run costs $0.0090 now, and $0.0040 before" in text_of(refused)
    assert not Prediction.objects.exists()
    again = re.search(r'name="form-since" value="([^"]+)"', refused.content.decode())
    assert again is not None
    assert again[1] != since[1]
    assert world.ada.post(f"{world.page}/run", {**asked, "form-since": again[1]}).status_code == 302
    catalog.set_prices(endpoint, [Line("image", Decimal("0.001"), {})], by=None)
    catalog.forget()
    for shown in (
        again[1],
        "never",
        "2026-01-01T00:00",
        "2026-01-01T00:00:00+00:00",
    ):  # cheaper, or no such moment
        assert world.ada.post(f"{world.page}/run", {**asked, "form-since": shown}).status_code == 302
    assert sorted(Prediction.objects.values_list("held_micros", flat=True)) == [1_000] * 4 + [9_000]


def test_the_cap_of_a_run_holds_on_the_page(world):
    asked = {"prompt": "a vase", "form-most": "0.0039"}
    refused = world.ada.post(f"{world.page}/run", asked)
    assert refused.status_code == 402
    assert "This run costs $0.0040, above the $0.0039 that you set" in text_of(refused)
    assert 'value="0.0039"' in refused.content.decode()
    wrong = world.ada.post(f"{world.page}/run", {**asked, "form-most": "lots"})
    assert wrong.status_code == 409
    assert "must be an amount" in text_of(wrong)
    assert not Prediction.objects.exists()
    assert world.ada.post(f"{world.page}/run", {**asked, "form-most": "$0.004"}).status_code == 302
    assert ledger.verify() == []


def test_the_cap_survives_the_sign_in(world):
    answer = world.nobody.post(f"{world.page}/run", {"prompt": "a vase", "form-most": "0.01"})
    assert "form-most%3D0.01" in answer["Location"]
    assert 'value="0.01"' in world.ada.get(f"{world.page}?prompt=a&form-most=0.01").content.decode()


# Conditions in words

DESCRIBED = {
    "properties": {
        "width": {"type": "integer"},
        "scale": {"type": "number"},
        "mode": {"type": "string"},
        "tile": {"type": "boolean"},
    }
}


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("", {}),
        ("  ", {}),
        ("width >= 1024", {"width": {"gte": 1024}}),
        ("width≥1024 AND scale<0.5", {"width": {"gte": 1024}, "scale": {"lt": 0.5}}),
        ("width > 1 and width <= 5", {"width": {"gt": 1, "lte": 5}}),
        ("mode in fast, turbo", {"mode": {"in": ["fast", "turbo"]}}),
        ('mode = "fast and \\"loose\\""', {"mode": {"eq": 'fast and "loose"'}}),
        ("mode is 5", {"mode": {"eq": "5"}}),
        ("tile = yes", {"tile": {"eq": True}}),
        ("width in 1, 2 and mode = and", {"width": {"in": [1, 2]}, "mode": {"eq": "and"}}),
    ],
)
def test_conditions_are_read_and_written(text, conditions):
    assert price_words.read(text, DESCRIBED) == conditions
    assert price_words.read(price_words.write(conditions), DESCRIBED) == conditions


@pytest.mark.parametrize(
    "text",
    [
        "width",
        "width >",
        "> 5",
        "width 5",
        "width = 5 or mode = x",
        "width = 5 and",
        "mode in a,",
        '"',
        "= = =",
    ],
)
def test_what_is_no_condition(text):
    with pytest.raises(price_words.Unreadable):
        price_words.read(text, DESCRIBED)
