"""The log of deliveries to addresses that single requests named has an index in its order."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("playground", "0007_webhooks")]

    operations = [
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("webhook__isnull", True)),
                fields=["workspace", "-id"],
                name="delivery_log_of_requests",
            ),
        ),
    ]
