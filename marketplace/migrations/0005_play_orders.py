"""One index for each order of the shelf; apart from the rows' rewrite, which a transaction of its own commits first."""

import django.contrib.postgres.indexes
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0004_play")]

    operations = [
        migrations.RemoveIndex(model_name="listing", name="listing_shelf"),
        migrations.RemoveIndex(model_name="listing", name="listing_newest"),
        *(
            migrations.AddIndex("listing", index)
            for index in (
                models.Index(fields=["-featured", "-run_count", "id"], name="listing_by_feature"),
                models.Index(fields=["-run_count", "id"], name="listing_by_runs"),
                models.Index(fields=["-created_at", "id"], name="listing_by_age"),
                models.Index(fields=["typical_micros", "id"], name="listing_by_price"),
                models.Index(fields=["task", "-featured", "-run_count", "id"], name="listing_by_task"),
                models.Index(
                    condition=models.Q(("takes", ""), _negated=True),
                    fields=["-featured", "-run_count", "id"],
                    name="listing_takes",
                ),
                django.contrib.postgres.indexes.GinIndex(fields=["search"], name="listing_search"),
            )
        ),
    ]
