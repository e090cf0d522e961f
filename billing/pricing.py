"""What a run costs, as pure arithmetic: the rules of matching prices and of rounding live here and nowhere
else.

A price list is a sequence of `PriceLine`; a run is a mapping of unit to quantity. `quote` multiplies and sums
exactly in decimal and rounds once, upwards, to whole micro-dollars. What cannot be priced exactly is refused,
never guessed.

Lines for display: every line is rounded down, and the micro-dollars still missing from the total go one each
to the lines with the largest remainders (the earlier line on a tie). So lines always add up to the total,
each is within one micro-dollar of its exact value, and a free line stays at zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple, NotRequired, TypedDict

MICROS: Final = 1_000_000
UNITS: Final = ("image", "megapixel", "second", "character", "step", "request", "compute_second")
#: Units known only after the run; before it their quantity is the endpoint's limit, so the quote is a
#: ceiling.
BOUND_UNITS: Final = frozenset({"compute_second"})
#: A single run dearer than this (a million dollars) is a mistake in a price or a quantity.
MAX_AMOUNT_MICROS: Final = 1_000_000 * MICROS
MAX_DIGITS: Final = 40

Quantities = Mapping[str, Decimal | int]
#: Field of the input -> operator -> operand; all must hold: {"width": {"gte": 1024}, "mode": {"in":
#: ["fast"]}}.
Conditions = Mapping[str, Mapping[str, object]]


class CannotPrice(ValueError):
    """The run has no computable price; the message says which unit and why, in words fit for the caller."""

    def __init__(self, reason: str, *, unit: str | None = None) -> None:
        super().__init__(reason if unit is None else f"{unit}: {reason}")
        self.unit = unit
        self.reason = reason


class QuoteLineJson(TypedDict):
    unit: str
    quantity: str
    unit_price: str
    amount_micros: int
    from_runs: NotRequired[int]


class QuoteJson(TypedDict):
    id: str | None
    model: str | None
    lines: list[QuoteLineJson]
    amount_micros: int
    currency: str
    is_bound: bool
    done_share: str
    expires_at: str | None


@dataclass(frozen=True)
class PriceLine:
    """One line of a price list. `from_runs`: how many runs of the month come before it counts, see `quote`."""

    unit: str
    unit_price: Decimal
    conditions: Conditions = field(default_factory=dict)
    from_runs: int = 0


@dataclass(frozen=True)
class QuoteLine:
    """One line of a quote. `from_runs` is that of the price it was made by: the volume tier, 0 for none."""

    unit: str
    quantity: Decimal
    unit_price: Decimal
    amount_micros: int
    from_runs: int = 0

    def as_json(self) -> QuoteLineJson:
        """Plain data; the tier is left out where there is none."""
        line: QuoteLineJson = {
            "unit": self.unit,
            "quantity": _plain(self.quantity),
            "unit_price": _plain(self.unit_price),
            "amount_micros": self.amount_micros,
        }
        if self.from_runs:
            line["from_runs"] = self.from_runs
        return line


@dataclass(frozen=True)
class Quote:
    """`is_bound`: the amount is a ceiling, the charge may be lower. `done_share`: the part of the work it is
    for."""

    lines: tuple[QuoteLine, ...]
    amount_micros: int
    is_bound: bool
    done_share: Fraction = Fraction(1)

    def as_json(
        self, *, quote_id: str | None = None, model: str | None = None, expires_at: datetime | None = None
    ) -> QuoteJson:
        """Plain data for storage and for the API: decimals and the share as strings, amounts in
        micro-dollars."""
        return {
            "id": quote_id,
            "model": model,
            "lines": [line.as_json() for line in self.lines],
            "amount_micros": self.amount_micros,
            "currency": "USD",
            "is_bound": self.is_bound,
            "done_share": str(self.done_share),
            "expires_at": None if expires_at is None else expires_at.isoformat(),
        }

    @classmethod
    def from_json(cls, data: QuoteJson) -> Quote:
        """The quote that `as_json` wrote. Trusts its argument: only for what this module stored."""
        return cls(
            lines=tuple(
                QuoteLine(
                    line["unit"],
                    Decimal(line["quantity"]),
                    Decimal(line["unit_price"]),
                    line["amount_micros"],
                    line.get("from_runs", 0),
                )
                for line in data["lines"]
            ),
            amount_micros=data["amount_micros"],
            is_bound=data["is_bound"],
            done_share=Fraction(data["done_share"]),
        )


def quote(
    prices: Sequence[PriceLine],
    quantities: Quantities,
    inputs: Mapping[str, object] | None = None,
    *,
    runs: int = 0,
) -> Quote:
    """Prices a run, in whole micro-dollars rounded up once. `inputs` is the cleaned input that conditions
    look at, `runs` how many runs were counted for the buyer's volume so far.

    Of several prices for one unit the last is taken whose conditions hold and whose `from_runs` is reached; a unit
    whose prices all fail to match, a missing or senseless quantity and an empty price list raise `CannotPrice`. A free
    model has a price of zero.
    """
    if not prices:
        raise CannotPrice("this model has no price")
    units: dict[str, PriceLine | None] = {}
    for price in prices:
        if price.unit not in UNITS:
            raise CannotPrice(f"unknown unit; known are {', '.join(UNITS)}", unit=price.unit)
        matches = _holds(price, inputs or {}) and runs >= price.from_runs
        units[price.unit] = price if matches else units.get(price.unit)

    parts: list[_Part] = []
    for unit, chosen in units.items():
        if chosen is None:
            raise CannotPrice("no price covers this input", unit=unit)
        if unit not in quantities:
            raise CannotPrice("its quantity is not known", unit=unit)
        unit_price = _sane(chosen.unit_price, unit=unit, what="price")
        quantity = _sane(quantities[unit], unit=unit, what="quantity")
        parts.append(_Part(unit, quantity, unit_price, chosen.from_runs))
    is_bound = any(part.unit in BOUND_UNITS and part.unit_price > 0 for part in parts)
    return _round_once(parts, Fraction(1), is_bound=is_bound)


def partial(of: Quote, done_share: Fraction) -> Quote:
    """The quote for the part of the work that was done (a charged cancel): the exact sum times the share,
    rounded up once.

    Never above the whole. `done_share` is between 0 and 1, otherwise `CannotPrice`.
    """
    if not 0 <= done_share <= 1:
        raise CannotPrice(f"the share of the work done must be between 0 and 1, not {done_share}")
    whole = [_Part(line.unit, line.quantity, line.unit_price, line.from_runs) for line in of.lines]
    return _round_once(whole, of.done_share * done_share, is_bound=of.is_bound)


def settled(of: Quote, quantities: Quantities) -> Quote:
    """The quote again with the quantities that the run really took (compute seconds); others keep theirs.
    Never dearer."""
    parts = [
        _Part(
            line.unit,
            _sane(quantities.get(line.unit, line.quantity), unit=line.unit, what="quantity"),
            line.unit_price,
            line.from_runs,
        )
        for line in of.lines
    ]
    actual = _round_once(parts, of.done_share, is_bound=False)
    return actual if actual.amount_micros <= of.amount_micros else replace(of, is_bound=False)


def share(charge_micros: int, fraction: Decimal | Fraction) -> int:
    """The publisher's part of a charge, rounded down to micro-dollars; the platform's fee is the rest."""
    if charge_micros < 0:
        raise ValueError("a charge is never negative")
    if not (isinstance(fraction, Fraction) or fraction.is_finite()) or not 0 <= fraction <= 1:
        raise ValueError(f"a share is a fraction between 0 and 1, not {fraction}")
    return int(charge_micros * Fraction(fraction) // 1)


class _Part(NamedTuple):
    unit: str
    quantity: Decimal
    unit_price: Decimal
    from_runs: int


def _round_once(parts: Sequence[_Part], done_share: Fraction, *, is_bound: bool) -> Quote:
    exact = [Fraction(part.quantity) * Fraction(part.unit_price) * MICROS * done_share for part in parts]
    total = sum(exact, Fraction(0))
    amount = -(-total.numerator // total.denominator)
    if amount > MAX_AMOUNT_MICROS:
        raise CannotPrice(f"one run may not cost more than {MAX_AMOUNT_MICROS // MICROS} USD")
    amounts = [part.numerator // part.denominator for part in exact]
    by_remainder = sorted(range(len(parts)), key=lambda at: amounts[at] - exact[at])
    for at in by_remainder[: amount - sum(amounts)]:
        amounts[at] += 1
    lines = tuple(
        QuoteLine(part.unit, part.quantity, part.unit_price, line_amount, part.from_runs)
        for part, line_amount in zip(parts, amounts, strict=True)
    )
    return Quote(lines, amount, is_bound, done_share)


def _sane(value: object, *, unit: str, what: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, Decimal | int):
        raise CannotPrice(f"its {what} must be a Decimal or an int, not {type(value).__name__}", unit=unit)
    number = Decimal(value)
    if not number.is_finite() or number < 0:
        raise CannotPrice(f"its {what} must be a finite number of zero or more, not {number}", unit=unit)
    _, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int) or abs(exponent) > MAX_DIGITS or len(digits) > MAX_DIGITS:
        raise CannotPrice(f"its {what} has an absurd size or precision", unit=unit)
    return number


def _holds(price: PriceLine, inputs: Mapping[str, object]) -> bool:
    """Whether every condition holds. A field absent from the input (or null) fulfils no condition."""
    results = [
        _compare(operator, inputs.get(name), operand, unit=price.unit)
        for name, tests in price.conditions.items()
        for operator, operand in tests.items()
    ]
    return all(results)


def _compare(operator: str, value: object, operand: object, *, unit: str) -> bool:
    if operator not in ("eq", "in", "gt", "gte", "lt", "lte"):
        raise CannotPrice(f"unknown condition {operator!r}", unit=unit)
    if value is None:
        return False
    if operator == "eq":
        return _same(value, operand)
    if operator == "in":
        if not isinstance(operand, list | tuple):
            raise CannotPrice("the condition 'in' needs a list", unit=unit)
        return any(_same(value, one) for one in operand)
    left, right = _number(value), _number(operand)
    if left is None or right is None:
        raise CannotPrice(f"the condition {operator!r} compares numbers only", unit=unit)
    return {"gt": left > right, "gte": left >= right, "lt": left < right, "lte": left <= right}[operator]


def _same(value: object, operand: object) -> bool:
    left, right = _number(value), _number(operand)
    if left is not None and right is not None:
        return left == right
    return type(value) is type(operand) and value == operand


def _number(value: object) -> Fraction | None:
    """Numbers as exact fractions (a float by its shortest spelling); None for anything else, booleans
    included."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    number = Decimal(str(value))
    return Fraction(number) if number.is_finite() else None


def _plain(number: Decimal) -> str:
    """Without exponent and trailing zeros."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
