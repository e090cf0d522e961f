"""Keys that other keys made over the API are of the person who made the first: limits on that person count them.

Of those that were made before this was noted, each takes the person of the nearest key above it that has one. A key whose
person has left for good keeps none, and so do those that it made.
"""

from __future__ import annotations

from django.db import migrations

PEOPLE = """
UPDATE marketplace_apikey k
   SET created_by_id = (SELECT a.created_by_id
                          FROM unnest(k.ancestor_ids) WITH ORDINALITY AS above(id, place)
                          JOIN marketplace_apikey a ON a.id = above.id AND a.workspace_id = k.workspace_id
                         WHERE a.created_by_id IS NOT NULL ORDER BY above.place DESC LIMIT 1)
 WHERE k.created_by_id IS NULL AND k.ancestor_ids <> '{}';
"""


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0009_publishers")]

    operations = [migrations.RunSQL(PEOPLE, migrations.RunSQL.noop)]
