"""Making payouts: a transfer at Stripe, asked for outside of transactions under a key that is the payout's own.

What was asked for and not answered may have been done: it is looked for at Stripe by its group before it is asked for
again, and asked for under the same key. Only what Stripe refused for certain gets another key, as Stripe repeats a
refusal under the old one.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from billing import ledger
from billing.gateway import calls
from billing.gateway.calls import Json, Mismatch, id_of, said
from billing.gateway.client import client
from billing.models.attempts import CENT_MICROS
from billing.models.payouts import BankArrival, Method, Payout, PayoutAccount
from billing.payouts import accounts, letters
from billing.payouts.errors import Refused
from marketplace import dispatch
from marketplace.ids import parse
from marketplace.models import User

log = logging.getLogger(__name__)

Status, Wait = Payout.Status, Payout.Wait
SEND_TASK = "billing.send_payout"
#: Lives a room above: an outbox message of what became of a payout, in the transaction that books it.
CLOSED_TASK = "playground.payout_closed"
LEASE = timedelta(minutes=3)
BALANCE_AGAIN = timedelta(minutes=15)
SILENCE_AGAIN_SECONDS = (10, 60, 300, 900, 3600)  # by tries; the last repeats
PENDING_SECONDS = 20
AT_ONCE = 50
NO_BALANCE = "balance_insufficient"
HELD = "The operator holds payouts back."
MOST_KEY = 100
LISTED = 10  # transfers of one payout that are looked at; there is one


def hint(uid: str) -> None:
    """Ask control to make a payout. It may be lost: the clock asks again."""
    dispatch.hint(SEND_TASK, uid, pending_seconds=PENDING_SECONDS)


def hint_waiting(*, now: datetime | None = None) -> int:
    """Ask control for every payout that is due; how many."""
    rows = list(_due(now or timezone.now())[:AT_ONCE])
    for row in rows:
        hint(row.uid)
    return len(rows)


def _due(at: datetime) -> Any:
    free = Q(claimed_until=None) | Q(claimed_until__lte=at)
    rows = Payout.objects.filter(free, status=Status.NEW, method=Method.STRIPE, due_at__lte=at)
    return rows.filter(book=settings.LEDGER_BOOK).order_by("due_at")


@dispatch.follower(SEND_TASK)
def follow(key: str) -> None:
    """What a hint asks for."""
    dispatch.unhint(SEND_TASK, key)
    send(key)


def send(uid: str, *, now: datetime | None = None) -> bool:
    """Have Stripe make a payout; True if that is decided now, one way or the other. Outside of transactions.

    Safe to repeat, at once in several places, and after a crash at any point.
    """
    at, number = now or timezone.now(), parse(uid, "po")
    if number is None:
        return False
    if not _due(at).filter(public_id=number).update(claimed_until=at + LEASE, tries=F("tries") + 1):
        return False
    row = Payout.objects.select_related("publisher__workspace").get(public_id=number)
    try:
        found = _made_before(row) if row.tries > 1 else None
        if found is None:
            if accounts.account_of(row.publisher, book=row.book).is_held:
                # An earlier request may still be under way at Stripe: then it is waited for, and not given up.
                is_untried = row.tries == 1
                return _fail(row, HELD, at) if is_untried else _wait(row, Wait.HELD, at + BALANCE_AGAIN)
            found = _ask(row)
    except calls.Unreachable as error:
        log.warning("%s waits for Stripe: %s", row, error)
        pause = SILENCE_AGAIN_SECONDS[min(row.tries, len(SILENCE_AGAIN_SECONDS)) - 1]
        return _wait(row, Wait.SILENCE, at + timedelta(seconds=pause))
    except (calls.Rejected, calls.Declined) as error:
        return _refused(row, error, at)
    take_transfer(found, now=at)
    return True


def _ask(row: Payout) -> Json:
    with calls.asking():
        return calls.plain(
            client().v1.transfers.create(
                {
                    "amount": row.cents,
                    "currency": "usd",
                    "destination": row.destination,
                    "transfer_group": group_of(row),
                    "description": f"Payout to {row.publisher.name}",
                    "metadata": {"payout": row.uid, "publisher": row.publisher.name},
                },
                {"idempotency_key": f"payout-{row.public_id}-{row.attempt}"},
            )
        )


def group_of(row: Payout) -> str:
    return f"payout_{row.public_id.hex}"


def _made_before(row: Payout) -> Json | None:
    """Was it made when it was asked for before? Keys are forgotten after a day, transfers are not."""
    with calls.asking():
        found = client().v1.transfers.list({"transfer_group": group_of(row), "limit": LISTED})
        return next((calls.plain(one) for one in found.data), None)


def _refused(row: Payout, error: calls.Rejected | calls.Declined, at: datetime) -> bool:
    log.warning("%s was refused by Stripe: %s", row, error)
    if error.code == NO_BALANCE:
        _wait(row, Wait.BALANCE, at + BALANCE_AGAIN, next_attempt=row.attempt + 1)
        return False
    if error.code == "idempotency_error":
        raise Mismatch(f"{row.uid}: Stripe knows its key with other amounts") from error
    if row.method == Method.STRIPE:
        accounts.look(accounts.account_of(row.publisher, book=row.book), now=at)
    return _fail(row, str(error), at)


def _wait(row: Payout, why: str, until: datetime, *, next_attempt: int | None = None) -> bool:
    with transaction.atomic():
        locked = _locked(row)
        if locked.status != Status.NEW:
            return False
        is_news = why == Wait.BALANCE and locked.wait != why
        locked.wait, locked.due_at, locked.claimed_until = why, until, None
        locked.attempt = max(locked.attempt, next_attempt or 1)
        locked.save(update_fields=["wait", "due_at", "claimed_until", "attempt"])
        if is_news:
            letters.tell_waiting(locked)
    return False


def funds_came(*, now: datetime | None = None) -> int:
    """The balance at Stripe has grown: payouts that wait for it are tried at once. How many."""
    at = now or timezone.now()
    waiting = Payout.objects.filter(status=Status.NEW, wait=Wait.BALANCE, book=settings.LEDGER_BOOK)
    return waiting.filter(due_at__gt=at).update(due_at=at)


# What Stripe says


def follow_transfer(transfer_id: str, *, now: datetime | None = None) -> bool:
    """Bring our rows up to what a transfer is now; True if that changed them.

    Raises calls.Unreachable, calls.Rejected, Mismatch.
    """
    with calls.asking():
        found = calls.plain(client().v1.transfers.retrieve(transfer_id))
    return take_transfer(found, now=now)


def take_transfer(transfer: Json, *, now: datetime | None = None) -> bool:
    """The same for a transfer that was just read. Raises Mismatch where it does not fit its payout."""
    at, row = now or timezone.now(), payout_of(transfer)
    if row is None:
        return False
    calls.check_ours(transfer)
    asked = (row.cents, calls.CURRENCY, row.destination, row.transfer_id or id_of(transfer))
    made = (
        transfer.get("amount"),
        transfer.get("currency"),
        id_of(transfer.get("destination")),
        id_of(transfer),
    )
    if row.method != Method.STRIPE or asked != made:
        raise Mismatch(f"{row.uid}: transfer {id_of(transfer)} is not the one that was asked for")
    if row.status == Status.FAILED:
        return _strayed(row, transfer)
    is_new = _done(row, id_of(transfer), at)
    if transfer.get("amount_reversed"):
        for back in _reversals(id_of(transfer)):
            is_new |= _came_back(row, id_of(back), int(back.get("amount") or 0) * CENT_MICROS, at)
    return is_new


def _strayed(row: Payout, transfer: Json) -> bool:
    """It had failed here, and was paid: noted and told until the whole of it is reversed at Stripe. Raises Mismatch."""
    is_reversed = int(transfer.get("amount_reversed") or 0) >= row.cents
    with transaction.atomic():
        locked = _locked(row)
        was = locked.stray_id
        locked.stray_id = "" if is_reversed else id_of(transfer)[:255]
        locked.save(update_fields=["stray_id"])
        if locked.stray_id and not was:
            letters.tell_stray(locked)
    if not is_reversed:
        raise Mismatch(f"{row.uid}: it had failed, and {id_of(transfer)} was paid nevertheless")
    return bool(was)


def payout_of(transfer: Json) -> Payout | None:
    """The payout that a transfer was made for; None if it was not made here."""
    number = parse(said(transfer, "payout"), "po")
    if number is None or transfer.get("transfer_group") != f"payout_{number.hex}":
        return None
    rows = Payout.objects.filter(public_id=number, book=settings.LEDGER_BOOK)
    return rows.select_related("publisher__workspace").first()


def _reversals(transfer_id: str) -> list[Json]:
    with calls.asking():
        listed = client().v1.transfers.reversals.list(transfer_id, {"limit": calls.PAGE})
        return [calls.plain(one) for one in listed.auto_paging_iter()]


def _done(row: Payout, reference: str, at: datetime, *, by: User | None = None) -> bool:
    with transaction.atomic():
        locked = _locked(row)
        if locked.status == Status.FAILED and locked.method == Method.STRIPE:
            raise Mismatch(f"{row.uid}: it had failed, and {reference} was paid nevertheless")
        if locked.status != Status.NEW:
            return False
        locked.status, locked.transfer_id, locked.settled_at = Status.PAID, reference[:255], at
        locked.wait, locked.claimed_until, locked.closed_by = Wait.NONE, None, by
        locked.save(
            update_fields=["status", "transfer_id", "settled_at", "wait", "claimed_until", "closed_by"]
        )
        letters.tell_paid(locked)
        _tell_programs(locked, Status.PAID, at)
        ledger.payout_done(
            locked.public_id,
            paid_from="stripe" if locked.method == Method.STRIPE else "bank",
            book=locked.book,
            now=at,
        )
    return True


def _fail(row: Payout, why: str, at: datetime, *, by: User | None = None) -> bool:
    """It certainly was not made: its amount is payable again."""
    with transaction.atomic():
        locked = _locked(row)
        if locked.status != Status.NEW:
            return False
        locked.status, locked.settled_at, locked.failure = Status.FAILED, at, why[:500]
        locked.wait, locked.claimed_until, locked.closed_by = Wait.NONE, None, by
        locked.save(update_fields=["status", "settled_at", "failure", "wait", "claimed_until", "closed_by"])
        letters.tell_failed(locked)
        _tell_programs(locked, Status.FAILED, at)
        ledger.payout_failed(locked.public_id, book=locked.book, now=at)
    return True


def _came_back(row: Payout, key: str, amount_micros: int, at: datetime) -> bool:
    with transaction.atomic():
        locked = _locked(row)
        if not ledger.payout_returned(locked.public_id, amount_micros, key=key, book=locked.book, now=at):
            return False
        locked.returned_micros += amount_micros
        if locked.returned_micros == locked.amount_micros:
            locked.status = Status.RETURNED
        locked.save(update_fields=["returned_micros", "status"])
        letters.tell_returned(locked, amount_micros)
        _tell_programs(locked, Status.RETURNED, at)
    return True


def _tell_programs(row: Payout, became: str, at: datetime) -> None:
    told = {"payout": row.uid, "book": row.book, "became": str(became), "at": at.isoformat()}
    dispatch.post(CLOSED_TASK, told | {"returned_micros": row.returned_micros})


def _locked(row: Payout) -> Payout:
    rows = Payout.objects.select_for_update(no_key=True, of=("self",))
    return rows.select_related("publisher__workspace").get(pk=row.pk)


# By hand


def mark_paid(
    row: Payout, *, reference: str = "", by: User | None = None, now: datetime | None = None
) -> bool:
    """The operator has paid it; True if that is news. Raises Refused."""
    _by_hand(row)
    return _done(row, " ".join(reference.split()), now or timezone.now(), by=by)


def mark_failed(row: Payout, why: str, *, by: User | None = None, now: datetime | None = None) -> bool:
    """The operator could not pay it; True if that is news. Raises Refused."""
    _by_hand(row)
    why = " ".join(why.split())
    if not why:
        raise Refused("Say why it could not be paid; the publisher is told it.")
    return _fail(row, why, now or timezone.now(), by=by)


def mark_returned(row: Payout, amount_micros: int, *, key: str, now: datetime | None = None) -> bool:
    """So much of it came back to the operator's bank; once per `key`, the bank's reference. Raises Refused."""
    _by_hand(row)
    key = " ".join(key.split())
    if not key or len(key) > MOST_KEY:
        raise Refused("Give the bank's reference of what came back.")
    try:
        return _came_back(row, key, amount_micros, now or timezone.now())
    except (ledger.NoSuchPayout, ledger.KeyReused, ValueError) as error:
        raise Refused(f"That cannot have come back: {error}.") from error


def _by_hand(row: Payout) -> None:
    if row.method != Method.MANUAL:
        raise Refused("Stripe makes this payout; what becomes of it is read there.")


# On from Stripe to the bank


RANK = {status.value: rank for rank, status in enumerate(BankArrival.Status)}


def follow_arrival(payout_id: str, account_id: str, *, now: datetime | None = None) -> bool:
    """Bring our row up to what Stripe sent to a publisher's bank. Raises calls.Unreachable, calls.Rejected."""
    account = (
        PayoutAccount.objects.filter(account_id=account_id, book=settings.LEDGER_BOOK)
        .select_related("publisher__workspace")
        .first()
        if account_id
        else None
    )
    if account is None:
        return False  # the platform's own, or another's
    with calls.asking():
        found = calls.plain(client().v1.payouts.retrieve(payout_id, None, {"stripe_account": account_id}))
    return take_arrival(found, account, now=now)


def take_arrival(found: Json, account: PayoutAccount, *, now: datetime | None = None) -> bool:
    """The same for one that was just read; what is older than what is known changes nothing."""
    status = str(found.get("status"))
    if status not in RANK:
        return False
    at = now or timezone.now()
    told = found.get("arrival_date")
    with transaction.atomic():
        row, is_new = BankArrival.objects.get_or_create(
            payout_id=id_of(found),
            defaults={
                "publisher": account.publisher,
                "book": account.book,
                "status": status,
                "amount": int(found.get("amount") or 0),
                "currency": str(found.get("currency") or "usd")[:3],
                "created_at": at,
            },
        )
        row = BankArrival.objects.select_for_update(no_key=True).get(pk=row.pk)
        row.publisher = account.publisher
        if not is_new and RANK[status] <= RANK[row.status]:
            return False
        row.status, row.failure = status, str(found.get("failure_message") or "")[:500]
        row.arrives_on = datetime.fromtimestamp(told, tz=at.tzinfo).date() if isinstance(told, int) else None
        row.save(update_fields=["status", "failure", "arrives_on"])
        if status == BankArrival.Status.FAILED:
            letters.tell_bank_failed(row)
    return True
