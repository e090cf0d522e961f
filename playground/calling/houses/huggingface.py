"""Hugging Face's clients at an endpoint's address: a picture, a picture of one, speech. The answer is the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
from playground.calling.wording import Named, Wording, Words, said
from playground.facades.huggingface.words import TABLE
from playground.facades.vocabulary import COUNT, GUIDANCE, IMAGE, NEGATIVE, PROMPT, STEPS
from playground.spelling import Code, javascript, python_call, python_text


@dataclass(frozen=True, slots=True)
class Act:
    """One task of the client. `main` is the word that the others are parameters of, by its name in each language.

    `words` are what the call in Python has arguments for; `rest` is the argument for all else, or empty where it takes
    them by their names. `file` is what the program in JavaScript saves, without its extension.
    """

    python: str
    javascript: str
    wordings: Sequence[Wording]
    main: Mapping[str, str]
    words: Sequence[str]
    rest: str
    python_use: str
    file: str

    @property
    def takes_picture(self) -> bool:
        return self.main[PYTHON] == "image"


_ALL = (
    Named("negative_prompt", NEGATIVE),
    Named("num_inference_steps", STEPS),
    Named("guidance_scale", GUIDANCE),
)
ACTS: Mapping[str, Act] = {
    "text-to-image": Act(
        "image = client.text_to_image",
        "textToImage",
        _ALL,
        {PYTHON: "prompt", JAVASCRIPT: "inputs"},
        ("negative_prompt", "width", "height", "num_inference_steps", "guidance_scale", "seed"),
        "extra_body",
        'image.save("image.png")\nprint("saved as image.png")',
        "image",
    ),
    "image-to-image": Act(
        "image = client.image_to_image",
        "imageToImage",
        (Named("prompt", PROMPT), *_ALL),
        {PYTHON: "image", JAVASCRIPT: "inputs"},
        (),
        "",
        'image.save("made.png")\nprint("saved as made.png")',
        "made",
    ),
    "text-to-speech": Act(
        "speech = client.text_to_speech",
        "textToSpeech",
        (),
        {PYTHON: "text", JAVASCRIPT: "inputs"},
        (),
        "extra_body",
        'with open("speech.wav", "wb") as file:\n    file.write(speech)\nprint("saved as speech.wav")',
        "speech",
    ),
}
MAIN = "inputs"
TAKEN = (MAIN, "parameters", "options", "model", "self")  # of a request, and of the call in Python


@dataclass(frozen=True, slots=True)
class HuggingFace:
    name: str = "huggingface"
    title: str = "Hugging Face"
    reply: str = "The file itself, and nothing beside it. A run that makes several is refused: ask for one."

    def can_run(self, asked: Asked) -> bool:
        act = ACTS.get(asked.task)
        needed = set(asked.needed_files)
        return (
            act is not None and bool(asked.media) and MAIN in _words(act, asked)[0] and needed <= set(IMAGE)
        )

    def programs(self, asked: Asked) -> list[Program]:
        act = ACTS[asked.task]
        words, notes = _words(act, asked)
        names = frozenset({*words, *act.main.values()})
        return [
            Program(PYTHON, _python(act, asked, words), "pip install huggingface_hub Pillow", names, notes),
            Program(
                JAVASCRIPT, _javascript(act, asked, words), "npm install @huggingface/inference", names, notes
            ),
        ]


def _words(act: Act, asked: Asked) -> tuple[Words, tuple[str, ...]]:
    """The words of the call, MAIN first if the model has a place for it, and what has to be said of the rest."""
    given = asked.given
    notes = set_aside(given, TAKEN)
    many = [name for name in COUNT if given.get(name, 1) != 1]
    for name in many:
        del given[name]
    notes += [f"{name} is left out: the answer is one file." for name in many]
    # The facade looks at what it is sent to tell a picture from words; here it is known which it is.
    ours = _main_of(act, asked)
    main = given.pop(ours, asked.fields.get(ours, {}).get("default", ""))
    if isinstance(main, list):
        main = next(iter(main), "")
        notes.append(f"{ours} is one picture with this client: the first.")
    if act.takes_picture:
        notes += set_aside(given, {"image"})
    words = said(TABLE, act.wordings, asked.task, asked.input_schema, given)
    has_main = ours and (main or not act.takes_picture)
    return ({MAIN: main, **words} if has_main else words), tuple(notes)


def _main_of(act: Act, asked: Asked) -> str:
    """The field that MAIN is, of the model's own; empty where it has none."""
    names = IMAGE if act.takes_picture else PROMPT
    fits = (name for name in names if name in asked.fields)
    return next((name for name in fits if bool(kind_of(asked.fields[name])) == act.takes_picture), "")


def _at(asked: Asked) -> str:
    return f"{asked.base}/hf/{asked.model}"


def _python(act: Act, asked: Asked, words: Words) -> str:
    def file(one: File) -> object:
        at = asked.at(one)
        if at is None:
            return one if isinstance(one, Local) else Local("image.png")
        return (
            at
            if at.startswith(("http://", "https://"))
            else Code(f"urllib.request.urlopen({python_text(at)}).read()")
        )

    main = with_files(words[MAIN], file)
    others = {name: one for name, one in words.items() if name != MAIN}
    plain = {name: one for name, one in others.items() if name in act.words or not act.rest}
    rest = {name: one for name, one in others.items() if name not in plain}
    imports = ["import urllib.request"] if isinstance(main, Code) else []
    head = python_head(asked, "from huggingface_hub import InferenceClient", *imports)
    call = {act.main[PYTHON]: main, **plain, **({act.rest: rest} if rest else {})}
    return (
        f"{head}client = InferenceClient(base_url={python_text(_at(asked) + '/')}, token=KEY)\n"
        f"{python_call(act.python, call)}\n{act.python_use}\n"
    )


def _javascript(act: Act, asked: Asked, words: Words) -> str:
    def file(one: File) -> object:
        at = asked.at(one)
        if at is None:
            name = one if isinstance(one, Local) else Local("image.png")
            return Code(f"new Blob([await readFile({javascript(name)})])")
        return Code(f"await (await fetch({javascript(at)})).blob()")

    reads = any(asked.at(one) is None for one in files_in(words[MAIN]))
    others = {name: one for name, one in words.items() if name != MAIN}
    call = {MAIN: with_files(words[MAIN], file), **({"parameters": others} if others else {})}
    tools = "readFile, writeFile" if reads else "writeFile"
    head = javascript_head(
        asked,
        f'import {{ {tools} }} from "node:fs/promises";',
        'import { InferenceClient } from "@huggingface/inference";',
    )
    options = ', { outputType: "blob" }' if act.javascript == "textToImage" else ""
    return (
        f"{head}const client = new InferenceClient(KEY, {{ endpointUrl: {javascript(_at(asked))} }});\n"
        f"const made = await client.{act.javascript}({javascript(call)}{options});\n"
        f'const name = `{act.file}.${{made.type.split("/")[1]}}`;\n'
        "await writeFile(name, Buffer.from(await made.arrayBuffer()));\n"
        'console.log("saved as", name);\n'
    )


HOUSE = HuggingFace()
