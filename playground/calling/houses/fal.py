"""fal's clients: any model, through the queue."""

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
    type_of,
    with_files,
)
from playground.calling.wording import Adapted, Filed, Named, Sized, Wording, Words, said
from playground.facades.fal.words import TABLE
from playground.facades.vocabulary import (
    AUDIO,
    COUNT,
    GUIDANCE,
    IMAGE,
    LAST_IMAGE,
    MASK,
    PROMPT,
    STEPS,
    VIDEO,
)
from playground.spelling import Code, javascript, javascript_member, python, python_text

WORDINGS: Sequence[Wording] = (
    Named("prompt", PROMPT),
    Named("num_images", COUNT),
    Named("num_inference_steps", STEPS),
    Named("guidance_scale", GUIDANCE),
    Filed("image_url", IMAGE, many="image_urls"),
    Filed("end_image_url", LAST_IMAGE),
    Filed("mask_url", MASK),
    Filed("video_url", VIDEO),
    Filed("audio_url", AUDIO),
    Adapted("loras", file="path", weight="scale"),
)
OF_PICTURES: Sequence[Wording] = (Sized("image_size"),)

_PYTHON = """\
# Where the client finds this installation
settings.RUN_URL_FORMAT = {run}
settings.QUEUE_URL_FORMAT = {queue}
settings.REST_URL = {rest}
settings.CDN_URL = {cdn}

client = fal_client.SyncClient(key=KEY)
result = client.subscribe(
    {model},
    arguments={words},
)
{use}
"""
_JAVASCRIPT = """\
const fal = createFalClient({{
  credentials: KEY,
  proxyUrl: {{ url: {proxy}, when: "always" }},
}});
const {{ data }} = await fal.subscribe({model}, {{
  input: {words},
}});
{use}
"""


@dataclass(frozen=True, slots=True)
class Fal:
    name: str = "fal"
    title: str = "fal"
    reply: str = (
        "The output in fal’s words: each file with its `url`, `content_type`, `file_name` and `file_size`."
    )

    def can_run(self, asked: Asked) -> bool:
        return True

    def programs(self, asked: Asked) -> list[Program]:
        wordings = (*WORDINGS, *(OF_PICTURES if not asked.task.endswith("-to-video") else ()))
        words = said(TABLE, wordings, asked.task, asked.input_schema, asked.given)
        names = frozenset(words)
        return [
            Program(PYTHON, _python(asked, words), "pip install fal-client", names),
            Program(JAVASCRIPT, _javascript(asked, words), "npm install @fal-ai/client", names),
        ]


def _python(asked: Asked, words: Words) -> str:
    def file(one: File) -> object:
        return Code(f"client.upload_file({python_text(one)})") if isinstance(one, Local) else one

    media, at = asked.media, f"{asked.base}/fal"
    use = f'for file in result[{python_text(media)}]:\n    print(file["url"])' if media else "print(result)"
    return python_head(asked, "import fal_client\nimport fal_client.client as settings") + _PYTHON.format(
        run=python_text(f"{at}/run/"),
        queue=python_text(f"{at}/queue/"),
        rest=python_text(f"{at}/rest"),
        cdn=python_text(f"{at}/cdn"),
        model=python_text(asked.model),
        words=python(with_files(words, file), 1),
        use=use,
    )


def _javascript(asked: Asked, words: Words) -> str:
    def file(one: File) -> object:
        if not isinstance(one, Local):
            return one
        content, kind = f"await readFile({javascript(one)})", javascript(type_of(one))
        return Code(f"await fal.storage.upload(new Blob([{content}], {{ type: {kind} }}))")

    media = asked.media
    use = (
        f"for (const file of data{javascript_member(media)}) console.log(file.url);"
        if media
        else "console.log(data);"
    )
    imports = ['import { createFalClient } from "@fal-ai/client";']
    if any(isinstance(one, Local) for one in files_in(words)):
        imports.insert(0, 'import { readFile } from "node:fs/promises";')
    return javascript_head(asked, *imports) + _JAVASCRIPT.format(
        proxy=javascript(f"{asked.base}/api/fal/proxy"),
        model=javascript(asked.model),
        words=javascript(with_files(words, file), 1),
        use=use,
    )


HOUSE = Fal()
