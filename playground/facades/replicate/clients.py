"""Replicate's own clients: how they are known, and where they ask that were given an address of another client's form.

Two of them want our address with `/v1` and one wants it without, and both Python clients read the same variable. So a
client that has the other one's asks at `/predictions`, or at `/v1/v1/predictions`: it means the same, and is answered.
Hugging Face's clients, who speak for Replicate's models too, put the name of the house before it.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from playground.facades.dialect import Scope, header_of
from playground.facades.replicate.show import PREFIX

_BEFORE = (PREFIX, "/replicate")
_NAMES = re.compile(
    r"replicate-python/|replicate-javascript/|(?:Async)?Replicate/Python|_ModuleClient/Python"
)
# The functions of a module, `replicate.run`, have one name with those of OpenAI's, which has files and models, too.
_SHARED_NAME = re.compile(r"_ModuleClient/Python (?![0-9.]+-beta)")
_BARE = re.compile(
    r"/(?:predictions|models|deployments|trainings|files|collections|hardware|account|search|webhooks)(?:/.*)?"
)


def is_one(scope: Scope) -> bool:
    """Whether one of them asks."""
    return _NAMES.match(header_of(scope, "user-agent")) is not None


def lead(scope: Scope) -> None:
    """Have a request of theirs that lacks `/v1`, or has something before it, be the one that it means. No page is at
    such a path, and who else asks for it is told that nothing is there."""
    path: str = scope["path"]
    before = next((one for one in _BEFORE if path.startswith(f"{one}{PREFIX}/")), None)
    if before is not None:
        meant = path.removeprefix(before)
    elif _BARE.fullmatch(path) and is_one(scope) and not _SHARED_NAME.match(header_of(scope, "user-agent")):
        meant = PREFIX + path
    else:
        return
    scope["path"], scope["raw_path"] = meant, quote(meant).encode()
