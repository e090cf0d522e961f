"""The web process's application: HTTP through the edge to Django, sockets to the live card."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")
django.setup(set_prefix=False)

from playground.edge.site import Site  # noqa: E402 - Django first

application = Site()
