"""What publishers had at the end of each month, so that a statement costs its month and not its history.

Rows are made by the next audit.
"""

import django.db.models.deletion
from django.db import migrations, models

GUARD = """
CREATE TRIGGER month_end_is_not_edited BEFORE UPDATE ON billing_monthend
    FOR EACH ROW EXECUTE FUNCTION billing_forbid_change();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0018_disputed_payments"),
        ("marketplace", "0010_keys_of_people"),
    ]

    operations = [
        migrations.CreateModel(
            name="MonthEnd",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("book", models.CharField(choices=[("test", "Test"), ("live", "Live")], max_length=4)),
                ("month", models.DateField()),
                ("pending_micros", models.BigIntegerField()),
                ("payable_micros", models.BigIntegerField()),
                ("in_transit_micros", models.BigIntegerField()),
                ("unpayable_micros", models.BigIntegerField()),
                (
                    "publisher",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="marketplace.publisher",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("publisher", "book", "month"), name="month_end_once"),
                    models.CheckConstraint(condition=models.Q(("month__day", 1)), name="month_end_month"),
                ],
            },
        ),
        migrations.RunSQL(GUARD, migrations.RunSQL.noop),
    ]
