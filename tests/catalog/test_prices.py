"""Price lists: one after the other, each from its moment on, and every input that is taken has a price."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from marketplace import catalog
from marketplace.catalog import Line
from marketplace.models import Listing, Price
from tests.predictions import cast

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def line(price: str, unit: str = "image", from_runs: int = 0, **conditions) -> Line:
    return Line(unit, Decimal(price), conditions, from_runs)


@pytest.fixture
def endpoint():
    cast.shelve()
    return called().endpoint


def called(at=None):
    return catalog.callable_endpoint("kiln/vase", workspace=None, now=at or timezone.now())


def now_costs(at=None) -> list[str]:
    return [str(price.unit_price.normalize()) for price in called(at).prices]


def test_a_list_follows_another_at_its_moment_and_the_cache_does_not_delay_it(endpoint):
    start = timezone.now()
    later = catalog.set_prices(endpoint, [line("0.01")], by=None, effective_from=start + HOUR)
    assert later == start + HOUR
    catalog.forget()
    assert now_costs() == ["0.004"]
    found = called()
    assert (found.prices_until, [p.unit_price for p in found.next_prices]) == (later, [Decimal("0.01")])
    assert now_costs(later - timedelta(microseconds=1)) == ["0.004"]
    assert now_costs(later) == ["0.01"]
    catalog.set_prices(endpoint, [line("0.02")], by=None)
    catalog.forget()
    assert now_costs() == ["0.02"]
    assert now_costs(later) == ["0.01"]
    states = [(one.state, one.until) for one in catalog.price_lists(endpoint)]
    assert [state for state, _ in states] == ["scheduled", "current", "replaced"]
    assert states[0][1] is None
    assert states[1][1] == later


def test_what_is_scheduled_is_replaced_or_withdrawn_and_what_was_in_force_never(endpoint):
    at = timezone.now() + HOUR
    for price in ("0.01", "0.02"):
        catalog.set_prices(endpoint, [line(price)], by=None, effective_from=at)
    assert [str(p.unit_price.normalize()) for p in endpoint.prices.filter(effective_from=at)] == ["0.02"]
    assert not catalog.withdraw(endpoint, at, now=at)
    assert catalog.withdraw(endpoint, at)
    assert not catalog.withdraw(endpoint, at)
    current = endpoint.prices.get()
    assert not catalog.withdraw(endpoint, current.effective_from)
    assert endpoint.prices.get() == current


def test_two_lists_never_share_a_moment(endpoint):
    now = timezone.now()
    moments = {catalog.set_prices(endpoint, [line(f"0.0{n}")], by=None, now=now) for n in (1, 2, 3)}
    assert len(moments) == 3
    catalog.forget()
    assert now_costs() == ["0.03"]


def test_what_was_set_by_hand_stays_until_the_manifest_says_something_new(endpoint):
    catalog.set_prices(endpoint, [line("0.01")], by=None)
    cast.shelve()
    cast.shelve(tagline="Another.")
    assert now_costs() == ["0.01"]
    cast.shelve(prices=[{"unit": "image", "unit_price": "0.005"}])
    assert now_costs() == ["0.005"]
    assert Price.objects.count() == 3


def test_the_shelf_is_sorted_by_what_holds_now(endpoint):
    at = timezone.now()
    catalog.set_prices(endpoint, [line("0.01")], by=None, effective_from=at + HOUR)
    assert Listing.objects.get().typical_micros == 4_000
    catalog.set_prices(endpoint, [line("0.02"), line("0.005", from_runs=10)], by=None)
    assert Listing.objects.get().typical_micros == 5_000
    assert catalog.take_effect(now=at + HOUR) == 1
    assert Listing.objects.get().typical_micros == 10_000
    catalog.take_effect(now=at + 9 * HOUR, all_of_them=True)
    assert Listing.objects.get().typical_micros == 10_000


def test_a_manifest_has_tiers():
    cast.shelve(
        prices=[
            {"unit": "image", "unit_price": "0.004"},
            {"unit": "image", "unit_price": "0.003", "from_runs": 1000},
        ]
    )
    assert [price.from_runs for price in called().prices] == [0, 1000]
    for wrong in (-1, 1.5, "5", True, 10**12):
        with pytest.raises(catalog.InvalidManifest, match="from_runs"):
            cast.shelve(prices=[{"unit": "image", "unit_price": "1", "from_runs": wrong}])


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        ([], "lines"),
        ([line("1")] * 21, "lines"),
        ([line("1"), line("2")], "lines[1]"),
        ([line("-1")], "lines[0].unit_price"),
        ([line("NaN")], "lines[0].unit_price"),
        ([line("Infinity")], "lines[0].unit_price"),
        ([line("100001")], "lines[0].unit_price"),
        ([line("0.00000000001")], "lines[0].unit_price"),
        ([line("1", from_runs=-1)], "lines[0].from_runs"),
        ([line("1", from_runs=10**10)], "lines[0].from_runs"),
        ([line("1", "wish")], "lines[0].unit"),
        ([line("1", "megapixel")], "lines[0].unit"),
        ([line("1", from_runs=5)], "lines[0].conditions"),
        ([line("1", steps={"gt": 5})], "lines[0].conditions"),
        ([line("1"), line("2", nothing={"eq": 5})], "lines[1].conditions"),
        ([line("1"), line("2", steps={"like": 5})], "lines[1].conditions"),
        ([line("1"), line("2", steps={"gt": "5"})], "lines[1].conditions"),
        ([line("1"), line("2", steps={"gt": True})], "lines[1].conditions"),
        ([line("1"), line("2", steps={"in": 5})], "lines[1].conditions"),
        ([line("1"), line("2", steps={"in": []})], "lines[1].conditions"),
        ([line("1"), line("2", prompt={"gt": 5})], "lines[1].conditions"),
        ([line("1"), line("2", prompt={"eq": 5})], "lines[1].conditions"),
        ([line("1"), line("2", prompt={"eq": "a\0"})], "lines[1].conditions"),
        ([line("1"), line("2", prompt={"in": ["a", "\ud800"]})], "lines[1].conditions"),
        ([line("1"), line("2", token={"eq": "secret"})], "lines[1].conditions"),
        (
            [line("1"), line("2", steps={"gt": 1, "gte": 1, "lt": 1, "lte": 1, "eq": 1})],
            "lines[1].conditions",
        ),
        ([line("0.004")], "lines"),
    ],
)
def test_what_is_no_price_list_is_named_and_leaves_no_trace(endpoint, lines, field):
    before = list(Price.objects.values_list())
    with pytest.raises(catalog.InvalidPrices) as caught:
        catalog.set_prices(endpoint, lines, by=None)
    assert field in [error.field for error in caught.value.errors]
    assert list(Price.objects.values_list()) == before


@pytest.mark.parametrize("ahead", [timedelta(0), -HOUR, timedelta(days=400)])
def test_moments_that_no_price_can_begin_at(endpoint, ahead):
    with pytest.raises(catalog.InvalidPrices, match="future"):
        catalog.set_prices(endpoint, [line("1")], by=None, effective_from=timezone.now() + ahead)


def test_the_units_that_an_input_has():
    every = {
        name: {"type": "integer", "x-measure": name, "minimum": 1, "maximum": 9, "default": 1}
        for name in ("width", "height", "frame", "fps", "step")
    }
    every["prompt"] = {"type": "string", "x-measure": "character", "maxLength": 9}
    cast.shelve(
        endpoint__input={"type": "object", "properties": every}, prices=[{"unit": "step", "unit_price": "1"}]
    )
    assert catalog.units_of(called().endpoint) == list(catalog.prices.UNITS)
    cast.shelve(name="plain", endpoint__input={"type": "object", "properties": {}})
    plain = catalog.callable_endpoint("kiln/plain", workspace=None, now=timezone.now()).endpoint
    assert catalog.units_of(plain) == ["request", "compute_second"]
