"""How transactions are hashed, bound together and proven. Pure: it knows no database, so that who holds an export
can check it where Vitrine is not.

A transaction is a list of parts: what it is, then each of its entries. A part is hashed with a salt of its own, so a
part that belongs to somebody else can be left out and stands there as its hash, which tells nothing. The parts' hashes
make the leaf, leaves make a tree (the last of an odd row moves up as it is), its root and the hash of the seal before
make the seal.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FIRST = "0" * 64  # what the first seal of a book calls the one before it
VERSION = 1


class BrokenProof(Exception):
    """An export does not prove what it says: which line, and why."""


@dataclass(frozen=True)
class Checked:
    """What an export proves: whose it is, its balances by kind of account, and up to where the chain reaches."""

    book: str
    owner: str
    proven: int
    not_sealed: int
    balances: Mapping[str, int]
    seals: int
    head: str


def canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def sha256(*pieces: bytes) -> bytes:
    return hashlib.sha256(b"".join(pieces)).digest()


def salt(seed: bytes, at: int) -> bytes:
    """The salt of a transaction's part number `at`."""
    return hmac.digest(seed, at.to_bytes(4, "big"), "sha256")[:16]


def part_hash(salt: bytes, value: object) -> bytes:
    return sha256(salt, canonical(value))


def leaf(parts: Iterable[bytes]) -> bytes:
    """A transaction's hash from those of its parts."""
    return sha256(b"\x00", *parts)


def tree(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """All rows of the tree, from the leaves to the root; there is at least one leaf."""
    rows = [list(leaves)]
    while len(rows[-1]) > 1:
        row = rows[-1]
        pairs = [sha256(b"\x01", row[at], row[at + 1]) for at in range(0, len(row) - 1, 2)]
        rows.append(pairs + row[2 * len(pairs) :])
    return rows


def path(rows: Sequence[Sequence[bytes]], position: int) -> list[bytes]:
    """What has to be known besides a leaf to compute the root."""
    found = []
    for row in rows[:-1]:
        if position ^ 1 < len(row):
            found.append(row[position ^ 1])
        position //= 2
    return found


def climb(leaf: bytes, position: int, count: int, path: Sequence[bytes]) -> bytes:
    """The root that a leaf leads to by its path. ValueError for a path that does not fit."""
    if not 0 <= position < count:
        raise ValueError("a position outside of its seal")
    rest = list(path)
    while count > 1:
        if position ^ 1 < count:
            if not rest:
                raise ValueError("the path is too short")
            beside = rest.pop(0)
            leaf = sha256(b"\x01", beside, leaf) if position & 1 else sha256(b"\x01", leaf, beside)
        position, count = position // 2, (count + 1) // 2
    if rest:
        raise ValueError("the path is too long")
    return leaf


def seal_hash(*, book: str, number: int, previous: str, root: str, count: int, at: str) -> str:
    return sha256(canonical(["vitrine seal", book, number, previous, root, count, at])).hex()


def check(lines: Iterable[str]) -> Checked:
    """Everything in an export that can be proven without whoever made it. Raises `BrokenProof`.

    Whether the head is the one that others were shown, too, only they can tell: compare it, or an earlier export's.
    """
    reader = _Reader()
    for number, line in enumerate(lines, 1):
        try:
            reader.read(json.loads(line))
        except BrokenProof as broken:
            raise BrokenProof(f"line {number}: {broken}") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BrokenProof(f"line {number} is not as an export has it: {error}") from None
    return reader.checked()


def heads(lines: Iterable[str]) -> list[str]:
    """The hashes of all seals in an export, oldest first, as its seals make them."""
    reader = _Reader()
    for line in lines:
        data = json.loads(line)
        if "export" in data or "seal" in data:
            reader.read(data)
    return [digest for _, _, digest in reader.seals]


class _Reader:
    def __init__(self) -> None:
        self.header: Mapping[str, Any] | None = None
        self.end: Mapping[str, Any] | None = None
        self.seals: list[tuple[str, int, str]] = []  # root, count, hash
        self.places: set[tuple[int, int]] = set()
        self.keys: set[str] = set()
        self.balances: Counter[str] = Counter()
        self.not_sealed = 0

    def read(self, data: Mapping[str, Any]) -> None:
        if self.end is not None:
            raise BrokenProof("there is more after the end")
        (kind,) = data
        if (self.header is None) != (kind == "export"):
            raise BrokenProof("an export begins with what it is, once")
        if kind == "export":
            self._header(data[kind])
        elif kind == "seal":
            self._seal(**data[kind])
        elif kind == "transaction":
            self._transaction(**data[kind])
        elif kind == "end":
            self.end = data[kind]
        else:
            raise BrokenProof(f"{kind!r} is unknown")

    def _header(self, header: Mapping[str, Any]) -> None:
        if header["of"] != "vitrine ledger" or header["version"] != VERSION:
            raise BrokenProof("this is no export of a ledger, or of another version")
        self.header = header

    def _seal(self, *, number: int, root: str, count: int, at: str) -> None:
        assert self.header is not None
        if number != len(self.seals) + 1 or self.places:
            raise BrokenProof("seals come first, one after the other")
        previous = self.seals[-1][2] if self.seals else FIRST
        book = str(self.header["book"])
        digest = seal_hash(book=book, number=number, previous=previous, root=root, count=count, at=at)
        self.seals.append((root, count, digest))

    def _transaction(
        self,
        *,
        seal: int | None,
        parts: Sequence[Mapping[str, Any]],
        position: int = 0,
        path: Sequence[str] = (),
    ) -> None:
        assert self.header is not None
        what = parts[0]["value"]
        if what["book"] != self.header["book"] or what["key"] in self.keys:
            raise BrokenProof(f"transaction {what['key']} is of another book, or twice here")
        self.keys.add(what["key"])
        if seal is None:
            self.not_sealed += 1
        else:
            self._prove(what["key"], seal, position, parts, [bytes.fromhex(beside) for beside in path])
        shown = [part["value"] for part in parts[1:] if "value" in part]
        if any(entry["of"] != self.header["owner"] for entry in shown):
            raise BrokenProof("there is an entry of somebody else")
        for entry in shown:
            if type(entry["amount_micros"]) is not int:
                raise BrokenProof("an amount is a whole number of micro-dollars")
            self.balances[entry["account"]] += entry["amount_micros"]

    def _prove(
        self, key: str, seal: int, position: int, parts: Sequence[Mapping[str, Any]], path: Sequence[bytes]
    ) -> None:
        if not 1 <= seal <= len(self.seals) or (seal, position) in self.places:
            raise BrokenProof(f"transaction {key} has no place of its own in a seal")
        self.places.add((seal, position))
        root, count, _ = self.seals[seal - 1]
        hashes = [
            part_hash(bytes.fromhex(part["salt"]), part["value"])
            if "value" in part
            else bytes.fromhex(part["hash"])
            for part in parts
        ]
        if climb(leaf(hashes), position, count, path).hex() != root:
            raise BrokenProof(f"transaction {key} is not what was sealed")

    def checked(self) -> Checked:
        if self.header is None or self.end is None:
            raise BrokenProof("the export has no end: it was cut off")
        count, head = len(self.keys), self.seals[-1][2] if self.seals else FIRST
        if (self.end.get("transactions"), self.end.get("head")) != (count, head):
            raise BrokenProof("the end counts other transactions, or names another head, than are there")
        return Checked(
            book=str(self.header["book"]),
            owner=str(self.header["owner"]),
            proven=len(self.places),
            not_sealed=self.not_sealed,
            balances=dict(self.balances),
            seals=len(self.seals),
            head=head,
        )
