"""Which deliveries go next: the statement that takes them, so that no address holds up another.

Of every target at most two are under way, of every workspace a few; a workspace with fewest under way goes first. The
index is walked from target to target, so that a million deliveries that wait for one dead server cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.utils import timezone

PER_TARGET = 2
PER_WORKSPACE = 6
LEASE = timedelta(seconds=30)  # longer than an attempt lasts

_TAKE = """
WITH RECURSIVE who (workspace_id, target) AS (
    (SELECT workspace_id, target FROM playground_delivery
      WHERE next_attempt_at IS NOT NULL ORDER BY workspace_id, target LIMIT 1)
     UNION ALL
    SELECT n.workspace_id, n.target FROM who CROSS JOIN LATERAL (
        SELECT d.workspace_id, d.target FROM playground_delivery d
         WHERE d.next_attempt_at IS NOT NULL AND (d.workspace_id, d.target) > (who.workspace_id, who.target)
         ORDER BY d.workspace_id, d.target LIMIT 1) n
), busy AS (
    SELECT workspace_id, target, count(*) AS n FROM playground_delivery
     WHERE claimed_until > %(now)s::timestamptz GROUP BY workspace_id, target
), due AS (
    SELECT d.id, d.next_attempt_at,
           row_number() OVER (PARTITION BY who.workspace_id ORDER BY d.next_attempt_at, d.id)
           + coalesce((SELECT sum(b.n) FROM busy b WHERE b.workspace_id = who.workspace_id), 0) AS place
      FROM who CROSS JOIN LATERAL (
        SELECT id, next_attempt_at FROM playground_delivery q
         WHERE q.workspace_id = who.workspace_id AND q.target = who.target AND q.next_attempt_at <= %(now)s::timestamptz
         ORDER BY q.next_attempt_at
         LIMIT greatest(0, %(per_target)s - coalesce((SELECT b.n FROM busy b
                WHERE b.workspace_id = who.workspace_id AND b.target = who.target), 0))) d
), chosen AS (
    SELECT id FROM due WHERE place <= %(per_workspace)s ORDER BY place, next_attempt_at LIMIT %(limit)s
)
UPDATE playground_delivery p
   SET claimed_until = %(now)s::timestamptz + %(lease)s * interval '1 second',
       next_attempt_at = %(now)s::timestamptz + %(lease)s * interval '1 second'
 WHERE p.id IN (
       SELECT id FROM playground_delivery
        WHERE id IN (SELECT id FROM chosen) AND next_attempt_at <= %(now)s::timestamptz FOR NO KEY UPDATE SKIP LOCKED)
RETURNING p.id, p.claimed_until
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send one delivery, until it runs out. What is recorded counts only while it is the row's."""

    delivery: int
    until: datetime


def take(limit: int) -> list[Claim]:
    """Claim at most `limit` deliveries that are due. One that is not recorded in time is due again."""
    parameters: dict[str, float | datetime] = {
        "now": timezone.now(),
        "limit": limit,
        "per_target": PER_TARGET,
        "per_workspace": PER_WORKSPACE,
        "lease": LEASE.total_seconds(),
    }
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, parameters)
        return [Claim(delivery, until) for delivery, until in cursor.fetchall()]
