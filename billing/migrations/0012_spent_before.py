"""What was spent before: of a limit that is set in the middle of its period, of a grant that is given back, by free runs.

`ledger_hold` is that of 0007_prices but for three places, and `ledger_close` that of 0003_movements but for one, which are
written down here as differences: a migration of the past does not change, so that they always fit. While it is open a
hold keeps what a limit could be on; it waits while a limit of the workspace is being set, and counts as open although it
is free and nothing bounds how many may be. The function of nine arguments, which deployments before 0007 call, asks the
other one from now on.
"""

from __future__ import annotations

from importlib import import_module

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

FIRST = import_module("billing.migrations.0003_movements")
FORMER = import_module("billing.migrations.0007_prices").HOLD

HOLD = {
    # Shared with other holds; who sets a limit takes it alone (`billing.ledger.limits`).
    """BEGIN
    available := 0;
    IF in_amount > 0 THEN
""": """BEGIN
    available := 0;
    IF in_amount > 0 THEN
        IF NOT pg_try_advisory_xact_lock_shared(1279872340, (in_workspace % 2147483647)::integer) THEN
            PERFORM pg_advisory_xact_lock_shared(1279872340, (in_workspace % 2147483647)::integer);
        END IF;
""",
    """                              state, window_ids, opened_by_id, opened_at, closed_at)
    VALUES (in_run, in_workspace, in_book, from_granted, from_bought, 0,
            'open', window_ids, posted_id, in_at, NULL);
""": """                              state, window_ids, scopes, opened_by_id, opened_at, closed_at)
    VALUES (in_run, in_workspace, in_book, from_granted, from_bought, 0, 'open', window_ids,
            CASE WHEN in_amount > 0
                 THEN ARRAY(SELECT s.kind || ':' || s.id FROM unnest(in_scope_kinds, in_scope_ids) AS s(kind, id))
                 ELSE '{}' END,
            posted_id, in_at, NULL);
""",
    """    IF in_amount = 0 AND most > 0 THEN
        UPDATE billing_ledgeraccount SET open_bound = open_bound + 1 WHERE id = bought_id;
""": """    IF in_amount = 0 THEN
        UPDATE billing_ledgeraccount SET open_bound = open_bound + 1
         WHERE book = in_book AND code = 'workspace_bought:' || in_workspace;
""",
}

CLOSE = {
    "SET state = in_state, captured_micros = in_amount, closed_at = in_at\n": (
        "SET state = in_state, captured_micros = in_amount, closed_at = in_at, scopes = '{}'\n"
    )
}

SHORT = """
CREATE OR REPLACE FUNCTION ledger_hold(
    in_workspace bigint, in_book text, in_run uuid, in_amount bigint, in_at timestamptz,
    in_scope_kinds text[], in_scope_ids text[], in_periods text[], in_starts timestamptz[],
    OUT outcome text, OUT available bigint, OUT refusing_window bigint, OUT spent bigint, OUT allowed bigint
) LANGUAGE sql AS $$
    SELECT * FROM ledger_hold($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, 0)
$$;
"""


def replacing(function: str) -> str:
    return function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")


def changed(function: str, differences: dict[str, str]) -> str:
    for before, after in differences.items():
        head, found, tail = function.partition(before)
        if not found or before in tail:
            raise ValueError(f"the function is not the one that was to be changed here:\n{before}")
        function = head + after + tail
    return replacing(function)


# Nothing is known of how many are open while runs go on: the next hold of each workspace counts them.
UNCOUNTED = "UPDATE billing_ledgeraccount SET open_bound = 2147483648 WHERE kind = 'workspace_bought';"

# What is gone of a grant and did not expire was spent. When it was gone is not known any more: before now.
SPENT = """
UPDATE billing_grant g
   SET spent_micros = g.amount_micros - g.left_micros - coalesce(x.expired, 0),
       gone_at = CASE WHEN g.left_micros = 0 THEN now() END
  FROM billing_grant o
  LEFT JOIN (SELECT t.book, split_part(t.key, ':', 2)::uuid AS public_id, -sum(e.amount_micros)::bigint AS expired
               FROM billing_ledgertransaction t
               JOIN billing_ledgerentry e ON e.transaction_id = t.id
               JOIN billing_ledgeraccount a ON a.id = e.account_id AND a.kind = 'workspace_granted'
              WHERE t.kind = 'expired' GROUP BY 1, 2) x ON x.public_id = o.public_id AND x.book = o.book
 WHERE o.id = g.id;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0011_late_words"),
        ("marketplace", "0008_publisher_share"),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="grant", name="grant_amounts"),
        migrations.AddField(
            model_name="grant", name="gone_at", field=models.DateTimeField(blank=True, null=True)
        ),
        migrations.AddField(
            model_name="grant", name="spent_micros", field=models.BigIntegerField(db_default=0, default=0)
        ),
        migrations.AddField(
            model_name="hold",
            name="scopes",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.TextField(), db_default=[], default=list, size=None
            ),
        ),
        migrations.AddField(
            model_name="spendwindow",
            name="before_micros",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name="grant",
            name="transaction",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.ledgertransaction",
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount_micros__gt", 0),
                    ("left_micros__gte", 0),
                    ("spent_micros__gte", 0),
                    ("amount_micros__gte", models.F("left_micros") + models.F("spent_micros")),
                ),
                name="grant_amounts",
            ),
        ),
        migrations.AddConstraint(
            model_name="spendwindow",
            constraint=models.CheckConstraint(
                condition=models.Q(("before_micros__gte", 0)), name="spend_window_before"
            ),
        ),
        migrations.RunSQL(
            [changed(FORMER, HOLD), SHORT, changed(FIRST.CLOSE, CLOSE)],
            [replacing(FORMER), replacing(FIRST.HOLD), replacing(FIRST.CLOSE)],
        ),
        migrations.RunSQL(UNCOUNTED, migrations.RunSQL.noop),
        migrations.RunSQL(SPENT, migrations.RunSQL.noop),
    ]
