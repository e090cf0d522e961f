"""Amounts as people type them."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

# A comma parts thousands here. Where it stands as in `0,50` or `0,004`, its writer meant a point, and fifty or four
# would be far off.
_GROUPED = re.compile(r"-?[1-9][0-9]{0,2}(,[0-9]{3})+(\.[0-9]*)?")


def number(text: str) -> Decimal | None:
    """The finite number that was typed, `1,000.50` and `$20` too; None for what is none, or could be two."""
    typed = text.strip().removeprefix("$")
    if "," in typed and not _GROUPED.fullmatch(typed):
        return None
    try:
        found = Decimal(typed.replace(",", ""))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None
