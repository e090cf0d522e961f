"""Indexes of tables that may be large by now: built beside their use, which is not held up."""

import django.contrib.postgres.indexes
import django.db.models.expressions
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('playground', '0003_history'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='asset',
            index=models.Index(condition=models.Q(('deletion__isnull', False)), fields=['deletion'], name='asset_deleted'),
        ),
        AddIndexConcurrently(
            model_name='prediction',
            index=models.Index(fields=['workspace', 'status', 'created_at'], name='prediction_by_status'),
        ),
        AddIndexConcurrently(
            model_name='prediction',
            index=models.Index(fields=['workspace', 'model', 'created_at'], name='prediction_by_model'),
        ),
        AddIndexConcurrently(
            model_name='prediction',
            index=models.Index(fields=['workspace', 'via', 'created_at'], name='prediction_by_via'),
        ),
        AddIndexConcurrently(
            model_name='prediction',
            index=models.Index(condition=models.Q(('api_key__isnull', False)), fields=['workspace', 'api_key', 'created_at'], name='prediction_by_key'),
        ),
        AddIndexConcurrently(
            model_name='prediction',
            index=models.Index(condition=models.Q(('created_by__isnull', False)), fields=['workspace', 'created_by', 'created_at'], name='prediction_by_member'),
        ),
        AddIndexConcurrently(
            model_name='prediction',
            index=models.Index(condition=models.Q(('cost_micros__gt', 0)), fields=['workspace', 'cost_micros'], name='prediction_by_cost'),
        ),
        AddIndexConcurrently(
            model_name='prediction',
            index=models.Index(condition=models.Q(('deletion__isnull', False)), fields=['deletion'], name='prediction_deleted'),
        ),
        AddIndexConcurrently(
            model_name='prediction',
            index=django.contrib.postgres.indexes.GinIndex(django.db.models.expressions.RawSQL('to_tsvector(\'simple\'::regconfig, "left"(COALESCE(input ->> \'prompt\', \'\'), 2000)) || array_to_tsvector(ARRAY[\'ws \' || workspace_id::text || \' \' || floor(extract(epoch FROM created_at AT TIME ZONE \'UTC\') / 86400)::int::text])', []), condition=models.Q(('status__in', ['succeeded', 'failed', 'canceled'])), name='prediction_words'),
        ),
    ]
