"""Invoices as programs and printers read them: plain data, and a PDF in whatever script a name is written."""

from __future__ import annotations

from billing.invoices import Month
from marketplace.models import Workspace
from playground.invoices.desk import Busy, turn
from playground.invoices.present import (
    BadMonth,
    InvoiceJson,
    ListedJson,
    as_json,
    file_name,
    invoice,
    listed,
    month_of,
    rows_of,
)

__all__ = [
    "BadMonth",
    "Busy",
    "InvoiceJson",
    "ListedJson",
    "as_json",
    "as_pdf",
    "drawn",
    "file_name",
    "invoice",
    "listed",
    "month_of",
    "rows_of",
]


def drawn(workspace: Workspace, shown: Month) -> bytes:
    """The month as a PDF, for somebody who waits for it. Raises Busy."""
    with turn(workspace.pk):
        return as_pdf(shown)


def as_pdf(shown: Month) -> bytes:
    """The month on pages of A4. The same month makes the same bytes once it is over."""
    from playground.invoices import paper  # libraries of 55 MB that most processes never need

    return paper.as_pdf(shown)
