"""The books checked against themselves: every sum that must agree, from the rows, in one snapshot."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection, transaction


@dataclass(frozen=True)
class Problem:
    """One thing that does not add up: which check, and the row that fails it."""

    check: str
    detail: str


# Each check lists what is wrong, one row each, as one text column; no rows is good.
_CHECKS = {
    "a transaction's entries sum to zero": """
        SELECT format('transaction %%s (%%s): sum %%s', t.id, t.key, sum(e.amount_micros))
          FROM billing_ledgertransaction t JOIN billing_ledgerentry e ON e.transaction_id = t.id
         GROUP BY t.id HAVING sum(e.amount_micros) <> 0
    """,
    "entries stay in the book of their transaction, on accounts that exist": """
        SELECT format('entry %%s', e.id)
          FROM billing_ledgerentry e JOIN billing_ledgertransaction t ON t.id = e.transaction_id
          LEFT JOIN billing_ledgeraccount a ON a.id = e.account_id
         WHERE a.book IS DISTINCT FROM t.book
    """,
    "a cached balance equals the sum of its entries": """
        SELECT format('account %%s: cached %%s, entries %%s', a.code, a.balance_micros, coalesce(s.total, 0))
          FROM billing_ledgeraccount a
          LEFT JOIN (SELECT account_id, sum(amount_micros) AS total
                       FROM billing_ledgerentry GROUP BY account_id) s ON s.account_id = a.id
         WHERE a.kind IN ('workspace_granted', 'workspace_bought')
           AND a.balance_micros <> coalesce(s.total, 0)
    """,
    "an account is named after its kind and owner": """
        SELECT format('account %%s', id) FROM billing_ledgeraccount
         WHERE code <> concat_ws(':', kind, coalesce(workspace_id, publisher_id))
    """,
    "held equals the sum of open holds": """
        SELECT format('workspace %%s, book %%s: entries %%s, open holds %%s', workspace_id, book,
                      coalesce(e.total, 0), coalesce(h.total, 0))
          FROM (SELECT a.workspace_id, a.book, sum(e.amount_micros) AS total
                  FROM billing_ledgeraccount a JOIN billing_ledgerentry e ON e.account_id = a.id
                 WHERE a.kind = 'workspace_held' GROUP BY 1, 2) e
          FULL JOIN (SELECT workspace_id, book, sum(granted_micros + bought_micros) AS total
                       FROM billing_hold WHERE state = 'open' GROUP BY 1, 2) h USING (workspace_id, book)
         WHERE coalesce(e.total, 0) <> coalesce(h.total, 0)
    """,
    "a hold was opened by its own movement, a closed one settled by one of its kind, an open one by none": """
        SELECT format('hold %%s (%%s)', h.reference, h.state)
          FROM billing_hold h
          LEFT JOIN billing_ledgertransaction o ON o.id = h.opened_by_id
          LEFT JOIN billing_ledgertransaction t ON t.book = h.book AND t.key = 'settle:' || h.reference
         WHERE o.key IS DISTINCT FROM 'hold:' || h.reference OR o.book IS DISTINCT FROM h.book
            OR coalesce(t.kind, 'none')
               <> CASE h.state WHEN 'open' THEN 'none' WHEN 'captured' THEN 'capture' ELSE 'release' END
    """,
    "holds and settlements come from holds": """
        SELECT format('transaction %%s (%%s)', t.id, t.key)
          FROM billing_ledgertransaction t
          LEFT JOIN billing_hold h ON h.reference = t.reference AND h.book = t.book
         WHERE t.kind IN ('hold', 'capture', 'release') AND h.id IS NULL
    """,
    "a charge is the publisher's share and the platform's fee": """
        SELECT format('hold %%s: captured %%s, shared out %%s', h.reference, h.captured_micros,
                      coalesce(s.total, 0))
          FROM billing_hold h
          LEFT JOIN (SELECT t.book, t.reference, sum(e.amount_micros) AS total
                       FROM billing_ledgertransaction t
                       JOIN billing_ledgerentry e ON e.transaction_id = t.id
                       JOIN billing_ledgeraccount a ON a.id = e.account_id
                      WHERE t.kind = 'capture' AND a.workspace_id IS NULL
                      GROUP BY t.book, t.reference) s ON s.book = h.book AND s.reference = h.reference
         WHERE h.captured_micros <> coalesce(s.total, 0)
    """,
    "a window counts what its holds hold or were charged": """
        SELECT format('window %%s: counted %%s, holds %%s', w.id, w.spent_micros, coalesce(s.total, 0))
          FROM billing_spendwindow w
          LEFT JOIN (SELECT u.id, sum(CASE h.state WHEN 'open' THEN h.granted_micros + h.bought_micros
                                                   ELSE h.captured_micros END) AS total
                       FROM billing_hold h, unnest(h.window_ids) AS u(id) GROUP BY u.id) s ON s.id = w.id
         WHERE w.spent_micros <> coalesce(s.total, 0)
    """,
    "usage is what was captured": """
        SELECT format('usage of %%s: %%s', u.reference, u.amount_micros)
          FROM billing_usagerecord u LEFT JOIN billing_hold h ON h.reference = u.reference
         WHERE h.captured_micros IS DISTINCT FROM u.amount_micros OR h.state IS NOT DISTINCT FROM 'open'
            OR h.workspace_id IS DISTINCT FROM u.workspace_id
    """,
    "a day of usage is the sum of its records": """
        SELECT format('day %%s of workspace %%s, %%s', day, workspace_id, model)
          FROM (SELECT workspace_id, book, day, model, key_id, user_id, sum(runs) AS runs,
                       sum(not_charged) AS not_charged, sum(amount_micros) AS amount_micros
                  FROM billing_usageday GROUP BY 1, 2, 3, 4, 5, 6) d
          FULL JOIN (SELECT workspace_id, book, (occurred_at AT TIME ZONE 'UTC')::date AS day, model,
                            coalesce(key_id, 0) AS key_id, coalesce(user_id, 0) AS user_id, count(*) AS counted,
                            count(*) FILTER (WHERE amount_micros = 0 AND status <> 'succeeded') AS free,
                            sum(amount_micros) AS total
                       FROM billing_usagerecord GROUP BY 1, 2, 3, 4, 5, 6) r
         USING (workspace_id, book, day, model, key_id, user_id)
         WHERE (d.runs, d.not_charged, d.amount_micros) IS DISTINCT FROM (r.counted, r.free, r.total)
    """,
}


def verify() -> list[Problem]:
    """Everything in the books that does not add up; an empty list is a clean audit.

    Reads all rows and locks none.
    """
    problems = []
    is_own_transaction = not connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        if is_own_transaction:  # one snapshot for all checks, whatever is committed meanwhile
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for check, query in _CHECKS.items():
            cursor.execute(query, [])
            problems += [Problem(check, row[0]) for row in cursor.fetchall()]
    return problems
