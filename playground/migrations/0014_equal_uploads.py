from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("playground", "0013_who_answers"),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="asset", name="asset_upload_once"),
        migrations.AddIndex(
            model_name="asset",
            index=models.Index(
                condition=models.Q(("kind", "upload")),
                fields=["workspace", "sha256"],
                name="asset_equal_uploads",
            ),
        ),
        migrations.AlterField(
            model_name="asset",
            name="storage_name",
            field=models.CharField(
                help_text="equal uploads of a workspace have it in common", max_length=200
            ),
        ),
    ]
