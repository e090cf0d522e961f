"""Invoices as programs and printers read them: plain data, and a PDF in whatever script a name is written."""

from __future__ import annotations

from playground.invoices.paper import as_pdf
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
    "InvoiceJson",
    "ListedJson",
    "as_json",
    "as_pdf",
    "file_name",
    "invoice",
    "listed",
    "month_of",
    "rows_of",
]
