"""Credit coming in from buyers: bought at Stripe's page or by itself, given by code, refunded, disputed, reconciled.

Every path writes an attempt before it asks Stripe, asks outside of transactions under a key that is the attempt's id,
and books what Stripe says when it is read anew. Webhooks, returning buyers, the clock and the hourly comparison all
lead to the same few functions, each of which may run any number of times.
"""

from __future__ import annotations

from billing.gateway.calls import Mismatch
from billing.models.credit import AutoTopUp, Dispute, Reconciliation, StripeCustomer, TopUp, TopUpRefund
from billing.topups import automatic, coupons, customers, debts, refunds
from billing.topups.automatic import Plan
from billing.topups.checkout import attempt, begin, least, most, open_page
from billing.topups.customers import begin_card, follow_detached, forget_card, portal
from billing.topups.disputes import follow_dispute
from billing.topups.errors import Refused, Unavailable
from billing.topups.find import NotFound, find, find_any, look, look_card, of
from billing.topups.pausing import reasons, resume
from billing.topups.reconcile import hint_due, reconcile, reconcile_soon, reconciliations
from billing.topups.refunds import follow_refund, refundable, take_refund
from billing.topups.settling import CREDIT_TASK, Outcome, follow_intent, follow_session

__all__ = [
    "CREDIT_TASK",
    "AutoTopUp",
    "Dispute",
    "Mismatch",
    "NotFound",
    "Outcome",
    "Plan",
    "Reconciliation",
    "Refused",
    "StripeCustomer",
    "TopUp",
    "TopUpRefund",
    "Unavailable",
    "attempt",
    "automatic",
    "begin",
    "begin_card",
    "coupons",
    "customers",
    "debts",
    "find",
    "find_any",
    "follow_detached",
    "follow_dispute",
    "follow_intent",
    "follow_refund",
    "follow_session",
    "forget_card",
    "hint_due",
    "least",
    "look",
    "look_card",
    "most",
    "of",
    "open_page",
    "portal",
    "reasons",
    "reconcile",
    "reconcile_soon",
    "reconciliations",
    "refundable",
    "refunds",
    "resume",
    "take_refund",
]
