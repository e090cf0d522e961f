"""The same request, sent again by a client itself: a library that got no answer in time sends what it sent before.

Some name their requests, and then the name decides (see `idempotency`). Those that do not are told by what they sent:
where a client says that it sends again, or where it was never answered, the first run is the answer: it left before,
or the web process that was to answer it is dead. Two requests that only look alike are two, as somebody may well want
four pictures of the same words.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import redis
from django.db import connection
from django.utils import timezone

from marketplace.dispatch import redis_client
from marketplace.models import Workspace
from playground.models import IdempotencyKey, Prediction
from playground.predictions import idempotency

WINDOW = timedelta(seconds=90)  # clients that try again do it within that
HELD = timedelta(minutes=10)  # no answer is kept back for longer
_LOCK_MS = 5_000


@dataclass(frozen=True, slots=True)
class Repeat:
    """What tells a request from others: `mark`, whatever does; `is_again` where the client says which time it is."""

    mark: str
    is_again: bool | None = None


class Once:
    """A request under the name that its caller gave it."""

    def __init__(self, workspace: Workspace, key: str, body: str) -> None:
        self._workspace, self._key, self._body = workspace, key, body

    def find(self) -> Prediction | None:
        """The run that it made before. Raises IdempotencyConflict."""
        return idempotency.find(self._workspace, self._key, self._body)

    def claim(self) -> Prediction | None:
        """`find` once more, in the transaction that makes the run. Raises IdempotencyConflict, IdempotencyInFlight."""
        return idempotency.claim(self._workspace, self._key, self._body)

    def remember(self, row: Prediction) -> None:
        """That this is the run it made."""
        idempotency.remember(row, self._key, self._body)


class Again:
    """A request without a name, which its client may send again."""

    def __init__(self, workspace: Workspace, repeat: Repeat, body: str) -> None:
        self._workspace, self._repeat = workspace, repeat
        # No key that somebody sends holds a space at its beginning: it would have been stripped.
        self._key = f" {hashlib.sha256(f'{repeat.mark} {body}'.encode()).hexdigest()}"

    def find(self) -> Prediction | None:
        """The run that the client has not heard of, if this is the same request again."""
        if self._repeat.is_again is False:
            return None
        # A first time is the rule, and is told by what is cheap to ask.
        kept = IdempotencyKey.objects.filter(workspace=self._workspace, key=self._key)
        known = next(iter(kept.values_list("prediction", "created_at", "answerer")), None)
        if known is None or known[0] is None:
            return None
        made, created_at, answerer = known
        row = Prediction.objects.select_related("version", "endpoint").filter(pk=made).first()
        if row is None or row.deletion_id is not None:
            return None
        now = timezone.now()
        if self._repeat.is_again:  # some wait minutes for a run before they ask again
            since = now - WINDOW
            is_meant = created_at > since or row.finished_at is None or row.finished_at > since
        else:
            is_meant = created_at > now - HELD and is_unheard(row.public_id, answerer)
        if not is_meant:
            return None
        row.is_replay = True
        return row

    def claim(self) -> Prediction | None:
        """`find` once more, when those of the same kind that were under way are done."""
        number = int.from_bytes(
            hashlib.sha256(f"{self._workspace.pk} {self._key}".encode()).digest()[:8], "big", signed=True
        )
        kind = "" if self._repeat.is_again else "_shared"  # who asks for the first time holds up nobody else
        with connection.cursor() as cursor:
            # Columns are computed from left to right. What the lock was waited for is seen by the next statement.
            cursor.execute(
                "SELECT set_config('lock_timeout', %s, true), "
                f"pg_advisory_xact_lock{kind}(%s), set_config('lock_timeout', '0', true)",
                [f"{_LOCK_MS}ms", number],
            )
        return self.find()

    def remember(self, row: Prediction) -> None:
        """That this is the run it made, and no earlier one."""
        now = timezone.now()
        made = IdempotencyKey(
            workspace=self._workspace, key=self._key, prediction=row, created_at=now, answerer=_here.name
        )
        IdempotencyKey.objects.bulk_create(
            [made],
            update_conflicts=True,
            unique_fields=["workspace", "key"],
            update_fields=["prediction", "created_at", "answerer"],
        )


def left_key(public_id: UUID) -> str:
    """Where Redis keeps, for a while, that a client left before it heard of the run it had asked for."""
    return f"left:{public_id.hex}"


def heard_key(public_id: UUID) -> str:
    """Where Redis keeps, for as long as it matters, that a client was told of the run it had asked for."""
    return f"heard:{public_id.hex}"


class _Here:
    """This process as one that answers: `name` is empty while nobody could see it die."""

    def __init__(self) -> None:
        self.own = secrets.token_hex(16)
        self.name = ""


_here = _Here()


def channel_here() -> str:
    """The channel in Redis that this process listens to for as long as it lives: Redis sees a dead one at once."""
    return _channel(_here.own)


def note_seen(*, is_seen: bool) -> None:
    """Say whether this process listens to `channel_here` now."""
    _here.name = _here.own if is_seen else ""


def is_unheard(public_id: UUID, answerer: str) -> bool:
    """Whether the client that asked for a run has not heard of it: it left, or who was to answer it, the process
    `answerer`, is dead. Without Redis nobody knows, and everybody has heard."""
    try:
        pipe = redis_client().pipeline(transaction=False)
        pipe.exists(left_key(public_id))
        pipe.exists(heard_key(public_id))
        pipe.pubsub_numsub(_channel(answerer))
        has_left, has_heard, [(_, listening)] = pipe.execute()
    except redis.RedisError:
        return False
    # A process that Redis lost sight of for a moment counts as dead: one run too few is the smaller harm.
    is_dead = answerer not in {"", _here.own} and not listening
    return bool(has_left) or (is_dead and not has_heard)


def _channel(name: str) -> str:
    return f"answers:{name}"
