"""Giving a charge back after it was captured: who may, how much of it, and who is told.

The operator may give back what is left of any charge. A publisher may do so for runs of its models: out of earnings
that it still has, since what was paid out to it cannot be taken back for it; up to an amount a day, since the platform
gives its fee back too; and not for runs of its own workspace. The buyer is told by mail and by webhook.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final, Literal
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from billing import ledger, receipts
from billing.letters import to_payers
from billing.receipts import Earned, dollars
from marketplace import dispatch
from marketplace.ids import encode
from marketplace.models import Publisher, User, Workspace

log = logging.getLogger(__name__)

REFUNDED_TASK = "playground.charge_refunded"  # lives a room above: called by name
MOST: Final = 20  # of one charge: each is a mail, an event and a line of the receipt
MAILS_AN_HOUR: Final = 5  # to a workspace; the rest is told by webhook and on its pages
REASONS: Final = tuple((one.value, str(one.label)) for one in ledger.RefundReason)


@dataclass(frozen=True, slots=True)
class Rule:
    """What one reason is for, who gives back for it, and how much: the public table of the documentation.

    The operator gives back for any reason, publishers for those that are `publishers` too.
    """

    reason: str
    means: str
    how_much: str
    publishers: bool = False

    @property
    def who(self) -> str:
        return "the publisher of the model, or the operator" if self.publishers else "the operator"


RULES: Final = (
    Rule(
        "bad_output",
        "The run succeeded, but its output is not what the input asked for: empty, garbled, or of something else. "
        "Another seed that pleases more is no reason.",
        "all of it, or the part that cannot be used",
        publishers=True,
    ),
    Rule(
        "fault",
        "Something of ours broke although the run succeeded: a file that cannot be opened, or of the wrong size.",
        "all of it",
    ),
    Rule(
        "duplicate",
        "The same run was made twice for a reason of ours. What you repeat without an `Idempotency-Key` is two runs.",
        "all of the second",
    ),
    Rule(
        "overcharged",
        "The price or the quantity was not that of the quote.",
        "the difference",
        publishers=True,
    ),
    Rule(
        "withdrawn",
        "The output had to be taken away, by law or because of somebody’s rights, before it expired.",
        "all of it",
    ),
    Rule(
        "goodwill",
        "Any other reason that they find good.",
        "as they see fit",
        publishers=True,
    ),
)
PUBLISHERS: Final = frozenset(rule.reason for rule in RULES if rule.publishers)


class CannotRefund(Exception):
    """It was not given back; the message says why, to who wanted to."""


class NotCharged(CannotRefund):
    """There is no such charge: the run is not known, is still open, cost nothing, or was of somebody else's model."""


def reasons(*, as_publisher: bool) -> list[tuple[str, str]]:
    """The reasons that one may give, with their words."""
    return [one for one in REASONS if not as_publisher or one[0] in PUBLISHERS]


def give_back(
    reference: UUID,
    amount_micros: int,
    *,
    reason: str,
    once: UUID,
    by: User,
    note: str = "",
    publisher: Publisher | None = None,
    now: datetime | None = None,
) -> ledger.Refunded:
    """Give so much of the charge of a run back, as its publisher, or as the operator where none is named.

    The same `once` again changes nothing and tells nobody twice. All of it or, with CannotRefund, nothing of it.
    """
    at = now or timezone.now()
    side: Literal["operator", "publisher"] = "operator" if publisher is None else "publisher"
    key = f"{side}:{reference.hex}:{once.hex}"
    with transaction.atomic():
        charge = receipts.earned(reference, publisher_id=publisher.pk if publisher else None)
        if charge is None or not charge.amount_micros:
            raise NotCharged("Nothing was charged for such a run.")
        if publisher is not None and charge.workspace_id == publisher.workspace_id:
            raise CannotRefund("It is a run of your own workspace: only the operator gives that back.")
        if publisher is not None and reason not in PUBLISHERS:
            raise CannotRefund("Only the operator gives back for this reason.")
        try:
            done = ledger.refund(
                reference, amount_micros, key=key, reason=reason, by=by.pk, side=side, note=note, now=at
            )
        except ledger.RefundExceedsCharge as error:
            left = (
                f"only {dollars(error.left_micros)} of the charge is" if error.left_micros else "nothing is"
            )
            raise CannotRefund(f"It was not given back: {left} left.") from None
        except ledger.NoSuchHold:
            raise NotCharged("Nothing was charged for such a run.") from None
        except ledger.KeyReused:
            raise CannotRefund("This form was sent before with another amount. Begin anew.") from None
        if done.is_new:
            refund_id = receipts.refund_id(reference, key)
            _bounded(charge, refund_id, publisher, at)
            _tell(charge, done, refund_id, reason, side, at)
    if done.is_new:
        uid, amount = encode(reference, "p"), dollars(done.amount_micros)
        log.warning("audit: %s gave %s of %s back as %s: %s", by.email, amount, uid, side, reason)
    return done


def _bounded(charge: Earned, refund_id: UUID, publisher: Publisher | None, at: datetime) -> None:
    """Undo what was just given back, by raising, where it is more often or more than may be.

    The publisher's earnings are locked by now, so that none of two at once is overlooked.
    """
    parts = receipts.given_back(charge.workspace_id, [charge.reference])[charge.reference]
    if len(parts) > MOST:
        raise CannotRefund(f"Of this charge {MOST} parts were given back already; no more can be.")
    if publisher is None:
        return
    made = next(one for one in parts if one.id == refund_id)
    has = ledger.publisher_balance(publisher.pk)
    is_short = made.payable_micros > 0 > has.payable_micros
    if is_short or has.pending_micros + has.payable_micros < 0:
        raise CannotRefund(
            "Your earnings do not cover it any more: what you had of it was paid out. The operator can give it back."
        )
    most = settings.PUBLISHER_REFUNDS_MICROS
    midnight = datetime.combine(at.astimezone(UTC).date(), time(), UTC)
    today = receipts.given_since(publisher.pk, midnight - timedelta(microseconds=1), side="publisher")
    if today > most:
        raise CannotRefund(
            f"Together with what you gave back today it would be {dollars(today)}, and {dollars(most)} is the most a "
            "day. The operator can give back more."
        )


def _tell(
    charge: Earned, done: ledger.Refunded, refund_id: UUID, reason: str, side: str, at: datetime
) -> None:
    """Promise that the buyer hears of it. What was noted stands on the receipt alone: a mail is no place for others'
    words."""
    dispatch.post(REFUNDED_TASK, {"reference": charge.reference.hex, "refund": refund_id.hex})
    workspace = Workspace.objects.get(pk=charge.workspace_id)
    mails = receipts.count_since(workspace.pk, at - timedelta(hours=1))
    if mails > MAILS_AN_HOUR or workspace.closed_at is not None:
        return
    uid = encode(charge.reference, "p")
    who = "The publisher of the model" if side == "publisher" else "Whoever runs this site"
    text = (
        f"{who} gave {dollars(done.amount_micros)} back to {workspace.name}, of the {dollars(done.charged_micros)} "
        f"that a run of {charge.model} was charged.\n\n"
        f"Why: {dict(REASONS)[reason]}\n"
        f"Given back of this charge so far: {dollars(done.total_micros)}\n\n"
        f"{_becomes(done)}\n"
        f"The receipt: {settings.PUBLIC_URL}{reverse('prediction-receipt', args=[uid])}\n"
    )
    if mails == MAILS_AN_HOUR:
        text += (
            "\nThere were several within an hour. Further ones are not mailed; your usage has all of them.\n"
        )
    to_payers(workspace, f"{workspace.name}: {dollars(done.amount_micros)} was given back", text)


def _becomes(done: ledger.Refunded) -> str:
    made_good, left = done.made_good_micros, done.amount_micros - done.made_good_micros
    if not made_good:
        return "It is credit again and can be spent at once."
    said = f"{dollars(made_good)} of it made good for a payment that is disputed with the card's bank"
    return f"{said}; {dollars(left)} is credit again and can be spent at once." if left else f"{said}."
