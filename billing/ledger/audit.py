"""The books checked against themselves: every sum that must agree, from the rows, in one snapshot."""

from __future__ import annotations

import json
from dataclasses import dataclass

from django.db import connection, transaction

from billing.ledger.closing import MONTHS
from billing.ledger.sealing import broken_seals
from billing.models import NOT_MOVES, LedgerAccount, LedgerTransaction


@dataclass(frozen=True)
class Problem:
    """One thing that does not add up: which check, and the row that fails it."""

    check: str
    detail: str


Kind, K = LedgerTransaction.Kind, LedgerAccount.Kind
_CREDIT = (K.WORKSPACE_GRANTED, K.WORKSPACE_BOUGHT)
_EARNED = (K.PUBLISHER_PENDING, K.PUBLISHER_UNPAYABLE, K.PLATFORM_REVENUE)
_OUTSIDE = (K.STRIPE_CLEARING, K.PLATFORM_BANK)
_DISPUTED = (*_CREDIT, K.PUBLISHER_PAYABLE, K.PLATFORM_LOSSES, K.STRIPE_CLEARING)

# The accounts that a movement of each kind may touch.
ACCOUNTS = {
    Kind.GRANT: (K.WORKSPACE_GRANTED, K.PLATFORM_PROMO),
    Kind.PURCHASE: (K.WORKSPACE_BOUGHT, K.STRIPE_CLEARING),
    Kind.HOLD: (*_CREDIT, K.WORKSPACE_HELD),
    Kind.RELEASE: (*_CREDIT, K.WORKSPACE_HELD),
    Kind.CAPTURE: (*_CREDIT, K.WORKSPACE_HELD, *_EARNED),
    Kind.REFUND: (*_CREDIT, *_EARNED, K.PUBLISHER_PAYABLE),
    Kind.MATURE: (K.PUBLISHER_PENDING, K.PUBLISHER_PAYABLE),
    Kind.PAYOUT: (K.PUBLISHER_PAYABLE, K.PUBLISHER_IN_TRANSIT),
    Kind.PAID_OUT: (K.PUBLISHER_IN_TRANSIT, *_OUTSIDE),
    Kind.PAYOUT_FAILED: (K.PUBLISHER_IN_TRANSIT, K.PUBLISHER_PAYABLE),
    Kind.PAYOUT_RETURNED: (K.PUBLISHER_PAYABLE, *_OUTSIDE),
    Kind.TOPUP_REFUND: (K.WORKSPACE_BOUGHT, K.WORKSPACE_REFUNDING),
    Kind.TOPUP_REFUNDED: (K.WORKSPACE_REFUNDING, K.STRIPE_CLEARING),
    Kind.TOPUP_REFUND_FAILED: (K.WORKSPACE_BOUGHT, K.WORKSPACE_REFUNDING, K.STRIPE_CLEARING),
    Kind.DISPUTE: _DISPUTED,
    Kind.REINSTATED: _DISPUTED,
    Kind.EXPIRED: (K.WORKSPACE_GRANTED, K.PLATFORM_PROMO),
    Kind.FEE: (K.PLATFORM_FEES, K.STRIPE_CLEARING),
}
_ALLOWED = json.dumps({kind.value: [account.value for account in may] for kind, may in ACCOUNTS.items()})


def _under_way(owner: str, account: str, *, started: str, ended: str) -> str:
    """The check that an account has what was started by one movement and not ended by another."""
    return f"""
        SELECT format('{owner} %%s, book %%s: entries %%s, under way %%s', {owner}_id, book,
                      coalesce(e.total, 0), coalesce(p.total, 0))
          FROM (SELECT a.{owner}_id, a.book, sum(e.amount_micros) AS total
                  FROM billing_ledgeraccount a JOIN billing_ledgerentry e ON e.account_id = a.id
                 WHERE a.kind = '{account}' GROUP BY 1, 2) e
          FULL JOIN (SELECT a.{owner}_id, a.book, sum(e.amount_micros) AS total
                       FROM billing_ledgertransaction t JOIN billing_ledgerentry e ON e.transaction_id = t.id
                       JOIN billing_ledgeraccount a ON a.id = e.account_id
                      WHERE t.kind = '{started}' AND a.kind = '{account}'
                        AND NOT EXISTS (SELECT 1 FROM billing_ledgertransaction d
                                         WHERE d.book = t.book AND d.key = '{ended}:' || t.reference)
                      GROUP BY 1, 2) p USING ({owner}_id, book)
         WHERE coalesce(e.total, 0) <> coalesce(p.total, 0)
    """  # noqa: S608 - words of our own


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
    "entries of publishers, and no others, know when they were": """
        SELECT format('entry %%s', e.id)
          FROM billing_ledgerentry e JOIN billing_ledgertransaction t ON t.id = e.transaction_id
          JOIN billing_ledgeraccount a ON a.id = e.account_id
         WHERE e.moved_at IS DISTINCT FROM CASE WHEN a.publisher_id IS NOT NULL THEN t.created_at END
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
        SELECT format('window %%s: counted %%s, before %%s, holds %%s', w.id, w.spent_micros, w.before_micros,
                      coalesce(s.total, 0))
          FROM billing_spendwindow w
          LEFT JOIN (SELECT u.id, sum(CASE h.state WHEN 'open' THEN h.granted_micros + h.bought_micros
                                                   ELSE h.captured_micros END) AS total
                       FROM billing_hold h, unnest(h.window_ids) AS u(id) GROUP BY u.id) s ON s.id = w.id
         WHERE w.spent_micros <> w.before_micros + coalesce(s.total, 0)
    """,
    "what a window has from before its limit was charged in its period": """
        SELECT format('window %%s: before %%s, charged %%s', w.id, w.before_micros, coalesce(u.total, 0))
          FROM billing_spendwindow w
          CROSS JOIN LATERAL (
               SELECT sum(d.amount_micros) AS total FROM billing_usageday d
                WHERE d.workspace_id = w.workspace_id AND d.book = w.book
                  AND d.day >= (w.starts_at AT TIME ZONE 'UTC')::date
                  AND (w.period = 'lifetime'
                       OR d.day < (w.starts_at AT TIME ZONE 'UTC' + ('1 ' || w.period)::interval)::date)
                  AND CASE w.scope_kind
                      WHEN 'workspace' THEN true
                      WHEN 'member' THEN d.user_id::text = w.scope_id
                      WHEN 'model' THEN d.model = w.scope_id
                      ELSE d.key_id::text = w.scope_id
                           OR EXISTS (SELECT 1 FROM marketplace_apikey k
                                       WHERE k.id = d.key_id AND w.scope_id = ANY (k.ancestor_ids::text[]))
                      END) u
         WHERE w.before_micros > 0 AND w.before_micros > coalesce(u.total, 0)
    """,
    "the bound of a workspace is no fewer than its open holds": """
        SELECT format('workspace %%s, book %%s: bound %%s, open %%s', workspace_id, book, b.bound, h.open)
          FROM (SELECT workspace_id, book, sum(open_bound) AS bound FROM billing_ledgeraccount
                 WHERE kind IN ('workspace_granted', 'workspace_bought') GROUP BY 1, 2) b
          JOIN (SELECT workspace_id, book, count(*) AS open FROM billing_hold
                 WHERE state = 'open' GROUP BY 1, 2) h USING (workspace_id, book)
         WHERE b.bound < h.open
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
                  FROM billing_usageday GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(runs) > 0) d
          FULL JOIN (SELECT workspace_id, book, (occurred_at AT TIME ZONE 'UTC')::date AS day, model,
                            coalesce(key_id, 0) AS key_id, coalesce(user_id, 0) AS user_id, count(*) AS counted,
                            count(*) FILTER (WHERE amount_micros = 0 AND status <> 'succeeded') AS free,
                            sum(amount_micros) AS total
                       FROM billing_usagerecord GROUP BY 1, 2, 3, 4, 5, 6) r
         USING (workspace_id, book, day, model, key_id, user_id)
         WHERE (d.runs, d.not_charged, d.amount_micros) IS DISTINCT FROM (r.counted, r.free, r.total)
    """,
    "a day of usage is the sum of its refunds": """
        SELECT format('day %%s of workspace %%s, %%s', day, workspace_id, model)
          FROM (SELECT workspace_id, book, day, model, key_id, user_id, sum(refunded_micros) AS refunded
                  FROM billing_usageday WHERE refunded_micros > 0 GROUP BY 1, 2, 3, 4, 5, 6) d
          FULL JOIN (SELECT u.workspace_id, u.book, (f.occurred_at AT TIME ZONE 'UTC')::date AS day, u.model,
                            coalesce(u.key_id, 0) AS key_id, coalesce(u.user_id, 0) AS user_id,
                            sum(f.amount_micros) AS total
                       FROM billing_refund f JOIN billing_usagerecord u ON u.reference = f.reference
                      GROUP BY 1, 2, 3, 4, 5, 6) r
         USING (workspace_id, book, day, model, key_id, user_id)
         WHERE d.refunded IS DISTINCT FROM r.total
    """,
    "no more was refunded than was charged": """
        SELECT format('run %%s: charged %%s, refunded %%s', f.reference, h.captured_micros, f.total)
          FROM (SELECT reference, book, workspace_id, sum(amount_micros) AS total, sum(granted_micros) AS granted,
                       sum(pending_micros + payable_micros) AS payable, sum(unpayable_micros) AS unpayable
                  FROM billing_refund GROUP BY 1, 2, 3) f
          LEFT JOIN billing_hold h ON h.reference = f.reference AND h.book = f.book
                                  AND h.workspace_id = f.workspace_id AND h.state = 'captured'
          LEFT JOIN (SELECT t.book, t.reference, sum(e.amount_micros) FILTER (WHERE a.kind = 'publisher_pending')
                            AS payable, sum(e.amount_micros) FILTER (WHERE a.kind = 'publisher_unpayable') AS unpayable
                       FROM billing_ledgertransaction t JOIN billing_ledgerentry e ON e.transaction_id = t.id
                       JOIN billing_ledgeraccount a ON a.id = e.account_id
                      WHERE t.kind = 'capture' GROUP BY 1, 2) c ON c.reference = f.reference AND c.book = f.book
         WHERE h.id IS NULL OR f.total > h.captured_micros
            OR f.granted > least(h.granted_micros, h.captured_micros)
            OR f.total - f.granted > h.captured_micros - least(h.granted_micros, h.captured_micros)
            OR f.payable > coalesce(c.payable, 0) OR f.unpayable > coalesce(c.unpayable, 0)
    """,
    "a refund is what its movement moved": """
        SELECT format('transaction %%s (%%s)', coalesce(m.id, f.transaction_id), m.key)
          FROM (SELECT t.id, t.key, t.reference, t.book, min(a.workspace_id) AS workspace,
                       min(a.publisher_id) AS publisher,
                       coalesce(sum(e.amount_micros) FILTER (WHERE a.kind = 'workspace_granted'), 0) AS granted,
                       coalesce(sum(e.amount_micros) FILTER (WHERE a.kind = 'workspace_bought'), 0) AS bought,
                       coalesce(-sum(e.amount_micros) FILTER (WHERE a.kind = 'publisher_pending'), 0) AS pending,
                       coalesce(-sum(e.amount_micros) FILTER (WHERE a.kind = 'publisher_payable'), 0) AS payable,
                       coalesce(-sum(e.amount_micros) FILTER (WHERE a.kind = 'publisher_unpayable'), 0) AS unpayable
                  FROM billing_ledgertransaction t JOIN billing_ledgerentry e ON e.transaction_id = t.id
                  JOIN billing_ledgeraccount a ON a.id = e.account_id
                 WHERE t.kind = 'refund' GROUP BY t.id) m
          FULL JOIN billing_refund f ON f.transaction_id = m.id
         WHERE (m.reference, m.book, m.workspace, m.granted, m.bought, m.pending, m.payable, m.unpayable)
               IS DISTINCT FROM (f.reference, f.book::varchar, f.workspace_id, f.granted_micros,
                                 f.amount_micros - f.granted_micros, f.pending_micros, f.payable_micros,
                                 f.unpayable_micros)
            OR m.publisher IS NOT NULL AND m.publisher IS DISTINCT FROM f.publisher_id
    """,
    "pending, in transit, unpayable and refunding are never below zero": """
        SELECT format('account %%s: %%s', a.code, sum(e.amount_micros))
          FROM billing_ledgeraccount a JOIN billing_ledgerentry e ON e.account_id = a.id
         WHERE a.kind IN ('publisher_pending', 'publisher_in_transit', 'publisher_unpayable', 'workspace_refunding')
         GROUP BY a.id HAVING sum(e.amount_micros) < 0
    """,
    "in transit is what payouts under way amount to": _under_way(
        "publisher", "publisher_in_transit", started="payout", ended="payout_done"
    ),
    "refunding is what refunds of credit under way amount to": _under_way(
        "workspace", "workspace_refunding", started="topup_refund", ended="topup_refund_done"
    ),
    "a payout is what its movements say": """
        SELECT format('payout %%s (%%s)', p.public_id, p.status)
          FROM billing_payout p
          LEFT JOIN billing_ledgertransaction s ON s.book = p.book AND s.key = 'payout:' || p.public_id
          LEFT JOIN billing_ledgertransaction d ON d.book = p.book AND d.key = 'payout_done:' || p.public_id
          LEFT JOIN billing_ledgeraccount a ON a.book = p.book AND a.code = 'publisher_in_transit:' || p.publisher_id
          LEFT JOIN billing_ledgerentry e ON e.transaction_id = s.id AND e.account_id = a.id
          LEFT JOIN (SELECT t.book, t.reference, sum(e.amount_micros) AS total
                       FROM billing_ledgertransaction t JOIN billing_ledgerentry e ON e.transaction_id = t.id
                       JOIN billing_ledgeraccount a ON a.id = e.account_id
                      WHERE t.kind = 'payout_returned' AND a.kind = 'publisher_payable'
                      GROUP BY 1, 2) b ON b.book = p.book AND b.reference = p.public_id
         WHERE e.amount_micros IS DISTINCT FROM p.amount_micros OR coalesce(b.total, 0) <> p.returned_micros
            OR coalesce(d.kind, 'none') <> CASE p.status WHEN 'new' THEN 'none' WHEN 'failed' THEN 'payout_failed'
                                                         ELSE 'paid_out' END
    """,
    "no more came back of a payout than was paid": """
        SELECT format('payout %%s: paid %%s, back %%s', t.reference,
                      sum(e.amount_micros) FILTER (WHERE t.kind = 'payout'),
                      sum(e.amount_micros) FILTER (WHERE t.kind = 'payout_returned'))
          FROM billing_ledgertransaction t JOIN billing_ledgerentry e ON e.transaction_id = t.id
          JOIN billing_ledgeraccount a ON a.id = e.account_id
         WHERE t.kind = 'payout' AND a.kind = 'publisher_in_transit'
            OR t.kind = 'payout_returned' AND a.kind = 'publisher_payable'
         GROUP BY t.book, t.reference
        HAVING coalesce(sum(e.amount_micros) FILTER (WHERE t.kind = 'payout_returned'), 0)
               > coalesce(sum(e.amount_micros) FILTER (WHERE t.kind = 'payout'), 0)
            OR bool_or(t.kind = 'payout_returned') AND NOT EXISTS (
               SELECT 1 FROM billing_ledgertransaction d WHERE d.book = t.book
                  AND d.key = 'payout_done:' || t.reference AND d.kind = 'paid_out')
    """,
    "a dispute that was won gave back what it had taken": """
        SELECT DISTINCT format('dispute %%s', dispute)
          FROM (SELECT t.book, split_part(t.key, ':', 2) AS dispute
                  FROM billing_ledgertransaction t JOIN billing_ledgerentry e ON e.transaction_id = t.id
                 WHERE t.kind IN ('dispute', 'reinstated')
                 GROUP BY t.book, split_part(t.key, ':', 2), e.account_id
                HAVING sum(e.amount_micros) <> 0) moved
         WHERE EXISTS (SELECT 1 FROM billing_ledgertransaction r
                        WHERE r.book = moved.book AND r.key = 'dispute:' || moved.dispute || ':reinstated')
    """,
    "no more of a dispute was made good than was owed": """
        SELECT format('dispute %%s: %%s', split_part(t.key, ':', 2), sum(e.amount_micros))
          FROM billing_ledgertransaction t JOIN billing_ledgerentry e ON e.transaction_id = t.id
          JOIN billing_ledgeraccount a ON a.id = e.account_id
         WHERE t.kind IN ('dispute', 'reinstated') AND a.kind IN ('platform_losses', 'publisher_payable')
         GROUP BY t.book, split_part(t.key, ':', 2), a.id HAVING sum(e.amount_micros) > 0
    """,
    "what is owed of a disputed payment is what nobody has made good for": """
        SELECT format('dispute %%s: owed %%s, entries %%s', p.dispute_id, p.left_micros, coalesce(m.total, 0))
          FROM billing_disputedpayment p
          LEFT JOIN (SELECT t.book, split_part(t.key, ':', 2) AS dispute_id, -sum(e.amount_micros) AS total
                       FROM billing_ledgertransaction t JOIN billing_ledgerentry e ON e.transaction_id = t.id
                       JOIN billing_ledgeraccount a ON a.id = e.account_id
                      WHERE t.kind IN ('dispute', 'reinstated')
                        AND a.kind IN ('platform_losses', 'publisher_payable')
                      GROUP BY 1, 2) m USING (book, dispute_id)
         WHERE p.left_micros <> coalesce(m.total, 0)
            OR p.is_won <> EXISTS (SELECT 1 FROM billing_ledgertransaction r
                                    WHERE r.book = p.book AND r.key = 'dispute:' || p.dispute_id || ':reinstated')
    """,
    "no more runs count for a disputed payment than it could pay": """
        SELECT format('dispute %%s: spent %%s, owed %%s, counted %%s, unpaid %%s', dispute_id, p.spent_micros,
                      p.left_micros, s.counted, s.unpaid)
          FROM (SELECT book, dispute_id, sum(counted_micros) AS counted, sum(unpaid_micros) AS unpaid
                  FROM billing_disputedshare WHERE counted_micros > 0 GROUP BY 1, 2) s
          LEFT JOIN billing_disputedpayment p USING (book, dispute_id)
         WHERE s.counted > coalesce(p.spent_micros, 0) OR s.unpaid > coalesce(p.left_micros, 0)
    """,
    "no run counts as paid twice": """
        SELECT format('run %%s: paid %%s, refunded %%s, counted %%s', s.reference, h.paid, f.refunded, s.counted)
          FROM (SELECT reference, book, sum(counted_micros) AS counted FROM billing_disputedshare
                 WHERE counted_micros > 0 GROUP BY 1, 2) s
          LEFT JOIN (SELECT reference, book, captured_micros - least(granted_micros, captured_micros) AS paid
                       FROM billing_hold) h USING (reference, book)
          LEFT JOIN (SELECT reference, sum(amount_micros - granted_micros) AS refunded
                       FROM billing_refund GROUP BY 1) f ON f.reference = s.reference
         WHERE s.counted > coalesce(h.paid, 0) - coalesce(f.refunded, 0)
    """,
    # Disputes that were withdrawn before it was noted by run have no such rows.
    "what a dispute keeps of shares is what it keeps of runs": """
        SELECT format('dispute %%s, publisher %%s: entries %%s, runs %%s', dispute_id, publisher_id,
                      coalesce(m.total, 0), coalesce(r.total, 0))
          FROM (SELECT book, dispute_id, publisher_id, sum(left_micros) AS total
                  FROM billing_disputedshare GROUP BY 1, 2, 3) r
          FULL JOIN (SELECT t.book, split_part(t.key, ':', 2) AS dispute_id, a.publisher_id,
                            -sum(e.amount_micros) AS total
                       FROM billing_ledgertransaction t JOIN billing_ledgerentry e ON e.transaction_id = t.id
                       JOIN billing_ledgeraccount a ON a.id = e.account_id
                      WHERE t.kind IN ('dispute', 'reinstated') AND a.kind = 'publisher_payable'
                      GROUP BY 1, 2, 3) m USING (book, dispute_id, publisher_id)
         WHERE coalesce(m.total, 0) <> coalesce(r.total, 0)
           AND EXISTS (SELECT 1 FROM billing_disputedshare d WHERE d.dispute_id = coalesce(r.dispute_id, m.dispute_id))
    """,
    "a run costs its publisher no more than its share": """
        SELECT format('run %%s: earned %%s, refunded %%s, kept by disputes %%s', d.reference, coalesce(c.earned, 0),
                      coalesce(f.refunded, 0), d.kept)
          FROM (SELECT book, reference, publisher_id, sum(left_micros) AS kept FROM billing_disputedshare
                 GROUP BY 1, 2, 3 HAVING sum(left_micros) > 0) d
          LEFT JOIN (SELECT t.book, t.reference, a.publisher_id, sum(e.amount_micros) AS earned
                       FROM billing_ledgertransaction t JOIN billing_ledgerentry e ON e.transaction_id = t.id
                       JOIN billing_ledgeraccount a ON a.id = e.account_id
                      WHERE t.kind = 'capture' AND a.kind = 'publisher_pending' GROUP BY 1, 2, 3) c
            ON (c.book, c.reference, c.publisher_id) = (d.book, d.reference, d.publisher_id)
          LEFT JOIN (SELECT reference, sum(pending_micros + payable_micros) AS refunded
                       FROM billing_refund GROUP BY 1) f ON f.reference = d.reference
         WHERE d.kept > coalesce(c.earned, 0) - coalesce(f.refunded, 0)
    """,
    "granted credit comes from grants": """
        SELECT format('workspace %%s, book %%s: granted %%s, left of grants %%s', a.workspace_id, a.book,
                      a.balance_micros + coalesce(h.held, 0), coalesce(g.left_micros, 0))
          FROM billing_ledgeraccount a
          LEFT JOIN (SELECT workspace_id, book, sum(granted_micros) AS held
                       FROM billing_hold WHERE state = 'open' GROUP BY 1, 2) h
                 ON h.workspace_id = a.workspace_id AND h.book = a.book
          LEFT JOIN (SELECT workspace_id, book, sum(left_micros) AS left_micros
                       FROM billing_grant GROUP BY 1, 2) g
                 ON g.workspace_id = a.workspace_id AND g.book = a.book
         WHERE a.kind = 'workspace_granted' AND a.balance_micros + coalesce(h.held, 0) > coalesce(g.left_micros, 0)
    """,
    "a grant is what its movement added": """
        SELECT format('transaction %%s (%%s)', coalesce(m.id, g.transaction_id), m.key)
          FROM (SELECT t.id, t.key, t.book, a.workspace_id, e.amount_micros
                  FROM billing_ledgertransaction t JOIN billing_ledgerentry e ON e.transaction_id = t.id
                  JOIN billing_ledgeraccount a ON a.id = e.account_id
                 WHERE t.kind IN ('grant', 'refund', 'reinstated') AND a.kind = 'workspace_granted') m
          FULL JOIN (SELECT transaction_id, book, workspace_id, sum(amount_micros) AS amount_micros
                       FROM billing_grant GROUP BY 1, 2, 3) g ON g.transaction_id = m.id
         WHERE (m.book::varchar, m.workspace_id, m.amount_micros)
               IS DISTINCT FROM (g.book, g.workspace_id, g.amount_micros)
    """,
    "an invoice adds up": """
        SELECT format('invoice %%s (%%s)', i.number, i.book)
          FROM billing_invoice i
         WHERE (SELECT coalesce(sum((line ->> 4)::bigint), 0) FROM jsonb_array_elements(i.content -> 'lines') line)
               <> i.charged_micros
            OR i.opening_micros - i.charged_micros + i.refunded_micros
               + (SELECT coalesce(sum((one ->> 2)::bigint), 0) FROM jsonb_array_elements(i.content -> 'movements') one)
               <> i.closing_micros
    """,
    # Months without an invoice have nothing but what moves credit by other ways, which the next one opens with.
    "an invoice is what the ledger says, and one begins where the month before ended": """
        WITH steps AS (
            SELECT workspace_id, book, date_trunc('month', day)::date AS month, sum(amount_micros) AS charged,
                   sum(refunded_micros) AS refunded, -sum(amount_micros) AS change
              FROM billing_usageday GROUP BY 1, 2, 3
             UNION ALL
            SELECT a.workspace_id, a.book, date_trunc('month', t.created_at AT TIME ZONE 'UTC')::date, 0, 0,
                   sum(e.amount_micros)
              FROM billing_ledgertransaction t JOIN billing_ledgerentry e ON e.transaction_id = t.id
              JOIN billing_ledgeraccount a ON a.id = e.account_id
             WHERE a.kind IN ('workspace_granted', 'workspace_bought', 'workspace_held')
               AND t.kind <> ALL (%(not_moves)s::text[])
             GROUP BY 1, 2, 3
             UNION ALL
            SELECT workspace_id, book, month, 0, 0, 0 FROM billing_invoice
        ), months AS (
            SELECT workspace_id, book, month, sum(charged) AS charged, sum(refunded) AS refunded,
                   sum(sum(change)) OVER w AS closing, sum(sum(change)) OVER w - sum(change) AS opening
              FROM steps GROUP BY 1, 2, 3 WINDOW w AS (PARTITION BY workspace_id, book ORDER BY month)
        )
        SELECT format('invoice %%s (%%s)', i.number, i.book)
          FROM billing_invoice i JOIN months m USING (workspace_id, book, month)
          LEFT JOIN billing_invoice b ON b.workspace_id = i.workspace_id AND b.book = i.book
                                     AND b.month = (i.month - interval '1 month')::date
         WHERE (i.charged_micros, i.refunded_micros, i.opening_micros, i.closing_micros)
               IS DISTINCT FROM (m.charged::bigint, m.refunded::bigint, m.opening::bigint, m.closing::bigint)
            OR b.closing_micros <> i.opening_micros
    """,
    "a month ended with what its entries say, and no month before it is missing": f"""
        WITH {MONTHS}
        SELECT format('publisher %%s, book %%s, month %%s', publisher_id, book, to_char(month, 'YYYY-MM'))
          FROM months m FULL JOIN billing_monthend o USING (publisher_id, book, month)
         WHERE (m.pending, m.payable, m.in_transit, m.unpayable) IS DISTINCT FROM
               (o.pending_micros, o.payable_micros, o.in_transit_micros, o.unpayable_micros)
           AND (o.id IS NOT NULL OR month < (SELECT max(l.month) FROM billing_monthend l WHERE l.book = m.book))
    """,  # noqa: S608 - words of our own
    "movements have the accounts of their kind": """
        SELECT format('transaction %%s (%%s): entry on %%s', t.id, t.key, a.code)
          FROM billing_ledgertransaction t JOIN billing_ledgerentry e ON e.transaction_id = t.id
          JOIN billing_ledgeraccount a ON a.id = e.account_id
         WHERE NOT coalesce(%(allowed)s::jsonb -> t.kind ? a.kind, false)
    """,
    "what matured was earned before and not refunded": """
        SELECT format('publisher %%s, book %%s: pending %%s, too young %%s', a.publisher_id, a.book, a.total, y.total)
          FROM (SELECT a.publisher_id, a.book, sum(e.amount_micros) AS total,
                       coalesce(max(m.matured_until), '-infinity') AS until
                  FROM billing_ledgeraccount a JOIN billing_ledgerentry e ON e.account_id = a.id
                  LEFT JOIN billing_maturity m ON m.publisher_id = a.publisher_id AND m.book = a.book
                 WHERE a.kind = 'publisher_pending' GROUP BY 1, 2) a
          CROSS JOIN LATERAL (
               SELECT coalesce((SELECT sum(e.amount_micros) FROM billing_ledgeraccount p
                                  JOIN billing_ledgerentry e ON e.account_id = p.id
                                  JOIN billing_ledgertransaction t ON t.id = e.transaction_id
                                 WHERE p.kind = 'publisher_pending' AND p.publisher_id = a.publisher_id
                                   AND p.book = a.book AND t.kind = 'capture' AND t.created_at > a.until), 0)
                    - coalesce((SELECT sum(f.pending_micros) FROM billing_refund f
                                 WHERE f.publisher_id = a.publisher_id AND f.book = a.book
                                   AND f.earned_at > a.until), 0) AS total) y
         WHERE a.total < y.total
    """,
}


def verify() -> list[Problem]:
    """Everything in the books that does not add up, or is not what was sealed; an empty list is a clean audit.

    Reads all rows and locks none.
    """
    problems = []
    is_own_transaction = not connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        if is_own_transaction:  # one snapshot for all checks, whatever is committed meanwhile
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for check, query in _CHECKS.items():
            cursor.execute(query, {"allowed": _ALLOWED, "not_moves": list(NOT_MOVES)})
            problems += [Problem(check, row[0]) for row in cursor.fetchall()]
        problems += [Problem("what was sealed is as it was", detail) for detail in broken_seals()]
    return problems
