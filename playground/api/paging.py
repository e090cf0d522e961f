"""Pages of lists by cursor: stable while rows come and go, and without a count.

A cursor names the last row that was shown by its public id; the next page starts after that row's place in the order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypedDict, TypeVar

from django.db.models import Model, Q, QuerySet
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from marketplace.ids import encode, parse
from marketplace.schema import FieldError
from playground.api.problems import Problem, invalid

LIMIT, LIMIT_MAXIMUM = 20, 100
AFTER, BEFORE = "n", "p"

Row = TypeVar("Row", bound=Model)


class Page(TypedDict):
    """A page of a list. `next` and `previous` are whole addresses, or null at the end."""

    results: list[Any]
    next: str | None
    previous: str | None


def page(
    request: Request,
    rows: QuerySet[Row],
    *,
    order: Sequence[str],
    show: Callable[[Row], Any],
    anchors: QuerySet[Row] | None = None,
    limit: int | None = None,
) -> Page:
    """The page of `rows` that the request's `cursor` and `limit` ask for, each as `show` has it. `order` ends with a
    unique field.

    `anchors` are the rows that a cursor may name where these are more than `rows`: those that have left the list since.
    Raises Problem for a cursor that this list did not give.
    """

    def each(found: list[Row]) -> list[Any]:
        return [show(row) for row in found]

    return page_at_once(request, rows, order=order, show=each, anchors=anchors, limit=limit)


def page_at_once(
    request: Request,
    rows: QuerySet[Row],
    *,
    order: Sequence[str],
    show: Callable[[list[Row]], Sequence[Any]],
    anchors: QuerySet[Row] | None = None,
    limit: int | None = None,
) -> Page:
    """`page` of rows that are shown together, as what is said of them is looked up for all at once.

    `limit` is for who reads the request's own otherwise than here.
    """
    limit = _limit(request) if limit is None else limit
    backwards, anchor = _anchor(request, rows if anchors is None else anchors)
    asked = [_turned(name) for name in order] if backwards else list(order)
    found = rows if anchor is None else rows.filter(_beyond(anchor, asked))
    shown = list(found.order_by(*asked)[: limit + 1])
    has_more = len(shown) > limit
    del shown[limit:]
    if backwards:
        shown.reverse()
    has_next, has_previous = (bool(shown), has_more) if backwards else (has_more, anchor is not None)
    return {
        "results": list(show(shown)),
        "next": _address(request, AFTER, shown[-1]) if shown and has_next else None,
        "previous": _address(request, BEFORE, shown[0]) if shown and has_previous else None,
    }


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", str(LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= LIMIT_MAXIMUM):
        allowed = {"minimum": 1, "maximum": LIMIT_MAXIMUM}
        raise invalid([FieldError("limit", "type", f"must be a number from 1 to {LIMIT_MAXIMUM}", allowed)])
    return int(text)


def _anchor(request: Request, rows: QuerySet[Row]) -> tuple[bool, Row | None]:
    text = request.query_params.get("cursor")
    if text is None:
        return False, None
    public_id = parse(text[1:]) if text[:1] in {AFTER, BEFORE} and len(text) == 27 else None
    found = rows.order_by().filter(public_id=public_id).first() if public_id else None
    if found is None:
        raise Problem("invalid_cursor", "This cursor belongs to no row of this list. Start again without it.")
    return text[0] == BEFORE, found


def _turned(name: str) -> str:
    return name[1:] if name.startswith("-") else f"-{name}"


def _beyond(anchor: Model, order: Sequence[str]) -> Q:
    """The rows that come after `anchor` in `order`."""
    beyond, same = Q(), Q()
    for name in order:
        field, operator = (name[1:], "lt") if name.startswith("-") else (name, "gt")
        value = getattr(anchor, field)
        beyond |= same & Q((f"{field}__{operator}", value))
        same &= Q((field, value))
    first = order[0].removeprefix("-")
    bound = "lte" if order[0].startswith("-") else "gte"
    # Said once more by the first field alone, where an index can begin.
    return Q((f"{first}__{bound}", getattr(anchor, first))) & beyond


def _address(request: Request, direction: str, row: Any) -> str:
    return str(replace_query_param(request.build_absolute_uri(), "cursor", direction + encode(row.public_id)))
