"""The ledger: credit goes in, is held before a run, and is captured or released after it; what was captured can be
refunded, what was earned matures and is paid out, what was bought can be given back. Nothing else moves money.

Every function is synchronous and belongs inside the caller's `transaction.atomic()`, as its last statements:
the row of a workspace's credit is locked from the call until the commit, so what follows a call makes other
runs of the workspace wait. Amounts are integer micro-dollars. One transaction settles or refunds one hold: a second
would ask for its limits behind the first one's credit, the other way round than a hold does.

Each movement has a key and happens once: a repeated call changes nothing and says so, a call with the same key and
other amounts raises. None of these functions knows Stripe; they write down what somebody else did or is about to do.
"""

from __future__ import annotations

from billing.ledger.accounts import Balance, KeyReused, balance, legs_of, open_workspace, totals
from billing.ledger.audit import Problem, verify
from billing.ledger.closing import close_months
from billing.ledger.crediting import credit, fee
from billing.ledger.disputing import (
    NoSuchDispute,
    Withdrawn,
    dispute_lost,
    dispute_owed,
    dispute_recovered,
    dispute_reinstated,
    dispute_withdrawn,
    make_good,
    owed,
)
from billing.ledger.earning import (
    Earnings,
    InsufficientEarnings,
    NoSuchPayout,
    PayoutSettled,
    mature,
    maturing,
    payout_done,
    payout_failed,
    payout_returned,
    payout_started,
    publisher_balance,
)
from billing.ledger.exporting import export_publisher, export_workspace
from billing.ledger.granting import expire_grants
from billing.ledger.holding import AlreadyHeld, InsufficientCredit, LimitReached, TooManyOpen, hold
from billing.ledger.limits import Limit, SpendScope, limits_of, note_refusal, set_limit
from billing.ledger.proofs import BrokenProof, Checked, check
from billing.ledger.refunding import Refunded, RefundExceedsCharge, refund
from billing.ledger.returning import (
    NoSuchTopupRefund,
    RefundExceedsCredit,
    TopupRefundSettled,
    topup_refund_done,
    topup_refund_failed,
    topup_refund_returned,
    topup_refund_started,
)
from billing.ledger.sealing import heads, seal
from billing.ledger.settling import (
    AlreadySettled,
    CaptureExceedsHold,
    Charge,
    NoSuchHold,
    Share,
    Usage,
    capture,
    release,
)
from billing.models import RefundReason, RefundSide

__all__ = [
    "AlreadyHeld",
    "AlreadySettled",
    "Balance",
    "BrokenProof",
    "CaptureExceedsHold",
    "Charge",
    "Checked",
    "Earnings",
    "InsufficientCredit",
    "InsufficientEarnings",
    "KeyReused",
    "Limit",
    "LimitReached",
    "NoSuchDispute",
    "NoSuchHold",
    "NoSuchPayout",
    "NoSuchTopupRefund",
    "PayoutSettled",
    "Problem",
    "RefundExceedsCharge",
    "RefundExceedsCredit",
    "RefundReason",
    "RefundSide",
    "Refunded",
    "Share",
    "SpendScope",
    "TooManyOpen",
    "TopupRefundSettled",
    "Usage",
    "Withdrawn",
    "balance",
    "capture",
    "check",
    "close_months",
    "credit",
    "dispute_lost",
    "dispute_owed",
    "dispute_recovered",
    "dispute_reinstated",
    "dispute_withdrawn",
    "expire_grants",
    "export_publisher",
    "export_workspace",
    "fee",
    "heads",
    "hold",
    "legs_of",
    "limits_of",
    "make_good",
    "mature",
    "maturing",
    "note_refusal",
    "open_workspace",
    "owed",
    "payout_done",
    "payout_failed",
    "payout_returned",
    "payout_started",
    "publisher_balance",
    "refund",
    "release",
    "seal",
    "set_limit",
    "topup_refund_done",
    "topup_refund_failed",
    "topup_refund_returned",
    "topup_refund_started",
    "totals",
    "verify",
]
