"""Replicate's clients: any model, waited for."""

from __future__ import annotations

from collections.abc import Sequence
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
    python_head,
    with_files,
)
from playground.calling.wording import Filed, Named, Wording, Words, said
from playground.facades.replicate.show import LISTED
from playground.facades.replicate.words import TABLE
from playground.facades.vocabulary import COUNT, IMAGE, MASK, PROMPT, STEPS
from playground.spelling import Code, javascript, python, python_text

WORDINGS: Sequence[Wording] = (
    Named("prompt", PROMPT),
    Named("num_outputs", COUNT),
    Named("num_inference_steps", STEPS),
    Filed("image", IMAGE),
    Filed("mask", MASK),
)
OLDER = "The client of this line needs Python below 3.14."

_PYTHON = """\
client = replicate.Client(base_url={base}, api_token=KEY)
output = client.run(
    {model},
    input={words},
)
{use}
"""
_SAVE_PYTHON = """\
for number, file in enumerate({files}, start=1):
    name = f"output-{{number}}.{extension}"
    with open(name, "wb") as saved:
        saved.write(file.read())
    print("saved as", name)"""
_JAVASCRIPT = """\
const replicate = new Replicate({{ auth: KEY, baseUrl: {base} }});
const output = await replicate.run({model}, {{
  input: {words},
}});
{use}
"""
_SAVE_JAVASCRIPT = """\
for (const [index, file] of {files}.entries()) {{
  const name = `output-${{index + 1}}.{extension}`;
  await writeFile(name, file);
  console.log("saved as", name);
}}"""
# What stands in no list where there is one of it: see `show.LISTED`.
_FILES_PYTHON = "files = output if isinstance(output, list) else [output]\n"
_FILES_JAVASCRIPT = "const files = Array.isArray(output) ? output : [output];\n"


@dataclass(frozen=True, slots=True)
class Replicate:
    name: str = "replicate"
    title: str = "Replicate"
    reply: str = (
        "What was made, each a `FileOutput`: its address, and its content when it is read. Pictures are a list, also "
        "where there is one; one film or sound stands alone."
    )

    def can_run(self, asked: Asked) -> bool:
        return True

    def programs(self, asked: Asked) -> list[Program]:
        words = said(TABLE, WORDINGS, asked.task, asked.input_schema, asked.given)
        names = frozenset(words)
        return [
            Program(PYTHON, _python(asked, words), 'pip install "replicate<2"', names, (OLDER,)),
            Program(JAVASCRIPT, _javascript(asked, words), "npm install replicate", names),
        ]


def _saved(asked: Asked, save: str, files: str) -> str:
    """The lines that save each file of an output with media; `files` are those that make a list of one that is none."""
    if asked.media == LISTED:
        return save.format(files="output", extension=asked.extension)
    return files + save.format(files="files", extension=asked.extension)


def _python(asked: Asked, words: Words) -> str:
    def file(one: File) -> object:
        return Code(f'open({python_text(one)}, "rb")') if isinstance(one, Local) else one

    return python_head(asked, "import replicate") + _PYTHON.format(
        base=python_text(asked.base),
        model=python_text(asked.model),
        words=python(with_files(words, file), 1),
        use=_saved(asked, _SAVE_PYTHON, _FILES_PYTHON) if asked.media else "print(output)",
    )


def _javascript(asked: Asked, words: Words) -> str:
    def file(one: File) -> object:
        return Code(f"await readFile({javascript(one)})") if isinstance(one, Local) else one

    reads = any(isinstance(one, Local) for one in files_in(words))
    tools = [name for name, is_used in (("readFile", reads), ("writeFile", asked.media)) if is_used]
    imports = ['import Replicate from "replicate";']
    if tools:
        imports.insert(0, f'import {{ {", ".join(tools)} }} from "node:fs/promises";')
    return javascript_head(asked, *imports) + _JAVASCRIPT.format(
        base=javascript(f"{asked.base}/v1"),
        model=javascript(asked.model),
        words=javascript(with_files(words, file), 1),
        use=_saved(asked, _SAVE_JAVASCRIPT, _FILES_JAVASCRIPT) if asked.media else "console.log(output);",
    )


HOUSE = Replicate()
