"""Tokens in place of a key: for uploads, and for sockets that a browser opens, which can send no header.

A token is signed and kept nowhere. It stands for the key that it was asked for with: it does nothing that this may not
do, and ends with it, with its secret, or by its own time. Of whoever has it nothing but the purpose is allowed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from django.core import signing

from marketplace import keys
from marketplace.models import ApiKey
from playground.predictions import Caller

CDN_SECONDS = 3600
REALTIME_SECONDS = 120
REALTIME_MAXIMUM = 3600


class Purpose(StrEnum):
    """What a token is for."""

    UPLOAD = "upload"
    REALTIME = "realtime"


@dataclass(frozen=True, slots=True)
class Token:
    """What a token stands for: a key, and the apps that it opens, by alias or whole id."""

    key: ApiKey
    apps: tuple[str, ...]
    expires_at: datetime

    @property
    def caller(self) -> Caller:
        return Caller(workspace=self.key.workspace, key=self.key)

    def opens(self, app: str) -> bool:
        """Whether it is for `owner/alias`, by whichever of its names it was asked for."""
        alias = app.rpartition("/")[2]
        return any(one.strip("/").split("/")[:2] in ([alias], app.split("/")) for one in self.apps)


def issue(purpose: Purpose, key: ApiKey, *, seconds: int, apps: Sequence[str] = ()) -> tuple[str, datetime]:
    """A token, and when it ends."""
    until = int(time.time()) + seconds
    claims = [key.public_id.hex, key.rotations, until, list(apps)]
    return signing.dumps(claims, salt=_salt(purpose)), datetime.fromtimestamp(until, UTC)


def opened(purpose: Purpose, text: str, *, origin: str = "") -> Token:
    """What a token stands for. Raises keys.InvalidKey."""
    try:
        public_id, rotations, until, apps = signing.loads(text, salt=_salt(purpose))
    except (signing.BadSignature, ValueError):
        raise keys.InvalidKey("This is no token of this server.") from None
    if until <= time.time():
        raise keys.InvalidKey("This token has expired. Ask for a new one.")
    key = keys.standing(UUID(public_id), rotations=rotations, origin=origin)
    return Token(key, tuple(apps), datetime.fromtimestamp(until, UTC))


def _salt(purpose: Purpose) -> str:
    return f"fal {purpose.value}"
