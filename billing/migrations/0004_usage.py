"""The days of usage, counted by the database as their records are written, and when low balances are told of.

A trigger and not a second statement of the ledger: whoever writes a record counts it, in the same transaction, and
records are never changed, so that days and records cannot drift apart. The trigger is made before the records that
are there are counted; making it waits for all who write, and lets nobody write until this is committed. It never
waits for another that settles: it counts in a row that nobody holds, or in a new one.
"""

import django.db.models.deletion
from django.db import migrations, models

# Room on a page for the next versions of a row that is counted up with every run.
ROOM = """
ALTER TABLE billing_usageday SET (fillfactor = 50);
"""

COUNT = """
CREATE FUNCTION billing_count_usage() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    on_day date := (NEW.occurred_at AT TIME ZONE 'UTC')::date;
    is_free int := (NEW.amount_micros = 0 AND NEW.status <> 'succeeded')::int;
BEGIN
    UPDATE billing_usageday
       SET runs = runs + 1, not_charged = not_charged + is_free, amount_micros = amount_micros + NEW.amount_micros
     WHERE id = (SELECT id FROM billing_usageday
                  WHERE workspace_id = NEW.workspace_id AND book = NEW.book AND day = on_day AND model = NEW.model
                    AND key_id = coalesce(NEW.key_id, 0) AND user_id = coalesce(NEW.user_id, 0)
                  LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED);
    IF NOT FOUND THEN
        INSERT INTO billing_usageday
               (workspace_id, book, day, model, key_id, user_id, runs, not_charged, amount_micros)
        VALUES (NEW.workspace_id, NEW.book, on_day, NEW.model, coalesce(NEW.key_id, 0), coalesce(NEW.user_id, 0),
                1, is_free, NEW.amount_micros);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER usage_record_counted AFTER INSERT ON billing_usagerecord
    FOR EACH ROW EXECUTE FUNCTION billing_count_usage();
CREATE TRIGGER usage_record_append_only BEFORE UPDATE OR DELETE ON billing_usagerecord
    FOR EACH ROW EXECUTE FUNCTION billing_forbid_change();
"""

BACKFILL = """
INSERT INTO billing_usageday (workspace_id, book, day, model, key_id, user_id, runs, not_charged, amount_micros)
SELECT workspace_id, book, (occurred_at AT TIME ZONE 'UTC')::date, model, coalesce(key_id, 0), coalesce(user_id, 0),
       count(*), count(*) FILTER (WHERE amount_micros = 0 AND status <> 'succeeded'), sum(amount_micros)
  FROM billing_usagerecord GROUP BY 1, 2, 3, 4, 5, 6;
"""

UNDO = """
DROP TRIGGER usage_record_append_only ON billing_usagerecord;
DROP TRIGGER usage_record_counted ON billing_usagerecord;
DROP FUNCTION billing_count_usage();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0003_movements'),
        ('marketplace', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='LowBalance',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('book', models.CharField(choices=[('test', 'Test'), ('live', 'Live')], max_length=4)),
                ('below_micros', models.BigIntegerField()),
                ('told_at', models.DateTimeField(blank=True, null=True)),
                ('workspace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='marketplace.workspace')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('workspace', 'book'), name='low_balance_once'), models.CheckConstraint(condition=models.Q(('below_micros__gte', 0)), name='low_balance_amount')],
            },
        ),
        migrations.CreateModel(
            name='UsageDay',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('book', models.CharField(choices=[('test', 'Test'), ('live', 'Live')], max_length=4)),
                ('day', models.DateField()),
                ('model', models.CharField(max_length=120)),
                ('key_id', models.BigIntegerField(default=0)),
                ('user_id', models.BigIntegerField(default=0)),
                ('runs', models.BigIntegerField()),
                ('not_charged', models.BigIntegerField()),
                ('amount_micros', models.BigIntegerField()),
                ('workspace', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.workspace')),
            ],
            options={
                'indexes': [models.Index(fields=['workspace', 'book', 'day', 'model', 'key_id', 'user_id'], name='usage_day_sums')],
                'constraints': [models.CheckConstraint(condition=models.Q(('amount_micros__gte', 0), ('not_charged__gte', 0), ('runs__gt', 0), ('not_charged__lte', models.F('runs'))), name='usage_day_amounts')],
            },
        ),
        migrations.RunSQL(ROOM + COUNT + BACKFILL, UNDO),
    ]
