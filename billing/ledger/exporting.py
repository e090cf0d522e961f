"""The books of one workspace or publisher as lines of JSON, with the proof that each transaction is in the chain.

What belongs to others in the same transaction is left out: it stands there as a salted hash. Hence nobody learns from
an export who else earned what, and still every line can be checked against the seal (`proofs.check`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.utils import timezone

from billing.ledger import proofs
from billing.ledger.accounts import current_book
from billing.ledger.sealing import CHUNK, Sealed, moment, read
from billing.models import LedgerEntry, Seal, SealedTransaction


def export_workspace(workspace_id: int, public_id: UUID, *, book: str | None = None) -> Iterator[str]:
    """Every movement of a workspace's credit, oldest first, a line each; a line ends with a line break."""
    entries = LedgerEntry.objects.filter(account__workspace=workspace_id, account__book=current_book(book))
    return _export("workspace", public_id, _ids(entries), current_book(book))


def export_publisher(publisher_id: int, public_id: UUID, *, book: str | None = None) -> Iterator[str]:
    """Every movement of a publisher's earnings, as `export_workspace` does it."""
    entries = LedgerEntry.objects.filter(account__publisher=publisher_id, account__book=current_book(book))
    return _export("publisher", public_id, _ids(entries), current_book(book))


def _ids(entries: Any) -> list[int]:
    return list(entries.order_by("transaction_id").values_list("transaction_id", flat=True).distinct())


def _export(kind: str, public_id: UUID, ids: Sequence[int], book: str) -> Iterator[str]:
    owner = str(public_id)
    yield _line(
        "export",
        {
            "of": "vitrine ledger",
            "version": proofs.VERSION,
            "book": book,
            "kind": kind,
            "owner": owner,
            "made_at": moment(timezone.now()),
        },
    )
    numbers: dict[int, int] = {}
    head = proofs.FIRST
    for seal in Seal.objects.filter(book=book).order_by("number").iterator(CHUNK):
        numbers[seal.pk], head = seal.number, seal.hash
        at = moment(seal.sealed_at)
        yield _line("seal", {"number": seal.number, "root": seal.root, "count": seal.count, "at": at})
    tree = lru_cache(maxsize=2)(_tree)  # transactions come by id, so mostly seal by seal
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        found = read(chunk)
        places = SealedTransaction.objects.in_bulk(chunk)
        for row_id in chunk:
            place = places.get(row_id)
            if place is None or place.seal_id not in numbers:  # sealed since this began
                shown: dict[str, Any] = {"seal": None, "parts": _plain(found[row_id], owner)}
            else:
                shown = {
                    "seal": numbers[place.seal_id],
                    "position": place.position,
                    "path": [beside.hex() for beside in proofs.path(tree(place.seal_id), place.position)],
                    "parts": _salted(found[row_id], bytes(place.seed), owner),
                }
            yield _line("transaction", shown)
    yield _line("end", {"transactions": len(ids), "head": head})


def _tree(seal_id: int) -> list[list[bytes]]:
    leaves = (
        SealedTransaction.objects.filter(seal=seal_id).order_by("position").values_list("leaf", flat=True)
    )
    return proofs.tree([bytes(leaf) for leaf in leaves])


def _plain(sealed: Sealed, owner: str) -> list[dict[str, Any]]:
    what, *entries = sealed.parts
    return [{"value": what}, *({"value": entry} for entry in entries if entry["of"] == owner)]


def _salted(sealed: Sealed, seed: bytes, owner: str) -> list[dict[str, Any]]:
    hashes = sealed.hashes(seed)
    return [
        {"salt": proofs.salt(seed, at).hex(), "value": part}
        if at == 0 or part["of"] == owner
        else {"hash": hashes[at].hex()}
        for at, part in enumerate(sealed.parts)
    ]


def _line(kind: str, value: dict[str, Any]) -> str:
    return json.dumps({kind: value}, separators=(",", ":")) + "\n"
