"""The chain over the ledger, and what audits found. Seals and what they sealed are never changed."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

GUARDS = """
CREATE TRIGGER seal_append_only BEFORE UPDATE OR DELETE ON billing_seal
    FOR EACH ROW EXECUTE FUNCTION billing_forbid_change();
CREATE TRIGGER sealed_transaction_append_only BEFORE UPDATE OR DELETE ON billing_sealedtransaction
    FOR EACH ROW EXECUTE FUNCTION billing_forbid_change();
CREATE TRIGGER audit_finished_for_good BEFORE UPDATE ON billing_audit
    FOR EACH ROW WHEN (OLD.finished_at IS NOT NULL) EXECUTE FUNCTION billing_forbid_change();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0005_ledger_movements'),
    ]

    operations = [
        migrations.CreateModel(
            name='Audit',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('started_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
                ('heads', models.JSONField(default=dict)),
                ('problem_count', models.IntegerField(default=0)),
                ('problems', models.JSONField(default=list)),
            ],
            options={
                'indexes': [models.Index(fields=['-started_at'], name='audit_newest')],
            },
        ),
        migrations.CreateModel(
            name='Seal',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('book', models.CharField(choices=[('test', 'Test'), ('live', 'Live')], max_length=4)),
                ('number', models.BigIntegerField()),
                ('previous', models.CharField(max_length=64)),
                ('root', models.CharField(max_length=64)),
                ('count', models.IntegerField()),
                ('hash', models.CharField(max_length=64, unique=True)),
                ('sealed_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('reach_id', models.BigIntegerField()),
                ('reach_xid', models.BigIntegerField()),
                ('horizon_xid', models.BigIntegerField()),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('book', 'number'), name='seal_number'), models.CheckConstraint(condition=models.Q(('count__gt', 0), ('number__gt', 0)), name='seal_numbers')],
            },
        ),
        migrations.CreateModel(
            name='SealedTransaction',
            fields=[
                ('transaction', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='+', serialize=False, to='billing.ledgertransaction')),
                ('position', models.IntegerField()),
                ('seed', models.BinaryField(max_length=16)),
                ('leaf', models.BinaryField(max_length=32)),
                ('seal', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.seal')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('seal', 'position'), name='sealed_position')],
            },
        ),
        migrations.RunSQL(GUARDS, migrations.RunSQL.noop),
    ]
