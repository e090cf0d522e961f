"""The rows of credit coming in: what Stripe told us, attempts to pay, the card on file, coupons, disputes.

Amounts are integer micro-dollars of credit; what was paid for it, tax included, is integer cents, as Stripe counts.
Everything belongs to a book: objects of Stripe's test mode never meet those of its live mode.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from billing.models.attempts import BOOK_CHOICES, BOOKS, CENT_MICROS, Attempt


class StripeEvent(models.Model):
    """One event of Stripe's, as it came first. While `handled_at` is null it is to be followed at `due_at`.

    What cannot be followed, and would not be by another try, is put aside: `last_error` says why, for the operator.

    An event is only a hint that an object changed: who follows it reads the object anew, so that order, repetition
    and age of events do not matter. `deliveries` counts how often it came.
    """

    event_id = models.CharField(max_length=255, unique=True)
    type = models.CharField(max_length=120)
    object_id = models.CharField(max_length=255, blank=True)
    account = models.CharField(max_length=255, blank=True, help_text="the connected account that it is about")
    book = models.CharField(max_length=4, choices=BOOK_CHOICES)
    payload: models.JSONField[Any, Any] = models.JSONField()
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField(default=timezone.now)
    deliveries = models.PositiveIntegerField(default=1)
    tries = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField(default=timezone.now)
    handled_at = models.DateTimeField(null=True, blank=True)
    aside_at = models.DateTimeField(null=True, blank=True, help_text="when it was put aside")
    last_error = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="stripe_event_book", condition=Q(book__in=BOOKS)),
            models.CheckConstraint(
                name="stripe_event_aside",
                condition=Q(aside_at__isnull=True) | (Q(handled_at__isnull=True) & ~Q(last_error="")),
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], name="stripe_event_due", condition=Q(handled_at__isnull=True)),
            models.Index(fields=["received_at"], name="stripe_event_received"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"


class StripeCustomer(models.Model):
    """Who a workspace is at Stripe, and the card that it keeps there; of the card only what is printed on it."""

    workspace = models.ForeignKey("marketplace.Workspace", on_delete=models.PROTECT, related_name="+")
    book = models.CharField(max_length=4, choices=BOOK_CHOICES)
    customer_id = models.CharField(max_length=255, blank=True)
    card_id = models.CharField(max_length=255, blank=True, help_text="the payment method's id")
    card_brand = models.CharField(max_length=40, blank=True)
    card_last4 = models.CharField(max_length=4, blank=True)
    card_month = models.PositiveSmallIntegerField(default=0)
    card_year = models.PositiveSmallIntegerField(default=0)
    card_saved_at = models.DateTimeField(null=True, blank=True, help_text="when its use was agreed to")
    # Late words about an older page never bring back a card that was replaced or taken away since.
    card_from_at = models.DateTimeField(
        null=True, blank=True, help_text="when the page that it is from opened"
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "book"], name="stripe_customer_once"),
            models.UniqueConstraint(
                fields=["customer_id"], name="stripe_customer_id", condition=~Q(customer_id="")
            ),
            models.CheckConstraint(name="stripe_customer_book", condition=Q(book__in=BOOKS)),
        ]

    def __str__(self) -> str:
        return f"workspace {self.workspace_id} as {self.customer_id or 'nobody yet'}"

    @property
    def has_card(self) -> bool:
        return bool(self.card_id)


class TopUp(Attempt):
    """One attempt to buy credit: written before Stripe hears of it, and paid at most once, whatever happens between.

    `new`: Stripe may not know it. `open`: a page of Stripe's waits for the buyer. `processing`: the bank takes its
    time. Money that comes is booked whatever the status was; nothing else leaves `paid`.
    """

    class Kind(models.TextChoices):
        CHECKOUT = "checkout", "Checkout"
        AUTOMATIC = "automatic", "Automatic"

    class Status(models.TextChoices):
        NEW = "new", "Being prepared"
        OPEN = "open", "Not paid yet"
        PROCESSING = "processing", "Being paid"
        PAID = "paid", "Paid"
        FAILED = "failed", "Failed"
        EXPIRED = "expired", "Expired"

    PREFIX = "tu"
    UNDECIDED = (Status.NEW, Status.OPEN, Status.PROCESSING)

    workspace = models.ForeignKey("marketplace.Workspace", on_delete=models.PROTECT, related_name="+")
    book = models.CharField(max_length=4, choices=BOOK_CHOICES)
    kind = models.CharField(max_length=9, choices=Kind.choices)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.NEW)
    saves_card = models.BooleanField(default=False)
    back = models.TextField(blank=True, help_text="the page of this site to come back to")
    session_id = models.CharField(max_length=255, blank=True)
    intent_id = models.CharField(max_length=255, blank=True)
    url = models.TextField(blank=True, help_text="where it is paid")
    paid_cents = models.BigIntegerField(default=0, help_text="what was paid, tax included")
    tax_cents = models.BigIntegerField(default=0)
    invoice_url = models.TextField(blank=True, help_text="Stripe's invoice or receipt")
    failure_code = models.CharField(max_length=80, blank=True)
    failure = models.TextField(blank=True)
    refunded_micros = models.BigIntegerField(
        default=0, help_text="credit that was given back, or is on its way"
    )
    disputed_micros = models.BigIntegerField(default=0, help_text="credit that the card's bank took back")
    checked_at = models.DateTimeField(null=True, blank=True, help_text="when Stripe was last asked about it")
    expires_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="top_up_book", condition=Q(book__in=BOOKS)),
            models.CheckConstraint(
                name="top_up_amount",
                condition=Q(amount_micros__gt=0, refunded_micros__gte=0, disputed_micros__gte=0)
                & Q(paid_cents__gte=0, tax_cents__gte=0, tax_cents__lte=F("paid_cents")),
            ),
            models.CheckConstraint(
                name="top_up_settled",
                condition=Q(status="paid", settled_at__isnull=False)
                | Q(settled_at__isnull=True, status__in=["new", "open", "processing", "failed", "expired"]),
            ),
            models.UniqueConstraint(
                fields=["session_id"], name="top_up_session", condition=~Q(session_id="")
            ),
            models.UniqueConstraint(fields=["intent_id"], name="top_up_intent", condition=~Q(intent_id="")),
            models.UniqueConstraint(
                fields=["workspace", "book"],
                name="top_up_one_automatic",
                condition=Q(kind="automatic", status__in=["new", "open", "processing"]),
            ),
        ]
        indexes = [
            models.Index(fields=["workspace", "book", "-created_at"], name="top_up_workspace"),
            models.Index(
                fields=["created_at"],
                name="top_up_undecided",
                condition=Q(status__in=["new", "open", "processing"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.uid} of workspace {self.workspace_id}"

    @property
    def cents(self) -> int:
        """The credit's price before tax."""
        return self.amount_micros // CENT_MICROS

    @property
    def is_undecided(self) -> bool:
        return self.status in self.UNDECIDED

    @property
    def is_paid(self) -> bool:
        return self.status == self.Status.PAID

    @property
    def left_micros(self) -> int:
        """What of the credit was neither given back nor taken back, spent or not."""
        return max(0, self.amount_micros - self.refunded_micros - self.disputed_micros)


class AutoTopUp(models.Model):
    """A workspace's wish to have credit bought by itself, and what is wrong with the card at present, if anything is.

    That a payment is disputed is a pause too, which no row keeps: it lasts as long as a dispute is open.
    """

    class Pause(models.TextChoices):
        NONE = "", "Running"
        AUTHENTICATION = "authentication_required", "The bank wants you to confirm a payment"
        DECLINED = "declined", "The card was declined"
        NO_CARD = "no_card", "No card is saved"
        DISPUTED = "disputed", "A payment was disputed"

    workspace = models.ForeignKey("marketplace.Workspace", on_delete=models.PROTECT, related_name="+")
    book = models.CharField(max_length=4, choices=BOOK_CHOICES)
    is_on = models.BooleanField(default=False)
    below_micros = models.BigIntegerField()
    amount_micros = models.BigIntegerField()
    month_micros = models.BigIntegerField(help_text="the most that is bought by itself in a month of UTC")
    agreed_by = models.ForeignKey(
        "marketplace.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    agreed_at = models.DateTimeField(null=True, blank=True)
    pause = models.CharField(max_length=24, choices=Pause.choices, default=Pause.NONE, blank=True)
    pause_detail = models.TextField(blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    # Of two soft refusals in a row the second pauses it; until then the next attempt waits.
    failures = models.PositiveSmallIntegerField(default=0)
    not_before = models.DateTimeField(null=True, blank=True)
    capped_at = models.DateTimeField(null=True, blank=True, help_text="when the month's cap was last told")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "book"], name="auto_top_up_once"),
            models.CheckConstraint(
                name="auto_top_up_amounts",
                condition=Q(below_micros__gt=0, amount_micros__gt=0)
                & Q(month_micros__gte=F("amount_micros"), book__in=BOOKS),
            ),
            models.CheckConstraint(
                name="auto_top_up_pause",
                condition=Q(pause="", paused_at__isnull=True) | (~Q(pause="") & Q(paused_at__isnull=False)),
            ),
        ]

    def __str__(self) -> str:
        return f"automatic top-up of workspace {self.workspace_id}"


class TopUpRefund(Attempt):
    """Credit that goes back to the card it was bought with. `found`: made at Stripe itself, and only noted here."""

    class Status(models.TextChoices):
        STARTED = "started", "On its way"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        RETURNED = "returned", "Came back"

    PREFIX = "rf"

    top_up = models.ForeignKey(TopUp, on_delete=models.PROTECT, related_name="refunds")
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.STARTED)
    cents = models.BigIntegerField(help_text="what goes back, tax included")
    reason = models.CharField(max_length=200, blank=True)
    is_found = models.BooleanField(default=False)
    refund_id = models.CharField(max_length=255, blank=True)
    failure = models.TextField(blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["refund_id"], name="top_up_refund_id", condition=~Q(refund_id="")
            ),
            models.CheckConstraint(
                name="top_up_refund_amounts", condition=Q(amount_micros__gte=0, cents__gt=0)
            ),
            models.CheckConstraint(
                name="top_up_refund_closed",
                condition=Q(status="started", closed_at__isnull=True)
                | Q(status__in=["done", "failed", "returned"], closed_at__isnull=False),
            ),
        ]
        indexes = [
            models.Index(fields=["created_at"], name="top_up_refund_open", condition=Q(status="started")),
        ]

    def __str__(self) -> str:
        return f"refund {self.uid}"


class Dispute(models.Model):
    """A payment that its card's owner disputes: what the bank took back of the credit, and whether it gave it again."""

    CLOSED = ("won", "lost", "warning_closed", "prevented")  # of Stripe's words for its status

    dispute_id = models.CharField(max_length=255, unique=True)
    top_up = models.ForeignKey(TopUp, on_delete=models.PROTECT, related_name="disputes")
    status = models.CharField(max_length=40)
    reason = models.CharField(max_length=80, blank=True)
    amount_micros = models.BigIntegerField(help_text="of the credit, without tax")
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    reinstated_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(name="dispute_amount", condition=Q(amount_micros__gte=0)),
            models.CheckConstraint(
                name="dispute_order",
                condition=Q(reinstated_at__isnull=True) | Q(withdrawn_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"dispute {self.dispute_id}"


class Coupon(models.Model):
    """A code that gives credit, once to a workspace, to so many of them and until a day."""

    code = models.CharField(max_length=40, unique=True, help_text="in upper case")
    book = models.CharField(max_length=4, choices=BOOK_CHOICES)
    amount_micros = models.BigIntegerField()
    source = models.CharField(max_length=80, help_text="why it is given, for the statement")
    most = models.PositiveIntegerField(help_text="workspaces that may use it")
    used = models.PositiveIntegerField(default=0)
    until = models.DateTimeField(null=True, blank=True, help_text="until when it may be used")
    credit_days = models.PositiveIntegerField(null=True, blank=True, help_text="that the credit lasts")
    created_at = models.DateTimeField(default=timezone.now)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="coupon_amounts",
                condition=Q(amount_micros__gt=0, used__lte=F("most"), book__in=BOOKS),
            ),
        ]

    def __str__(self) -> str:
        return self.code


class CouponUse(models.Model):
    """A workspace has used a coupon."""

    coupon = models.ForeignKey(Coupon, on_delete=models.PROTECT, related_name="uses")
    workspace = models.ForeignKey("marketplace.Workspace", on_delete=models.PROTECT, related_name="+")
    by = models.ForeignKey(
        "marketplace.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    used_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["coupon", "workspace"], name="coupon_use_once"),
        ]

    def __str__(self) -> str:
        return f"{self.coupon_id} by workspace {self.workspace_id}"


class Reconciliation(models.Model):
    """One comparison of our rows with Stripe's own lists. `differences` are what nobody could mend: none is good."""

    book = models.CharField(max_length=4, choices=BOOK_CHOICES)
    since = models.DateTimeField()
    until = models.DateTimeField()
    figures: models.JSONField[Any, Any] = models.JSONField(default=dict)
    differences: models.JSONField[Any, Any] = models.JSONField(default=list)
    made_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["book", "-made_at"], name="reconciliation_latest")]

    def __str__(self) -> str:
        return f"reconciliation of {self.made_at:%Y-%m-%d %H:%M}"
