"""Entries on the accounts of publishers know when they were, so that a month of one is a range of an index.

`ledger_post` is that of 0003_movements but for three places, written down here as differences. No entry of the past
changes in what it says: each gets the moment of its transaction, past the trigger that keeps entries as they are.
"""

from __future__ import annotations

from importlib import import_module

from django.db import migrations, models

FORMER = import_module("billing.migrations.0003_movements").POST
CHANGED = import_module("billing.migrations.0012_spent_before").changed

POST = {
    """    amounts bigint[];
    cached_ids bigint[];
BEGIN
    SELECT array_agg(a.id), array_agg(w.amount),
""": """    amounts bigint[];
    moments timestamptz[];
    cached_ids bigint[];
BEGIN
    SELECT array_agg(a.id), array_agg(w.amount), array_agg(CASE WHEN a.publisher_id IS NOT NULL THEN in_at END),
""",
    """      INTO account_ids, amounts, cached_ids, known
""": """      INTO account_ids, amounts, moments, cached_ids, known
""",
    """    INSERT INTO billing_ledgerentry (transaction_id, account_id, amount_micros)
    SELECT posted, u.account_id, u.amount FROM unnest(account_ids, amounts) AS u(account_id, amount);
""": """    INSERT INTO billing_ledgerentry (transaction_id, account_id, amount_micros, moved_at)
    SELECT posted, u.account_id, u.amount, u.moment
      FROM unnest(account_ids, amounts, moments) AS u(account_id, amount, moment);
""",
}
PAST = """
ALTER TABLE billing_ledgerentry DISABLE TRIGGER ledger_entry_append_only;
UPDATE billing_ledgerentry e SET moved_at = t.created_at
  FROM billing_ledgeraccount a, billing_ledgertransaction t
 WHERE a.id = e.account_id AND a.publisher_id IS NOT NULL AND t.id = e.transaction_id;
ALTER TABLE billing_ledgerentry ENABLE TRIGGER ledger_entry_append_only;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0015_payout_strays")]

    operations = [
        migrations.AddField(
            model_name="ledgerentry",
            name="moved_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.RunSQL(
            CHANGED(FORMER, POST), FORMER.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
        ),
        migrations.RunSQL(PAST, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name="ledgerentry",
            index=models.Index(
                condition=models.Q(("moved_at__isnull", False)),
                fields=["account", "moved_at"],
                include=("amount_micros", "transaction"),
                name="ledger_entry_of_publisher",
            ),
        ),
    ]
