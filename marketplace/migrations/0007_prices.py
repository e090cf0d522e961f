"""Prices have volume tiers and come from a manifest or a page; how many runs a workspace may have open; newcomers are
counted by when and from where they had their credit."""

from __future__ import annotations

import django.db.models.deletion
import django.db.models.functions.datetime
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("marketplace", "0006_version_measurements"),
    ]

    operations = [
        migrations.AddField(
            model_name="price",
            name="created_at",
            field=models.DateTimeField(
                db_default=django.db.models.functions.datetime.Now(), default=django.utils.timezone.now
            ),
        ),
        migrations.AddField(
            model_name="price",
            name="from_runs",
            field=models.PositiveIntegerField(
                db_default=0,
                default=0,
                help_text="runs of the model in the month that come before the line counts for a workspace",
            ),
        ),
        migrations.AddField(
            model_name="price",
            name="set_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="price",
            name="source",
            field=models.CharField(
                choices=[("manifest", "Manifest"), ("page", "Price page")],
                db_default="manifest",
                default="manifest",
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="workspace",
            name="max_open_runs",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="runs that may be open at once; none: as the installation says; 0: any number",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="user",
            name="starter_from",
            field=models.CharField(
                blank=True, db_default="", help_text="trace of the network it was granted to", max_length=40
            ),
        ),
        migrations.AddIndex(
            model_name="user",
            index=models.Index(
                condition=models.Q(("starter_at__isnull", False)), fields=["starter_at"], name="user_starter"
            ),
        ),
    ]
