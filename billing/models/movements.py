"""What is known of movements beyond their entries: refunds, grants, and how far earnings have matured."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from billing.models.books import Book, LedgerTransaction
from marketplace.ids import uuid7


class RefundReason(models.TextChoices):
    """Why a charge was given back. A closed list: it is counted, and told to the buyer."""

    BAD_OUTPUT = "bad_output", "The output was not what was asked for"
    FAULT = "fault", "Something broke although the run succeeded"
    DUPLICATE = "duplicate", "The same run was charged twice"
    OVERCHARGED = "overcharged", "The price or the quantity was wrong"
    WITHDRAWN = "withdrawn", "The output had to be taken away"
    GOODWILL = "goodwill", "Goodwill"


class RefundSide(models.TextChoices):
    """Who gave a charge back."""

    OPERATOR = "operator"
    PUBLISHER = "publisher"
    SYSTEM = "system"


class Refund(models.Model):
    """A part of a charge that was given back after the capture: what each of those got or lost by it."""

    transaction = models.OneToOneField(LedgerTransaction, on_delete=models.PROTECT, related_name="+")
    reference = models.UUIDField()  # the prediction's public id, as of the hold
    workspace = models.ForeignKey("marketplace.Workspace", on_delete=models.PROTECT, related_name="+")
    publisher = models.ForeignKey(
        "marketplace.Publisher", on_delete=models.PROTECT, null=True, related_name="+"
    )
    book = models.CharField(max_length=4, choices=Book.choices)
    amount_micros = models.BigIntegerField()
    granted_micros = models.BigIntegerField()  # the part of it that went back to granted credit
    pending_micros = models.BigIntegerField()  # what the publisher lost, by the account it was taken from
    payable_micros = models.BigIntegerField()
    unpayable_micros = models.BigIntegerField()
    reason = models.CharField(max_length=12, choices=RefundReason.choices)
    side = models.CharField(max_length=10, choices=RefundSide.choices)
    note = models.CharField(max_length=500, blank=True)
    by_user_id = models.BigIntegerField(null=True, blank=True)
    earned_at = models.DateTimeField()  # when the charge was captured
    occurred_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="refund_amounts",
                condition=Q(amount_micros__gt=0, granted_micros__gte=0, pending_micros__gte=0)
                & Q(payable_micros__gte=0, unpayable_micros__gte=0)
                & Q(granted_micros__lte=F("amount_micros"))
                & Q(amount_micros__gte=F("pending_micros") + F("payable_micros") + F("unpayable_micros")),
            ),
        ]
        indexes = [
            models.Index(fields=["reference"], name="refund_reference"),
            models.Index(fields=["workspace", "-occurred_at"], name="refund_workspace"),
            models.Index(fields=["publisher", "earned_at"], name="refund_publisher"),
        ]

    def __str__(self) -> str:
        return f"refund of {self.amount_micros} for {self.reference}"


class DisputedPayment(models.Model):
    """A payment that its card's bank took back, as far as its credit had been spent: what of that is owed still.

    `spent_micros` is less by what was given back of its runs since; what was bought and made good for it is in there.
    The disputes themselves are known to the ledger by their ids only.
    """

    dispute_id = models.CharField(max_length=150)
    book = models.CharField(max_length=4, choices=Book.choices)
    workspace = models.ForeignKey("marketplace.Workspace", on_delete=models.PROTECT, related_name="+")
    paid_at = models.DateTimeField()
    withdrawn_at = models.DateTimeField()
    unspent_micros = models.BigIntegerField()  # bought credit that it took
    spent_micros = models.BigIntegerField()
    left_micros = models.BigIntegerField()
    shares_micros = models.BigIntegerField()  # what it took of shares when it came
    is_due = models.BooleanField(default=False)  # it is lost: bought credit makes good for it
    is_won = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["book", "dispute_id"], name="disputed_payment_once"),
            models.CheckConstraint(
                name="disputed_payment_amounts",
                condition=Q(unspent_micros__gte=0, left_micros__gte=0, shares_micros__gte=0)
                & Q(left_micros__lte=F("spent_micros")),
            ),
            models.CheckConstraint(
                name="disputed_payment_won", condition=Q(is_won=False) | Q(left_micros=0, is_due=False)
            ),
        ]
        indexes = [
            models.Index(
                fields=["workspace", "book"],
                name="disputed_payment_due",
                condition=Q(is_due=True, left_micros__gt=0),
            ),
            models.Index(
                fields=["workspace", "book", "paid_at"],
                name="disputed_payment_open",
                condition=Q(is_won=False),
            ),
        ]

    def __str__(self) -> str:
        return f"dispute {self.dispute_id}"


class DisputedShare(models.Model):
    """That a run counts as paid by a disputed payment, with so much of its charge, and what that keeps of its share.

    `unpaid_micros` is what of `counted_micros` nobody has made good for.
    """

    dispute_id = models.CharField(max_length=150)
    book = models.CharField(max_length=4, choices=Book.choices)
    reference = models.UUIDField()
    publisher = models.ForeignKey(
        "marketplace.Publisher", on_delete=models.PROTECT, null=True, related_name="+"
    )
    counted_micros = models.BigIntegerField()
    unpaid_micros = models.BigIntegerField()
    left_micros = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["book", "dispute_id", "reference"], name="disputed_share_once"),
            models.CheckConstraint(
                name="disputed_share_amounts",
                condition=Q(unpaid_micros__gte=0, left_micros__gte=0)
                & Q(unpaid_micros__lte=F("counted_micros"))
                & (Q(publisher__isnull=False) | Q(left_micros=0)),
            ),
        ]
        indexes = [
            models.Index(fields=["reference"], name="disputed_share_run", condition=Q(counted_micros__gt=0)),
            models.Index(
                fields=["dispute_id", "publisher"],
                name="disputed_share_left",
                condition=Q(counted_micros__gt=0),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.counted_micros} of {self.reference} for {self.dispute_id}"


class Grant(models.Model):
    """Credit that was given and not bought: where it came from, and until when it can be spent.

    `left_micros` is what can be left of it, and `spent_micros` what was spent and has not come back, both as of the
    workspace's latest grant or expiry: spending does not touch them. What comes back is a grant of its own, with the
    end of the one that it was spent of; one movement can bring several.
    """

    workspace = models.ForeignKey("marketplace.Workspace", on_delete=models.PROTECT, related_name="+")
    book = models.CharField(max_length=4, choices=Book.choices)
    transaction = models.ForeignKey(LedgerTransaction, on_delete=models.PROTECT, related_name="+")
    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    origin = models.CharField(max_length=40)
    amount_micros = models.BigIntegerField()
    left_micros = models.BigIntegerField()
    spent_micros = models.BigIntegerField(default=0, db_default=0)
    gone_at = models.DateTimeField(
        null=True, blank=True
    )  # since when nothing is left of it, as far as is known
    expires_at = models.DateTimeField(null=True, blank=True)  # null is never
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="grant_amounts",
                condition=Q(amount_micros__gt=0, left_micros__gte=0, spent_micros__gte=0)
                & Q(amount_micros__gte=F("left_micros") + F("spent_micros")),
            ),
        ]
        indexes = [
            models.Index(fields=["workspace", "book"], name="grant_left", condition=Q(left_micros__gt=0)),
            models.Index(fields=["expires_at"], name="grant_due", condition=Q(left_micros__gt=0)),
        ]

    def __str__(self) -> str:
        return f"grant of {self.amount_micros} from {self.origin}"


class Maturity(models.Model):
    """Until when a publisher's earnings have matured. Its lock puts in order whatever takes from the publisher."""

    publisher = models.ForeignKey("marketplace.Publisher", on_delete=models.PROTECT, related_name="+")
    book = models.CharField(max_length=4, choices=Book.choices)
    matured_until = models.DateTimeField()
    times = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["publisher", "book"], name="maturity_once")]

    def __str__(self) -> str:
        return f"maturity of publisher {self.publisher_id} in {self.book}"


class MonthEnd(models.Model):
    """What a publisher had when a month ended in which something moved: so that what it had at any time is known from
    the entries since. Derived from entries that are sealed; where one is missing the next audit makes it again."""

    publisher = models.ForeignKey("marketplace.Publisher", on_delete=models.PROTECT, related_name="+")
    book = models.CharField(max_length=4, choices=Book.choices)
    month = models.DateField()  # its first day
    pending_micros = models.BigIntegerField()
    payable_micros = models.BigIntegerField()
    in_transit_micros = models.BigIntegerField()
    unpayable_micros = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["publisher", "book", "month"], name="month_end_once"),
            models.CheckConstraint(name="month_end_month", condition=Q(month__day=1)),
        ]

    def __str__(self) -> str:
        return f"end of {self.month:%Y-%m} of publisher {self.publisher_id}"
