"""The web process's application: HTTP through the edge to Django, sockets to the live card."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")
django.setup(set_prefix=False)

from channels.routing import ProtocolTypeRouter  # noqa: E402 - Django first
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402

from playground.edge.protocol import Receive, Scope, Send  # noqa: E402
from playground.edge.site import Site, lifespan  # noqa: E402
from playground.edge.socket import socket  # noqa: E402
from playground.edge.speakers import talk_at  # noqa: E402
from playground.edge.talks import hold  # noqa: E402

_pages = AllowedHostsOriginValidator(socket)  # type: ignore[no-untyped-call]


async def sockets(scope: Scope, receive: Receive, send: Send) -> None:
    """Those of our pages, by cookie; those of programs, by key or token, from wherever they are."""
    talk = talk_at(scope)
    if talk is None:
        await _pages(scope, receive, send)
    else:
        await hold(talk, scope, receive, send)


application = ProtocolTypeRouter(  # type: ignore[no-untyped-call]
    {"http": Site(), "websocket": sockets, "lifespan": lifespan}
)
