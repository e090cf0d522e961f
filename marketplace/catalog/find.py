"""Finding listings and what can be called on them."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.postgres.search import SearchQuery, SearchRank
from django.db import connection, transaction
from django.db.models import Case, F, Prefetch, Q, QuerySet, When
from django.utils import timezone

from marketplace.models import Endpoint, Listing, Offer, Price, Version, Workspace
from marketplace.models.shelf import ListingQuerySet

_MODEL_ID = re.compile(r"([a-z0-9][a-z0-9-]{1,38})/([a-z0-9][a-z0-9-]{1,38})")
_VERSION_ID = re.compile(r"[0-9a-f]{8,64}")
_WORD = re.compile(r"\w+")
MAX_WORDS = 8
RARE = 500  # listings that hold a word, up to which it is looked up and not walked to
RANKED = 480  # of so many that a search finds, the order is by how close they are
SORTS = {
    "featured": ("-featured", "-run_count", "id"),
    "runs": ("-run_count", "id"),
    "newest": ("-created_at", "id"),
    "cheapest": ("typical_micros", "id"),
}


class NotFound(LookupError):
    """No such model, version or endpoint that the caller may see."""


@dataclass(frozen=True, slots=True)
class Callable:
    """Everything that one run needs to know about what it calls."""

    listing: Listing
    version: Version
    endpoint: Endpoint
    offers: tuple[Offer, ...]
    prices: tuple[Price, ...]
    next_prices: tuple[Price, ...] = ()  # the list that follows, if one is scheduled

    @property
    def prices_until(self) -> datetime | None:
        """When another price list begins; None for none that is known of."""
        return self.next_prices[0].effective_from if self.next_prices else None

    @property
    def model_id(self) -> str:
        return self.listing.model_id


def _known(workspace: Workspace | None) -> Q:
    """What its address leads to: what is public, what is not on the shelf but for whoever knows it, and one's own."""
    known = Q(visibility__in=[Listing.Visibility.PUBLIC, Listing.Visibility.UNLISTED])
    return (known | _own(workspace)) & Q(default_version__isnull=False)


def _shown(workspace: Workspace | None) -> Q:
    """What is on the shelf: what is public and takes runs, and one's own."""
    shown = Q(visibility=Listing.Visibility.PUBLIC, paused_at=None)
    return (shown | _own(workspace)) & Q(default_version__isnull=False)


def _own(workspace: Workspace | None) -> Q:
    return Q(publisher__workspace=workspace) if workspace is not None else Q()


def _shelf() -> ListingQuerySet:
    """Listings with what names them; the words that they are found by stay in the database."""
    return Listing.objects.select_related("publisher", "default_version").defer("search")


def listing(model: str, *, workspace: Workspace | None = None) -> Listing:
    """The listing `publisher/name` if it is public, unlisted or the workspace's own. Raises NotFound."""
    match = _MODEL_ID.fullmatch(model)
    found = (
        _shelf().filter(_known(workspace), publisher__name=match[1], name=match[2]).first() if match else None
    )
    if found is None:
        raise NotFound(f"There is no model {model[:100]!r}. Model names look like publisher/name.")
    return found


def listings(
    *,
    search: str = "",
    task: str = "",
    sort: str = "featured",
    takes: str = "",
    workspace: Workspace | None = None,
) -> QuerySet[Listing]:
    """Listings on the shelf in the given order. Unknown tasks find nothing, unknown orders mean featured.

    Every word of `search` must begin a word of name, publisher, tagline or task. `takes` is a kind of media that the
    input takes.
    """
    found = _shelf().filter(_shown(workspace))
    if task:
        found = found.for_task(task)
    if takes:
        found = found.exclude(takes="").filter(Q(takes__contains=f" {takes} ") | Q(takes=" any "))
    if search.strip():
        query = _query(search)
        found = _holding(found, query) if query is not None else found.none()
    return found.order_by(*SORTS.get(sort, SORTS["featured"]))


def best(found: QuerySet[Listing], search: str) -> QuerySet[Listing]:
    """What was found, the closest first: name before publisher before tagline. Of very many, the most run ones."""
    query = _query(search)
    if query is None:
        return found
    popular = found.order_by(*SORTS["featured"]).values("pk")[:RANKED]
    ranked = _shelf().filter(pk__in=popular)
    return ranked.annotate(rank=SearchRank(F("search"), query)).order_by("-rank", *SORTS["featured"])


# From one task to the next through the index, whatever number of listings each has.
_TASKS = """
WITH RECURSIVE tasks AS (
    (SELECT task FROM marketplace_listing
      WHERE visibility = 'public' AND paused_at IS NULL AND default_version_id IS NOT NULL
      ORDER BY task LIMIT 1)
    UNION ALL
    SELECT (SELECT task FROM marketplace_listing
             WHERE visibility = 'public' AND paused_at IS NULL AND default_version_id IS NOT NULL
               AND task > tasks.task ORDER BY task LIMIT 1)
      FROM tasks WHERE tasks.task IS NOT NULL
)
SELECT task FROM tasks WHERE task IS NOT NULL
"""


def tasks() -> list[str]:
    """The tasks that public listings have, in order."""
    with connection.cursor() as cursor:
        cursor.execute(_TASKS)
        return [task for (task,) in cursor.fetchall()]


def _holding(found: ListingQuerySet, query: _Beginnings) -> ListingQuerySet:
    """Those that hold the words. A rare word leads to few rows, which are named; for a common one the rows are walked
    in their order until a page is full. The planner cannot tell one from the other."""
    few = list(Listing.objects.filter(search=query).values_list("pk", flat=True)[: RARE + 1])
    return found.filter(pk__in=few) if len(few) <= RARE else found.filter(search=query)


class _Beginnings(SearchQuery):
    """Words as beginnings, all of which must be there, written into the statement.

    As a parameter, a plan that is kept for all words would fetch and sort every row that a common one is in. What
    `_WORD` lets through can end no literal.
    """

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__(" & ".join(f"{word}:*" for word in words), config="simple", search_type="raw")
        self.text = " & ".join(f"{word}:*" for word in words)

    def as_sql(self, *args: Any, **kwargs: Any) -> Any:
        return f"to_tsquery('simple', '{self.text}')", []


def _query(search: str) -> _Beginnings | None:
    """The query of a search; None without a word."""
    words = _WORD.findall(search.replace("_", " "))[:MAX_WORDS]
    return _Beginnings(words) if words else None


# What was looked up in the last moment, by model name: no private listings, as what anybody may run needs no check.
_recent: dict[str, tuple[float, Callable]] = {}
RECENT_SECONDS = 1.0
RECENT_SIZE = 1000


_endpoints: dict[int, tuple[float, Endpoint]] = {}


def forget() -> None:
    """Drop what this process remembers of the shelf."""
    _recent.clear()
    _endpoints.clear()


def endpoint(endpoint_id: int) -> Endpoint:
    """An endpoint with its version, listing and publisher, at most a second old. Raises NotFound.

    Versions and endpoints never change, and their schemas and manifests are wide: who handles many predictions reads
    them once a second and not with each.
    """
    known = _endpoints.get(endpoint_id)
    if known is not None and known[0] > time.monotonic():
        return known[1]
    found = Endpoint.objects.select_related("version__listing__publisher").filter(pk=endpoint_id).first()
    if found is None:
        raise NotFound(f"There is no endpoint {endpoint_id}.")
    if len(_endpoints) >= RECENT_SIZE:
        _endpoints.clear()
    _endpoints[endpoint_id] = (time.monotonic() + RECENT_SECONDS, found)
    return found


def callable_endpoint(model: str, *, workspace: Workspace | None, now: datetime) -> Callable:
    """What `publisher/name` or `publisher/name:version` runs, with its offers and the prices of `now`.

    What a process finds it uses for a second, so a change on the shelf is in force everywhere a second later; a price
    that was scheduled is in force at its moment. Raises NotFound.
    """
    known = _recent.get(model)
    if known is not None and known[0] > time.monotonic():
        ends = known[1].prices_until
        if ends is None or now < ends:
            return known[1]
    found = _look_up(model, workspace=workspace, now=now)
    if found.listing.visibility != Listing.Visibility.PRIVATE:
        if len(_recent) >= RECENT_SIZE:
            _recent.clear()
        _recent[model] = (time.monotonic() + RECENT_SECONDS, found)
    return found


def _look_up(model: str, *, workspace: Workspace | None, now: datetime) -> Callable:
    name, colon, wanted = model.partition(":")
    shelf = listing(name, workspace=workspace)
    if colon and not _VERSION_ID.fullmatch(wanted):
        raise NotFound(
            f"{wanted[:64]!r} is no version: give 8 to 64 hex digits of its id, as {name}:<version>."
        )
    endpoints = Endpoint.objects.select_related("version").prefetch_related(
        Prefetch("offers", Offer.objects.filter(is_enabled=True).order_by("id")),
        Prefetch("prices", Price.objects.order_by("-effective_from", "-id")),
    )
    endpoints = endpoints.filter(version__listing=shelf)
    if wanted:
        endpoints = endpoints.filter(version__sha256__startswith=wanted)
    else:
        endpoints = endpoints.filter(version=shelf.default_version_id)
    endpoint = endpoints.order_by("id").first()
    if endpoint is None:
        raise NotFound(f"The model {name} has no version {wanted[:64]!r}.")
    lines = list(endpoint.prices.all())
    return Callable(
        listing=shelf,
        version=endpoint.version,
        endpoint=endpoint,
        offers=tuple(endpoint.offers.all()),
        prices=current_prices([price for price in lines if price.effective_from <= now]),
        next_prices=_next_prices([price for price in lines if price.effective_from > now]),
    )


def model_of_version(sha256: str, *, workspace: Workspace | None) -> str:
    """`publisher/name:version` of the listing that a version is of. Raises NotFound.

    The same build may be on several shelves: the caller's own comes first, then the oldest.
    """
    rows = _shelf().filter(_known(workspace), versions__sha256=sha256)
    own = Q(publisher__workspace=workspace) if workspace is not None else Q(pk=None)
    found = rows.order_by(Case(When(own, then=0), default=1), "id").first()
    if found is None:
        raise NotFound(f"There is no version {sha256[:12]}… that you may use.")
    return f"{found.model_id}:{sha256}"


def current_prices(newest_first: list[Price]) -> tuple[Price, ...]:
    """The prices in force: all rows of the latest moment that any of them took effect, in order of entry."""
    if not newest_first:
        return ()
    latest = newest_first[0].effective_from
    return tuple(sorted((p for p in newest_first if p.effective_from == latest), key=lambda p: p.pk))


def _next_prices(scheduled: list[Price]) -> tuple[Price, ...]:
    soonest = min((price.effective_from for price in scheduled), default=None)
    return tuple(sorted((p for p in scheduled if p.effective_from == soonest), key=lambda p: p.pk))


def prices_now(listing: Listing) -> tuple[Price, ...]:
    """The prices in force of a listing's default version. For a list, prefetch `default_version__endpoints__prices`."""
    if listing.default_version is None:
        return ()
    endpoints = sorted(listing.default_version.endpoints.all(), key=lambda one: one.pk)
    now = timezone.now()
    lines = [p for p in endpoints[0].prices.all() if p.effective_from <= now] if endpoints else []
    return current_prices(sorted(lines, key=lambda p: (p.effective_from, p.pk), reverse=True))


def record_stats(
    *, endpoint_id: int, runs: int, typical_ms: int | None, since: datetime, until: datetime
) -> None:
    """Add `runs` that finished after `since` and up to `until` to their listing's count, and note how long they
    typically took. What somebody else has counted up to in the meantime is not counted twice."""
    changes: dict[str, Any] = {"counted_until": until}
    if typical_ms is not None:
        changes["typical_ms"] = typical_ms
    with transaction.atomic():
        is_first = Endpoint.objects.filter(pk=endpoint_id, counted_until=since).update(**changes)
        if runs and is_first:
            Listing.objects.filter(versions__endpoints=endpoint_id).update(run_count=F("run_count") + runs)
