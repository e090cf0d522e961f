"""The ledger: credit goes in, is held before a run, and is captured or released after it. Nothing else moves
money.

Every function is synchronous and belongs inside the caller's `transaction.atomic()`, as its last statements:
the row of a workspace's credit is locked from the call until the commit, so what follows a call makes other
runs of the workspace wait. Amounts are integer micro-dollars. One transaction settles one hold: a second would ask
for its limits behind the first one's credit, the other way round than a hold does.
"""

from __future__ import annotations

from billing.ledger.accounts import Balance, balance, open_workspace
from billing.ledger.audit import Problem, verify
from billing.ledger.crediting import KeyReused, credit
from billing.ledger.holding import AlreadyHeld, InsufficientCredit, LimitReached, TooManyOpen, hold
from billing.ledger.limits import Limit, SpendScope, limits_of, note_refusal, set_limit
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

__all__ = [
    "AlreadyHeld",
    "AlreadySettled",
    "Balance",
    "CaptureExceedsHold",
    "Charge",
    "InsufficientCredit",
    "KeyReused",
    "Limit",
    "LimitReached",
    "NoSuchHold",
    "Problem",
    "Share",
    "SpendScope",
    "TooManyOpen",
    "Usage",
    "balance",
    "capture",
    "credit",
    "hold",
    "limits_of",
    "note_refusal",
    "open_workspace",
    "release",
    "set_limit",
    "verify",
]
