"""Which protocol a request speaks: one of the facades, our own API, or none, as pages and media."""

from __future__ import annotations

from playground.edge.own import OWN
from playground.edge.protocol import Scope
from playground.facades import dialects
from playground.facades.dialect import Dialect, Talk


def speaker(path: str) -> Dialect | None:
    """The protocol at an address of the site's map."""
    dialect, _ = dialects.place(path, "")
    return dialect or (OWN if path.startswith(OWN.prefix) else None)


def talk_at(scope: Scope) -> Talk | None:
    """The websocket by which programs ask for runs, in whichever protocol has one at this address."""
    return next((talk for one in dialects.dialects() if (talk := one.talk(scope)) is not None), None)


def placed(scope: Scope) -> Dialect | None:
    """The protocol of a request. Where its Host stands for a prefix, the path in `scope` gets that."""
    return dialects.placed(scope) or (OWN if scope["path"].startswith(OWN.prefix) else None)
