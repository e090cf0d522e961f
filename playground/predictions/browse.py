"""Looking through a workspace's runs: filters, pages by cursor, and a bound on what a question may cost.

A list may hold millions. Each filter has an index in the order of the list, words have one of their own, nothing is
counted, and a question that would take longer than a page may is given up with a sentence that says so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import OperationalError, connection, transaction
from django.db.models import Count, Exists, Max, Min, OuterRef, Q, Sum
from django.db.models.functions import Coalesce
from psycopg.errors import QueryCanceled

from marketplace.ids import parse
from marketplace.models import Workspace
from playground.models import Asset, Prediction, Share
from playground.models.prediction import PredictionQuerySet
from playground.predictions import words
from playground.predictions.find import attach_model

MAX_SECONDS = 3
MAX_MODELS = 200
OPEN_RUNS = 5  # that are shown beside a balance
ORDER = ("-created_at", "-id")


class TooBroad(Exception):
    """The question would take too long to answer."""

    def __init__(self) -> None:
        super().__init__(
            f"This takes longer than {MAX_SECONDS} s. Narrow it: fewer days, or one more filter."
        )


@dataclass(frozen=True, slots=True)
class Filters:
    """What is looked for; what is left empty does not matter. `until` is not included any more.

    `key_id` and `member_id` are row ids; one that is not the workspace's finds nothing.
    """

    text: str = ""
    status: str = ""
    model: str = ""
    via: str = ""
    key_id: int | None = None
    member_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    cost_from: int | None = None
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of a list, newest first, and whether there are more on either side."""

    rows: list[Prediction]
    has_newer: bool
    has_older: bool


NOTHING = Filters()


def history(workspace: Workspace, *, model: str = "") -> PredictionQuerySet:
    """The workspace's runs, newest first, selected `with_model`: for the head of the list."""
    return matching(workspace, Filters(model=model)).with_model()


# Each status as a word of the statement: a plan that is kept for any status takes it for as common as those of closed
# runs, and walks through the whole list where nothing is open.
_OPEN_RUNS = """
SELECT * FROM (
    (SELECT {columns} FROM playground_prediction
      WHERE workspace_id = %(workspace)s AND status = 'queued' AND deletion_id IS NULL
      ORDER BY created_at DESC LIMIT {most})
     UNION ALL
    (SELECT {columns} FROM playground_prediction
      WHERE workspace_id = %(workspace)s AND status = 'running' AND deletion_id IS NULL
      ORDER BY created_at DESC LIMIT {most})
) open_runs ORDER BY created_at DESC LIMIT {most}
""".replace("{columns}", "id, public_id, model, status, held_micros, created_at").replace(
    "{most}", str(OPEN_RUNS)
)


def open_runs(workspace: Workspace) -> list[Prediction]:
    """The newest of the workspace's open runs, `OPEN_RUNS` at most, with no more of them than a line needs."""
    return list(Prediction.objects.raw(_OPEN_RUNS, {"workspace": workspace.pk}))


def matching(workspace: Workspace, filters: Filters) -> PredictionQuerySet:
    """The workspace's runs that match, newest first, whatever their words. Evaluate it `bounded`."""
    rows = Prediction.objects.of(workspace).order_by(*ORDER)
    asked: dict[str, Any] = {
        "status": filters.status or None,
        "model": filters.model or None,
        "via": filters.via or None,
        "api_key": filters.key_id,
        "created_by": filters.member_id,
        "created_at__gte": filters.since,
        "created_at__lt": filters.until,
        "cost_micros__gte": filters.cost_from,
    }
    rows = rows.filter(**{name: value for name, value in asked.items() if value is not None})
    if filters.cost_from:
        rows = rows.filter(cost_micros__gt=0)  # the index has no others
    if filters.shared:
        links = Share.objects.valid().filter(workspace=workspace, prediction=OuterRef("pk"))
        rows = rows.filter(Exists(links))
    return rows


def page(
    workspace: Workspace,
    filters: Filters = NOTHING,
    *,
    size: int,
    before: UUID | None = None,
    after: UUID | None = None,
    whole: bool = False,
) -> Page:
    """The newest runs that match; or those that follow the run `before`, or precede the run `after`, in the list.

    A run that was deleted or does not match any more is as good a place to go on from. Without `whole` the rows come
    without their logs, metrics and quotes. Raises TooBroad.
    """
    anchor, is_back = (before or after), before is None and after is not None
    with bounded():
        place = _place(workspace, anchor) if anchor is not None else None
        rows = matching(workspace, filters)
        if filters.text:
            rows = _with_words(workspace, rows, filters, place, size=size + 1, is_back=is_back)
        elif place is not None:
            rows = _beyond(rows, place, is_back=is_back)
        rows = rows if whole else rows.defer("logs", "metrics", "quote")
        found = list(rows.prefetch_related("assets")[: size + 1])
    has_more = len(found) > size
    del found[size:]
    if is_back:
        found.reverse()
    for row in found:
        attach_model(row)
    newer, older = (has_more, bool(found)) if is_back else (anchor is not None, has_more)
    return Page(found, has_newer=newer, has_older=older)


def matches(workspace: Workspace, filters: Filters, *, most: int, newest: UUID | None = None) -> list[UUID]:
    """The ids of at most `most` runs that match, newest first; with `newest`, none that came after that run.

    Raises TooBroad.
    """
    with bounded():
        rows = matching(workspace, filters)
        place = None
        if newest is not None:
            moment, number = _place(workspace, newest)
            place = (moment, number + 1)  # that run itself is within
        if filters.text:
            rows = _with_words(workspace, rows, filters, place, size=most, is_back=False)
        elif place is not None:
            rows = _beyond(rows, place, is_back=False)
        return list(rows.values_list("public_id", flat=True)[:most])


@dataclass(frozen=True, slots=True)
class Heap:
    """What many runs are together. `files` and `size` (bytes) are of media that are still there."""

    runs: int
    open: int
    cost_micros: int
    files: int
    size: int
    first_at: datetime | None
    last_at: datetime | None


def heap(workspace: Workspace, ids: Collection[UUID]) -> Heap:
    """The sums of these runs of the workspace."""
    rows = Prediction.objects.of(workspace).filter(public_id__in=ids)
    found = rows.aggregate(
        runs=Count("pk"),
        open=Count("pk", filter=Q(status__in=Prediction.OPEN)),
        cost_micros=Coalesce(Sum("cost_micros"), 0),
        first_at=Min("created_at"),
        last_at=Max("created_at"),
    )
    media = Asset.objects.live().filter(prediction__in=rows.values("pk"))
    return Heap(**found, **media.aggregate(files=Count("pk"), size=Coalesce(Sum("size"), 0)))


def batches(workspace: Workspace, filters: Filters, *, size: int) -> Iterator[list[Prediction]]:
    """All runs that match, newest first, in batches that are each a question of its own. Raises TooBroad."""
    before = None
    while True:
        found = page(workspace, filters, size=size, before=before, whole=True)
        if found.rows:
            yield found.rows
            before = found.rows[-1].public_id
        if not found.has_older:
            return


def anchors(workspace: Workspace) -> PredictionQuerySet:
    """What a cursor of the workspace's list may name: deleted runs too, so that a list can be worked off."""
    return Prediction.objects.filter(workspace=workspace)


@contextmanager
def bounded() -> Iterator[None]:
    """Questions asked inside may take `MAX_SECONDS` each, and are planned for the very values. Raises TooBroad.

    A plan that is kept for any value cannot know whether a status or a word is rare.
    """
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT set_config('statement_timeout', %s, true),"
                    " set_config('plan_cache_mode', 'force_custom_plan', true)",
                    [f"{MAX_SECONDS}s"],
                )
            yield
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise TooBroad from None
        raise


_MODELS = """
WITH RECURSIVE known AS (
    (SELECT model FROM playground_prediction WHERE workspace_id = %(workspace)s ORDER BY model LIMIT 1)
     UNION ALL
    SELECT (SELECT model FROM playground_prediction
             WHERE workspace_id = %(workspace)s AND model > known.model ORDER BY model LIMIT 1)
      FROM known WHERE known.model IS NOT NULL
) SELECT model FROM known WHERE model IS NOT NULL LIMIT %(limit)s
"""


def models_of(workspace: Workspace) -> list[str]:
    """The models that the workspace ever ran, by name; one look at the index for each."""
    with connection.cursor() as cursor:
        cursor.execute(_MODELS, {"workspace": workspace.pk, "limit": MAX_MODELS})
        return [model for (model,) in cursor.fetchall()]


def _with_words(
    workspace: Workspace,
    rows: PredictionQuerySet,
    filters: Filters,
    place: tuple[datetime, int] | None,
    *,
    size: int,
    is_back: bool,
) -> PredictionQuerySet:
    """The first `size` of the rows beyond `place` whose prompt has all the words; or the run that the text names."""
    public_id = parse(filters.text[:64], "p")
    if public_id is not None:
        return rows.filter(public_id=public_id) if place is None else rows.none()
    terms = words.terms_of(filters.text)
    if not terms:
        return rows.none()
    since, until = filters.since, filters.until
    if place is not None:
        rows = _beyond(rows, place, is_back=is_back)
        since, until = (place[0], until) if is_back else (since, place[0])
    keys = words.search(workspace, rows, terms, size=size, since=since, until=until, is_back=is_back)
    found = Prediction.objects.filter(pk__in=keys)
    return found.order_by("created_at", "id") if is_back else found.order_by(*ORDER)


def _place(workspace: Workspace, public_id: UUID) -> tuple[datetime, int]:
    """Where in the list a run stands, or stood: the first 48 bits of its id are the milliseconds of its making."""
    found = anchors(workspace).filter(public_id=public_id).values_list("created_at", "pk").first()
    if found is not None:
        return found
    milliseconds = min(public_id.int >> 80, 2**47)  # a forged id may be of any time
    return datetime.fromtimestamp(milliseconds / 1000, UTC), 0


def _beyond(rows: PredictionQuerySet, place: tuple[datetime, int], *, is_back: bool) -> PredictionQuerySet:
    moment, number = place
    if is_back:
        turned = rows.order_by("created_at", "id").filter(created_at__gte=moment)
        return turned.filter(Q(created_at__gt=moment) | Q(pk__gt=number))
    return rows.filter(created_at__lte=moment).filter(Q(created_at__lt=moment) | Q(pk__lt=number))
