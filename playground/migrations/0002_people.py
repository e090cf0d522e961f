"""The database itself takes no run for a closed workspace."""

from __future__ import annotations

from django.db import migrations

# FOR SHARE waits for whoever is closing the workspace, and makes them wait for this run; runs do not wait for each
# other. What settles only has a foreign key's lock, which closing does not wait for.
GUARD = """
CREATE FUNCTION playground_workspace_is_open() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM marketplace_workspace WHERE id = NEW.workspace_id AND closed_at IS NULL FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'workspace % is closed', NEW.workspace_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'prediction_workspace_open';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER prediction_workspace_open BEFORE INSERT ON playground_prediction
    FOR EACH ROW EXECUTE FUNCTION playground_workspace_is_open();
"""
UNGUARD = """
DROP TRIGGER prediction_workspace_open ON playground_prediction;
DROP FUNCTION playground_workspace_is_open();
"""


class Migration(migrations.Migration):
    dependencies = [("playground", "0001_initial"), ("marketplace", "0002_people")]
    operations = [migrations.RunSQL(GUARD, UNGUARD)]
