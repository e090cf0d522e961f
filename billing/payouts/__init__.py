"""Money going out to publishers: where it goes to, when, how, and what became of it.

What is earned matures in the ledger after a delay; whole cents of what has matured are paid out once a month or when
asked for, from a minimum on, through Stripe or by the operator's hand. A payout is a row and a movement before anybody
is asked to make it; webhooks, the clock and the hourly comparison lead to the same functions, each of which may run any
number of times.
"""

from __future__ import annotations

from billing.gateway.calls import Mismatch
from billing.models.payouts import BankArrival, Method, Payout, PayoutAccount
from billing.payouts import sending
from billing.payouts.accounts import (
    COUNTRIES,
    account_of,
    check_due,
    connect,
    dashboard,
    delay,
    floor,
    follow_account,
    hold,
    least,
    lift,
    look,
    methods,
    publishers_of,
    set_delay,
    set_method,
    set_share,
    set_wishes,
)
from billing.payouts.comparing import compare
from billing.payouts.errors import Refused, Unavailable
from billing.payouts.find import arrivals_of, find, of, of_nobody, open_by_hand, rows, strays
from billing.payouts.sending import (
    CLOSED_TASK,
    follow_arrival,
    follow_transfer,
    funds_came,
    hint_waiting,
    mark_failed,
    mark_paid,
    mark_returned,
    send,
)
from billing.payouts.starting import Outlook, hint_due, next_on, outlook, run, start

__all__ = [
    "CLOSED_TASK",
    "COUNTRIES",
    "BankArrival",
    "Method",
    "Mismatch",
    "Outlook",
    "Payout",
    "PayoutAccount",
    "Refused",
    "Unavailable",
    "account_of",
    "arrivals_of",
    "check_due",
    "compare",
    "connect",
    "dashboard",
    "delay",
    "find",
    "floor",
    "follow_account",
    "follow_arrival",
    "follow_transfer",
    "funds_came",
    "hint_due",
    "hint_waiting",
    "hold",
    "least",
    "lift",
    "look",
    "mark_failed",
    "mark_paid",
    "mark_returned",
    "methods",
    "next_on",
    "of",
    "of_nobody",
    "open_by_hand",
    "outlook",
    "publishers_of",
    "rows",
    "run",
    "send",
    "sending",
    "set_delay",
    "set_method",
    "set_share",
    "set_wishes",
    "start",
    "strays",
]
