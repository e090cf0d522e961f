from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("playground", "0012_growing_uploads"),
    ]

    operations = [
        migrations.AddField(
            model_name="idempotencykey",
            name="answerer",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="the web process that was to answer it, where what was sent names the request",
                max_length=32,
            ),
        ),
    ]
