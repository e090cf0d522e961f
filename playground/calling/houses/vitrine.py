"""Our own API, with nothing installed beyond the language itself."""

from __future__ import annotations

from dataclasses import dataclass

from playground.calling.house import Asked, Program
from playground.snippets import snippets


@dataclass(frozen=True, slots=True)
class Vitrine:
    name: str = "vitrine"
    title: str = "Vitrine"
    reply: str = ""  # the tab shows it whole

    def can_run(self, asked: Asked) -> bool:
        return True

    def programs(self, asked: Asked) -> list[Program]:
        made = snippets(asked.base, asked.model, asked.values, asked.key)
        words = frozenset(asked.values)
        return [Program(one["language"], one["code"], words=words) for one in made]


HOUSE = Vitrine()
