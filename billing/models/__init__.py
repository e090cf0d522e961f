"""The rows of the money. Only `billing.ledger` writes those of the books; those of what Stripe is asked for are written
by `topups` and `payouts`. Everything else reads."""

from __future__ import annotations

from billing.models import credit, payouts  # noqa: F401 - Django looks for rows here only
from billing.models.books import (
    CACHED_KINDS,
    NOT_MOVES,
    PUBLISHER_KINDS,
    UNCOUNTED,
    Book,
    Hold,
    LedgerAccount,
    LedgerEntry,
    LedgerTransaction,
)
from billing.models.invoices import Invoice, InvoiceRecipient
from billing.models.limits import LowBalance, Period, ScopeKind, SpendLimit, SpendWindow
from billing.models.movements import (
    DisputedPayment,
    DisputedShare,
    Grant,
    Maturity,
    MonthEnd,
    Refund,
    RefundReason,
    RefundSide,
)
from billing.models.seals import Audit, Seal, SealedTransaction
from billing.models.usage import UsageDay, UsageRecord

__all__ = [
    "CACHED_KINDS",
    "NOT_MOVES",
    "PUBLISHER_KINDS",
    "UNCOUNTED",
    "Audit",
    "Book",
    "DisputedPayment",
    "DisputedShare",
    "Grant",
    "Hold",
    "Invoice",
    "InvoiceRecipient",
    "LedgerAccount",
    "LedgerEntry",
    "LedgerTransaction",
    "LowBalance",
    "Maturity",
    "MonthEnd",
    "Period",
    "Refund",
    "RefundReason",
    "RefundSide",
    "ScopeKind",
    "Seal",
    "SealedTransaction",
    "SpendLimit",
    "SpendWindow",
    "UsageDay",
    "UsageRecord",
]
