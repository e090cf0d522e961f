"""Events that are put aside with a reason, and from which page a saved card is."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0010_receipts'),
    ]

    operations = [
        migrations.AddField(
            model_name='stripecustomer',
            name='card_from_at',
            field=models.DateTimeField(blank=True, help_text='when the page that it is from opened', null=True),
        ),
        migrations.AddField(
            model_name='stripeevent',
            name='aside_at',
            field=models.DateTimeField(blank=True, help_text='when it was put aside', null=True),
        ),
        migrations.AddConstraint(
            model_name='stripeevent',
            constraint=models.CheckConstraint(condition=models.Q(('aside_at__isnull', True), models.Q(('handled_at__isnull', True), models.Q(('last_error', ''), _negated=True)), _connector='OR'), name='stripe_event_aside'),
        ),
    ]
