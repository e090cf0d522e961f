"""What is called, and by whose client: the values of a form with their files, and the programs that a house shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from marketplace import schema
from marketplace.schema import ADAPTER_TYPE, Schema
from playground.facades.vocabulary import FORMAT
from playground.snippets import KEY_VARIABLE, in_python, missing, note

PYTHON, JAVASCRIPT, CURL = "python", "javascript", "curl"
TITLES = {CURL: "curl", PYTHON: "Python", JAVASCRIPT: "JavaScript"}
FILES = {PYTHON: "call.py", JAVASCRIPT: "call.mjs", CURL: "call.sh"}
_KEY = KEY_VARIABLE[1:]
# Names of files that are the reader's to choose, and what these are.
_NAMES = {"image": "image.png", "video": "video.mp4", "audio": "audio.wav"}
_TYPES = {"image.png": "image/png", "video.mp4": "video/mp4", "audio.wav": "audio/wav"}
_ENDS = {"image": "png", "painting": "png", "video": "mp4", "speech": "wav", "audio": "wav", "3d": "glb"}
_REMOTE = ("https://", "http://", "data:")


class Address(str):
    """A file that the form names: an address, or the id of a file of the workspace."""

    __slots__ = ()


class Local(str):
    """A file that the form does not name and that the model needs: one in the folder of the program."""

    __slots__ = ()


File = Address | Local


@dataclass(frozen=True, slots=True)
class Asked:
    """One call. `model` is how a run names it, `base` the address of the installation without a last slash.

    `values` are those of the form, `files` the addresses of the workspace's own files by their ids; `key` is the start
    of a key, or `$NAME` of the variable that holds one.
    """

    base: str
    model: str
    task: str
    input_schema: Schema
    output_schema: Schema
    values: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)
    key: str = KEY_VARIABLE

    @property
    def fields(self) -> Mapping[str, Schema]:
        found: Mapping[str, Schema] = self.input_schema.get("properties", {})
        return found

    @property
    def given(self) -> dict[str, Any]:
        """The values, their files marked as such; what the model needs and the form has not is a Local file."""
        found = {
            name: _marked(self.fields.get(name, {}), value)
            for name, value in self.values.items()
            if value is not None
        }
        for name in self.needed_files:
            if not found.get(name):
                local = Local(_NAMES.get(kind_of(self.fields[name]), "file.bin"))
                found[name] = [local] if "items" in self.fields[name] else local
        return found

    @property
    def needed_files(self) -> list[str]:
        """The fields without which there is no run, and which take a file."""
        required = self.input_schema.get("required", ())
        return [name for name, one in self.fields.items() if name in required and kind_of(one)]

    @property
    def missing_files(self) -> list[str]:
        """Those of `needed_files` that the form does not name."""
        return [name for name in self.needed_files if not self.values.get(name)]

    @property
    def media(self) -> str:
        """The property of the output that lists what was made; empty where none does."""
        name = schema.media_property(self.output_schema)
        one = self.output_schema.get("properties", {}).get(name, {})
        lists_files = "items" not in one or "url" in one["items"].get("properties", {})
        return name if one.get("type") == "array" and lists_files else ""

    @property
    def extension(self) -> str:
        """How the name of what is made should end."""
        named = next((str(self.values[name]) for name in FORMAT if self.values.get(name)), "")
        if re.fullmatch(r"[a-z0-9]{2,5}", named):
            return named
        return next((end for task, end in _ENDS.items() if self.task.endswith(task)), "bin")

    def at(self, file: str) -> str | None:
        """Where a program reads a file; None for one that is not known here, or lies on the reader's own machine."""
        if isinstance(file, Local):
            return None
        return str(file) if file.startswith(_REMOTE) else self.files.get(file)


@dataclass(frozen=True, slots=True)
class Program:
    """One program that makes the run. `install` is what has to be done first, `words` what of it is the form's."""

    language: str
    code: str
    install: str = ""
    words: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return TITLES[self.language]

    @property
    def file(self) -> str:
        return FILES[self.language]


class House(Protocol):
    """Whose client it is. `name` stands in addresses; `reply` says what comes back, code in backticks."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def reply(self) -> str: ...

    def can_run(self, asked: Asked) -> bool:
        """Whether its client has a call for such a model, so that this one would really run."""
        ...

    def programs(self, asked: Asked) -> list[Program]: ...


def kind_of(one: Schema) -> str:
    """Of what kind the file is that a field takes (`image`, `video`, `audio`, `file`); empty if it takes none."""
    file = one.get("items", {}) if one.get("type") == "array" else one
    if "x-media" not in file or ADAPTER_TYPE in file["x-media"]:
        return ""
    return str((file["x-media"] or ["file"])[0]).partition("/")[0]


def type_of(file: Local) -> str:
    """The media type of a file that is the reader's to choose."""
    return _TYPES.get(file, "application/octet-stream")


def _marked(one: Schema, value: Any) -> Any:
    if not kind_of(one):
        return value
    if isinstance(value, list):
        return [Address(it) if isinstance(it, str) else it for it in value]
    return Address(value) if isinstance(value, str) else value


def with_files(value: Any, spell: Callable[[File], Any]) -> Any:
    """`value` with each file in it as `spell` has it."""
    if isinstance(value, Address | Local):
        return spell(value)
    if isinstance(value, Mapping):
        return {name: with_files(one, spell) for name, one in value.items()}
    if isinstance(value, list):
        return [with_files(one, spell) for one in value]
    return value


def files_in(value: Any) -> list[File]:
    """The files that a value names, in order."""
    found: list[File] = []

    def keep(file: File) -> File:
        found.append(file)
        return file

    with_files(value, keep)
    return found


def set_aside(given: dict[str, Any], taken: Iterable[str]) -> list[str]:
    """Take from the values those whose names mean something else to the client; what has to be said of them."""
    gone = [name for name in taken if given.pop(name, None) is not None]
    return [f"{name} is left out: this client means something else by it." for name in sorted(gone)]


def python_head(asked: Asked, client: str, *more: str) -> str:
    """How a program in Python begins: what to do first, the imports, of the client last, and the key."""
    own = "\n".join(sorted({"import os", "import sys", *more}))
    return f"{note(asked.key, '#')}{own}\n\n{client}\n\nKEY = {in_python(_KEY)}\n\n"


def javascript_head(asked: Asked, *imports: str) -> str:
    """As `python_head`, for a module in JavaScript."""
    first, said = "\n".join(imports), missing(_KEY)
    return (
        f"{note(asked.key, '//')}{first}\n\nconst KEY = process.env.{_KEY};\n"
        f'if (!KEY) {{\n  console.error("{said}");\n  process.exit(1);\n}}\n\n'
    )
