"""What moves money after a capture: refunds, grants that end, earnings that mature, payouts, disputes.

The columns of kinds grow and their lists are longer; no row of the past is touched, except that each grant of the past
gets its row, without an end, with what can be left of it.
"""

import django.db.models.deletion
import django.db.models.expressions
import django.utils.timezone
from django.db import migrations, models

# Refunds count on the day on which they are made, with the key and member of the run, beside what is counted already.
# Only what is left of a grant changes, and it only shrinks.
GUARDS = """
CREATE FUNCTION billing_count_refund() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    run billing_usagerecord;
    on_day date := (NEW.occurred_at AT TIME ZONE 'UTC')::date;
BEGIN
    SELECT * INTO run FROM billing_usagerecord WHERE reference = NEW.reference;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no usage is known of %', NEW.reference USING ERRCODE = 'foreign_key_violation';
    END IF;
    UPDATE billing_usageday SET refunded_micros = refunded_micros + NEW.amount_micros
     WHERE id = (SELECT id FROM billing_usageday
                  WHERE workspace_id = run.workspace_id AND book = run.book AND day = on_day AND model = run.model
                    AND key_id = coalesce(run.key_id, 0) AND user_id = coalesce(run.user_id, 0)
                  LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED);
    IF NOT FOUND THEN
        INSERT INTO billing_usageday (workspace_id, book, day, model, key_id, user_id, runs, not_charged,
                                      amount_micros, refunded_micros)
        VALUES (run.workspace_id, run.book, on_day, run.model, coalesce(run.key_id, 0), coalesce(run.user_id, 0),
                0, 0, 0, NEW.amount_micros);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER refund_counted AFTER INSERT ON billing_refund
    FOR EACH ROW EXECUTE FUNCTION billing_count_refund();
CREATE TRIGGER refund_append_only BEFORE UPDATE OR DELETE ON billing_refund
    FOR EACH ROW EXECUTE FUNCTION billing_forbid_change();
CREATE TRIGGER grant_only_shrinks BEFORE UPDATE ON billing_grant
    FOR EACH ROW WHEN ((OLD.id, OLD.workspace_id, OLD.book, OLD.transaction_id, OLD.origin, OLD.amount_micros,
                        OLD.expires_at, OLD.created_at)
          IS DISTINCT FROM (NEW.id, NEW.workspace_id, NEW.book, NEW.transaction_id, NEW.origin, NEW.amount_micros,
                        NEW.expires_at, NEW.created_at) OR NEW.left_micros > OLD.left_micros)
    EXECUTE FUNCTION billing_forbid_change();
CREATE TRIGGER grant_never_deleted BEFORE DELETE ON billing_grant
    FOR EACH ROW EXECUTE FUNCTION billing_forbid_change();
CREATE TRIGGER maturity_never_goes_back BEFORE UPDATE ON billing_maturity
    FOR EACH ROW WHEN (NEW.matured_until < OLD.matured_until OR NEW.times < OLD.times
                       OR (OLD.id, OLD.publisher_id, OLD.book)
                          IS DISTINCT FROM (NEW.id, NEW.publisher_id, NEW.book))
    EXECUTE FUNCTION billing_forbid_change();
CREATE TRIGGER maturity_never_deleted BEFORE DELETE ON billing_maturity
    FOR EACH ROW EXECUTE FUNCTION billing_forbid_change();
"""
UNDO = """
DROP TRIGGER refund_counted ON billing_refund;
DROP FUNCTION billing_count_refund();
"""

# The newest grants have what is left: they were spent last.
BACKFILL = """
INSERT INTO billing_grant (workspace_id, book, transaction_id, origin, amount_micros, left_micros, expires_at, created_at)
SELECT a.workspace_id, t.book, t.id, left(split_part(t.key, ':', 1), 40), e.amount_micros,
       greatest(0, least(e.amount_micros, a.balance_micros + coalesce(h.held, 0) - coalesce(sum(e.amount_micros)
           OVER (PARTITION BY a.id ORDER BY t.id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0))),
       NULL, t.created_at
  FROM billing_ledgertransaction t
  JOIN billing_ledgerentry e ON e.transaction_id = t.id
  JOIN billing_ledgeraccount a ON a.id = e.account_id AND a.kind = 'workspace_granted'
  LEFT JOIN (SELECT workspace_id, book, sum(granted_micros)::bigint AS held
               FROM billing_hold WHERE state = 'open' GROUP BY 1, 2) h
         ON h.workspace_id = a.workspace_id AND h.book = a.book
 WHERE t.kind = 'grant';
"""


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0004_usage'),
        ('marketplace', '0006_version_measurements'),
    ]

    operations = [
        migrations.CreateModel(
            name='Grant',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('book', models.CharField(choices=[('test', 'Test'), ('live', 'Live')], max_length=4)),
                ('origin', models.CharField(max_length=40)),
                ('amount_micros', models.BigIntegerField()),
                ('left_micros', models.BigIntegerField()),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.CreateModel(
            name='Maturity',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('book', models.CharField(choices=[('test', 'Test'), ('live', 'Live')], max_length=4)),
                ('matured_until', models.DateTimeField()),
                ('times', models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name='Refund',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('reference', models.UUIDField()),
                ('book', models.CharField(choices=[('test', 'Test'), ('live', 'Live')], max_length=4)),
                ('amount_micros', models.BigIntegerField()),
                ('granted_micros', models.BigIntegerField()),
                ('pending_micros', models.BigIntegerField()),
                ('payable_micros', models.BigIntegerField()),
                ('unpayable_micros', models.BigIntegerField()),
                ('reason', models.CharField(choices=[('bad_output', 'The output was not what was asked for'), ('fault', 'Something broke although the run succeeded'), ('duplicate', 'The same run was charged twice'), ('overcharged', 'The price or the quantity was wrong'), ('withdrawn', 'The output had to be taken away'), ('goodwill', 'Goodwill')], max_length=12)),
                ('side', models.CharField(choices=[('operator', 'Operator'), ('publisher', 'Publisher'), ('system', 'System')], max_length=10)),
                ('note', models.CharField(blank=True, max_length=500)),
                ('by_user_id', models.BigIntegerField(blank=True, null=True)),
                ('earned_at', models.DateTimeField()),
                ('occurred_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='ledgeraccount',
            name='ledger_account_owner',
        ),
        migrations.RemoveConstraint(
            model_name='usageday',
            name='usage_day_amounts',
        ),
        migrations.AddField(
            model_name='usageday',
            name='refunded_micros',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name='ledgeraccount',
            name='kind',
            field=models.CharField(choices=[('workspace_granted', 'Workspace Granted'), ('workspace_bought', 'Workspace Bought'), ('workspace_held', 'Workspace Held'), ('workspace_refunding', 'Workspace Refunding'), ('publisher_pending', 'Publisher Pending'), ('publisher_payable', 'Publisher Payable'), ('publisher_in_transit', 'Publisher In Transit'), ('publisher_unpayable', 'Publisher Unpayable'), ('platform_revenue', 'Platform Revenue'), ('platform_promo', 'Platform Promo'), ('platform_losses', 'Platform Losses'), ('platform_fees', 'Platform Fees'), ('platform_bank', 'Platform Bank'), ('stripe_clearing', 'Stripe Clearing')], max_length=24),
        ),
        migrations.AlterField(
            model_name='ledgertransaction',
            name='kind',
            field=models.CharField(choices=[('grant', 'Grant'), ('purchase', 'Purchase'), ('hold', 'Hold'), ('capture', 'Capture'), ('release', 'Release'), ('refund', 'Refund'), ('mature', 'Mature'), ('payout', 'Payout'), ('paid_out', 'Paid Out'), ('payout_failed', 'Payout Failed'), ('payout_returned', 'Payout Returned'), ('topup_refund', 'Topup Refund'), ('topup_refunded', 'Topup Refunded'), ('topup_refund_failed', 'Topup Refund Failed'), ('dispute', 'Dispute'), ('reinstated', 'Reinstated'), ('expired', 'Expired'), ('fee', 'Fee')], max_length=24),
        ),
        migrations.AddConstraint(
            model_name='ledgeraccount',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind__in', ('workspace_granted', 'workspace_bought', 'workspace_held', 'workspace_refunding')), ('publisher__isnull', True), ('workspace__isnull', False)), models.Q(('kind__in', ('publisher_pending', 'publisher_payable', 'publisher_in_transit', 'publisher_unpayable')), ('publisher__isnull', False), ('workspace__isnull', True)), models.Q(('kind__in', ('platform_revenue', 'platform_promo', 'platform_losses', 'platform_fees', 'platform_bank', 'stripe_clearing')), ('publisher__isnull', True), ('workspace__isnull', True)), _connector='OR'), name='ledger_account_owner'),
        ),
        migrations.AddConstraint(
            model_name='usageday',
            constraint=models.CheckConstraint(condition=models.Q(('amount_micros__gte', 0), ('not_charged__gte', 0), ('refunded_micros__gte', 0), ('runs__gte', 0), ('not_charged__lte', models.F('runs'))), name='usage_day_amounts'),
        ),
        migrations.AddField(
            model_name='grant',
            name='transaction',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.ledgertransaction'),
        ),
        migrations.AddField(
            model_name='grant',
            name='workspace',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.workspace'),
        ),
        migrations.AddField(
            model_name='maturity',
            name='publisher',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.publisher'),
        ),
        migrations.AddField(
            model_name='refund',
            name='publisher',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.publisher'),
        ),
        migrations.AddField(
            model_name='refund',
            name='transaction',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.ledgertransaction'),
        ),
        migrations.AddField(
            model_name='refund',
            name='workspace',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.workspace'),
        ),
        migrations.AddIndex(
            model_name='grant',
            index=models.Index(condition=models.Q(('left_micros__gt', 0)), fields=['workspace', 'book'], name='grant_left'),
        ),
        migrations.AddIndex(
            model_name='grant',
            index=models.Index(condition=models.Q(('left_micros__gt', 0)), fields=['expires_at'], name='grant_due'),
        ),
        migrations.AddConstraint(
            model_name='grant',
            constraint=models.CheckConstraint(condition=models.Q(('amount_micros__gt', 0), ('left_micros__gte', 0), ('left_micros__lte', models.F('amount_micros'))), name='grant_amounts'),
        ),
        migrations.AddConstraint(
            model_name='maturity',
            constraint=models.UniqueConstraint(fields=('publisher', 'book'), name='maturity_once'),
        ),
        migrations.AddIndex(
            model_name='refund',
            index=models.Index(fields=['reference'], name='refund_reference'),
        ),
        migrations.AddIndex(
            model_name='refund',
            index=models.Index(fields=['workspace', '-occurred_at'], name='refund_workspace'),
        ),
        migrations.AddIndex(
            model_name='refund',
            index=models.Index(fields=['publisher', 'earned_at'], name='refund_publisher'),
        ),
        migrations.AddConstraint(
            model_name='refund',
            constraint=models.CheckConstraint(condition=models.Q(('amount_micros__gt', 0), ('granted_micros__gte', 0), ('pending_micros__gte', 0), ('payable_micros__gte', 0), ('unpayable_micros__gte', 0), ('granted_micros__lte', models.F('amount_micros')), ('amount_micros__gte', django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(models.F('pending_micros'), '+', models.F('payable_micros')), '+', models.F('unpayable_micros')))), name='refund_amounts'),
        ),
        migrations.RunSQL(GUARDS, UNDO),
        migrations.RunSQL(BACKFILL, migrations.RunSQL.noop),
    ]
