"""The three statements that move money, as functions, because PostgreSQL then keeps their plans per
connection.

As plain statements each of them spends two thirds of its time in being parsed and planned. `billing.ledger`
is the only caller: `holding` calls ledger_hold, `settling` calls ledger_close, and every other movement is a
ledger_post. Locks are taken in one order everywhere: the hold, spend windows by id, the workspace's credit
accounts by id.
"""

from __future__ import annotations

from django.db import migrations

# Nothing is written unless everything fits (except empty windows), so a caller may catch a refusal and go on.
# Limits and balances are read under their locks, hence current. Granted credit is taken first. The balance
# moves last.
HOLD = """
CREATE FUNCTION ledger_hold(
    in_workspace bigint, in_book text, in_run uuid, in_amount bigint, in_at timestamptz,
    in_scope_kinds text[], in_scope_ids text[], in_periods text[], in_starts timestamptz[],
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
            SELECT id, kind, balance_micros FROM billing_ledgeraccount
             WHERE book = in_book
               AND code IN ('workspace_granted:' || in_workspace, 'workspace_bought:' || in_workspace)
             ORDER BY id FOR NO KEY UPDATE
        LOOP
            available := available + row_.balance_micros;
            IF row_.kind = 'workspace_granted' THEN
                granted_id := row_.id;
                from_granted := least(row_.balance_micros, in_amount);
            ELSE
                bought_id := row_.id;
            END IF;
        END LOOP;
        IF available < in_amount THEN
            outcome := 'insufficient';
            RETURN;
        END IF;
        from_bought := in_amount - from_granted;
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
            UPDATE billing_ledgeraccount SET balance_micros = balance_micros - from_granted WHERE id = granted_id;
        END IF;
        IF from_bought > 0 THEN
            UPDATE billing_ledgeraccount SET balance_micros = balance_micros - from_bought WHERE id = bought_id;
        END IF;
    END IF;
    outcome := 'held';
END $$;
"""

# Closes an open hold, gives its windows back what is not charged, and records the usage. No row: it was not
# open, or the amount is more than was held.
CLOSE = """
CREATE FUNCTION ledger_close(
    in_run uuid, in_state text, in_amount bigint, in_at timestamptz, in_has_usage boolean, in_model text,
    in_status text, in_key bigint, in_user bigint, in_quote jsonb, in_units jsonb, in_occurred_at timestamptz
) RETURNS TABLE (workspace bigint, held_book text, granted bigint, bought bigint) LANGUAGE plpgsql AS $$
DECLARE
    closed record;
    back bigint;
BEGIN
    UPDATE billing_hold SET state = in_state, captured_micros = in_amount, closed_at = in_at
     WHERE reference = in_run AND state = 'open' AND granted_micros + bought_micros >= in_amount
    RETURNING * INTO closed;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF in_has_usage THEN
        INSERT INTO billing_usagerecord (reference, workspace_id, book, model, key_id, user_id, status,
                                         quote, units, amount_micros, occurred_at)
        VALUES (in_run, closed.workspace_id, closed.book, in_model, in_key, in_user, in_status,
                in_quote, in_units, in_amount, in_occurred_at);
    END IF;
    back := closed.granted_micros + closed.bought_micros - in_amount;
    IF back > 0 AND closed.window_ids <> '{}' THEN
        PERFORM 1 FROM billing_spendwindow WHERE id = ANY(closed.window_ids) ORDER BY id FOR NO KEY UPDATE;
        UPDATE billing_spendwindow SET spent_micros = spent_micros - back WHERE id = ANY(closed.window_ids);
    END IF;
    RETURN QUERY SELECT closed.workspace_id, closed.book::text, closed.granted_micros, closed.bought_micros;
END $$;
"""

# Writes one movement under its key and moves the cached balances with it. `known` is the number of accounts
# that are open: while it is short nothing is written. `posted` is null when the key was used before.
POST = """
CREATE FUNCTION ledger_post(
    in_book text, in_key text, in_kind text, in_run uuid, in_note text, in_at timestamptz,
    in_codes text[], in_amounts bigint[], OUT posted bigint, OUT known integer
) LANGUAGE plpgsql AS $$
DECLARE
    account_ids bigint[];
    amounts bigint[];
    cached_ids bigint[];
BEGIN
    SELECT array_agg(a.id), array_agg(w.amount),
           array_agg(a.id) FILTER (WHERE a.kind IN ('workspace_granted', 'workspace_bought')), count(*)
      INTO account_ids, amounts, cached_ids, known
      FROM unnest(in_codes, in_amounts) AS w(code, amount)
      JOIN billing_ledgeraccount a ON a.book = in_book AND a.code = w.code;
    IF known < cardinality(in_codes) THEN
        RETURN;
    END IF;
    INSERT INTO billing_ledgertransaction (book, key, kind, reference, note, created_at)
    VALUES (in_book, in_key, in_kind, in_run, in_note, in_at)
        ON CONFLICT (book, key) DO NOTHING
    RETURNING id INTO posted;
    IF posted IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO billing_ledgerentry (transaction_id, account_id, amount_micros)
    SELECT posted, u.account_id, u.amount FROM unnest(account_ids, amounts) AS u(account_id, amount);
    IF cached_ids IS NOT NULL THEN
        PERFORM 1 FROM billing_ledgeraccount WHERE id = ANY(cached_ids) ORDER BY id FOR NO KEY UPDATE;
        UPDATE billing_ledgeraccount a SET balance_micros = a.balance_micros + u.amount
          FROM unnest(account_ids, amounts) AS u(id, amount)
         WHERE a.id = u.id AND a.id = ANY(cached_ids);
    END IF;
END $$;
"""

UNDO = """
DROP FUNCTION ledger_hold(bigint, text, uuid, bigint, timestamptz, text[], text[], text[], timestamptz[]);
DROP FUNCTION ledger_close(uuid, text, bigint, timestamptz, boolean, text, text, bigint, bigint, jsonb, jsonb,
                           timestamptz);
DROP FUNCTION ledger_post(text, text, text, uuid, text, timestamptz, text[], bigint[]);
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0002_guards")]

    operations = [migrations.RunSQL([HOLD, CLOSE, POST], UNDO)]
