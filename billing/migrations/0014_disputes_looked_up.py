"""That a payment is disputed is looked up where automatic top-ups ask for it, and is no pause that a row keeps."""

from django.db import migrations

LIFTED = """
UPDATE billing_autotopup SET pause = '', pause_detail = '', paused_at = NULL WHERE pause = 'disputed';
"""


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0013_disputed_shares'),
    ]

    operations = [
        migrations.RunSQL(LIFTED, migrations.RunSQL.noop),
    ]
