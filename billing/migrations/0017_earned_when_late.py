"""Entries on the accounts of publishers that were being written as 0016_earned_when replaced `ledger_post`.

A call that had begun by then went on as it was, behind the lock of that migration, and noted no moment. Whoever waited
for that lock has written before this one asks for its own.
"""

from __future__ import annotations

from django.db import migrations

LATE = """
ALTER TABLE billing_ledgerentry DISABLE TRIGGER ledger_entry_append_only;
UPDATE billing_ledgerentry e SET moved_at = t.created_at
  FROM billing_ledgeraccount a, billing_ledgertransaction t
 WHERE a.id = e.account_id AND a.publisher_id IS NOT NULL AND t.id = e.transaction_id AND e.moved_at IS NULL;
ALTER TABLE billing_ledgerentry ENABLE TRIGGER ledger_entry_append_only;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0016_earned_when")]

    operations = [migrations.RunSQL(LATE, migrations.RunSQL.noop)]
