"""Of which runs a dispute has taken shares.

What was taken before is not known by run, and has no rows: for those runs nothing changes until the dispute is decided.
"""

import django.db.models.deletion
from django.db import migrations, models

GUARDS = """
CREATE TRIGGER disputed_share_only_shrinks BEFORE UPDATE ON billing_disputedshare
    FOR EACH ROW WHEN ((OLD.id, OLD.dispute_id, OLD.book, OLD.reference, OLD.publisher_id, OLD.taken_micros)
          IS DISTINCT FROM (NEW.id, NEW.dispute_id, NEW.book, NEW.reference, NEW.publisher_id, NEW.taken_micros)
          OR NEW.left_micros > OLD.left_micros)
    EXECUTE FUNCTION billing_forbid_change();
CREATE TRIGGER disputed_share_never_deleted BEFORE DELETE ON billing_disputedshare
    FOR EACH ROW EXECUTE FUNCTION billing_forbid_change();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0012_spent_before'),
        ('marketplace', '0009_publishers'),
    ]

    operations = [
        migrations.CreateModel(
            name='DisputedShare',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('dispute_id', models.CharField(max_length=150)),
                ('book', models.CharField(choices=[('test', 'Test'), ('live', 'Live')], max_length=4)),
                ('reference', models.UUIDField()),
                ('taken_micros', models.BigIntegerField()),
                ('left_micros', models.BigIntegerField()),
                ('publisher', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.publisher')),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('left_micros__gt', 0)), fields=['reference'], name='disputed_share_run'), models.Index(condition=models.Q(('left_micros__gt', 0)), fields=['dispute_id', 'publisher'], name='disputed_share_left')],
                'constraints': [models.UniqueConstraint(fields=('book', 'dispute_id', 'reference'), name='disputed_share_once'), models.CheckConstraint(condition=models.Q(('left_micros__gte', 0), ('left_micros__lte', models.F('taken_micros')), ('taken_micros__gt', 0)), name='disputed_share_amounts')],
            },
        ),
        migrations.RunSQL(GUARDS, migrations.RunSQL.noop),
    ]
