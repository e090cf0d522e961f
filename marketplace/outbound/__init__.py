"""Requests to addresses that strangers name: an input's picture, a customer's webhook.

What may go wrong, on purpose or not, ends as one `Failed` with a code and a sentence for whoever gave the address. A
name is resolved once, every address behind it is checked, and the connection goes to the address that was checked; a
redirect is a new request under the same rules. Only http and https on ordinary ports reach out, to public addresses;
`OUTBOUND_PRIVATE=loopback` adds this machine, for development. Time and size are limited over the whole exchange.
"""

from __future__ import annotations

from marketplace.outbound.exchange import Answer, Fetched, get, post
from marketplace.outbound.guard import Failed, check

__all__ = ["Answer", "Failed", "Fetched", "check", "get", "post"]
