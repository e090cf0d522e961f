"""An invoice as plain data, and its sums as the rows that page and PDF draw alike."""

from __future__ import annotations

import re
from datetime import date
from typing import Any, NamedTuple, TypedDict

from django.conf import settings
from django.urls import reverse

from billing import invoices, usage
from billing.invoices import Month
from marketplace.models import Workspace

_MONTH = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])")


class BadMonth(LookupError):
    """It is no month, or none of this workspace."""


class ListedJson(TypedDict):
    """A month in short. `number` is null until the month is over and was written down."""

    month: str
    number: str | None
    charged_micros: int
    refunded_micros: int
    currency: str
    urls: dict[str, str]


class InvoiceJson(TypedDict):
    """A month. opening + movements + refunded - charged = closing. `projected_micros`: of one that is not over."""

    month: str
    number: str | None
    is_final: bool
    workspace: str
    recipient: dict[str, str]
    sender: list[str]
    lines: list[dict[str, Any]]
    movements: list[dict[str, Any]]
    runs: int
    not_charged_runs: int
    opening_micros: int
    charged_micros: int
    refunded_micros: int
    closing_micros: int
    due_micros: int
    projected_micros: int | None
    currency: str
    issued_at: str | None
    urls: dict[str, str]


class Row(NamedTuple):
    """One line of the sums: words, an amount in micro-dollars, and whether it is a total."""

    words: str
    amount_micros: int
    is_total: bool = False


def month_of(text: str) -> date:
    """The month that `2026-11` spells, by its first day. Raises BadMonth."""
    found = _MONTH.fullmatch(text)
    if found is None:
        raise BadMonth("There is no such month.")
    return date(int(found[1]), int(found[2]), 1)


def invoice(workspace: Workspace, text: str) -> Month:
    """The workspace's month that the text spells. Raises BadMonth."""
    try:
        return invoices.of(workspace, month_of(text))
    except invoices.NoSuchMonth as error:
        raise BadMonth(str(error)) from None


def listed(workspace: Workspace) -> list[ListedJson]:
    """The months of a workspace, newest first."""
    return [
        {
            "month": f"{one.month:%Y-%m}",
            "number": one.number or None,
            "charged_micros": one.charged_micros,
            "refunded_micros": one.refunded_micros,
            "currency": "USD",
            "urls": _urls(one.month),
        }
        for one in invoices.months(workspace.pk)
    ]


def as_json(workspace: Workspace, shown: Month) -> InvoiceJson:
    """The API's view of a month of the workspace."""
    return {
        "month": f"{shown.month:%Y-%m}",
        "number": shown.number or None,
        "is_final": shown.is_final,
        "workspace": shown.workspace,
        "recipient": dict(shown.recipient._asdict()),
        "sender": list(shown.sender),
        "lines": [dict(line._asdict()) for line in shown.lines],
        "movements": [
            {"kind": one.kind, "detail": one.words, "amount_micros": one.amount_micros}
            for one in shown.movements
        ],
        "runs": shown.runs,
        "not_charged_runs": shown.not_charged_runs,
        "opening_micros": shown.opening_micros,
        "charged_micros": shown.charged_micros,
        "refunded_micros": shown.refunded_micros,
        "closing_micros": shown.closing_micros,
        "due_micros": 0,  # runs are paid from credit as they end
        "projected_micros": None if shown.is_final else usage.projection(workspace.pk).amount_micros,
        "currency": "USD",
        "issued_at": shown.issued_at.isoformat() if shown.issued_at else None,
        "urls": _urls(shown.month),
    }


def rows_of(shown: Month) -> list[Row]:
    """The credit before and after, and what lies between."""
    ends = "at its end" if shown.is_final else "now"
    return [
        Row("Credit when the month began", shown.opening_micros),
        *(Row(one.words, one.amount_micros) for one in shown.movements),
        Row("Charged for runs", -shown.charged_micros),
        *([Row("Given back of charges", shown.refunded_micros)] if shown.refunded_micros else []),
        Row(f"Credit {ends}", shown.closing_micros, is_total=True),
    ]


def file_name(workspace: Workspace, shown: Month) -> str:
    """What the file of an invoice is called."""
    return f"vitrine-invoice-{workspace.slug}-{shown.month:%Y-%m}{'' if shown.is_final else '-so-far'}.pdf"


def _urls(month: date) -> dict[str, str]:
    text = f"{month:%Y-%m}"
    site = settings.PUBLIC_URL
    return {
        "get": site + reverse("api-invoice", args=[text]),
        "pdf": site + reverse("api-invoice-pdf", args=[text]),
        "page": site + reverse("invoice", args=[text]),
    }
