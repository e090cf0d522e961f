"""Our rows compared with Stripe's own lists, so that a webhook that never comes changes nothing in the end.

Two clocks. Every minute Stripe is asked about attempts that nobody decided: those the buyer still looks at soon, old
ones rarely. Every hour all that happened at Stripe of late is gone through: events that never came are kept and
followed, payments, refunds and disputes are brought up to date, fees are booked, and what cannot be mended is reported
to staff. Everything goes through the same functions that webhooks lead to.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import connection
from django.db.models import F, Q
from django.utils import timezone

from billing import ledger, payouts
from billing.gateway import calls, events
from billing.gateway.calls import Json, id_of, said
from billing.gateway.client import client, is_configured
from billing.ledger.accounts import current_book
from billing.models.attempts import CENT_MICROS
from billing.models.credit import Dispute, Reconciliation, TopUp, TopUpRefund
from billing.topups import letters, settling
from billing.topups.disputes import follow_dispute, take_dispute
from billing.topups.refunds import follow_refund, take_refund
from billing.topups.settling import Outcome
from marketplace import dispatch

log = logging.getLogger(__name__)

CHECK_TASK = "billing.check_top_ups"
RECONCILE_TASK = "billing.reconcile_stripe"
EVERY = timedelta(hours=1)
OVERLAP = timedelta(days=3)
FIRST = timedelta(days=30)  # Stripe lists events no longer than that
LAG = timedelta(minutes=10)  # younger things may be on their way
AT_ONCE = 40
LOCK = 0x76_73_74_72
PENDING_SECONDS = 300
ASK_SECONDS = 30
# How long after the last look at an attempt of which age: a buyer is waited for, a day later nobody is.
LOOKS = (
    (timedelta(minutes=15), timedelta(minutes=1)),
    (timedelta(hours=2), timedelta(minutes=10)),
    (timedelta(days=400), timedelta(hours=1)),
)


def hint_due(*, now: datetime | None = None) -> None:
    """Ask control for what is due: a look at undecided attempts, and once an hour at everything."""
    if not is_configured():
        return
    at = now or timezone.now()
    dispatch.hint(CHECK_TASK, "undecided", pending_seconds=50)
    latest = Reconciliation.objects.filter(book=current_book()).order_by("-made_at").first()
    if latest is None or latest.made_at <= at - EVERY:
        dispatch.hint(RECONCILE_TASK, "all", pending_seconds=PENDING_SECONDS)


@dispatch.follower(CHECK_TASK)
def follow_check(key: str) -> None:
    """What the first hint asks for."""
    check_undecided()


@dispatch.follower(RECONCILE_TASK)
def follow_reconcile(key: str) -> None:
    """What the second hint asks for: one at a time in the whole installation."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return
        try:
            reconcile()
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


def reconcile_soon() -> None:
    """Have the comparison made now, by control, and not only at the full hour. Many who ask at once get one."""
    dispatch.hint(RECONCILE_TASK, "now", pending_seconds=ASK_SECONDS)


def reconciliations(limit: int) -> list[Reconciliation]:
    """The last comparisons, the newest first."""
    return list(Reconciliation.objects.filter(book=current_book()).order_by("-made_at", "-pk")[:limit])


def check_undecided(*, now: datetime | None = None) -> int:
    """Ask Stripe about attempts and refunds that are undecided and due for a look; returns how many were looked at."""
    at = now or timezone.now()
    old = Q(pk__in=[])
    younger = timedelta()
    for age, pause in LOOKS:
        is_due = Q(checked_at=None) | Q(checked_at__lte=at - pause)
        old |= Q(created_at__lte=at - younger, created_at__gt=at - age) & is_due
        younger = age
    undecided = TopUp.objects.filter(old, book=current_book(), status__in=TopUp.UNDECIDED)
    # Who was never looked at comes first, however many others are due again.
    first = (F("checked_at").asc(nulls_first=True), "created_at")
    rows = list(undecided.select_related("workspace").order_by(*first)[:AT_ONCE])
    under_way = TopUpRefund.objects.filter(old, status="started", top_up__book=current_book())
    refunds = list(under_way.exclude(refund_id="").order_by(*first)[:AT_ONCE])
    for row in rows:
        TopUp.objects.filter(pk=row.pk).update(checked_at=at)
        _one(row, partial(_look, row, at))
    for refund in refunds:
        TopUpRefund.objects.filter(pk=refund.pk).update(checked_at=at)
        _one(refund, partial(follow_refund, refund.refund_id, now=at))
    return len(rows) + len(refunds)


def _look(row: TopUp, at: datetime) -> Outcome:
    if row.session_id:
        return settling.follow_session(row.session_id, now=at)
    if row.intent_id:
        return settling.follow_intent(row.intent_id, now=at)
    if row.kind == TopUp.Kind.CHECKOUT and at >= row.expires_at:
        # Its page was never shown to anybody, and has closed by now if there ever was one.
        return settling.fail(row, code="not_opened", message="The payment page was never opened.", now=at)
    return Outcome.NOTHING


def _one(what: object, act: Callable[[], Outcome]) -> Outcome | None:
    """One look; what goes wrong is logged, and leaves the others to be looked at."""
    try:
        return act()
    except calls.Unreachable as error:
        log.warning("%s is looked at later: %s", what, error)
    except Exception:
        log.exception("%s could not be looked at", what)
    return None


def reconcile(*, since: datetime | None = None, now: datetime | None = None) -> Reconciliation:
    """Go through Stripe's lists since the last time (with three days of overlap), mend what can be, and report.

    Outside of transactions. Raises calls.Unreachable where Stripe does not answer: then nothing is reported.
    """
    at = now or timezone.now()
    before = Reconciliation.objects.filter(book=current_book()).order_by("-made_at").first()
    start = since or (before.until - OVERLAP if before else at - FIRST)
    report = _Report(start, at)
    with calls.asking():
        report.events()
        report.payments()
        report.refunds()
        report.disputes()
        report.movements()
    report.payouts()
    report.unpaid()
    report.stuck()
    row = Reconciliation.objects.create(
        book=current_book(),
        since=start,
        until=at,
        figures=report.figures,
        differences=report.differences,
        made_at=at,
    )
    if report.differences:
        log.error("the books differ from Stripe in %s points", len(report.differences))
        if before is None or before.differences != report.differences:
            title = f"The books differ from Stripe in {len(report.differences)} points"
            letters.tell_differences(title, report.differences)
    return row


class _Report:
    """One run through the lists, and what came of it."""

    def __init__(self, since: datetime, at: datetime) -> None:
        self.since, self.at = since, at
        self.counts: Counter[str] = Counter()
        self.differences: list[str] = []
        self.seen: set[str] = set()  # payments that moved money at Stripe
        self.created = int(since.timestamp())

    @property
    def figures(self) -> dict[str, Any]:
        books = ledger.totals(book=current_book())
        return dict(self.counts) | {"stripe_clearing_micros": -books["stripe_clearing"]}

    def events(self) -> None:
        """Events that never came, oldest first; control follows them."""
        listed = client().v1.events.list({"created": {"gte": self.created}, "limit": calls.PAGE})
        missed = []
        for one in listed.auto_paging_iter():
            self.counts["events"] += 1
            found = calls.plain(one)
            if not events.is_known(id_of(found)):
                missed.append(found)
        for found in reversed(missed):
            try:
                self.counts["events_missed"] += events.store(found, now=self.at)
            except events.Refused as error:
                self.differences.append(f"event {id_of(found)}: {error}")

    def payments(self) -> None:
        """Payments that are ours, each with what the row says of it."""
        listed = client().v1.payment_intents.list({"created": {"gte": self.created}, "limit": calls.PAGE})
        for one in listed.auto_paging_iter():
            intent = calls.plain(one)
            if not said(intent, "topup"):
                continue
            self.counts["payments"] += 1
            known = TopUp.objects.filter(intent_id=id_of(intent), status=TopUp.Status.PAID).exists()
            if not known and intent.get("status") == "succeeded":
                self._mend("payments", id_of(intent), partial(settling.follow_intent, id_of(intent)))

    def refunds(self) -> None:
        """Refunds, also those that were made at Stripe itself."""
        listed = client().v1.refunds.list({"created": {"gte": self.created}, "limit": calls.PAGE})
        for one in listed.auto_paging_iter():
            refund = calls.plain(one)
            self.counts["refunds"] += 1
            self._mend("refunds", id_of(refund), partial(take_refund, refund, now=self.at))

    def disputes(self) -> None:
        """Disputes, and those that were open when we looked last, however old."""
        listed = client().v1.disputes.list({"created": {"gte": self.created}, "limit": calls.PAGE})
        seen = set()
        for one in listed.auto_paging_iter():
            dispute = calls.plain(one)
            seen.add(id_of(dispute))
            self.counts["disputes"] += 1
            self._mend("disputes", id_of(dispute), partial(take_dispute, dispute, now=self.at))
        old = Dispute.objects.filter(top_up__book=current_book(), created_at__lt=self.since)
        for name in old.exclude(status__in=Dispute.CLOSED).values_list("dispute_id", flat=True):
            if name not in seen:
                self._mend("disputes", name, partial(follow_dispute, name, now=self.at))

    def movements(self) -> None:
        """Every movement on our account at Stripe: payments must be known to the books, fees are booked."""
        listed = client().v1.balance_transactions.list(
            {"created": {"gte": self.created}, "limit": calls.PAGE, "expand": ["data.source"]}
        )
        for one in listed.auto_paging_iter():
            moved = calls.plain(one)
            kind, amount, fee = (
                str(moved.get("type")),
                int(moved.get("amount") or 0),
                int(moved.get("fee") or 0),
            )
            self.counts[f"{kind}_cents"] += amount
            if moved.get("currency") != "usd":
                self.differences.append(
                    f"{id_of(moved)}: {amount} of {moved.get('currency')}, the books are in usd"
                )
                continue
            fee -= amount if kind in {"stripe_fee", "tax_fee"} else 0
            if fee:
                self.counts["fee_cents"] += fee
                ledger.fee(fee * CENT_MICROS, key=id_of(moved), note=f"{kind} at Stripe", now=self.at)
            if kind in {"charge", "payment"}:
                self._compare(moved, amount)

    def _compare(self, moved: Json, cents: int) -> None:
        source = calls.whole(moved.get("source"))
        intent_id = id_of(source.get("payment_intent"))
        self.seen.add(intent_id)
        row = TopUp.objects.filter(intent_id=intent_id).exclude(intent_id="").first()
        if row is None:
            if said(source, "topup"):
                self.differences.append(
                    f"payment {intent_id}: {cents} cents came for a top-up that is not here"
                )
            else:
                self.counts["other_payments_cents"] += cents
        elif not row.is_paid:
            self.differences.append(f"{row.uid}: {cents} cents came at Stripe, the row is {row.status}")
        elif row.paid_cents != cents:
            self.differences.append(f"{row.uid}: {cents} cents came at Stripe, {row.paid_cents} in the row")

    def payouts(self) -> None:
        """What went out to publishers."""
        counts, differences = payouts.compare(self.since, self.at)
        self.counts.update(counts)
        self.differences += differences

    def unpaid(self) -> None:
        """The other way round: what we credited and Stripe has no payment for."""
        settled = TopUp.objects.filter(
            book=current_book(),
            status=TopUp.Status.PAID,
            created_at__gte=self.since + LAG,
            settled_at__lt=self.at - LAG,
        )
        for row in settled.iterator():
            self.counts["top_ups"] += 1
            self.counts["top_ups_cents"] += row.cents
            self.counts["tax_cents"] += row.tax_cents
            if row.intent_id not in self.seen:
                self.differences.append(
                    f"{row.uid}: credited, and Stripe has no payment {row.intent_id or 'at all'}"
                )

    def stuck(self) -> None:
        """Events that were put aside, or could not be followed for an hour."""
        for event_id, kind, error in events.stuck(before=self.at - timedelta(hours=1)):
            self.differences.append(f"event {event_id} ({kind}) is not followed: {error}")

    def _mend(self, kind: str, name: str, act: Callable[[], Outcome]) -> None:
        try:
            if act() in {Outcome.BOOKED, Outcome.CLOSED}:
                self.counts[f"{kind}_mended"] += 1
        except calls.Undecided as error:  # one that waits keeps nothing else from being compared
            self.differences.append(f"{name}: {error}")
        except calls.Unreachable:
            raise
        except Exception as error:
            log.exception("%s could not be brought up to date", name)
            self.differences.append(f"{name}: {error}")
