"""OpenAI's clients: pictures, edits of pictures, films and speech, each by its own call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from playground.calling.house import (
    JAVASCRIPT,
    PYTHON,
    Asked,
    File,
    Local,
    Program,
    files_in,
    javascript_head,
    kind_of,
    python_head,
    set_aside,
    with_files,
)
from playground.calling.wording import Filed, Lasting, Named, Sized, Wording, Words, said
from playground.facades.openai.words import TABLE
from playground.facades.vocabulary import COUNT, FORMAT, IMAGE, MASK, PROMPT, QUALITY, SPEED, VOICE
from playground.spelling import Code, javascript, python_call, python_text


@dataclass(frozen=True, slots=True)
class Act:
    """One call of the client: its words, those of them that it cannot do without, and what is done with the answer.

    Whatever else the model takes comes beside them, as `extra_body` in Python. `is_form`: it sends a form, which has
    no place for lists and objects.
    """

    python: str
    javascript: str
    wordings: Sequence[Wording]
    words: Sequence[str]
    needs: Mapping[str, Any]
    python_use: str
    javascript_use: str
    files: Sequence[str] = ()
    is_form: bool = False
    saves: bool = False
    notes: tuple[str, ...] = ()


_PICTURE = (Named("prompt", PROMPT), Named("n", COUNT), Sized("size", is_text=True))
_FORMAT = (Named("output_format", FORMAT), Named("output_compression", QUALITY))
_PICTURE_WORDS = ("prompt", "n", "size", "output_format", "output_compression")
_PYTHON_PICTURES = "for image in {made}.data:\n    print(image.url)"
_JAVASCRIPT_PICTURES = "for (const image of {made}.data) console.log(image.url);"
GENERATE = Act(
    "images = client.images.generate",
    "const images = await client.images.generate",
    (*_PICTURE, *_FORMAT),
    _PICTURE_WORDS,
    {"prompt": ""},
    _PYTHON_PICTURES.format(made="images"),
    _JAVASCRIPT_PICTURES.format(made="images"),
)
EDIT = Act(
    "images = client.images.edit",
    "const images = await client.images.edit",
    (*_PICTURE, *_FORMAT, Filed("image", IMAGE)),
    (*_PICTURE_WORDS, "image", "mask"),
    {"prompt": ""},
    _PYTHON_PICTURES.format(made="images"),
    _JAVASCRIPT_PICTURES.format(made="images"),
    files=("image", "mask"),
    is_form=True,
)
FILM = Act(
    "video = client.videos.create_and_poll",
    "let video = await client.videos.create",
    (
        Named("prompt", PROMPT),
        Sized("size", is_text=True),
        Lasting("seconds"),
        Filed("input_reference", IMAGE),
    ),
    ("prompt", "size", "seconds", "input_reference"),
    {"prompt": ""},
    """\
if video.status != "completed":
    sys.exit(f"{video.status}: {video.error}")
client.videos.download_content(video.id).write_to_file("video.mp4")
print("saved as video.mp4")""",
    """\
while (["queued", "in_progress"].includes(video.status)) {
  await new Promise((resolve) => setTimeout(resolve, 500));
  video = await client.videos.retrieve(video.id);
}
if (video.status !== "completed") throw new Error(JSON.stringify(video.error));
const content = await client.videos.downloadContent(video.id);
await writeFile("video.mp4", Buffer.from(await content.arrayBuffer()));
console.log("saved as video.mp4");""",
    files=("input_reference",),
    is_form=True,
    saves=True,
    notes=("The client warns that OpenAI’s own films end. It does not mean this installation.",),
)
SPEAK = Act(
    "speech = client.audio.speech.create",
    "const speech = await client.audio.speech.create",
    (Named("input", PROMPT), Named("voice", VOICE), Named("speed", SPEED), Named("response_format", FORMAT)),
    ("input", "voice", "speed", "response_format"),
    {"input": "", "voice": "default"},
    'speech.write_to_file("speech.{format}")\nprint("saved as speech.{format}")',
    """\
await writeFile("speech.{format}", Buffer.from(await speech.arrayBuffer()));
console.log("saved as speech.{format}");""",
    saves=True,
)
ACTS: Mapping[str, Act] = {
    **dict.fromkeys(("text-to-image", "image-to-image", "inpainting"), GENERATE),
    **dict.fromkeys(("text-to-video", "image-to-video"), FILM),
    "text-to-speech": SPEAK,
}
# What a request of this protocol says beside an input: whose name no field of a model can have.
TAKEN = {"model", "stream", "partial_images", "response_format", "stream_format"}
HOLES = "OpenAI’s masks are pictures with holes: mask.png is transparent where the picture is drawn anew."


@dataclass(frozen=True, slots=True)
class OpenAI:
    name: str = "openai"
    title: str = "OpenAI"
    reply: str = (
        "An answer of that call: pictures with their `url` and `b64_json`, a video, or the sound itself."
    )

    def can_run(self, asked: Asked) -> bool:
        act = _act(asked)
        if act is None or not any(name in asked.fields for name in PROMPT):
            return False
        known = {*IMAGE, *(MASK if act is EDIT else ())} if act.files else set()
        return set(asked.needed_files) <= known and (act is not EDIT or "image" in _words(act, asked)[0])

    def programs(self, asked: Asked) -> list[Program]:
        act = _act(asked)
        assert act is not None  # it can be run
        words, notes = _words(act, asked)
        names = frozenset(name for name, one in words.items() if one != "")
        return [
            Program(PYTHON, _python(act, asked, words), "pip install openai", names, (*notes, *act.notes)),
            Program(JAVASCRIPT, _javascript(act, asked, words), "npm install openai", names, notes),
        ]


def _act(asked: Asked) -> Act | None:
    act = ACTS.get(asked.task)
    if act is GENERATE and any(
        asked.given.get(name) for name in IMAGE if kind_of(asked.fields.get(name, {}))
    ):
        return EDIT
    return act


def _words(act: Act, asked: Asked) -> tuple[Words, tuple[str, ...]]:
    """The words of the call, and what has to be said of those that it has no place for."""
    given = asked.given
    notes = set_aside(given, TAKEN - {*act.words})
    mask = next((name for name in MASK if given.pop(name, None)), None) if act is EDIT else None
    words = said(TABLE, act.wordings, asked.task, asked.input_schema, given)
    if mask is not None:
        words["mask"] = Local("mask.png")
        notes.append(HOLES)
    if act.is_form:
        for name in [name for name, one in words.items() if name not in act.files and _is_whole(one)]:
            del words[name]
            notes.append(f"{name} is left out: a form of this client has no place for it.")
    for name, otherwise in act.needs.items():
        words.setdefault(name, _voice(asked, otherwise) if name == "voice" else otherwise)
    return {name: words[name] for name in sorted(words, key=lambda one: _place(act, one))}, tuple(notes)


def _voice(asked: Asked, otherwise: str) -> str:
    """The voice that a run has which names none."""
    one = next((asked.fields[name] for name in VOICE if name in asked.fields), {})
    return str(one.get("default") or next(iter(one.get("enum", ())), otherwise))


def _is_whole(value: Any) -> bool:
    return isinstance(value, Mapping | list)


def _place(act: Act, word: str) -> int:
    return act.words.index(word) if word in act.words else len(act.words)


def _python(act: Act, asked: Asked, words: Words) -> str:
    def file(one: File) -> object:
        at = asked.at(one)
        if at is None:
            return Code(f'open({python_text(one if isinstance(one, Local) else "image.png")}, "rb")')
        return Code(f"urllib.request.urlopen({python_text(at)}).read()")

    own = {name: with_files(one, file) for name, one in words.items() if name in act.files}
    fetches = any(asked.at(one) for name in own for one in files_in(words[name]))
    call = {"model": asked.model, **{name: own.get(name, words[name]) for name in words if name in act.words}}
    beside = {name: one for name, one in words.items() if name not in act.words}
    head = python_head(asked, "from openai import OpenAI", *(["import urllib.request"] if fetches else []))
    base = python_text(f"{asked.base}/openai/v1")
    made = python_call(act.python, {**call, **({"extra_body": beside} if beside else {})})
    use = act.python_use.replace("{format}", asked.extension)
    return f"{head}client = OpenAI(base_url={base}, api_key=KEY)\n{made}\n{use}\n"


def _javascript(act: Act, asked: Asked, words: Words) -> str:
    def file(one: File) -> object:
        at = asked.at(one)
        name = one if isinstance(one, Local) else Local("image.png")
        content = f"createReadStream({javascript(name)})" if at is None else f"fetch({javascript(at)})"
        return Code(content if at is None else f"await toFile({content}, {javascript(name)})")

    own = {name: with_files(one, file) for name, one in words.items() if name in act.files}
    read = [asked.at(one) for name in own for one in files_in(words[name])]
    client = "import OpenAI, { toFile } from" if any(read) else "import OpenAI from"
    imports = [f'{client} "openai";']
    if act.saves:
        imports.insert(0, 'import { writeFile } from "node:fs/promises";')
    if None in read:
        imports.insert(0, 'import { createReadStream } from "node:fs";')
    call = {"model": asked.model, **{name: own.get(name, one) for name, one in words.items()}}
    base = javascript(f"{asked.base}/openai/v1")
    use = act.javascript_use.replace("{format}", asked.extension)
    return (
        f"{javascript_head(asked, *imports)}const client = new OpenAI({{ baseURL: {base}, apiKey: KEY }});\n"
        f"{act.javascript}({javascript(call)});\n{use}\n"
    )


HOUSE = OpenAI()
