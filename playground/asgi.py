"""The web process's application: HTTP through the edge to Django, sockets to the live card."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")
django.setup(set_prefix=False)

from channels.routing import ProtocolTypeRouter  # noqa: E402 - Django first
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402

from playground.edge.site import Site, lifespan  # noqa: E402
from playground.edge.socket import socket  # noqa: E402

_sockets = AllowedHostsOriginValidator(socket)  # type: ignore[no-untyped-call]
application = ProtocolTypeRouter(  # type: ignore[no-untyped-call]
    {"http": Site(), "websocket": _sockets, "lifespan": lifespan}
)
