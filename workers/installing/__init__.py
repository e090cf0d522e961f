"""The open models that can be put on the shelf: what each needs, its download, and its way to a version.

A manifest in `marketplace/catalog/manifests/open` names a repository of a model hub, a pipeline class and what differs
from what the class itself says; the form is drawn from the class. Nothing here is on the shelf until it is installed.
"""

from __future__ import annotations

from workers.installing.entries import MANIFESTS, Entry, Source, entries, entry, names
from workers.installing.hub import Unreachable, Wanted, fetch, look_up
from workers.installing.install import Missing, bring, check, check_given, complete, folder_of, is_of

__all__ = [
    "MANIFESTS",
    "Entry",
    "Missing",
    "Source",
    "Unreachable",
    "Wanted",
    "bring",
    "check",
    "check_given",
    "complete",
    "entries",
    "entry",
    "fetch",
    "folder_of",
    "is_of",
    "look_up",
    "names",
]
