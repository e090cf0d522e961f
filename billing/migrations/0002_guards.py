"""What the database itself refuses, whoever writes: unbalanced or mixed-book transactions, edits of the past.

TRUNCATE is not caught (tests empty the database with it); nothing in the product truncates.
"""

from __future__ import annotations

from django.db import migrations

APPEND_ONLY = """
CREATE FUNCTION billing_forbid_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are not edited; post a movement that corrects them', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER ledger_entry_append_only BEFORE UPDATE OR DELETE ON billing_ledgerentry
    FOR EACH ROW EXECUTE FUNCTION billing_forbid_change();
CREATE TRIGGER ledger_transaction_append_only BEFORE UPDATE OR DELETE ON billing_ledgertransaction
    FOR EACH ROW EXECUTE FUNCTION billing_forbid_change();
CREATE TRIGGER hold_closed_for_good BEFORE UPDATE ON billing_hold
    FOR EACH ROW WHEN (OLD.state <> 'open' OR (OLD.reference, OLD.workspace_id, OLD.book, OLD.granted_micros,
                       OLD.bought_micros) IS DISTINCT FROM (NEW.reference, NEW.workspace_id, NEW.book,
                       NEW.granted_micros, NEW.bought_micros))
    EXECUTE FUNCTION billing_forbid_change();
CREATE TRIGGER hold_never_deleted BEFORE DELETE ON billing_hold
    FOR EACH ROW EXECUTE FUNCTION billing_forbid_change();
CREATE TRIGGER ledger_account_identity BEFORE UPDATE ON billing_ledgeraccount
    FOR EACH ROW WHEN ((OLD.id, OLD.book, OLD.kind, OLD.code, OLD.workspace_id, OLD.publisher_id)
           IS DISTINCT FROM (NEW.id, NEW.book, NEW.kind, NEW.code, NEW.workspace_id, NEW.publisher_id))
    EXECUTE FUNCTION billing_forbid_change();
CREATE TRIGGER ledger_account_never_deleted BEFORE DELETE ON billing_ledgeraccount
    FOR EACH ROW EXECUTE FUNCTION billing_forbid_change();
"""

BALANCED = """
CREATE FUNCTION billing_check_transaction() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    total numeric;
    strays bigint;
BEGIN
    SELECT sum(e.amount_micros), count(*) FILTER (WHERE a.book IS DISTINCT FROM t.book)
      INTO total, strays
      FROM billing_ledgerentry e
      JOIN billing_ledgertransaction t ON t.id = e.transaction_id
      LEFT JOIN billing_ledgeraccount a ON a.id = e.account_id
     WHERE e.transaction_id = NEW.transaction_id;
    IF total <> 0 THEN
        RAISE EXCEPTION 'entries of transaction % sum to % instead of zero', NEW.transaction_id, total
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_transaction_balanced';
    END IF;
    IF strays > 0 THEN
        RAISE EXCEPTION 'transaction % has entries outside of its book', NEW.transaction_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_transaction_one_book';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER ledger_transaction_balanced AFTER INSERT ON billing_ledgerentry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing_check_transaction();
"""

UNDO = """
DROP TRIGGER ledger_transaction_balanced ON billing_ledgerentry;
DROP FUNCTION billing_check_transaction();
DROP TRIGGER ledger_entry_append_only ON billing_ledgerentry;
DROP TRIGGER ledger_transaction_append_only ON billing_ledgertransaction;
DROP TRIGGER hold_closed_for_good ON billing_hold;
DROP TRIGGER hold_never_deleted ON billing_hold;
DROP TRIGGER ledger_account_identity ON billing_ledgeraccount;
DROP TRIGGER ledger_account_never_deleted ON billing_ledgeraccount;
DROP FUNCTION billing_forbid_change();
"""

# Room on the page of a hot balance or window row for its next versions, so that updates stay off the indexes.
ROOM = """
ALTER TABLE billing_ledgeraccount SET (fillfactor = 50);
ALTER TABLE billing_spendwindow SET (fillfactor = 50);
"""
NO_ROOM = """
ALTER TABLE billing_ledgeraccount RESET (fillfactor);
ALTER TABLE billing_spendwindow RESET (fillfactor);
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]

    operations = [
        migrations.RunSQL(APPEND_ONLY + BALANCED, UNDO),
        migrations.RunSQL(ROOM, NO_ROOM),
    ]
