"""Publishers agree to terms, close and open again; models are unlisted or paused, and described by hand."""

from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('marketplace', '0008_publisher_share'),
    ]

    operations = [
        migrations.AddField(
            model_name='listing',
            name='edited',
            field=models.JSONField(blank=True, db_default=[], default=list, help_text='fields that a member set by hand: the manifest does not change them'),
        ),
        migrations.AddField(
            model_name='listing',
            name='paused_at',
            field=models.DateTimeField(blank=True, help_text='since when it takes no new runs', null=True),
        ),
        migrations.AddField(
            model_name='publisher',
            name='agreed_at',
            field=models.DateTimeField(blank=True, help_text='when its terms were agreed to', null=True),
        ),
        migrations.AddField(
            model_name='publisher',
            name='agreed_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='publisher',
            name='closed_at',
            field=models.DateTimeField(blank=True, help_text='it sells nothing any more; what it earned is still paid', null=True),
        ),
        migrations.AlterField(
            model_name='listing',
            name='cover',
            field=models.CharField(blank=True, help_text='static path of the cover, or the id of a picture: a_…', max_length=200),
        ),
        migrations.AlterField(
            model_name='listing',
            name='visibility',
            field=models.CharField(choices=[('public', 'Public'), ('unlisted', 'Unlisted'), ('private', 'Private')], default='public', max_length=10),
        ),
    ]
