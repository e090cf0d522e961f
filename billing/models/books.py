"""What the books are made of: accounts, movements of money, and what is set aside.

Entries are credit-normal: what we owe somebody is positive on that somebody's account, so what came in from
outside (`stripe_clearing`, `platform_promo`) is negative there, and every transaction sums to zero.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

WORKSPACE_KINDS = ("workspace_granted", "workspace_bought", "workspace_held", "workspace_refunding")
CACHED_KINDS = ("workspace_granted", "workspace_bought")
PUBLISHER_KINDS = ("publisher_pending", "publisher_payable", "publisher_in_transit", "publisher_unpayable")
PLATFORM_KINDS = (
    "platform_revenue",
    "platform_promo",
    "platform_losses",
    "platform_fees",
    "platform_bank",
    "stripe_clearing",
)

#: More than can be open at once: who finds it counts.
UNCOUNTED = 2**31
NOT_MOVES = ("hold", "capture", "release", "mature", "payout", "paid_out", "payout_failed")


class Book(models.TextChoices):
    """Play money and real money. The two never meet in one transaction."""

    TEST = "test"
    LIVE = "live"


class LedgerAccount(models.Model):
    """A place where money is. Balances are sums of entries; only spendable credit also has a guarded, cached
    one.

    A workspace's spendable credit is two accounts, by source; `workspace_held` is what open holds have set
    aside, `workspace_refunding` what is on its way back to who bought it. A publisher's share starts `pending`,
    matures to `payable` (below zero: what was taken back after it had been paid out), is `in_transit` while a
    payout is under way; what was earned from granted credit or from the publisher's own workspace goes to
    `unpayable`, shown as earned and never paid out. The platform's: its `revenue`, the credit it gave away
    (`promo`), what disputes cost it (`losses`), what the payment processor takes (`fees`), and two windows to the
    outside, `stripe_clearing` and, for payouts by hand, `platform_bank`: minus their balance is what is there.
    """

    class Kind(models.TextChoices):
        WORKSPACE_GRANTED = "workspace_granted"
        WORKSPACE_BOUGHT = "workspace_bought"
        WORKSPACE_HELD = "workspace_held"
        WORKSPACE_REFUNDING = "workspace_refunding"
        PUBLISHER_PENDING = "publisher_pending"
        PUBLISHER_PAYABLE = "publisher_payable"
        PUBLISHER_IN_TRANSIT = "publisher_in_transit"
        PUBLISHER_UNPAYABLE = "publisher_unpayable"
        PLATFORM_REVENUE = "platform_revenue"
        PLATFORM_PROMO = "platform_promo"
        PLATFORM_LOSSES = "platform_losses"
        PLATFORM_FEES = "platform_fees"
        PLATFORM_BANK = "platform_bank"
        STRIPE_CLEARING = "stripe_clearing"

    book = models.CharField(max_length=4, choices=Book.choices)
    kind = models.CharField(max_length=24, choices=Kind.choices)
    workspace = models.ForeignKey(
        "marketplace.Workspace", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    publisher = models.ForeignKey(
        "marketplace.Publisher", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    # "<kind>:<owner>", so that one statement finds several accounts by one index.
    code = models.CharField(max_length=48)
    balance_micros = models.BigIntegerField(default=0)
    # Of both credit accounts of a workspace together: no fewer than the holds that are open. Each hold adds one to a
    # row that it writes anyway, and they are counted again only when the sum reaches what may be open at once. A new
    # account begins with more than that ever is, as free runs may have been held before there was credit.
    open_bound = models.BigIntegerField(default=0, db_default=0)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["book", "code"], name="ledger_account_code"),
            models.CheckConstraint(name="ledger_account_book", condition=Q(book__in=["test", "live"])),
            models.CheckConstraint(
                name="ledger_account_owner",
                condition=Q(kind__in=WORKSPACE_KINDS, workspace__isnull=False, publisher__isnull=True)
                | Q(kind__in=PUBLISHER_KINDS, workspace__isnull=True, publisher__isnull=False)
                | Q(kind__in=PLATFORM_KINDS, workspace__isnull=True, publisher__isnull=True),
            ),
            models.CheckConstraint(
                name="ledger_account_balance",
                condition=Q(balance_micros=0) | Q(kind__in=CACHED_KINDS, balance_micros__gt=0),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.book}/{self.code}"


class LedgerTransaction(models.Model):
    """One movement, written once under a unique key: a second attempt at the same key changes nothing."""

    class Kind(models.TextChoices):
        GRANT = "grant"
        PURCHASE = "purchase"
        HOLD = "hold"
        CAPTURE = "capture"
        RELEASE = "release"
        REFUND = "refund"
        MATURE = "mature"
        PAYOUT = "payout"
        PAID_OUT = "paid_out"
        PAYOUT_FAILED = "payout_failed"
        PAYOUT_RETURNED = "payout_returned"
        TOPUP_REFUND = "topup_refund"
        TOPUP_REFUNDED = "topup_refunded"
        TOPUP_REFUND_FAILED = "topup_refund_failed"
        DISPUTE = "dispute"
        REINSTATED = "reinstated"
        EXPIRED = "expired"
        FEE = "fee"

    book = models.CharField(max_length=4, choices=Book.choices)
    key = models.CharField(max_length=200)
    kind = models.CharField(max_length=24, choices=Kind.choices)
    reference = models.UUIDField(null=True, blank=True)
    note = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["book", "key"], name="ledger_transaction_key")]
        indexes = [
            # What moves a workspace's credit other than by runs: a few rows of a month, for its invoice.
            models.Index(
                fields=["book", "created_at"],
                name="ledger_transaction_moves",
                condition=~Q(kind__in=NOT_MOVES),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.book}/{self.key}"


class LedgerEntry(models.Model):
    """One leg of a transaction. Append-only, and zero in sum per transaction, by triggers."""

    transaction = models.ForeignKey(LedgerTransaction, on_delete=models.PROTECT, related_name="entries")
    # No foreign key in the database: it would lock the platform's account rows from every settle at once. The
    # deferred trigger that sums the transaction checks the account too, and another one keeps accounts from
    # being deleted.
    account = models.ForeignKey(
        LedgerAccount, on_delete=models.PROTECT, related_name="entries", db_constraint=False
    )
    amount_micros = models.BigIntegerField()
    # When, as of its transaction, on the accounts of publishers alone: a month of one of them is a range of an index.
    moved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="ledger_entry_not_zero", condition=~Q(amount_micros=0)),
        ]
        indexes = [
            models.Index(
                fields=["account", "moved_at"],
                include=["amount_micros", "transaction"],
                name="ledger_entry_of_publisher",
                condition=Q(moved_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount_micros:+d} in transaction {self.transaction_id}"


class Hold(models.Model):
    """Credit set aside for one prediction; closed once, by a capture or a release, and then never changed."""

    class State(models.TextChoices):
        OPEN = "open"
        CAPTURED = "captured"
        RELEASED = "released"

    reference = models.UUIDField(
        unique=True
    )  # the prediction's public id; the rooms above are not known here
    workspace = models.ForeignKey("marketplace.Workspace", on_delete=models.PROTECT, related_name="+")
    book = models.CharField(max_length=4, choices=Book.choices)
    granted_micros = models.BigIntegerField()
    bought_micros = models.BigIntegerField()
    captured_micros = models.BigIntegerField(default=0)
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    # The spend windows that this hold counts in; they are given back what is not captured.
    window_ids = ArrayField(models.BigIntegerField(), default=list)
    # "<kind>:<id>" of all that a limit could be on, so that one which is set later finds it; while it is open only, and
    # not of free runs.
    scopes = ArrayField(models.TextField(), default=list, db_default=[])
    opened_by = models.ForeignKey(LedgerTransaction, on_delete=models.PROTECT, related_name="+")
    opened_at = models.DateTimeField(default=timezone.now)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="hold_amounts",
                condition=Q(granted_micros__gte=0, bought_micros__gte=0, captured_micros__gte=0)
                & Q(captured_micros__lte=F("granted_micros") + F("bought_micros")),
            ),
            models.CheckConstraint(
                name="hold_state",
                condition=Q(state="open", closed_at__isnull=True, captured_micros=0)
                | Q(state="captured", closed_at__isnull=False)
                | Q(state="released", closed_at__isnull=False, captured_micros=0),
            ),
        ]
        indexes = [
            models.Index(fields=["workspace"], name="hold_open", condition=Q(state="open")),
        ]

    def __str__(self) -> str:
        return f"hold {self.reference}"
