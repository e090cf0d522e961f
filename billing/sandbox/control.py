"""What staff can do to the sandbox: the modes, what goes wrong, and the acts of banks, holders and Stripe itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Q

from billing.sandbox import (
    accounts,
    balances,
    clockwork,
    delivery,
    disputes,
    events,
    faults,
    intents,
    modes,
    payouts,
    refunds,
    store,
)
from billing.sandbox.models import Fault, Notice, Thing
from billing.sandbox.refusals import Refused

NEWEST = 20
NUMBERS = modes.MOST  # the modes that are numbers, and the most of each
CHOICES = modes.CHOICES  # and those that are words


class Impossible(Exception):
    """The act cannot be done; the message says why."""


@dataclass(frozen=True)
class State:
    """The sandbox as it stands."""

    modes: modes.Behaviour
    faults: list[Fault]
    available: int  # cents
    pending: int
    withheld: int
    events: list[Any]
    payments: list[Thing]
    disputes: list[Thing]
    refunds: list[Thing]
    accounts: list[tuple[Thing, str | None]]
    payouts: list[Thing]


def state(*, now: datetime) -> State:
    """All of it, the newest of each kind."""
    available, pending = balances.funds(now=now)
    heard = Count("notices", filter=Q(notices__state=Notice.State.DELIVERED))
    told = Thing.objects.filter(kind__in=("event", "v2.core.event"))
    return State(
        modes=modes.behaviour(),
        faults=faults.planned(),
        available=available,
        pending=pending,
        withheld=Notice.objects.filter(state=Notice.State.WITHHELD).count(),
        events=list(told.annotate(heard=heard, sent=Count("notices")).order_by("-pk")[:NEWEST]),
        payments=_newest("charge"),
        disputes=_newest("dispute"),
        refunds=_newest("refund"),
        accounts=[(one, accounts.capability(one)) for one in _newest(accounts.KIND)],
        payouts=_newest("payout"),
    )


def _newest(kind: str) -> list[Thing]:
    return list(Thing.objects.filter(kind=kind).order_by("-pk")[:NEWEST])


def _dispute(target: str, value: str, now: datetime) -> str:
    row = disputes.open_for(store.find("charge", target), now=now)
    return f"{row.name} was opened; ${row.data['amount'] / 100:,.2f} was withdrawn."


def _decide(target: str, value: str, now: datetime) -> str:
    if value not in {"won", "lost"}:
        raise Impossible("A dispute is won or lost.")
    disputes.close(store.find("dispute", target), value, now=now)
    return f"{target} is {value}."


def _fail_refund(target: str, value: str, now: datetime) -> str:
    refunds.fail(store.find("refund", target), now=now)
    return f"{target} failed, and its money came back."


def _capability(target: str, value: str, now: datetime) -> str:
    if value not in {"active", "pending", "restricted", "rejected"}:
        raise Impossible("A capability is active, pending, restricted or rejected.")
    accounts.set_capability(accounts.find(target), value, now=now)
    return f"{target} is {value}."


def _payout(target: str) -> Thing:
    row = Thing.objects.filter(kind="payout", name=target).first()
    if row is None:
        raise Impossible("There is no such payout.")
    return row


def _arrive(target: str, value: str, now: datetime) -> str:
    payouts.arrive(_payout(target), now=now)
    return f"{target} has arrived."


def _fail_payout(target: str, value: str, now: datetime) -> str:
    payouts.fail(_payout(target), now=now)
    return f"{target} failed, and its money came back."


def _finish(target: str, value: str, now: datetime) -> str:
    intent = store.find("payment_intent", target)
    if intent.data["status"] != "processing":
        raise Impossible("No bank is asked about this payment.")
    clockwork.finish(intent, now=now)
    return f"{target} is {intent.data['status']}."


def _again(target: str, value: str, now: datetime) -> str:
    count = delivery.send_again(target, now=now)
    return f"{target} goes once more, to {count} address{'es' if count != 1 else ''}."


def _release(target: str, value: str, now: datetime) -> str:
    count = delivery.release(now=now)
    return f"{count} notice{' is' if count == 1 else 's are'} on the way."


def _funds(target: str, value: str, now: datetime) -> str:
    cents = int(value) if value.isdecimal() and len(value) < 10 else 0
    if not 0 < cents <= intents.MOST:
        raise Impossible("Say how many cents.")
    balances.add_funds(cents, now=now)
    return f"${cents / 100:,.2f} more is in the balance."


def _forget_faults(target: str, value: str, now: datetime) -> str:
    faults.forget()
    return "Nothing goes wrong any more."


ACTS: dict[str, Callable[[str, str, datetime], str]] = {
    "dispute": _dispute,
    "decide": _decide,
    "fail-refund": _fail_refund,
    "capability": _capability,
    "arrive": _arrive,
    "fail-payout": _fail_payout,
    "finish": _finish,
    "again": _again,
    "release": _release,
    "funds": _funds,
    "forget-faults": _forget_faults,
}


def do(act: str, *, target: str = "", value: str = "", now: datetime) -> str:
    """Do one of `ACTS`; what came of it, in a sentence. Raises Impossible."""
    if act not in ACTS:
        raise Impossible("There is no such act.")
    try:
        with store.changing():
            # A null character is in no name, and the database would not have it.
            return ACTS[act](target[:80].replace("\0", ""), value[:80].replace("\0", ""), now)
    except Refused as refused:
        raise Impossible(str(refused)) from None


def set_modes(**given: Any) -> modes.Behaviour:
    """Change modes. Raises Impossible."""
    try:
        return modes.change(**given)
    except modes.InvalidMode as error:
        raise Impossible(str(error)) from None


def plan_fault(kind: str, *, operation: str = "* *", times: int = 1, seconds: float = 0) -> Fault:
    """Let requests go wrong; `operation` is a verb and a path as the library writes it, `*` for any. Raises
    Impossible."""
    if not isinstance(operation, str):
        raise Impossible("An operation is a verb and a path.")
    verb, _, path = operation.partition(" ")
    try:
        return faults.plan(kind, verb=verb.lower(), path=path or "*", times=times, seconds=seconds)
    except faults.InvalidFault as error:
        raise Impossible(str(error)) from None


def as_json(*, now: datetime) -> dict[str, Any]:
    """The state for programs."""
    found = state(now=now)
    return {
        "modes": asdict(found.modes),
        "faults": [
            {
                "kind": one.kind,
                "operation": f"{one.verb} {one.path}",
                "times": one.left,
                "seconds": one.seconds,
            }
            for one in found.faults
        ],
        "available": found.available,
        "pending": found.pending,
        "withheld": found.withheld,
        "events": [events.pending(one)["type"] for one in found.events],
    }
