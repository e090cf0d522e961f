#!/usr/bin/env python
"""Vitrine's commands: `manage.py dev` runs everything, `manage.py help` lists the rest."""

from __future__ import annotations

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import OperationalError

from marketplace.host.places import HostProblem


def main() -> None:
    """Run the command. What the operator can mend is one line; what only we can is a traceback."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")
    try:
        execute_from_command_line(sys.argv)
    except HostProblem as problem:
        sys.exit(f"vitrine: {problem}")
    except ImproperlyConfigured as problem:
        sys.exit(f"vitrine: a setting is wrong: {problem}")
    except OperationalError as problem:
        said = str(problem).strip() or "no answer"
        sys.exit(
            f"vitrine: the database does not answer ({said.splitlines()[0]}). Is Vitrine running (make run)?"
        )


if __name__ == "__main__":
    main()
