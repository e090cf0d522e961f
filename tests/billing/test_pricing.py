"""Arithmetic of prices: examples first, then what holds for every price list."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.pricing import UNITS, CannotPrice, PriceLine, Quote, partial, quote, settled, share

IMAGE = PriceLine("image", Decimal("0.004"))


def test_quantity_times_price() -> None:
    made = quote([IMAGE, PriceLine("step", Decimal("0.00001"))], {"image": 2, "step": 20})
    assert made.amount_micros == 8200
    assert [line.amount_micros for line in made.lines] == [8000, 200]
    assert not made.is_bound


def test_rounds_up_once_and_not_per_line() -> None:
    third = Decimal("0.0000004")
    made = quote(
        [PriceLine("image", third), PriceLine("step", third), PriceLine("request", third)],
        dict.fromkeys(UNITS, 1),
    )
    assert made.amount_micros == 2
    assert [line.amount_micros for line in made.lines] == [1, 1, 0]


def test_finer_than_a_micro_dollar_still_costs_one() -> None:
    assert quote([PriceLine("character", Decimal("0.0000000001"))], {"character": 1}).amount_micros == 1


def test_free_is_zero_and_no_price_is_refused() -> None:
    assert quote([PriceLine("request", Decimal(0))], {"request": 1}).amount_micros == 0
    with pytest.raises(CannotPrice, match="no price"):
        quote([], {"request": 1})


def test_compute_seconds_are_a_bound_and_settle_lower() -> None:
    made = quote([PriceLine("compute_second", Decimal("0.001"))], {"compute_second": 60})
    assert made.is_bound
    assert made.amount_micros == 60_000
    paid = settled(made, {"compute_second": Decimal("1.5")})
    assert paid.amount_micros == 1500
    assert not paid.is_bound
    assert settled(made, {"compute_second": 61}).amount_micros == 60_000


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"width": 512}, 1000),
        ({"width": 1024}, 2000),
        ({"width": 2048, "mode": "fast"}, 3000),
        ({"width": 2048, "mode": "slow"}, 2000),
        ({"width": None}, 1000),
        ({}, 1000),
    ],
)
def test_the_last_price_that_matches_wins(inputs: dict[str, object], expected: int) -> None:
    prices = [
        PriceLine("image", Decimal("0.001")),
        PriceLine("image", Decimal("0.002"), {"width": {"gte": 1024}}),
        PriceLine("image", Decimal("0.003"), {"width": {"gte": 1024}, "mode": {"in": ["fast", "turbo"]}}),
    ]
    assert quote(prices, {"image": 1}, inputs).amount_micros == expected


@pytest.mark.parametrize(
    ("runs", "width", "expected", "tier"),
    [
        (0, 512, 4000, 0),
        (99, 512, 4000, 0),
        (100, 512, 3000, 100),
        (1000, 512, 2000, 1000),
        (5000, 2048, 5000, 1000),
    ],
)
def test_the_last_tier_that_is_reached_wins(runs: int, width: int, expected: int, tier: int) -> None:
    wide = {"width": {"gte": 1024}}
    prices = [
        IMAGE,
        PriceLine("image", Decimal("0.003"), from_runs=100),
        PriceLine("image", Decimal("0.002"), from_runs=1000),
        PriceLine("image", Decimal("0.006"), wide),
        PriceLine("image", Decimal("0.005"), wide, from_runs=1000),
    ]
    made = quote(prices, {"image": 1}, {"width": width}, runs=runs)
    assert made.amount_micros == expected
    assert made.lines[0].from_runs == tier
    again = Quote.from_json(json.loads(json.dumps(made.as_json())))
    assert again == made
    assert settled(again, {"image": 1}).lines[0].from_runs == tier
    assert partial(again, Fraction(1, 2)).lines[0].from_runs == tier


def test_a_list_that_only_has_tiers_prices_nobody_below_them() -> None:
    with pytest.raises(CannotPrice, match="no price covers"):
        quote([PriceLine("image", Decimal(1), from_runs=10)], {"image": 1}, runs=9)


@pytest.mark.parametrize(
    ("operator", "operand", "matches"),
    [
        ("eq", 5, True), ("eq", 5.0, True), ("eq", "5", False), ("eq", True, False), ("in", [4, 5], True),
        ("gt", 4, True), ("gt", 5, False), ("gte", 5, True), ("lt", 5, False), ("lte", 5, True),
    ],
)  # fmt: skip
def test_operators(operator: str, operand: object, matches: bool) -> None:
    prices = [IMAGE, PriceLine("image", Decimal(1), {"n": {operator: operand}})]
    assert (quote(prices, {"image": 1}, {"n": 5}).amount_micros == 1_000_000) is matches


@pytest.mark.parametrize(
    ("prices", "quantities", "inputs"),
    [
        ([IMAGE], {}, {}),
        ([IMAGE], {"image": -1}, {}),
        ([IMAGE], {"image": Decimal("NaN")}, {}),
        ([IMAGE], {"image": Decimal("Infinity")}, {}),
        ([IMAGE], {"image": Decimal("1E+50")}, {}),
        ([IMAGE], {"image": Decimal("1E-50")}, {}),
        ([IMAGE], {"image": 10**9}, {}),
        ([IMAGE], {"image": 10**5000}, {}),
        ([IMAGE], {"image": True}, {}),
        ([IMAGE], {"image": 1.5}, {}),
        ([IMAGE], {"image": "1"}, {}),
        ([PriceLine("image", Decimal(-1))], {"image": 1}, {}),
        ([PriceLine("image", Decimal("NaN"))], {"image": 1}, {}),
        ([PriceLine("image", Decimal("sNaN"))], {"image": 1}, {}),
        ([PriceLine("hour", Decimal(1))], {"hour": 1}, {}),
        ([PriceLine("image", Decimal(1), {"w": {"gte": 9}})], {"image": 1}, {"w": 1}),
        ([PriceLine("image", Decimal(1), {"w": {"like": 9}})], {"image": 1}, {"w": 1}),
        ([PriceLine("image", Decimal(1), {"w": {"gte": "9"}})], {"image": 1}, {"w": 1}),
        ([PriceLine("image", Decimal(1), {"w": {"gte": 9}})], {"image": 1}, {"w": "wide"}),
        ([PriceLine("image", Decimal(1), {"w": {"gte": 9}})], {"image": 1}, {"w": float("nan")}),
        ([PriceLine("image", Decimal(1), {"w": {"in": 9}})], {"image": 1}, {"w": 1}),
    ],
)
def test_what_cannot_be_priced_is_refused(
    prices: list[PriceLine], quantities: dict[str, int], inputs: dict[str, object]
) -> None:
    with pytest.raises(CannotPrice):
        quote(prices, quantities, inputs)


def test_a_million_dollars_is_the_most_that_a_run_costs() -> None:
    most = PriceLine("image", Decimal(1_000_000))
    assert quote([most], {"image": 1}).amount_micros == 10**12
    with pytest.raises(CannotPrice, match="1000000 USD"):
        quote([PriceLine("image", Decimal("1000000.0000000001"))], {"image": 1})


def test_a_quote_survives_json_and_shows_plain_numbers() -> None:
    made = quote(
        [IMAGE, PriceLine("megapixel", Decimal("0.0100000000"))],
        {"image": 1, "megapixel": Decimal("1.048576")},
    )
    data = json.loads(json.dumps(made.as_json(quote_id="q_1", model="vitrine/daylight")))
    assert data == {
        "id": "q_1",
        "model": "vitrine/daylight",
        "lines": [
            {"unit": "image", "quantity": "1", "unit_price": "0.004", "amount_micros": 4000},
            {"unit": "megapixel", "quantity": "1.048576", "unit_price": "0.01", "amount_micros": 10486},
        ],
        "amount_micros": 14486,
        "currency": "USD",
        "is_bound": False,
        "done_share": "1",
        "expires_at": None,
    }  # fmt: skip
    again = Quote.from_json(data)
    assert again.amount_micros == made.amount_micros
    assert again.as_json() == made.as_json()


@pytest.mark.parametrize("fraction", [Decimal("-0.1"), Decimal("1.1"), Decimal("NaN"), Fraction(3, 2)])
def test_a_share_is_a_fraction(fraction: Decimal | Fraction) -> None:
    with pytest.raises(ValueError, match="fraction"):
        share(10, fraction)


def test_a_partial_share_is_a_fraction() -> None:
    made = quote([IMAGE], {"image": 1})
    for wrong in (Fraction(-1, 8), Fraction(9, 8)):
        with pytest.raises(CannotPrice):
            partial(made, wrong)


unit_prices = st.decimals(min_value=0, max_value=100, places=10)
amounts = st.one_of(st.integers(0, 5000), st.decimals(min_value=0, max_value=5000, places=6))
price_lists = st.dictionaries(st.sampled_from(UNITS), st.tuples(unit_prices, amounts), min_size=1)
shares = st.fractions(0, 1, max_denominator=1000)


def priced(rows: dict[str, tuple[Decimal, Decimal | int]]) -> tuple[Quote, Fraction]:
    made = quote(
        [PriceLine(unit, unit_price) for unit, (unit_price, _) in rows.items()],
        {unit: quantity for unit, (_, quantity) in rows.items()},
    )
    exact = sum(
        (Fraction(price) * Fraction(quantity) * 1_000_000 for price, quantity in rows.values()), Fraction(0)
    )
    return made, exact


@given(price_lists)
def test_the_charge_is_the_exact_sum_rounded_up_once(rows: dict[str, tuple[Decimal, Decimal | int]]) -> None:
    made, exact = priced(rows)
    assert 0 <= made.amount_micros - exact < 1
    assert sum(line.amount_micros for line in made.lines) == made.amount_micros
    for line in made.lines:
        own = Fraction(line.quantity) * Fraction(line.unit_price) * 1_000_000
        assert abs(line.amount_micros - own) < 1
        assert line.amount_micros >= 0


@given(price_lists, shares)
def test_a_partial_charge_lies_between_nothing_and_all(
    rows: dict[str, tuple[Decimal, Decimal | int]], done: Fraction
) -> None:
    made, exact = priced(rows)
    part = partial(made, done)
    assert 0 <= part.amount_micros - exact * done < 1
    assert part.amount_micros <= made.amount_micros
    assert sum(line.amount_micros for line in part.lines) == part.amount_micros
    assert partial(made, Fraction(1)) == made
    assert partial(Quote.from_json(made.as_json()), done).amount_micros == part.amount_micros


@given(st.integers(0, 10**15), shares)
def test_share_and_fee_make_the_charge(charge: int, fraction: Fraction) -> None:
    earned = share(charge, fraction)
    assert 0 <= earned <= charge
    assert 0 <= charge * fraction - earned < 1


@given(
    st.dictionaries(st.sampled_from(UNITS), st.decimals(allow_nan=True, allow_infinity=True), min_size=1),
    st.decimals(),
)
def test_hostile_numbers_are_priced_or_refused_and_nothing_else(
    quantities: dict[str, Decimal], price: Decimal
) -> None:
    try:
        made = quote([PriceLine(unit, price) for unit in quantities], quantities)
    except CannotPrice:
        return
    assert 0 <= made.amount_micros <= 10**12
