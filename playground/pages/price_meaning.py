"""What a price list means: what a buyer pays for runs that it tells apart, and what of it the publisher gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.utils import timezone

from billing import pricing
from marketplace import catalog, schema
from marketplace.catalog import Line
from marketplace.models import Endpoint
from playground import predictions
from playground.models import Prediction
from playground.pages import price_words

PERCENT = 100
LATELY = timedelta(days=30)
MS = 1000
MANY = 1000


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of run: what the buyer pays, how it is shared, and the most that it may come to where the price is known
    only afterwards. Amounts are micro-dollars."""

    label: str
    pays: int
    gets: int
    most: int | None = None

    @property
    def fee(self) -> int:
        return self.pays - self.gets

    @property
    def kept(self) -> float:
        """The publisher's part of a hundred, as it is drawn."""
        return 100 * self.gets / self.pays if self.pays else 0.0


@dataclass(frozen=True, slots=True)
class Meaning:
    """All of it: the first case is a typical run. `lately` is how many runs there were in the last days, and `before`
    what the publisher gets for a typical one at the prices in force, if they can be told."""

    cases: list[Case]
    share: Decimal
    lately: int
    before: Case | None

    @property
    def first(self) -> Case:
        return self.cases[0]

    @property
    def lately_micros(self) -> int:
        return self.first.gets * self.lately

    @property
    def before_micros(self) -> int:
        return self.before.gets * self.lately if self.before is not None else 0

    @property
    def many_gets(self) -> int:
        return self.first.gets * MANY


def meaning_of(endpoint: Endpoint, lines: Sequence[Line], share_percent: Decimal) -> Meaning:
    """What these lines mean. Raises pricing.CannotPrice where an example of the input has no price."""
    before = None
    current = [one for one in catalog.price_lists(endpoint) if one.state == "current"]
    if current:
        try:
            before = typical(endpoint, [catalog.line_of(price) for price in current[0].lines], share_percent)
        except pricing.CannotPrice:
            before = None
    return Meaning(_cases(endpoint, lines, share_percent), share_percent, _runs_lately(endpoint), before)


def typical(endpoint: Endpoint, lines: Sequence[Line], share_percent: Decimal) -> Case:
    """A typical run: the example of the input, by a buyer who has just come. Raises pricing.CannotPrice."""
    return _case(endpoint, lines, share_percent, "A typical run", {}, 0)


def _cases(endpoint: Endpoint, lines: Sequence[Line], share_percent: Decimal) -> list[Case]:
    found = [typical(endpoint, lines, share_percent)]
    seen: list[tuple[Any, ...]] = []
    for line in lines:
        key = (line.conditions, line.from_runs)
        if (not line.conditions and not line.from_runs) or key in seen:
            continue
        seen.append(key)
        said = [f"with {price_words.write(line.conditions)}"] if line.conditions else []
        said += [f"after {line.from_runs:,} runs a month"] if line.from_runs else []
        label = ", ".join(said)
        try:
            found.append(
                _case(
                    endpoint,
                    lines,
                    share_percent,
                    label[:1].upper() + label[1:],
                    line.conditions,
                    line.from_runs,
                )
            )
        except (schema.InvalidInput, pricing.CannotPrice):  # no input that we can think of is like that
            continue
    return found


def _case(
    endpoint: Endpoint,
    lines: Sequence[Line],
    share_percent: Decimal,
    label: str,
    conditions: Mapping[str, Mapping[str, Any]],
    runs: int,
) -> Case:
    data = {**catalog.sample(endpoint.input_schema), **_meeting(endpoint.input_schema, conditions)}
    cleaned = schema.clean(endpoint.input_schema, data)
    priced = [pricing.PriceLine(*line) for line in lines]
    quoted = predictions.price_of(endpoint, priced, cleaned, runs=runs)
    seconds = Decimal(endpoint.typical_ms) / MS
    actual = pricing.settled(quoted, {"compute_second": seconds}) if quoted.is_bound else quoted
    gets = pricing.share(actual.amount_micros, share_percent / PERCENT)
    return Case(label, actual.amount_micros, gets, quoted.amount_micros if quoted.is_bound else None)


def _meeting(described: Mapping[str, Any], conditions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Values that meet the conditions, as far as one is easily found."""
    found: dict[str, Any] = {}
    for name, tests in conditions.items():
        one = described.get("properties", {}).get(name, {})
        step = one.get("multipleOf", 1)
        for operator, operand in tests.items():
            if operator in ("eq", "gte", "lte"):
                found[name] = operand
            elif operator == "in":
                found[name] = operand[0]
            else:
                found[name] = operand + step if operator == "gt" else operand - step
    return found


def _runs_lately(endpoint: Endpoint) -> int:
    since = timezone.now() - LATELY
    return Prediction.objects.filter(
        endpoint=endpoint, status=Prediction.Status.SUCCEEDED, finished_at__gte=since
    ).count()
