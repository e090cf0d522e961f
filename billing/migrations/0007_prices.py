"""Limits have ids, and tell at chosen parts of themselves; a hold may count how many are open.

`ledger_hold` is a second function beside the one of the deployment before, which goes on calling that until it is gone.
It differs by its last two arguments: how many holds a workspace may have open at once, and how many while it has no
bought credit; 0 is no limit. To count them each time would make those of a busy workspace wait for each other: its credit
accounts keep a bound, which grows by one with each hold, and only when that is reached the open holds are counted.
"""

from __future__ import annotations

import django.contrib.postgres.fields
import django.contrib.postgres.functions
from django.db import migrations, models

import billing.models.limits
import marketplace.ids

HOLD = """
CREATE FUNCTION ledger_hold(
    in_workspace bigint, in_book text, in_run uuid, in_amount bigint, in_at timestamptz,
    in_scope_kinds text[], in_scope_ids text[], in_periods text[], in_starts timestamptz[],
    in_most integer, in_most_granted integer,
    OUT outcome text, OUT available bigint, OUT refusing_window bigint, OUT spent bigint, OUT allowed bigint
) LANGUAGE plpgsql AS $$
DECLARE
    window_ids bigint[] := '{}';
    window_limits bigint[] := '{}';
    granted_id bigint;
    bought_id bigint;
    from_granted bigint := 0;
    from_bought bigint := 0;
    posted_id bigint;
    most integer := in_most;
    bound bigint := 0;
    is_counted boolean := false;
    row_ record;
BEGIN
    available := 0;
    IF in_amount > 0 THEN
        PERFORM 1 FROM billing_spendlimit WHERE workspace_id = in_workspace AND book = in_book;
        IF FOUND THEN
            INSERT INTO billing_spendwindow
                   (workspace_id, book, scope_kind, scope_id, period, starts_at, limit_micros, spent_micros)
            SELECT in_workspace, in_book, l.scope_kind, l.scope_id, l.period, p.starts_at, l.limit_micros, 0
              FROM unnest(in_scope_kinds, in_scope_ids) AS s(kind, id)
              JOIN billing_spendlimit l ON l.workspace_id = in_workspace AND l.book = in_book
                                       AND l.scope_kind = s.kind AND l.scope_id = s.id
              JOIN unnest(in_periods, in_starts) AS p(period, starts_at) ON p.period = l.period
             WHERE NOT EXISTS (SELECT 1 FROM billing_spendwindow w
                                WHERE w.workspace_id = in_workspace AND w.book = in_book
                                  AND w.scope_kind = l.scope_kind AND w.scope_id = l.scope_id
                                  AND w.period = l.period AND w.starts_at = p.starts_at)
             ORDER BY l.id
                ON CONFLICT DO NOTHING;
            FOR row_ IN
                SELECT w.id, w.spent_micros, l.limit_micros
                  FROM unnest(in_scope_kinds, in_scope_ids) AS s(kind, id)
                  JOIN billing_spendlimit l ON l.workspace_id = in_workspace AND l.book = in_book
                                           AND l.scope_kind = s.kind AND l.scope_id = s.id
                  JOIN unnest(in_periods, in_starts) AS p(period, starts_at) ON p.period = l.period
                  JOIN billing_spendwindow w ON w.workspace_id = in_workspace AND w.book = in_book
                                            AND w.scope_kind = l.scope_kind AND w.scope_id = l.scope_id
                                            AND w.period = l.period AND w.starts_at = p.starts_at
                 ORDER BY w.id FOR NO KEY UPDATE OF w
            LOOP
                IF row_.spent_micros + in_amount > row_.limit_micros THEN
                    outcome := 'limit';
                    refusing_window := row_.id;
                    spent := row_.spent_micros;
                    allowed := row_.limit_micros;
                    RETURN;
                END IF;
                window_ids := window_ids || row_.id;
                window_limits := window_limits || row_.limit_micros;
            END LOOP;
        END IF;

        FOR row_ IN
            SELECT id, kind, balance_micros, open_bound FROM billing_ledgeraccount
             WHERE book = in_book
               AND code IN ('workspace_granted:' || in_workspace, 'workspace_bought:' || in_workspace)
             ORDER BY id FOR NO KEY UPDATE
        LOOP
            available := available + row_.balance_micros;
            bound := bound + row_.open_bound;
            IF row_.kind = 'workspace_granted' THEN
                granted_id := row_.id;
                from_granted := least(row_.balance_micros, in_amount);
            ELSE
                bought_id := row_.id;
                IF row_.balance_micros = 0 AND in_most_granted > 0 AND (most = 0 OR in_most_granted < most) THEN
                    most := in_most_granted;
                END IF;
            END IF;
        END LOOP;
        IF available < in_amount THEN
            outcome := 'insufficient';
            RETURN;
        END IF;
        from_bought := in_amount - from_granted;
    ELSIF most > 0 THEN
        FOR row_ IN
            SELECT id, kind, open_bound FROM billing_ledgeraccount
             WHERE book = in_book
               AND code IN ('workspace_granted:' || in_workspace, 'workspace_bought:' || in_workspace)
             ORDER BY id FOR NO KEY UPDATE
        LOOP
            bound := bound + row_.open_bound;
            IF row_.kind = 'workspace_granted' THEN
                granted_id := row_.id;
            ELSE
                bought_id := row_.id;
            END IF;
        END LOOP;
    END IF;
    -- Counted under the lock of the credit, so that many at once cannot all be the last that fits.
    IF most > 0 AND (bound >= most OR bought_id IS NULL) THEN
        SELECT count(*) INTO bound
          FROM (SELECT 1 FROM billing_hold WHERE workspace_id = in_workspace AND book = in_book AND state = 'open'
                 LIMIT most) AS o;
        IF bound >= most THEN
            outcome := 'busy';
            allowed := most;
            RETURN;
        END IF;
        is_counted := true;
    END IF;

    INSERT INTO billing_ledgertransaction (book, key, kind, reference, note, created_at)
    VALUES (in_book, 'hold:' || in_run, 'hold', in_run, '', in_at)
        ON CONFLICT (book, key) DO NOTHING
    RETURNING id INTO posted_id;
    IF posted_id IS NULL THEN
        outcome := 'repeated';
        RETURN;
    END IF;
    INSERT INTO billing_hold (reference, workspace_id, book, granted_micros, bought_micros, captured_micros,
                              state, window_ids, opened_by_id, opened_at, closed_at)
    VALUES (in_run, in_workspace, in_book, from_granted, from_bought, 0,
            'open', window_ids, posted_id, in_at, NULL);
    IF is_counted THEN
        UPDATE billing_ledgeraccount SET open_bound = CASE WHEN id = bought_id THEN bound ELSE 0 END
         WHERE id IN (granted_id, bought_id);
    END IF;
    IF in_amount = 0 AND most > 0 THEN
        UPDATE billing_ledgeraccount SET open_bound = open_bound + 1 WHERE id = bought_id;
    END IF;
    IF in_amount > 0 THEN
        INSERT INTO billing_ledgerentry (transaction_id, account_id, amount_micros)
        SELECT posted_id, leg.account_id, leg.amount
          FROM (VALUES (granted_id, -from_granted), (bought_id, -from_bought)) AS leg(account_id, amount)
         WHERE leg.amount <> 0
         UNION ALL
        SELECT posted_id, id, in_amount FROM billing_ledgeraccount
         WHERE book = in_book AND code = 'workspace_held:' || in_workspace;
        IF window_ids <> '{}' THEN
            UPDATE billing_spendwindow w
               SET spent_micros = w.spent_micros + in_amount, limit_micros = u.limit_micros
              FROM unnest(window_ids, window_limits) AS u(id, limit_micros) WHERE w.id = u.id;
        END IF;
        IF from_granted > 0 THEN
            UPDATE billing_ledgeraccount
               SET balance_micros = balance_micros - from_granted, open_bound = open_bound + 1 WHERE id = granted_id;
        END IF;
        IF from_bought > 0 THEN
            UPDATE billing_ledgeraccount
               SET balance_micros = balance_micros - from_bought,
                   open_bound = open_bound + (from_granted = 0)::integer
             WHERE id = bought_id;
        END IF;
    END IF;
    outcome := 'held';
END $$;
"""

# What is open now; the deployment before adds none to it, for the minutes in which both run.
BOUND = """
UPDATE billing_ledgeraccount a SET open_bound = h.open
  FROM (SELECT workspace_id, book, count(*) AS open FROM billing_hold WHERE state = 'open' GROUP BY 1, 2) AS h
 WHERE a.kind = 'workspace_bought' AND a.workspace_id = h.workspace_id AND a.book = h.book;
"""

UNDO = """
DROP FUNCTION ledger_hold(bigint, text, uuid, bigint, timestamptz, text[], text[], text[], timestamptz[], integer,
                          integer);
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0006_ledger_seals")]

    operations = [
        # The database makes one for each row that is there.
        migrations.AddField(
            model_name="spendlimit",
            name="public_id",
            field=models.UUIDField(
                db_default=django.contrib.postgres.functions.RandomUUID(),
                default=marketplace.ids.uuid7,
                editable=False,
                unique=True,
            ),
        ),
        migrations.AddField(
            model_name="spendlimit",
            name="alert_at",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.PositiveSmallIntegerField(),
                blank=True,
                db_default=[50, 80, 100],
                default=billing.models.limits.usual_alerts,
                size=None,
            ),
        ),
        migrations.AddField(
            model_name="spendwindow",
            name="told_percent",
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="spendwindow",
            name="refused_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="ledgeraccount",
            name="open_bound",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.RunSQL(BOUND, migrations.RunSQL.noop),
        migrations.RunSQL(HOLD, UNDO),
    ]
