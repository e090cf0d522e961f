"""Answers with objects in place of their ids, as `expand` asks for it."""

from __future__ import annotations

import copy
from typing import Any

from billing.sandbox.models import Thing
from billing.sandbox.refusals import Json, Refused

DEEPEST = 4


def expand(answer: Json, paths: list[str] | None, *, account: str = "") -> Json:
    """A copy of the answer, so expanded. Raises Refused for what cannot be."""
    answer = copy.deepcopy(answer)
    for path in paths or ():
        names = path.split(".")
        if len(names) > DEEPEST:
            raise Refused("You cannot expand more than 4 levels of a property.", param="expand")
        _inside(answer, names, path, account)
    return answer


def _inside(value: Any, names: list[str], path: str, account: str) -> None:
    if isinstance(value, list):
        for one in value:
            _inside(one, names, path, account)
        return
    if not names or not isinstance(value, dict):
        return
    name, *rest = names
    if name not in value:
        message = f"This property cannot be expanded ({path}). You may want to try expanding something else."
        raise Refused(message, param="expand", code="property_unexpandable")
    if isinstance(value[name], str):
        found = Thing.objects.filter(name=value[name]).exclude(kind="event").first()
        if found is None:
            raise Refused(f"This property cannot be expanded ({path}).", param="expand")
        value[name] = copy.deepcopy(found.data)
    _inside(value[name], rest, path, account)
