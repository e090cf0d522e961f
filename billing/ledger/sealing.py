"""The chain: committed transactions are sealed in batches, and no seal can be made again with other contents.

Only what is older than every open database transaction is sealed, so a batch is all that was committed up to a moment,
in the order of ids. What commits late is in the next one. Submitting and settling know nothing of it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Max, QuerySet
from django.utils import timezone

from billing.ledger import proofs
from billing.models import Book, Seal, SealedTransaction

MOST = 50_000  # transactions of one seal
CHUNK = 2_000
LOCK = 0x5EA1
# Between taking an id and becoming visible as an open transaction lies a moment; an hour is more than that.
SETTLED = timedelta(hours=1)


@dataclass(frozen=True)
class Sealed:
    """A transaction as it is hashed: its parts in order, and to whom each belongs (the first to all)."""

    id: int
    parts: Sequence[dict[str, Any]]

    def hashes(self, seed: bytes) -> list[bytes]:
        return [proofs.part_hash(proofs.salt(seed, at), part) for at, part in enumerate(self.parts)]


_READ = """
SELECT t.id, t.book, t.kind, t.key, t.reference, t.note, t.created_at, e.accounts, e.owners, e.amounts
  FROM billing_ledgertransaction t
  LEFT JOIN LATERAL (
       SELECT array_agg(a.kind::text ORDER BY e.id) AS accounts,
              array_agg(coalesce(w.public_id, p.public_id)::text ORDER BY e.id) AS owners,
              array_agg(e.amount_micros ORDER BY e.id) AS amounts
         FROM billing_ledgerentry e JOIN billing_ledgeraccount a ON a.id = e.account_id
         LEFT JOIN marketplace_workspace w ON w.id = a.workspace_id
         LEFT JOIN marketplace_publisher p ON p.id = a.publisher_id
        WHERE e.transaction_id = t.id) e ON true
 WHERE t.id = ANY(%s)
"""


def read(ids: Sequence[int]) -> dict[int, Sealed]:
    """These transactions, as they are hashed."""
    with connection.cursor() as cursor:
        cursor.execute(_READ, [list(ids)])
        rows = cursor.fetchall()
    found = {}
    for row_id, book, kind, key, reference, note, at, accounts, owners, amounts in rows:
        what = {
            "book": book,
            "kind": kind,
            "key": key,
            "reference": str(reference) if reference else None,
            "note": note,
            "at": at.astimezone(UTC).isoformat(),
        }
        entries = [
            {"account": account, "of": owner, "amount_micros": amount}
            for account, owner, amount in zip(accounts or (), owners or (), amounts or (), strict=True)
        ]
        found[row_id] = Sealed(row_id, [what, *entries])
    return found


_REACH = """
SELECT last_value, pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
       pg_snapshot_xmin(pg_current_snapshot())::text::bigint
  FROM billing_ledgertransaction_id_seq
"""
_UNSEALED = """
SELECT t.id FROM billing_ledgertransaction t
 WHERE t.book = %(book)s AND t.id > %(after)s
   AND age(t.xmin) > age(%(horizon)s::text::xid8::xid)
   AND NOT EXISTS (SELECT 1 FROM billing_sealedtransaction s WHERE s.transaction_id = t.id)
 ORDER BY t.id LIMIT %(most)s
"""


def seal(
    *, every: timedelta = timedelta(0), thorough: bool = False, now: datetime | None = None
) -> list[Seal]:
    """Seals what has been committed, of each book whose latest seal is `every` old; the seals that were made.

    `thorough` looks at all transactions and not only at those since the last seals. Safe to call from several places.
    """
    made = []
    for book in Book.values:
        latest = Seal.objects.filter(book=book).aggregate(at=Max("sealed_at"))["at"]
        at = now or timezone.now()
        if latest is not None and at - latest < every:
            continue
        while one := _seal(book, at, thorough=thorough):
            made.append(one)
            if one.count < MOST:
                break
    return made


def _seal(book: str, at: datetime, *, thorough: bool) -> Seal | None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        cursor.execute(_REACH)
        reach_id, reach_xid, horizon_xid = cursor.fetchone()
        chain = Seal.objects.filter(book=book)
        after = 0 if thorough else _sealed_up_to(chain, at)
        cursor.execute(_UNSEALED, {"book": book, "after": after, "horizon": str(horizon_xid), "most": MOST})
        ids = [row_id for (row_id,) in cursor.fetchall()]
        if not ids:
            return None
        leaves = []
        for start in range(0, len(ids), CHUNK):
            found = read(ids[start : start + CHUNK])
            for row_id in ids[start : start + CHUNK]:
                seed = secrets.token_bytes(16)
                leaves.append((row_id, seed, proofs.leaf(found[row_id].hashes(seed))))
        if len(ids) == MOST:  # there may be more
            reach_id, horizon_xid = after, 0
        made = _link(chain.order_by("-number").first(), [leaf for *_, leaf in leaves], book, at)
        made.reach_id, made.reach_xid, made.horizon_xid = reach_id, reach_xid, horizon_xid
        made.save(force_insert=True)
        SealedTransaction.objects.bulk_create(
            [
                SealedTransaction(transaction_id=row_id, seal=made, position=position, seed=seed, leaf=leaf)
                for position, (row_id, seed, leaf) in enumerate(leaves)
            ],
            batch_size=CHUNK,
        )
    return made


def _sealed_up_to(chain: QuerySet[Seal], at: datetime) -> int:
    """The id up to which everything is sealed that ever was, or will be, committed."""
    horizon = chain.aggregate(xid=Max("horizon_xid"))["xid"] or 0
    known = chain.filter(reach_xid__lte=horizon, sealed_at__lte=at - SETTLED)
    return known.aggregate(reach=Max("reach_id"))["reach"] or 0


def _link(last: Seal | None, leaves: Sequence[bytes], book: str, at: datetime) -> Seal:
    number, previous = (last.number + 1, last.hash) if last else (1, proofs.FIRST)
    root = proofs.tree(leaves)[-1][0].hex()
    digest = proofs.seal_hash(
        book=book, number=number, previous=previous, root=root, count=len(leaves), at=moment(at)
    )
    return Seal(
        book=book, number=number, previous=previous, root=root, count=len(leaves), hash=digest, sealed_at=at
    )


def moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()


def heads() -> dict[str, str]:
    """The hash of each book's newest seal: whoever has noted it can tell later whether the past was changed."""
    newest = Seal.objects.order_by("book", "-number").distinct("book")
    return dict(newest.values_list("book", "hash"))


def broken_seals() -> Iterator[str]:
    """What is wrong with the chains: every seal is made again from the rows that it sealed."""
    before: dict[str, tuple[int, str]] = {}
    for one in Seal.objects.order_by("book", "number").iterator(CHUNK):
        number, previous = before.get(one.book, (0, proofs.FIRST))
        if (one.number, one.previous) != (number + 1, previous):
            yield f"seal {one.number} of {one.book} does not follow seal {number}"
        before[one.book] = (one.number, one.hash)
        leaves = []
        for position, row_id, place_leaf, leaf in _leaves(one):
            leaves.append(leaf)
            if leaf != place_leaf or position != len(leaves) - 1:
                yield f"transaction {row_id} is not what was sealed in seal {one.number} of {one.book}"
        root = proofs.tree(leaves)[-1][0].hex() if leaves else ""
        digest = proofs.seal_hash(
            book=one.book,
            number=one.number,
            previous=one.previous,
            root=root,
            count=len(leaves),
            at=moment(one.sealed_at),
        )
        if (root, len(leaves), digest) != (one.root, one.count, one.hash):
            yield f"seal {one.number} of {one.book} does not seal what is there"


def _leaves(one: Seal) -> Iterator[tuple[int, int, bytes, bytes]]:
    places = SealedTransaction.objects.filter(seal=one).order_by("position")
    rows = list(places.values_list("position", "transaction_id", "seed", "leaf"))
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        found = read([row_id for _, row_id, _, _ in chunk])
        for position, row_id, seed, leaf in chunk:
            again = proofs.leaf(found[row_id].hashes(bytes(seed))) if row_id in found else b""
            yield position, row_id, bytes(leaf), again
