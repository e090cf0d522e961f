"""The versions of a listing as a history: what each changed against the one before it, and what it cost when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from marketplace import schema
from marketplace.models import Endpoint, Listing, Price, Version

MAX_REVISIONS = 100


@dataclass(frozen=True, slots=True)
class Revision:
    """One version. `prices` are the price lists it had, newest first, each with the moment it began."""

    version: Version
    endpoint: Endpoint | None
    is_default: bool
    is_first: bool
    recipe: tuple[str, ...]
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
                recipe=tuple(_recipe(before.manifest, version.manifest)) if before is not None else (),
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


def _recipe(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What changed in how it runs, in words."""
    before, after = old.get("recipe", {}), new.get("recipe", {})
    said = []
    hashes, others = before.get("hashes", {}), after.get("hashes", {})
    if hashes != others:
        changed = sum(hashes.get(name) != digest for name, digest in others.items())
        changed += sum(name not in others for name in hashes)
        said.append(f"new weights: {changed} file{'' if changed == 1 else 's'} changed")
    said += [
        f"{name} {before.get(name, 'unset')} → {after.get(name, 'unset')}"
        for name in sorted({*before, *after} - {"hashes"})
        if before.get(name) != after.get(name)
    ]
    limits, now = old.get("endpoint", {}), new.get("endpoint", {})
    for name, label in (("max_seconds", "time limit"), ("start_within_seconds", "starts within")):
        if limits.get(name) != now.get(name):
            said.append(f"{label} {limits.get(name)} s → {now.get(name)} s")
    return said


def _prices(endpoint: Endpoint | None) -> tuple[tuple[datetime, tuple[Price, ...]], ...]:
    if endpoint is None:
        return ()
    lines = sorted(endpoint.prices.all(), key=lambda price: (price.effective_from, -price.pk), reverse=True)
    return tuple(
        (moment, tuple(price for price in group))
        for moment, group in groupby(lines, key=lambda p: p.effective_from)
    )
