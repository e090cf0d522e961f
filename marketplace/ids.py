"""Public identifiers: one UUIDv7 per object, written with a prefix in Crockford's base32.

Hides the bit layout of RFC 9562 version 7 and the alphabet. Integer primary keys never leave the database;
what leaves it is `p_01k…`, the bare 26 characters, or the plain UUID, and `parse` accepts each of them.
"""

from __future__ import annotations

import os
import time
from uuid import UUID

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford: without i, l, o and u
_VALUES = {c: i for i, c in enumerate(ALPHABET)} | {"i": 1, "l": 1, "o": 0}
_LENGTH = 26  # 26 characters of 5 bits hold 128 bits, the first one only 3 of them


def uuid7() -> UUID:
    """A new time-ordered UUID (RFC 9562 §5.7): 48 bits of Unix milliseconds, then random bits."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def encode(value: UUID, prefix: str = "") -> str:
    """The 26 lower-case characters of `value`, after `prefix_` if one is given."""
    number = value.int
    text = "".join(ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
    return f"{prefix}_{text}" if prefix else text


def parse(text: str, prefix: str = "") -> UUID | None:
    """The UUID that `text` spells: prefixed, bare or as a UUID; None if it spells none, or another kind."""
    bare = text.strip().lower()
    if prefix and bare.startswith(prefix + "_"):
        bare = bare[len(prefix) + 1 :]
    if len(bare) == _LENGTH and bare[0] in "01234567":
        number = 0
        for character in bare:
            digit = _VALUES.get(character)
            if digit is None:
                return None
            number = number << 5 | digit
        return UUID(int=number)
    if len(bare) == 36:
        try:
            return UUID(bare)
        except ValueError:
            return None
    return None
