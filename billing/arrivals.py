"""What Stripe tells, and who follows it: one table. Each entry reads the object anew and brings our rows up to it.

Kinds that are not in the table are kept and done with: they are told because the endpoint takes more than it needs.
"""

from __future__ import annotations

from collections.abc import Callable

from billing import payouts, topups
from billing.gateway import calls, events
from billing.gateway.events import FOLLOW_TASK, Hint
from marketplace import dispatch

Follow = Callable[[Hint], object]


def _charge_refunded(hint: Hint) -> None:
    """The event carries the charge; its refunds are what is looked at."""
    carried = calls.whole(calls.whole(hint.payload.get("data")).get("object"))
    intent_id = calls.id_of(carried.get("payment_intent"))
    for refund in calls.refunds_of(intent_id) if intent_id else []:
        topups.take_refund(refund)


# By what the type of an event begins with; the longest that fits.
FOLLOWED: dict[str, Follow] = {
    "checkout.session.": lambda hint: topups.follow_session(hint.object_id),
    "payment_intent.": lambda hint: topups.follow_intent(hint.object_id),
    "payment_method.detached": lambda hint: topups.follow_detached(hint.object_id),
    "refund.": lambda hint: topups.follow_refund(hint.object_id),
    "charge.refunded": _charge_refunded,
    "charge.refund.": lambda hint: topups.follow_refund(hint.object_id),
    "charge.dispute.": lambda hint: topups.follow_dispute(hint.object_id),
    "transfer.": lambda hint: payouts.follow_transfer(hint.object_id),
    "payout.": lambda hint: payouts.follow_arrival(hint.object_id, hint.account),
    "balance.available": lambda _: payouts.funds_came(),
    "account.": lambda hint: payouts.follow_account(hint.account or hint.object_id),
    "v2.core.account": lambda hint: payouts.follow_account(hint.object_id),
}


# Of the accounts that are connected to ours only these are followed: they have payments and balances of their own.
OF_OTHERS = frozenset({"payout.", "account.", "v2.core.account"})
OF_NOTHING = frozenset({"balance.available"})  # there is one balance, without an id


def follow(hint: Hint) -> None:
    """Follow one event. Raises what its follower does, to be tried again; an object that is gone is done with.

    Raises calls.Mismatch for one that names no object.
    """
    fitting = [kind for kind in FOLLOWED if hint.type.startswith(kind)]
    if hint.payload.get("account"):
        fitting = [kind for kind in fitting if kind in OF_OTHERS]
    if not fitting:
        return
    if not hint.object_id and hint.type not in OF_NOTHING:
        raise calls.Mismatch(f"a {hint.type} that names no object")
    try:
        FOLLOWED[max(fitting, key=len)](hint)
    except calls.Rejected as error:
        if not error.is_missing:
            raise


def tick() -> None:
    """Every second: begin what is due, and ask control for what nobody is at. Asks Stripe nothing."""
    topups.automatic.find_low()
    topups.automatic.hint_waiting()
    topups.refunds.hint_waiting()
    payouts.hint_waiting()
    events.hint_waiting()


def tidy() -> None:
    """Every minute: have Stripe asked about what nobody decided, and once an hour about everything."""
    topups.hint_due()
    payouts.hint_due()
    events.tidy()


@dispatch.follower(FOLLOW_TASK)
def follow_event(key: str) -> None:
    """What a hint about an event asks for."""
    events.follow(key, follow)
