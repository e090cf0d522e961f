"""The rows of the money. Only `billing.ledger` writes them; everything else reads.

Entries are credit-normal: what we owe somebody is positive on that somebody's account, so what came in from
outside (`stripe_clearing`, `platform_promo`) is negative there, and every transaction sums to zero.
"""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from marketplace.ids import encode, uuid7

WORKSPACE_KINDS = ("workspace_granted", "workspace_bought", "workspace_held")
CACHED_KINDS = ("workspace_granted", "workspace_bought")
PUBLISHER_KINDS = ("publisher_pending", "publisher_payable", "publisher_unpayable")
PLATFORM_KINDS = ("platform_revenue", "platform_promo", "stripe_clearing")


class Book(models.TextChoices):
    """Play money and real money. The two never meet in one transaction."""

    TEST = "test"
    LIVE = "live"


class Period(models.TextChoices):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    LIFETIME = "lifetime"


class ScopeKind(models.TextChoices):
    KEY = "key"
    MEMBER = "member"
    WORKSPACE = "workspace"
    MODEL = "model"


class LedgerAccount(models.Model):
    """A place where money is. Balances are sums of entries; only spendable credit also has a guarded, cached
    one.

    A workspace's spendable credit is two accounts, by source; `workspace_held` is what open holds have set
    aside. A publisher's share starts `pending`, matures to `payable`; what was earned from granted credit or
    from the publisher's own workspace goes to `unpayable`, shown as earned and never paid out.
    """

    class Kind(models.TextChoices):
        WORKSPACE_GRANTED = "workspace_granted"
        WORKSPACE_BOUGHT = "workspace_bought"
        WORKSPACE_HELD = "workspace_held"
        PUBLISHER_PENDING = "publisher_pending"
        PUBLISHER_PAYABLE = "publisher_payable"
        PUBLISHER_UNPAYABLE = "publisher_unpayable"
        PLATFORM_REVENUE = "platform_revenue"
        PLATFORM_PROMO = "platform_promo"
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
    # row that it writes anyway, and they are counted again only when the sum reaches what may be open at once.
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

    book = models.CharField(max_length=4, choices=Book.choices)
    key = models.CharField(max_length=200)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    reference = models.UUIDField(null=True, blank=True)
    note = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["book", "key"], name="ledger_transaction_key")]

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

    class Meta:
        constraints = [
            models.CheckConstraint(name="ledger_entry_not_zero", condition=~Q(amount_micros=0)),
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


def usual_alerts() -> list[int]:
    """At which parts of a limit its workspace is told, in percent, where nobody has chosen."""
    return [50, 80, 100]


class SpendLimit(models.Model):
    """The most that a key, member, model or the whole workspace may spend per period, as configured, and at which parts
    of it, in percent, those are told who look after the credit."""

    public_id = models.UUIDField(default=uuid7, db_default=RandomUUID(), unique=True, editable=False)
    workspace = models.ForeignKey("marketplace.Workspace", on_delete=models.CASCADE, related_name="+")
    book = models.CharField(max_length=4, choices=Book.choices)
    scope_kind = models.CharField(max_length=12, choices=ScopeKind.choices)
    scope_id = models.CharField(max_length=100)
    period = models.CharField(max_length=8, choices=Period.choices)
    limit_micros = models.BigIntegerField()
    alert_at = ArrayField(
        models.PositiveSmallIntegerField(), default=usual_alerts, db_default=[50, 80, 100], blank=True
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "book", "scope_kind", "scope_id", "period"], name="spend_limit_scope"
            ),
            models.CheckConstraint(name="spend_limit_amount", condition=Q(limit_micros__gte=0)),
        ]

    def __str__(self) -> str:
        return f"{self.scope_kind} {self.scope_id} per {self.period}"

    @property
    def uid(self) -> str:
        """The public id as our own API and pages write it."""
        return encode(self.public_id, "l")


class SpendWindow(models.Model):
    """What was spent or is held against a limit in one period. A new period is a new row; rows are never
    deleted.

     `limit_micros` is the limit as of the latest hold, kept for the record. `told_percent` is the highest part of the
     limit of which the workspace was told, `refused_at` when the limit first refused a run.
    """

    workspace = models.ForeignKey("marketplace.Workspace", on_delete=models.PROTECT, related_name="+")
    book = models.CharField(max_length=4, choices=Book.choices)
    scope_kind = models.CharField(max_length=12, choices=ScopeKind.choices)
    scope_id = models.CharField(max_length=100)
    period = models.CharField(max_length=8, choices=Period.choices)
    starts_at = models.DateTimeField()
    limit_micros = models.BigIntegerField()
    spent_micros = models.BigIntegerField(default=0)
    told_percent = models.PositiveSmallIntegerField(default=0, db_default=0)
    refused_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "book", "scope_kind", "scope_id", "period", "starts_at"],
                name="spend_window_scope",
            ),
            models.CheckConstraint(name="spend_window_spent", condition=Q(spent_micros__gte=0)),
        ]

    def __str__(self) -> str:
        return f"{self.scope_kind} {self.scope_id} per {self.period} from {self.starts_at:%Y-%m-%d}"


class UsageRecord(models.Model):
    """What one settled prediction was charged for; the line of the statement. Knows the room above by value
    only."""

    reference = models.UUIDField(unique=True)
    workspace = models.ForeignKey("marketplace.Workspace", on_delete=models.PROTECT, related_name="+")
    book = models.CharField(max_length=4, choices=Book.choices)
    model = models.CharField(max_length=120)
    key_id = models.BigIntegerField(null=True, blank=True)
    user_id = models.BigIntegerField(null=True, blank=True)
    status = models.CharField(max_length=16)
    quote: models.JSONField[Any, Any] = models.JSONField(default=dict)
    units: models.JSONField[Any, Any] = models.JSONField(default=dict)
    amount_micros = models.BigIntegerField()
    occurred_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(name="usage_record_amount", condition=Q(amount_micros__gte=0)),
        ]
        indexes = [models.Index(fields=["workspace", "-occurred_at"], name="usage_record_workspace")]

    def __str__(self) -> str:
        return f"usage of {self.reference}"


class UsageDay(models.Model):
    """The usage records of one UTC day, summed up. Written where they are, by the statement that writes them.

    Rows are parts of a sum: who finds all rows of its day locked by others that settle adds one, and waits for nobody.
    """

    # Without an index of its own, here and below: the other one begins with the workspace, and a planner that has
    # both took this one, for all days instead of a few.
    workspace = models.ForeignKey(
        "marketplace.Workspace", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    book = models.CharField(max_length=4, choices=Book.choices)
    day = models.DateField()
    model = models.CharField(max_length=120)
    key_id = models.BigIntegerField(default=0)  # 0 is none, here and below
    user_id = models.BigIntegerField(default=0)
    runs = models.BigIntegerField()
    not_charged = (
        models.BigIntegerField()
    )  # the runs among them that cost nothing because they did not succeed
    amount_micros = models.BigIntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="usage_day_amounts",
                condition=Q(runs__gt=0, not_charged__gte=0, amount_micros__gte=0)
                & Q(not_charged__lte=F("runs")),
            ),
        ]
        indexes = [
            models.Index(
                fields=["workspace", "book", "day", "model", "key_id", "user_id"], name="usage_day_sums"
            ),
        ]

    def __str__(self) -> str:
        return f"usage of {self.model} on {self.day}"


class LowBalance(models.Model):
    """Below which available amount a workspace is warned, and when it was; the next credit makes that null again."""

    workspace = models.ForeignKey(
        "marketplace.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False
    )
    book = models.CharField(max_length=4, choices=Book.choices)
    below_micros = models.BigIntegerField()  # 0 is never
    told_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "book"], name="low_balance_once"),
            models.CheckConstraint(name="low_balance_amount", condition=Q(below_micros__gte=0)),
        ]

    def __str__(self) -> str:
        return f"workspace {self.workspace_id} below {self.below_micros}"
