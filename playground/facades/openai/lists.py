"""Pages of the OpenAI API's lists: `limit`, `order`, and `after`, the id of the last that was seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Model, Q, QuerySet

from marketplace.schema import FieldError
from playground.api.problems import invalid

LIMIT = 20
MOST = 100
ORDERS = {"desc": ("-created_at", "-id"), "asc": ("created_at", "id")}

Row = TypeVar("Row", bound=Model)


def page(
    query: Mapping[str, str],
    rows: QuerySet[Row],
    *,
    named: Callable[[str], UUID | None],
    show: Callable[[Row], dict[str, Any]],
    anchors: QuerySet[Row] | None = None,
) -> dict[str, Any]:
    """The page of `rows` that is asked for; `named` reads an id, `anchors` are rows it may name though they have left.

    Raises Problem.
    """
    order = query.get("order", "desc")
    if order not in ORDERS:
        raise invalid([FieldError("order", "not_allowed", "must be asc or desc", list(ORDERS))])
    limit = _limit(query.get("limit", str(LIMIT)))
    if after := query.get("after"):
        rows = rows.filter(_beyond(_anchor(rows if anchors is None else anchors, named(after)), order))
    found = list(rows.order_by(*ORDERS[order])[: limit + 1])
    shown = [show(row) for row in found[:limit]]
    return {
        "object": "list",
        "data": shown,
        "has_more": len(found) > limit,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
    }


def _limit(given: str) -> int:
    if not (given.isascii() and given.isdigit() and len(given) < 6 and int(given) >= 1):
        allowed = {"minimum": 1, "maximum": MOST}
        raise invalid([FieldError("limit", "type", f"must be a whole number from 1 to {MOST}", allowed)])
    return min(int(given), MOST)


def _anchor(rows: QuerySet[Row], public_id: UUID | None) -> Any:
    found = rows.order_by().filter(public_id=public_id).first() if public_id else None
    if found is None:
        raise invalid([FieldError("after", "not_found", "names nothing of this list")])
    return found


def _beyond(anchor: Any, order: str) -> Q:
    way = "lt" if order == "desc" else "gt"
    later = Q((f"created_at__{way}", anchor.created_at))
    return later | Q(("created_at", anchor.created_at), (f"id__{way}", anchor.pk))
