"""What happened how often and how long it took, counted in Redis by every process that sees it happen.

A process that counted by itself would forget with each restart, and be asked by nobody who reaches another one.
Counters only grow; where Redis lost them they begin anew, as those who read them expect. Nothing here ever raises:
what is not counted was still done.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

import redis

from marketplace.dispatch import redis_client

log = logging.getLogger(__name__)

KEY = "tally"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_MORE = "+Inf"

# KEYS: the hash. ARGV: field, amount, field, amount …: one command for all that one event adds.
_ADD = "for i = 1, #ARGV, 2 do redis.call('HINCRBYFLOAT', KEYS[1], ARGV[i], ARGV[i + 1]) end"


class Count(NamedTuple):
    """One event, or `amount` of them, under a name and its labels."""

    name: str
    labels: Mapping[str, str]
    amount: float = 1.0


class Measure(NamedTuple):
    """One value for a histogram with the bounds `bounds`."""

    name: str
    labels: Mapping[str, str]
    value: float
    bounds: tuple[float, ...] = SECONDS


Labels = tuple[tuple[str, str], ...]


def add(*events: Count | Measure) -> None:
    """Count all of these, in one trip. Never raises."""
    fields: list[str | float] = []
    for event in events:
        if isinstance(event, Count):
            fields += [_field(event.name, event.labels), event.amount]
        else:
            at = bisect_left(event.bounds, event.value)
            bound = f"{event.bounds[at]:g}" if at < len(event.bounds) else _MORE
            fields += [_field(event.name, {**event.labels, "le": bound}), 1]
            fields += [_field(f"{event.name}:sum", event.labels), event.value]
    if fields:
        try:
            redis_client().eval(_ADD, 1, KEY, *map(str, fields))
        except redis.RedisError as error:
            log.warning("not counted: %s", error)


def read() -> dict[str, dict[Labels, float]]:
    """Every counter by its name and labels. Raises redis.RedisError."""
    found: dict[str, dict[Labels, float]] = {}
    for field, amount in cast("Mapping[bytes, bytes]", redis_client().hgetall(KEY)).items():
        name, *labels = field.decode().split("|")
        pairs = (label.partition("=") for label in labels)
        found.setdefault(name, {})[tuple((key, value) for key, _, value in pairs)] = float(amount)
    return found


def buckets(
    counted: Mapping[Labels, float], bounds: Iterable[float]
) -> dict[Labels, list[tuple[str, float]]]:
    """The histogram of what `read` gave under a measure's name: by labels, how many were at most each bound."""
    groups: dict[Labels, dict[str, float]] = {}
    for labels, amount in counted.items():
        rest = tuple(pair for pair in labels if pair[0] != "le")
        groups.setdefault(rest, {})[dict(labels)["le"]] = amount
    names = [*(f"{bound:g}" for bound in bounds), _MORE]
    made: dict[Labels, list[tuple[str, float]]] = {}
    for group, amounts in groups.items():
        so_far, made[group] = 0.0, []
        for name in names:
            so_far += amounts.get(name, 0.0)
            made[group].append((name, so_far))
    return made


def _field(name: str, labels: Mapping[str, str]) -> str:
    """A name and its labels as one text; what would break it apart again is replaced."""
    parts = (f"{key}={value.replace('|', '_').replace('=', '_')}" for key, value in sorted(labels.items()))
    return "|".join([name, *parts])
