"""The versions of a listing as a history: what each changed against the one before it, and what it cost when."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from marketplace import schema
from marketplace.models import Endpoint, Listing, Price, Version

MAX_REVISIONS = 100
MAX_VALUE = 200  # characters of one value that are shown


@dataclass(frozen=True, slots=True)
class Setting:
    """One value of how it runs that changed, by its dotted name; None before it was there and when it is no more."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Revision:
    """One version. `prices` are the price lists it had, newest first, each with the moment it began."""

    version: Version
    endpoint: Endpoint | None
    is_default: bool
    is_first: bool
    weights_changed: int  # files
    settings: tuple[Setting, ...]
    changes: tuple[schema.Change, ...]
    prices: tuple[tuple[datetime, tuple[Price, ...]], ...]

    @property
    def is_breaking(self) -> bool:
        return any(change.is_breaking for change in self.changes)


def revisions(listing: Listing) -> list[Revision]:
    """The newest versions first. Two statements, however many there are."""
    rows = listing.versions.prefetch_related("endpoints__prices").order_by("-id")[: MAX_REVISIONS + 1]
    newest_first = list(rows)
    found = []
    for place, version in enumerate(newest_first[:MAX_REVISIONS]):
        before = newest_first[place + 1] if place + 1 < len(newest_first) else None
        endpoint, earlier = _endpoint(version), _endpoint(before) if before is not None else None
        both = endpoint is not None and earlier is not None
        found.append(
            Revision(
                version=version,
                endpoint=endpoint,
                is_default=version.pk == listing.default_version_id,
                is_first=before is None,
                weights_changed=_weights_changed(before.recipe, version.recipe) if before is not None else 0,
                settings=tuple(_settings(before.manifest, version.manifest)) if before is not None else (),
                changes=tuple(_changes(earlier, endpoint)) if both and earlier and endpoint else (),
                prices=_prices(endpoint),
            )
        )
    return found


def _endpoint(version: Version) -> Endpoint | None:
    return min(version.endpoints.all(), key=lambda one: one.pk, default=None)


def _changes(old: Endpoint, new: Endpoint) -> list[schema.Change]:
    found = schema.changes(old.input_schema, new.input_schema)
    gone = [
        name
        for name in old.output_schema.get("properties", {})
        if name not in new.output_schema.get("properties", {})
    ]
    found += [
        schema.Change(f"output.{name}", "removed", "is no longer in the output", is_breaking=True)
        for name in gone
    ]
    return found


def _weights_changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> int:
    """How many files are new, others or no more."""
    before, after = old.get("hashes", {}), new.get("hashes", {})
    return sum(before.get(name) != after.get(name) for name in {*before, *after})


def _settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Setting]:
    """What changed in how it runs, value by value: the recipe but for its hashes, and the endpoint's times."""
    before, after = (dict(_flat(_ran_by(manifest))) for manifest in (old, new))
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield Setting(name, _shown(before.get(name)), _shown(after.get(name)))


def _ran_by(manifest: Mapping[str, Any]) -> dict[str, Any]:
    recipe = {name: value for name, value in manifest.get("recipe", {}).items() if name != "hashes"}
    limits = {
        f"endpoint.{name}": f"{value} s"
        for name in ("max_seconds", "start_within_seconds")
        if (value := manifest.get("endpoint", {}).get(name)) is not None
    }
    return recipe | limits


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every value of a table and of those within by its dotted name."""
    for name, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _worded(value)


def _worded(value: Any) -> str:
    """A value as people read it: texts bare, all else as JSON says it."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _shown(text: str | None) -> str | None:
    return text if text is None or len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"


def _prices(endpoint: Endpoint | None) -> tuple[tuple[datetime, tuple[Price, ...]], ...]:
    if endpoint is None:
        return ()
    lines = sorted(endpoint.prices.all(), key=lambda price: (price.effective_from, -price.pk), reverse=True)
    return tuple(
        (moment, tuple(price for price in group))
        for moment, group in groupby(lines, key=lambda p: p.effective_from)
    )
