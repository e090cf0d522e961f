"""Transfers that paid a payout which had failed here."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0014_disputes_looked_up'),
    ]

    operations = [
        migrations.AddField(
            model_name='payout',
            name='stray_id',
            field=models.CharField(blank=True, db_default='', default='', help_text='a transfer that paid it although it had failed', max_length=255),
        ),
        migrations.AddIndex(
            model_name='payout',
            index=models.Index(condition=models.Q(('stray_id', ''), _negated=True), fields=['book'], name='payout_stray'),
        ),
    ]
