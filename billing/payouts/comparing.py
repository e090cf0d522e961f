"""Our payouts compared with Stripe's own lists, so that a webhook that never comes changes nothing in the end."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import datetime, timedelta

from billing.gateway import calls
from billing.gateway.calls import Mismatch, id_of
from billing.gateway.client import client
from billing.ledger.accounts import current_book
from billing.models.payouts import Method, Payout, PayoutAccount
from billing.payouts.sending import payout_of, take_arrival, take_transfer

log = logging.getLogger(__name__)

LAG = timedelta(minutes=10)  # younger ones may be on their way
DECIDED = timedelta(days=1)  # in which Stripe says one way or the other
ARRIVES = timedelta(days=30)  # how long money may be under way to a bank


def compare(since: datetime, at: datetime) -> tuple[Counter[str], list[str]]:
    """Go through Stripe's transfers, bring payouts up to them, and say what does not fit: figures and differences.

    Outside of transactions. Raises calls.Unreachable where Stripe does not answer.
    """
    counts: Counter[str] = Counter()
    differences: list[str] = []
    created = int(since.timestamp())
    seen = set()
    with calls.asking():
        listed = client().v1.transfers.list({"created": {"gte": created}, "limit": calls.PAGE})
        transfers = [calls.plain(one) for one in listed.auto_paging_iter()]
    for transfer in transfers:
        if payout_of(transfer) is None:
            counts["other_transfers_cents"] += int(transfer.get("amount") or 0)
            continue
        seen.add(id_of(transfer))
        counts["payouts"] += 1
        counts["payouts_cents"] += int(transfer.get("amount") or 0)
        try:
            counts["payouts_mended"] += take_transfer(transfer, now=at)
        except Mismatch as error:
            differences.append(str(error))
    settled = Payout.objects.filter(
        book=current_book(), method=Method.STRIPE, created_at__gte=since + LAG, created_at__lt=at - LAG
    )
    differences += [
        f"{row.uid}: paid, and Stripe has no transfer {row.transfer_id}"
        for row in settled.filter(status__in=[Payout.Status.PAID, Payout.Status.RETURNED])
        if row.transfer_id not in seen
    ]
    differences += _undecided(at)
    counts["arrivals_mended"] += _arrivals(at)
    return counts, differences


def _undecided(at: datetime) -> list[str]:
    """Payouts that have been asked for for a day and more without an end that somebody is told of already."""
    told = (Payout.Wait.BALANCE, Payout.Wait.HELD)
    rows = Payout.objects.filter(
        book=current_book(), method=Method.STRIPE, status=Payout.Status.NEW, created_at__lt=at - DECIDED
    )
    return [
        f"{row.uid}: asked for {row.tries} times since {row.created_at:%Y-%m-%d %H:%M}, and not decided"
        for row in rows.exclude(wait__in=told).order_by("pk")
    ]


def _arrivals(at: datetime) -> int:
    """What went on to the banks of those who were paid of late."""
    paid = Payout.objects.filter(book=current_book(), method=Method.STRIPE, settled_at__gte=at - ARRIVES)
    accounts = PayoutAccount.objects.filter(
        book=current_book(), account_id__in=paid.values("destination")
    ).select_related("publisher__workspace")
    mended = 0
    for account in accounts:
        try:
            with calls.asking():
                listed = client().v1.payouts.list(
                    {"created": {"gte": int((at - ARRIVES).timestamp())}, "limit": calls.PAGE},
                    {"stripe_account": account.account_id},
                )
                found = [calls.plain(one) for one in listed.auto_paging_iter()]
        except calls.Rejected as error:  # it was closed
            log.warning("what %s got at the bank cannot be read: %s", account, error)
            continue
        mended += sum(take_arrival(one, account, now=at) for one in found)
    return mended
