#!/usr/bin/env python
"""Vitrine's commands: `manage.py dev` runs everything, `manage.py help` lists the rest."""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line

from marketplace.host.places import HostProblem


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")
    try:
        execute_from_command_line(sys.argv)
    except HostProblem as problem:
        sys.exit(f"vitrine: {problem}")


if __name__ == "__main__":
    main()
