"""The rows of money going out: where a publisher is paid, each payout, and what Stripe says of its way to the bank.

Amounts are integer micro-dollars; a payout is whole cents of them. Everything belongs to a book, as an account at
Stripe belongs to its test mode or to its live one.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from billing.models.attempts import BOOK_CHOICES, BOOKS, CENT_MICROS, Attempt


class Method(models.TextChoices):
    """How a publisher is paid. The second needs no Stripe: the operator pays, and says so."""

    NONE = "", "Not chosen yet"
    STRIPE = "stripe", "Stripe"
    MANUAL = "manual", "By the operator"


class PayoutAccount(models.Model):
    """Where and when a publisher is paid, and what keeps it from being paid, if something does.

    `state` is what Stripe says of the one capability that counts; nothing else opens the way to a transfer. While
    `held_at` is set, nothing matures and no payout begins. `considered_for` is the month whose automatic payout was
    made, or was too small to be made.
    """

    class State(models.TextChoices):
        NONE = "", "Not connected"
        ACTIVE = "active", "Ready"
        PENDING = "pending", "Being checked by Stripe"
        RESTRICTED = "restricted", "Something is missing"
        UNSUPPORTED = "unsupported", "Not possible in this country"
        REJECTED = "rejected", "Refused by Stripe"
        CLOSED = "closed", "Closed"

    publisher = models.ForeignKey("marketplace.Publisher", on_delete=models.PROTECT, related_name="+")
    book = models.CharField(max_length=4, choices=BOOK_CHOICES)
    method = models.CharField(max_length=6, choices=Method.choices, default=Method.NONE, blank=True)
    account_id = models.CharField(max_length=255, blank=True, help_text="Stripe's, acct_…")
    country = models.CharField(max_length=2, blank=True)
    state = models.CharField(max_length=12, choices=State.choices, default=State.NONE, blank=True)
    due: models.JSONField[Any, Any] = models.JSONField(default=list, help_text="what Stripe still asks for")
    bank_details = models.TextField(blank=True, help_text="where the operator pays to by hand")
    is_automatic = models.BooleanField(default=True)
    least_micros = models.BigIntegerField(null=True, blank=True, help_text="null: the installation's")
    delay_days = models.PositiveSmallIntegerField(null=True, blank=True, help_text="null: the installation's")
    held_at = models.DateTimeField(null=True, blank=True)
    hold_reason = models.CharField(max_length=500, blank=True)
    held_by = models.ForeignKey(
        "marketplace.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    considered_for = models.DateField(null=True, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True, help_text="when Stripe was last asked about it")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["publisher", "book"], name="payout_account_once"),
            models.UniqueConstraint(
                fields=["account_id"], name="payout_account_id", condition=~Q(account_id="")
            ),
            models.CheckConstraint(name="payout_account_book", condition=Q(book__in=BOOKS)),
            models.CheckConstraint(
                name="payout_account_least", condition=Q(least_micros__isnull=True) | Q(least_micros__gt=0)
            ),
            models.CheckConstraint(name="payout_account_state", condition=~Q(account_id="") | Q(state="")),
        ]

    def __str__(self) -> str:
        return f"payouts of publisher {self.publisher_id} in {self.book}"

    @property
    def is_held(self) -> bool:
        return self.held_at is not None

    @property
    def is_connected(self) -> bool:
        """Whether money could be sent to where the publisher wants it, a hold aside."""
        if self.method == Method.STRIPE:
            return bool(self.account_id) and self.state == self.State.ACTIVE
        return self.method == Method.MANUAL and bool(self.bank_details)


class Payout(Attempt):
    """One payment to a publisher: written, and taken from what is payable, before anybody is asked to make it.

    `new`: it may have been made or not; it is asked for under `attempt`'s key until that is known. At Stripe `paid` is
    the transfer to the publisher's balance there, by hand it is what the operator says. `attempt` only goes on after
    the one before was certainly refused.
    """

    class Status(models.TextChoices):
        NEW = "new", "On its way"
        PAID = "paid", "Paid"
        FAILED = "failed", "Failed"
        RETURNED = "returned", "Came back"

    class Kind(models.TextChoices):
        AUTOMATIC = "automatic", "Automatic"
        REQUESTED = "requested", "Asked for"
        OPERATOR = "operator", "By the operator"

    class Wait(models.TextChoices):
        NONE = "", ""
        BALANCE = "balance", "The platform's balance at Stripe does not cover it yet"
        SILENCE = "silence", "Stripe does not answer"
        HELD = "held", "The operator holds payouts back"

    PREFIX = "po"

    publisher = models.ForeignKey("marketplace.Publisher", on_delete=models.PROTECT, related_name="+")
    book = models.CharField(max_length=4, choices=BOOK_CHOICES)
    method = models.CharField(max_length=6, choices=Method.choices)
    kind = models.CharField(max_length=9, choices=Kind.choices)
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.NEW)
    returned_micros = models.BigIntegerField(default=0)
    destination = models.TextField(help_text="as it was when the payout began: acct_…, or bank details")
    closed_by = models.ForeignKey(
        "marketplace.User",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="who said what became of it, where Stripe did not",
    )
    transfer_id = models.CharField(max_length=255, blank=True, help_text="Stripe's, or the bank's reference")
    stray_id = models.CharField(
        max_length=255,
        blank=True,
        default="",
        db_default="",
        help_text="a transfer that paid it although it had failed",
    )
    wait = models.CharField(max_length=8, choices=Wait.choices, default=Wait.NONE, blank=True)
    failure = models.TextField(blank=True)
    attempt = models.PositiveIntegerField(default=1)
    tries = models.PositiveIntegerField(default=0, help_text="how often Stripe was asked")
    due_at = models.DateTimeField(default=timezone.now)
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="payout_book", condition=Q(book__in=BOOKS)),
            models.CheckConstraint(
                name="payout_amounts",
                condition=Q(amount_micros__gt=0, returned_micros__gte=0)
                & Q(returned_micros__lte=F("amount_micros")),
            ),
            models.CheckConstraint(
                name="payout_settled",
                condition=Q(status="new", settled_at__isnull=True)
                | Q(status__in=["paid", "failed", "returned"], settled_at__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["publisher", "book"], name="payout_one_open", condition=Q(status="new")
            ),
            models.UniqueConstraint(
                fields=["method", "transfer_id"],
                name="payout_transfer",
                condition=Q(method="stripe") & ~Q(transfer_id=""),
            ),
        ]
        indexes = [
            models.Index(fields=["publisher", "book", "-created_at"], name="payout_publisher"),
            models.Index(fields=["due_at"], name="payout_due", condition=Q(status="new")),
            models.Index(fields=["book"], name="payout_stray", condition=~Q(stray_id="")),
        ]

    def __str__(self) -> str:
        return f"{self.uid} of publisher {self.publisher_id}"

    @property
    def cents(self) -> int:
        return self.amount_micros // CENT_MICROS

    @property
    def is_open(self) -> bool:
        return self.status == self.Status.NEW


class BankArrival(models.Model):
    """What Stripe sent from a publisher's balance there to its bank: several payouts in one, or one in several."""

    class Status(models.TextChoices):
        PENDING = "pending", "On its way"
        IN_TRANSIT = "in_transit", "On its way"
        PAID = "paid", "At the bank"
        CANCELED = "canceled", "Canceled"
        FAILED = "failed", "Sent back"

    payout_id = models.CharField(max_length=255, unique=True, help_text="Stripe's, po_…")
    publisher = models.ForeignKey("marketplace.Publisher", on_delete=models.PROTECT, related_name="+")
    book = models.CharField(max_length=4, choices=BOOK_CHOICES)
    status = models.CharField(max_length=10, choices=Status.choices)
    amount = models.BigIntegerField(help_text="in the currency's smallest unit")
    currency = models.CharField(max_length=3)
    arrives_on = models.DateField(null=True, blank=True)
    failure = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.CheckConstraint(name="bank_arrival_book", condition=Q(book__in=BOOKS))]
        indexes = [models.Index(fields=["publisher", "book", "-created_at"], name="bank_arrival_publisher")]

    def __str__(self) -> str:
        return f"{self.payout_id}: {self.status}"
