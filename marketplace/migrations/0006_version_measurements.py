from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0005_play_orders")]

    operations = [
        migrations.AddField(
            model_name="version",
            name="measurements",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text="how fast it ran on which machine; beside the build, and no part of it",
            ),
        ),
    ]
