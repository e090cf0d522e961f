"""Finding runs by the words of their prompts, newest first, as fast for a word that all have as for one that none has.

The index knows the day and the workspace of a run as one more word. So the days are gone through from the near end, a
few at a time, each by the index alone, until there are enough: a word that is everywhere is found in the first, and a
rare one costs next to nothing in all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from marketplace.models import Workspace
from playground.models import Prediction
from playground.models.prediction import WORDS, PredictionQuerySet

MAX_WORDS, MAX_WORD = 8, 60
MIN_PREFIX = 3  # characters before a star
NEAR = 300  # rows that are simply read first: what a word is in often enough is among them
SINGLE_DAYS, DAYS = 7, 4  # the first so many days one by one, then so many at a time
MAX_DAYS = 3660

Place = tuple[datetime, int]  # created_at and pk of a run


def terms_of(text: str) -> str:
    """What is looked for, in PostgreSQL's words: all of them. Empty for none."""
    return " & ".join(_term(word) for word in text.split()[:MAX_WORDS] if re.search(r"\w", word))


def search(
    workspace: Workspace,
    rows: PredictionQuerySet,
    terms: str,
    *,
    size: int,
    since: datetime | None,
    until: datetime | None,
    is_back: bool,
) -> list[int]:
    """The keys of the first `size` of `rows` that have the terms: newest first, or with `is_back` oldest first.

    `rows` are the workspace's, filtered and not ordered; `since` and `until` bound where they can be.
    """
    near = _near(rows, terms, is_back=is_back)
    if len(near) >= size:
        return [pk for pk, _ in near[:size]]
    found = _closed(workspace, rows, terms, size=size, since=since, until=until, is_back=is_back)
    found += _open(rows, terms, size=size)
    found.sort(key=lambda one: (one[1], one[0]), reverse=not is_back)
    return [pk for pk, _ in found[:size]]


_TABLE = '"playground_prediction"'
_MATCHES = f"({WORDS}) @@ to_tsquery('simple'::regconfig, %s)"
_OF_DAYS = f"({WORDS}) @@ (to_tsquery('simple'::regconfig, %s) && days.query::tsquery)"


def _near(rows: PredictionQuerySet, terms: str, *, is_back: bool) -> list[tuple[int, datetime]]:
    order = ("created_at", "id") if is_back else ("-created_at", "-id")
    inner = rows.order_by(*order).values_list("pk", "created_at", "input", "workspace_id")[:NEAR]
    sql, parameters = inner.query.sql_with_params()
    direction = "ASC" if is_back else "DESC"
    statement = f"""
        SELECT id, created_at FROM ({sql}) near(id, created_at, input, workspace_id) WHERE {_MATCHES}
         ORDER BY created_at {direction}, id {direction}"""  # noqa: S608 - made of constants and the ORM's own
    return _asked(statement, [*parameters, terms])


def _closed(
    workspace: Workspace,
    rows: PredictionQuerySet,
    terms: str,
    *,
    size: int,
    since: datetime | None,
    until: datetime | None,
    is_back: bool,
) -> list[tuple[int, datetime]]:
    sql, parameters = rows.order_by().values_list("pk", "created_at").query.sql_with_params()
    direction = "ASC" if is_back else "DESC"
    buckets = list(_buckets(workspace, rows, since=since, until=until, is_back=is_back))
    # The rows of some days that have the words, by the index of words and no other: OFFSET keeps the planner, which
    # cannot know how rare the words are, from going through all rows of these days instead.
    hits = f"""(SELECT * FROM playground_prediction
                WHERE status IN ('succeeded', 'failed', 'canceled') AND {_OF_DAYS} OFFSET 0) AS {_TABLE}"""  # noqa: S608
    statement = f"""
        SELECT found.id, found.created_at FROM unnest(%s::text[]) WITH ORDINALITY AS days(query, at)
         CROSS JOIN LATERAL ({sql.replace(f"FROM {_TABLE}", f"FROM {hits}", 1)}
               ORDER BY 2 {direction}, 1 {direction} LIMIT %s) AS found(id, created_at)
         LIMIT %s"""  # noqa: S608 - made of constants and the ORM's own
    return _asked(statement, [buckets, terms, *parameters, size, size])


def _open(rows: PredictionQuerySet, terms: str, *, size: int) -> list[tuple[int, datetime]]:
    """Those that still wait or run: few, and not in the index."""
    waiting = rows.order_by().filter(status__in=Prediction.OPEN).values_list("pk", "created_at")
    sql, parameters = waiting.query.sql_with_params()
    return _asked(f"{sql} AND {_MATCHES} ORDER BY 2 DESC LIMIT %s", [*parameters, terms, size])


def _buckets(
    workspace: Workspace,
    rows: PredictionQuerySet,
    *,
    since: datetime | None,
    until: datetime | None,
    is_back: bool,
) -> Iterator[str]:
    """Some days at a time from the near end to the far one: the words that stand for them."""
    oldest = rows.order_by("created_at").values_list("created_at", flat=True).first()
    if oldest is None:
        return
    first = _day(max(since or oldest, oldest))
    last = _day(min(until or timezone.now(), timezone.now()) + timedelta(days=1))
    days = range(first, min(last, first + MAX_DAYS) + 1)
    at = 0
    while at < len(days):
        count = 1 if at < SINGLE_DAYS else DAYS
        chosen = days[at : at + count] if is_back else days[::-1][at : at + count]
        at += count
        yield " | ".join(f"'ws {workspace.pk} {day}'" for day in chosen)


def _day(moment: datetime) -> int:
    return int(moment.timestamp() // 86400)


def _asked(statement: str, parameters: list[Any]) -> list[tuple[int, datetime]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def _term(word: str) -> str:
    """One word as it is; with a star at its end, every word that begins so.

    Beginnings are only looked for where asked: the index reads all that begin so, and not only those of a few days.
    """
    bare = word[:MAX_WORD].rstrip("*")
    quoted = bare.replace("\\", "\\\\").replace("'", "''")
    return f"'{quoted}':*" if word.endswith("*") and len(bare) >= MIN_PREFIX else f"'{quoted}'"
