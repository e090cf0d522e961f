"""Invoices, written once, and whom they are made out to; an index for what moves credit other than by runs."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

ONCE = """
CREATE TRIGGER invoice_append_only BEFORE UPDATE OR DELETE ON billing_invoice
    FOR EACH ROW EXECUTE FUNCTION billing_forbid_change();
"""
UNDO = "DROP TRIGGER invoice_append_only ON billing_invoice;"


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0009_payouts'),
        ('marketplace', '0006_version_measurements'),
    ]

    operations = [
        migrations.CreateModel(
            name='Invoice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('book', models.CharField(choices=[('test', 'Test'), ('live', 'Live')], max_length=4)),
                ('month', models.DateField()),
                ('number', models.CharField(max_length=32)),
                ('charged_micros', models.BigIntegerField()),
                ('refunded_micros', models.BigIntegerField()),
                ('opening_micros', models.BigIntegerField()),
                ('closing_micros', models.BigIntegerField()),
                ('content', models.JSONField()),
                ('issued_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.CreateModel(
            name='InvoiceRecipient',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(blank=True, max_length=200)),
                ('address', models.CharField(blank=True, max_length=500)),
                ('tax_id', models.CharField(blank=True, max_length=40)),
            ],
        ),
        migrations.AddIndex(
            model_name='ledgertransaction',
            index=models.Index(condition=models.Q(('kind__in', ('hold', 'capture', 'release', 'mature', 'payout', 'paid_out', 'payout_failed')), _negated=True), fields=['book', 'created_at'], name='ledger_transaction_moves'),
        ),
        migrations.AddField(
            model_name='invoice',
            name='workspace',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.workspace'),
        ),
        migrations.AddField(
            model_name='invoicerecipient',
            name='workspace',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='marketplace.workspace'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.UniqueConstraint(fields=('workspace', 'book', 'month'), name='invoice_once'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.UniqueConstraint(fields=('book', 'number'), name='invoice_number'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.CheckConstraint(condition=models.Q(('month__day', 1)), name='invoice_month'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.CheckConstraint(condition=models.Q(('charged_micros__gte', 0), ('refunded_micros__gte', 0)), name='invoice_amounts'),
        ),
        migrations.RunSQL(ONCE, UNDO),
    ]
