"""The prices of an endpoint: price lists one after the other, each in force from a moment on until the next begins.

A list is replaced and never edited: what was charged by it stays readable for good. One that has not begun may still be
withdrawn, as nothing was quoted by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from itertools import groupby
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from marketplace import schema
from marketplace.catalog.find import forget
from marketplace.ids import encode, uuid7
from marketplace.models import Endpoint, Listing, Price, User
from marketplace.models.shelf import UNPRICED
from marketplace.schema import FieldError, FieldErrors

UNITS = ("image", "megapixel", "second", "character", "step", "request", "compute_second")
MICROS = 1_000_000
MAX_LINES = 20
MAX_CONDITIONS = 4  # of one line
MAX_UNIT_PRICE = Decimal(100_000)  # dollars
DECIMALS = 10  # as the column has them
MAX_RUNS = 1_000_000_000
FARTHEST = timedelta(days=366)
LATELY = timedelta(hours=2)
NUMBERS = ("integer", "number")
COMPARISONS = ("gt", "gte", "lt", "lte")
OPERATORS = ("eq", "in", *COMPARISONS)


class Line(NamedTuple):
    """One line of a price list; `conditions` are as `billing.pricing` reads them, `from_runs` is the volume tier."""

    unit: str
    unit_price: Decimal
    conditions: Mapping[str, Mapping[str, Any]]
    from_runs: int = 0


@dataclass(frozen=True, slots=True)
class PriceList:
    """A list with the moment from which it counts, and until when if another one follows. `state` is one word:
    scheduled, current or replaced."""

    effective_from: datetime
    until: datetime | None
    lines: tuple[Price, ...]
    state: str
    set_by: User | None = None

    @property
    def is_from_page(self) -> bool:
        return self.lines[0].source == Price.Source.PAGE


class InvalidPrices(FieldErrors):
    """The list cannot be a price; `errors` name each line and what is wrong, `lines[0].unit_price`."""


def units_of(endpoint: Endpoint) -> list[str]:
    """The units that can be counted before every run of the endpoint, in their order."""
    counted = {*schema.units(endpoint.input_schema), "compute_second"}
    return [unit for unit in UNITS if unit in counted]


def price_lists(endpoint: Endpoint, *, now: datetime | None = None) -> list[PriceList]:
    """All lists that the endpoint has, had and will have, the latest first. One statement."""
    at = now or timezone.now()
    rows = endpoint.prices.select_related("set_by").order_by("-effective_from", "id")
    found: list[PriceList] = []
    until: datetime | None = None
    has_current = False
    for moment, group in groupby(rows, key=lambda price: price.effective_from):
        lines = tuple(group)
        state = "scheduled" if moment > at else "replaced" if has_current else "current"
        has_current = has_current or state == "current"
        found.append(PriceList(moment, until, lines, state, lines[0].set_by))
        until = moment
    return found


def set_prices(
    endpoint: Endpoint,
    lines: Sequence[Line],
    *,
    by: User | None,
    effective_from: datetime | None = None,
    now: datetime | None = None,
) -> datetime:
    """Put a list in force from `effective_from` on, or at once; a scheduled list of the same moment is replaced.

    Returns the moment. Raises InvalidPrices, and has then written nothing.
    """
    at = now or timezone.now()
    errors = wrong_lines(endpoint, lines)
    if effective_from is not None and not at < effective_from <= at + FARTHEST:
        message = "must lie in the future, and within a year"
        errors.append(FieldError("effective_from", "not_allowed", message))
    if errors:
        raise InvalidPrices(errors)
    with transaction.atomic():
        Endpoint.objects.select_for_update(no_key=True).get(pk=endpoint.pk)
        if effective_from is not None:
            endpoint.prices.filter(effective_from=effective_from, effective_from__gt=at).delete()
        moment = effective_from or _after_the_last(endpoint, at)
        before = _list_at(endpoint, moment)
        if before == _plain(lines):
            raise InvalidPrices([FieldError("lines", "repeated", "are the prices that hold then already")])
        write(endpoint, lines, moment, source=Price.Source.PAGE, by=by)
        refresh(endpoint, now=at)
    transaction.on_commit(forget)
    return moment


def withdraw(endpoint: Endpoint, effective_from: datetime, *, now: datetime | None = None) -> bool:
    """Take back a list that has not begun; False where there is none, or where it has."""
    at = now or timezone.now()
    with transaction.atomic():
        Endpoint.objects.select_for_update(no_key=True).get(pk=endpoint.pk)
        gone, _ = endpoint.prices.filter(effective_from=effective_from, effective_from__gt=at).delete()
    transaction.on_commit(forget)
    return gone > 0


def write(
    endpoint: Endpoint, lines: Sequence[Line], moment: datetime, *, source: Price.Source, by: User | None
) -> None:
    """The rows of a list, unchecked."""
    Price.objects.bulk_create(
        Price(
            endpoint=endpoint,
            unit=line.unit,
            unit_price=line.unit_price,
            conditions=dict(line.conditions),
            from_runs=line.from_runs,
            effective_from=moment,
            source=source,
            set_by=by,
        )
        for line in lines
    )


def follow_manifest(endpoint: Endpoint, lines: Sequence[Line]) -> None:
    """Put the prices of a manifest in force, unless they are those that it set last: what was set by hand since then
    stays, however often the same manifest is published. In the caller's transaction."""
    Endpoint.objects.select_for_update(no_key=True).get(pk=endpoint.pk)
    own = endpoint.prices.filter(source=Price.Source.MANIFEST)
    latest = own.aggregate(at=Max("effective_from"))["at"]
    known = own.filter(effective_from=latest).order_by("id") if latest else []
    if [line_of(price) for price in known] != _plain(lines):
        moment = _after_the_last(endpoint, timezone.now())
        write(endpoint, lines, moment, source=Price.Source.MANIFEST, by=None)
    refresh(endpoint, now=timezone.now())


def refresh(endpoint: Endpoint, *, now: datetime) -> None:
    """Note what a typical run costs at the prices in force, for the order of the shelf, if this is what is run by
    default."""
    lines = _list_at(endpoint, now)
    listings = Listing.objects.filter(default_version=endpoint.version_id)
    typical = typical_micros(endpoint, lines)
    listings.exclude(typical_micros=typical).update(typical_micros=typical)


def take_effect(*, now: datetime | None = None, all_of_them: bool = False) -> int:
    """Note what lists that began in the last hours mean for the order of the shelf; returns how many there were.

    Safe to repeat. What was missed is found by a run over `all_of_them`.
    """
    at = now or timezone.now()
    began = Price.objects.filter(effective_from__lte=at)
    if not all_of_them:
        began = began.filter(effective_from__gt=at - LATELY, source=Price.Source.PAGE)
    endpoints = Endpoint.objects.filter(pk__in=began.values("endpoint"))
    for endpoint in endpoints:
        refresh(endpoint, now=at)
    return len(endpoints)


def line_of(price: Price) -> Line:
    return Line(price.unit, price.unit_price, price.conditions, price.from_runs)


def typical_micros(endpoint: Endpoint, lines: Iterable[Line]) -> int:
    """What one run of the example input costs at least, rounded up: a key to sort by and no quote."""
    try:
        cleaned = schema.clean(endpoint.input_schema, sample(endpoint.input_schema))
    except schema.InvalidInput:
        return UNPRICED
    counted = schema.quantities(endpoint.input_schema, cleaned)
    counted["compute_second"] = Decimal(endpoint.typical_ms) / 1000
    lowest: dict[str, Decimal] = {}
    for line in lines:
        lowest[line.unit] = min(line.unit_price, lowest.get(line.unit, line.unit_price))
    total = sum((amount * counted.get(unit, Decimal(1)) for unit, amount in lowest.items()), Decimal(0))
    return min(int((total * MICROS).to_integral_value(ROUND_CEILING)), UNPRICED)


def sample(described: Mapping[str, Any]) -> dict[str, Any]:
    """The example input, with the name of a file that nobody has wherever one is needed: no price asks whose it is."""
    found = schema.example(described)
    for name, value in found.items():
        one = described["properties"][name]
        if value is None and "x-media" in one:
            found[name] = encode(uuid7(), "a")
        elif value is None and "x-media" in one.get("items", {}):
            found[name] = [encode(uuid7(), "a")]
    return found


def wrong_lines(endpoint: Endpoint, lines: Sequence[Line]) -> list[FieldError]:
    """Everything that is wrong with a list. Of one that is right, every input that the endpoint takes has a price: the
    first line of each unit is without conditions, and its unit can be counted."""
    if not lines:
        return [FieldError("lines", "too_few", "must be one at least; a free model has a price of 0")]
    if len(lines) > MAX_LINES:
        return [FieldError("lines", "too_many", f"are more than {MAX_LINES}", MAX_LINES)]
    errors: list[FieldError] = []
    counted = units_of(endpoint)
    seen: set[str] = set()
    for place, line in enumerate(lines):
        at = f"lines[{place}]"
        if line.unit not in counted:
            message = "cannot be counted in this model’s input" if line.unit in UNITS else "is no unit"
            errors.append(FieldError(f"{at}.unit", "not_allowed", message, counted))
        errors += _wrong_amounts(at, line)
        errors += _wrong_conditions(at, line, endpoint.input_schema)
        if line.unit not in seen and (line.conditions or line.from_runs):
            message = (
                f"is the first for {line.unit} and must hold for every run; put conditions on later lines"
            )
            errors.append(FieldError(f"{at}.conditions", "not_allowed", message))
        seen.add(line.unit)
        same = [other for other in lines[:place] if _key(other) == _key(line)]
        if same:
            errors.append(
                FieldError(at, "repeated", f"has unit and conditions of line {lines.index(same[0]) + 1}")
            )
    return errors


def _key(line: Line) -> tuple[Any, ...]:
    return line.unit, line.conditions, line.from_runs


def _wrong_amounts(at: str, line: Line) -> list[FieldError]:
    errors = []
    price = line.unit_price
    if not price.is_finite() or not 0 <= price <= MAX_UNIT_PRICE:
        message = f"must be from 0 to {MAX_UNIT_PRICE:,} dollars"
        errors.append(FieldError(f"{at}.unit_price", "too_large", message))
    elif price != round(price, DECIMALS):
        errors.append(FieldError(f"{at}.unit_price", "multiple_of", f"has more than {DECIMALS} decimals"))
    if not 0 <= line.from_runs <= MAX_RUNS:
        errors.append(FieldError(f"{at}.from_runs", "too_large", f"must be from 0 to {MAX_RUNS:,}"))
    return errors


def _wrong_conditions(at: str, line: Line, described: Mapping[str, Any]) -> list[FieldError]:
    properties: Mapping[str, Any] = described.get("properties", {})
    field = f"{at}.conditions"
    if sum(len(tests) for tests in line.conditions.values()) > MAX_CONDITIONS:
        return [FieldError(field, "too_many", f"are more than {MAX_CONDITIONS}", MAX_CONDITIONS)]
    errors = []
    for name, tests in line.conditions.items():
        one = properties.get(name)
        if one is None:
            message = f"name {name[:40]!a}, which is no field of the input"
            errors.append(FieldError(field, "unknown", message, list(properties)))
            continue
        for operator, operand in tests.items():
            wrong = _wrong_condition(one, operator, operand)
            if wrong:
                errors.append(FieldError(field, "not_allowed", f"ask of {name} {wrong}"))
    return errors


def _wrong_condition(one: Mapping[str, Any], operator: str, operand: Any) -> str:
    """What is wrong with one condition on the field `one`, as the end of a sentence."""
    if operator not in OPERATORS:
        return f"what no condition can: they are {', '.join(OPERATORS)}"
    kind = one.get("type")
    if operator in COMPARISONS and kind not in NUMBERS:
        return "to be compared, and it is no number"
    if kind not in (*NUMBERS, "string", "boolean") or one.get("x-secret") or one.get("x-media"):
        return "a value that no price may depend on"
    operands = operand if operator == "in" else [operand]
    if operator == "in" and (not isinstance(operand, list) or not 1 <= len(operand) <= MAX_LINES):
        return f"to be in a list, which must have from 1 to {MAX_LINES} values"
    for value in operands:
        if kind in NUMBERS and (isinstance(value, bool) or not isinstance(value, int | float | Decimal)):
            return "a number that is none"
        if kind == "boolean" and not isinstance(value, bool):
            return "more than yes or no: write true or false"
        if kind == "string" and not isinstance(value, str):
            return "a text that is none"
        choices = one.get("enum")
        if choices is not None and operator in ("eq", "in") and value not in choices:
            return f"{str(value)[:40]!a}, which is none of its choices"
    return ""


def _after_the_last(endpoint: Endpoint, at: datetime) -> datetime:
    """A moment for a list that holds at once. Two lists never share one, or they would be one list."""
    moment = at
    while endpoint.prices.filter(effective_from=moment).exists():
        moment += timedelta(microseconds=1)
    return moment


def _list_at(endpoint: Endpoint, at: datetime) -> list[Line]:
    begun = endpoint.prices.filter(effective_from__lte=at)
    moment = begun.aggregate(last=Max("effective_from"))["last"]
    return [line_of(price) for price in begun.filter(effective_from=moment).order_by("id")] if moment else []


def _plain(lines: Sequence[Line]) -> list[Line]:
    return [Line(line.unit, line.unit_price, dict(line.conditions), line.from_runs) for line in lines]
