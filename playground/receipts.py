"""Receipts: what one run cost and why, line by line and in sentences, also of runs that are deleted.

Hides what is left of a run when: while its row is there it says more, afterwards the books alone speak.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any, TypedDict
from uuid import UUID

from django.conf import settings
from django.urls import reverse

from billing import receipts as books
from billing.receipts import GivenBack, Settled, counted, dollars
from marketplace.ids import encode, parse
from marketplace.models import Workspace
from playground.models import Prediction

Status = Prediction.Status


class NoSuchRun(LookupError):
    """The workspace never had such a run."""


class RefundJson(TypedDict):
    """One refund of a charge, as its buyer sees it. `by`: operator, publisher or system."""

    id: str
    amount_micros: int
    granted_micros: int
    bought_micros: int
    reason: str
    detail: str
    note: str
    by: str
    created_at: str


class ReceiptJson(TypedDict):
    """What one run cost and why. Amounts are integer micro-dollars, times ISO 8601 in UTC.

    A receipt outlives its run: two days after that was deleted it is what the books keep, without `via`, `version`,
    `offer`, `attempts`, `started_at` and the times, and with the lines that were charged as those that were quoted.
    """

    prediction: str
    is_deleted: bool
    model: str
    version: str | None
    offer: dict[str, str] | None
    status: str
    via: str | None
    attempts: int | None
    lines: list[dict[str, Any]]
    charged_lines: list[dict[str, Any]]
    quoted_micros: int
    held_micros: int
    charged_micros: int | None
    released_micros: int | None
    granted_micros: int | None
    bought_micros: int | None
    tax_micros: int
    refunded_micros: int
    refunds: list[RefundJson]
    currency: str
    why: list[str]
    queued_ms: int | None
    ran_ms: int | None
    created_at: str
    started_at: str | None
    settled_at: str | None
    urls: dict[str, str | None]


def receipts(workspace: Workspace, public_ids: Sequence[UUID]) -> list[ReceiptJson]:
    """The receipts of these runs of the workspace, in this order, also of deleted ones. Four statements for all.

    Those that the workspace never had are left out.
    """
    rows = Prediction.objects.filter(workspace=workspace, public_id__in=public_ids)
    found = {row.public_id: row for row in rows.select_related("version", "offer")}
    kept = books.settled(workspace.pk, public_ids)
    refunds = books.given_back(workspace.pk, public_ids)
    made: list[ReceiptJson] = []
    for one in public_ids:
        back = refunds.get(one, [])
        if one in found:
            made.append(_receipt(found[one], kept.get(one), back))
        elif one in kept:
            made.append(_by_the_books(kept[one], back))
    return made


def receipt(workspace: Workspace, public_id: str) -> ReceiptJson:
    """What a run was quoted, what of it was held, charged, released and given back; null while it is open.

    By any spelling of its id. Raises NoSuchRun.
    """
    number = parse(public_id, "p")
    found = receipts(workspace, [number]) if number is not None else []
    if not found:
        raise NoSuchRun("There is no such prediction in this workspace.")
    return found[0]


def refund_json(one: GivenBack) -> RefundJson:
    """A refund, as its buyer sees it."""
    return {
        "id": encode(one.id, "rf"),
        "amount_micros": one.amount_micros,
        "granted_micros": one.granted_micros,
        "bought_micros": one.bought_micros,
        "reason": one.reason,
        "detail": one.reason_words,
        "note": one.note,
        "by": one.side,
        "created_at": one.occurred_at.isoformat(),
    }


def _receipt(row: Prediction, kept: Settled | None, back: Sequence[GivenBack]) -> ReceiptJson:
    lines = list(row.quote.get("lines", []))
    charged = list(kept.quote.get("lines", [])) if kept is not None else []
    return {
        "prediction": row.uid,
        "is_deleted": row.deletion_id is not None,
        "model": row.model,
        "version": row.version.sha256,
        "offer": {"kind": row.offer.kind, "lane": row.offer.lane},
        "status": row.status,
        "via": row.via,
        "attempts": row.attempt,
        "lines": lines,
        "charged_lines": charged,
        "quoted_micros": int(row.quote.get("amount_micros", row.held_micros)),
        "held_micros": row.held_micros,
        "charged_micros": row.cost_micros,
        "released_micros": row.held_micros - row.cost_micros if row.cost_micros is not None else None,
        **_sources(kept),
        **_returned(back),
        "why": list(why(row, kept, back)),
        "queued_ms": _span(row.created_at, row.started_at),
        "ran_ms": _span(row.started_at, row.finished_at),
        "created_at": row.created_at.isoformat(),
        "started_at": row.started_at.isoformat() if row.started_at else None,
        "settled_at": row.finished_at.isoformat() if row.finished_at else None,
        "urls": _urls(row.uid, is_deleted=row.deletion_id is not None),
    }


def _by_the_books(kept: Settled, back: Sequence[GivenBack]) -> ReceiptJson:
    uid = encode(kept.reference, "p")
    lines = list(kept.quote.get("lines", []))
    return {
        "prediction": uid,
        "is_deleted": True,
        "model": kept.model,
        "version": None,
        "offer": None,
        "status": kept.status,
        "via": None,
        "attempts": None,
        "lines": lines,
        "charged_lines": lines,
        "quoted_micros": kept.held_micros,  # a hold is the quote
        "held_micros": kept.held_micros,
        "charged_micros": kept.amount_micros,
        "released_micros": kept.held_micros - kept.amount_micros,
        **_sources(kept),
        **_returned(back),
        "why": list(why(None, kept, back)),
        "queued_ms": None,
        "ran_ms": None,
        "created_at": kept.opened_at.isoformat(),
        "started_at": None,
        "settled_at": kept.occurred_at.isoformat(),
        "urls": _urls(uid, is_deleted=True),
    }


class _Sources(TypedDict):
    granted_micros: int | None
    bought_micros: int | None
    tax_micros: int
    currency: str


class _Returned(TypedDict):
    refunded_micros: int
    refunds: list[RefundJson]


def _sources(kept: Settled | None) -> _Sources:
    return {
        "granted_micros": kept.granted_micros if kept is not None else None,
        "bought_micros": kept.bought_micros if kept is not None else None,
        "tax_micros": 0,  # credit is taxed when it is bought, and runs are paid from credit
        "currency": "USD",
    }


def _returned(back: Sequence[GivenBack]) -> _Returned:
    return {
        "refunded_micros": sum(one.amount_micros for one in back),
        "refunds": [refund_json(one) for one in back],
    }


def _span(start: datetime | None, end: datetime | None) -> int | None:
    return round((end - start).total_seconds() * 1000) if start and end else None


def _urls(uid: str, *, is_deleted: bool) -> dict[str, str | None]:
    return {
        "get": settings.PUBLIC_URL + reverse("api-receipt", args=[uid]),
        "prediction": None if is_deleted else settings.PUBLIC_URL + reverse("api-prediction", args=[uid]),
        "page": None if is_deleted else settings.PUBLIC_URL + reverse("prediction", args=[uid]),
    }


def why(row: Prediction | None, kept: Settled | None, back: Sequence[GivenBack]) -> Iterator[str]:
    """Why a run cost what it cost, in sentences: of its row, of what the books keep, or of both."""
    if kept is None:
        if row is not None and not row.is_terminal:
            yield f"It is open: {dollars(row.held_micros)} is held, and charged only if it succeeds."
        return
    if not kept.amount_micros:
        yield _why_free(kept)
    elif kept.status == Status.CANCELED:
        yield _why_canceled(row, kept)
    else:
        yield "It succeeded and its result was stored, so it was charged."
    if kept.amount_micros:
        yield from _arithmetic(kept)
    if row is not None and row.attempt > 1:
        yield f"It took {row.attempt} attempts. Only the one that made the result counts; lost ones are free."
    if kept.amount_micros:
        yield _source(kept)
    yield from map(_why_back, back)


def _why_free(kept: Settled) -> str:
    if kept.status == Status.FAILED:
        return "It failed, and no failure is charged: the whole hold went back to the balance."
    if kept.status == Status.CANCELED:
        return "It was canceled while that is free: the whole hold went back to the balance."
    return "Its price is zero."


def _why_canceled(row: Prediction | None, kept: Settled) -> str:
    share = Fraction(str(kept.quote.get("done_share") or 1))
    steps = f", {row.step} of {row.steps} steps" if row is not None and row.steps else ""
    return (
        "It was canceled while it ran, after that day's free cancels had been used, so it was charged for the part of "
        f"the work that was done: {float(share):.0%}{steps}."
    )


def _arithmetic(kept: Settled) -> Iterator[str]:
    """The sum, and what it has to do with the quote."""
    lines: Sequence[Mapping[str, Any]] = kept.quote.get("lines", [])
    terms = [
        f"{counted(line['quantity'], line['unit'])} × {_price(line)} = {dollars(line['amount_micros'])}"
        for line in lines
    ]
    is_part = str(kept.quote.get("done_share") or 1) != "1"
    if terms and not is_part:
        total = f", {dollars(kept.amount_micros)} in all" if len(terms) > 1 else ""
        yield f"{'; '.join(terms)}{total}. The price is the one that was in force when it was asked for."
    if kept.amount_micros < kept.held_micros:
        yield (
            f"{dollars(kept.held_micros)} was quoted and held as the most it could cost; the other "
            f"{dollars(kept.held_micros - kept.amount_micros)} went back to the balance."
        )
    else:
        yield "That is what it was quoted before it began."


def _price(line: Mapping[str, Any]) -> str:
    whole, _, decimals = str(line["unit_price"]).partition(".")
    return f"${int(whole):,}.{decimals:0<4}"


def _source(kept: Settled) -> str:
    if not kept.granted_micros:
        return "It was paid from credit that was bought."
    if not kept.bought_micros:
        return "It was paid from granted credit, which is spent first."
    return (
        f"{dollars(kept.granted_micros)} was paid from granted credit, which is spent first, and "
        f"{dollars(kept.bought_micros)} from credit that was bought."
    )


def _why_back(one: GivenBack) -> str:
    by = {"operator": "whoever runs this site", "publisher": "the model's publisher"}.get(
        one.side, "the system"
    )
    day = f"{one.occurred_at.day} {one.occurred_at:%b %Y}"
    return f"{dollars(one.amount_micros)} was given back on {day} by {by}: {one.reason_words.lower()}."
