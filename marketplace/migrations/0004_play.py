"""The shelf by words, price and media: columns, one index for each order, and a trigger that keeps the words."""

import django.contrib.postgres.search
from django.db import migrations, models

# The parts of hyphenated names are words too. Weights: name, publisher, tagline, task.
WORDS = """
CREATE FUNCTION marketplace_listing_words() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.search :=
        setweight(to_tsvector('simple', translate(NEW.name, '-_/.', '    ')), 'A') ||
        setweight(to_tsvector('simple', translate(coalesce(
            (SELECT p.name || ' ' || p.title FROM marketplace_publisher p WHERE p.id = NEW.publisher_id), ''),
            '-_/.', '    ')), 'B') ||
        setweight(to_tsvector('simple', translate(NEW.tagline, '-_/.', '    ')), 'C') ||
        setweight(to_tsvector('simple', translate(NEW.task, '-_/.', '    ')), 'D');
    RETURN NEW;
END $$;

CREATE TRIGGER listing_words BEFORE INSERT OR UPDATE OF name, tagline, task, publisher_id ON marketplace_listing
    FOR EACH ROW EXECUTE FUNCTION marketplace_listing_words();

CREATE FUNCTION marketplace_publisher_words() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE marketplace_listing SET publisher_id = publisher_id WHERE publisher_id = NEW.id;
    RETURN NULL;
END $$;

CREATE TRIGGER publisher_words AFTER UPDATE OF name, title ON marketplace_publisher
    FOR EACH ROW WHEN ((OLD.name, OLD.title) IS DISTINCT FROM (NEW.name, NEW.title))
    EXECUTE FUNCTION marketplace_publisher_words();

UPDATE marketplace_listing SET publisher_id = publisher_id;
"""

UNDO = """
DROP TRIGGER publisher_words ON marketplace_publisher;
DROP FUNCTION marketplace_publisher_words();
DROP TRIGGER listing_words ON marketplace_listing;
DROP FUNCTION marketplace_listing_words();
"""


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0003_keys")]

    operations = [
        migrations.AddField(
            "listing",
            "examples",
            models.JSONField(
                blank=True,
                default=list,
                help_text="shipped with the manifest: input and static picture of each",
            ),
        ),
        migrations.AddField(
            "listing",
            "takes",
            models.CharField(
                blank=True,
                help_text="kinds of media its input takes, with spaces around: ' image '",
                max_length=60,
                default="",
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            "listing",
            "typical_micros",
            models.BigIntegerField(
                default=4611686018427387904,
                help_text="least price of a typical run, set when published; for sorting only",
            ),
        ),
        migrations.AddField(
            "listing",
            "search",
            django.contrib.postgres.search.SearchVectorField(
                editable=False, help_text="kept by a trigger of the database", null=True
            ),
        ),
        migrations.RunSQL(WORDS, UNDO),
    ]
