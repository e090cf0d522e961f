"""Disputed payments, so that runs can be counted for all of a workspace together, and what is owed is looked up at once.

`ledger_post` says whether bought credit came to a workspace that owes something. What is known of earlier disputes is
written down: of which runs they took how much of the charge follows from what they took of the share.
"""

from __future__ import annotations

from importlib import import_module

import django.db.models.deletion
from django.db import migrations, models

FORMER = import_module("billing.migrations.0016_earned_when")
CHANGED = FORMER.CHANGED

DROP = "DROP FUNCTION ledger_post(text, text, text, uuid, text, timestamptz, text[], bigint[]);"
POST = {
    "in_codes text[], in_amounts bigint[], OUT posted bigint, OUT known integer\n": (
        "in_codes text[], in_amounts bigint[], OUT posted bigint, OUT known integer, OUT owes boolean\n"
    ),
    # After the rows of the accounts are locked: a dispute that is lost from here on sees this credit.
    """         WHERE a.id = u.id AND a.id = ANY(cached_ids);
""": """         WHERE a.id = u.id AND a.id = ANY(cached_ids);
        owes := EXISTS (
            SELECT FROM unnest(account_ids, amounts) AS u(id, amount)
              JOIN billing_ledgeraccount a ON a.id = u.id
              JOIN billing_disputedpayment d ON d.workspace_id = a.workspace_id AND d.book = in_book
             WHERE u.amount > 0 AND a.kind = 'workspace_bought' AND d.is_due AND d.left_micros > 0);
""",
}
UNGUARDED = "DROP TRIGGER disputed_share_only_shrinks ON billing_disputedshare;"
PAST = """
INSERT INTO billing_disputedpayment (dispute_id, book, workspace_id, paid_at, withdrawn_at, unspent_micros, spent_micros,
                                     left_micros, shares_micros, is_due, is_won)
SELECT d.dispute_id, p.book, p.workspace_id, p.settled_at, t.created_at, e.unspent, greatest(e.spent, m.owed), m.owed,
       m.shares, d.status = 'lost' AND d.reinstated_at IS NULL, d.reinstated_at IS NOT NULL
  FROM billing_dispute d
  JOIN billing_topup p ON p.id = d.top_up_id
  JOIN billing_ledgertransaction t ON t.book = p.book AND t.key = 'dispute:' || d.dispute_id || ':withdrawn'
  CROSS JOIN LATERAL (
       SELECT coalesce(-sum(e.amount_micros) FILTER (WHERE a.kind = 'workspace_bought'), 0)::bigint AS unspent,
              coalesce(-sum(e.amount_micros) FILTER (WHERE a.kind = 'platform_losses'), 0)::bigint AS spent
         FROM billing_ledgerentry e JOIN billing_ledgeraccount a ON a.id = e.account_id
        WHERE e.transaction_id = t.id) e
  CROSS JOIN LATERAL (
       SELECT greatest(0, coalesce(-sum(e.amount_micros), 0))::bigint AS owed,
              coalesce(-sum(e.amount_micros) FILTER (WHERE a.kind = 'publisher_payable' AND e.amount_micros < 0),
                       0)::bigint AS shares
         FROM billing_ledgertransaction o JOIN billing_ledgerentry e ON e.transaction_id = o.id
         JOIN billing_ledgeraccount a ON a.id = e.account_id
        WHERE o.book = t.book AND o.kind IN ('dispute', 'reinstated') AND split_part(o.key, ':', 2) = d.dispute_id
          AND a.kind IN ('platform_losses', 'publisher_payable')) m
 WHERE p.settled_at IS NOT NULL
 ORDER BY t.id;
UPDATE billing_disputedshare s SET counted_micros = div(s.left_micros::numeric * r.bought, r.share),
                                   unpaid_micros = div(s.left_micros::numeric * r.bought, r.share)
  FROM (SELECT h.reference, sum(e.amount_micros)::bigint AS share,
               max(h.captured_micros - least(h.granted_micros, h.captured_micros))::bigint AS bought
          FROM billing_hold h
          JOIN billing_ledgertransaction t ON t.book = h.book AND t.key = 'settle:' || h.reference
          JOIN billing_ledgerentry e ON e.transaction_id = t.id
          JOIN billing_ledgeraccount a ON a.id = e.account_id
         WHERE a.kind = 'publisher_pending' GROUP BY 1) r
 WHERE r.reference = s.reference AND s.left_micros > 0;
"""
GUARDED = """
CREATE TRIGGER disputed_share_of_one_run BEFORE UPDATE ON billing_disputedshare
    FOR EACH ROW WHEN ((OLD.id, OLD.dispute_id, OLD.book, OLD.reference, OLD.publisher_id)
          IS DISTINCT FROM (NEW.id, NEW.dispute_id, NEW.book, NEW.reference, NEW.publisher_id))
    EXECUTE FUNCTION billing_forbid_change();
CREATE TRIGGER disputed_payment_is_one BEFORE UPDATE ON billing_disputedpayment
    FOR EACH ROW WHEN ((OLD.id, OLD.dispute_id, OLD.book, OLD.workspace_id, OLD.paid_at, OLD.withdrawn_at,
                        OLD.unspent_micros, OLD.shares_micros)
          IS DISTINCT FROM (NEW.id, NEW.dispute_id, NEW.book, NEW.workspace_id, NEW.paid_at, NEW.withdrawn_at,
                            NEW.unspent_micros, NEW.shares_micros)
          OR NEW.left_micros > OLD.left_micros OR NEW.spent_micros > OLD.spent_micros OR OLD.is_won)
    EXECUTE FUNCTION billing_forbid_change();
CREATE TRIGGER disputed_payment_never_deleted BEFORE DELETE ON billing_disputedpayment
    FOR EACH ROW EXECUTE FUNCTION billing_forbid_change();
"""

AMOUNTS = models.BigIntegerField


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0017_earned_when_late"),
        ("marketplace", "0010_keys_of_people"),
    ]

    operations = [
        migrations.CreateModel(
            name="DisputedPayment",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("dispute_id", models.CharField(max_length=150)),
                ("book", models.CharField(choices=[("test", "Test"), ("live", "Live")], max_length=4)),
                ("paid_at", models.DateTimeField()),
                ("withdrawn_at", models.DateTimeField()),
                ("unspent_micros", AMOUNTS()),
                ("spent_micros", AMOUNTS()),
                ("left_micros", AMOUNTS()),
                ("shares_micros", AMOUNTS()),
                ("is_due", models.BooleanField(default=False)),
                ("is_won", models.BooleanField(default=False)),
                (
                    "workspace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="marketplace.workspace",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("is_due", True), ("left_micros__gt", 0)),
                        fields=["workspace", "book"],
                        name="disputed_payment_due",
                    ),
                    models.Index(
                        condition=models.Q(("is_won", False)),
                        fields=["workspace", "book", "paid_at"],
                        name="disputed_payment_open",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("book", "dispute_id"), name="disputed_payment_once"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("left_micros__gte", 0),
                            ("shares_micros__gte", 0),
                            ("unspent_micros__gte", 0),
                            ("left_micros__lte", models.F("spent_micros")),
                        ),
                        name="disputed_payment_amounts",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("is_won", False),
                            models.Q(("is_due", False), ("left_micros", 0)),
                            _connector="OR",
                        ),
                        name="disputed_payment_won",
                    ),
                ],
            },
        ),
        migrations.RemoveConstraint(model_name="disputedshare", name="disputed_share_amounts"),
        migrations.RemoveIndex(model_name="disputedshare", name="disputed_share_run"),
        migrations.RemoveIndex(model_name="disputedshare", name="disputed_share_left"),
        migrations.AddField("disputedshare", "counted_micros", AMOUNTS(default=0), preserve_default=False),
        migrations.AddField("disputedshare", "unpaid_micros", AMOUNTS(default=0), preserve_default=False),
        migrations.RunSQL([UNGUARDED, PAST, GUARDED], migrations.RunSQL.noop),
        migrations.RemoveField("disputedshare", "taken_micros"),
        migrations.AlterField(
            model_name="disputedshare",
            name="publisher",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="marketplace.publisher",
            ),
        ),
        migrations.AddIndex(
            model_name="disputedshare",
            index=models.Index(
                condition=models.Q(("counted_micros__gt", 0)), fields=["reference"], name="disputed_share_run"
            ),
        ),
        migrations.AddIndex(
            model_name="disputedshare",
            index=models.Index(
                condition=models.Q(("counted_micros__gt", 0)),
                fields=["dispute_id", "publisher"],
                name="disputed_share_left",
            ),
        ),
        migrations.AddConstraint(
            model_name="disputedshare",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("left_micros__gte", 0),
                    ("unpaid_micros__gte", 0),
                    ("unpaid_micros__lte", models.F("counted_micros")),
                    models.Q(("publisher__isnull", False), ("left_micros", 0), _connector="OR"),
                ),
                name="disputed_share_amounts",
            ),
        ),
        migrations.RunSQL(
            [DROP, CHANGED(CHANGED(FORMER.FORMER, FORMER.POST), POST)],
            [DROP, CHANGED(FORMER.FORMER, FORMER.POST)],
        ),
    ]
