"""Libraries on top of protocols spoken here, as they were tried by hand at a version; no test installs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from django.conf import settings

from playground.docs.clients import BASE, LOCAL, PROXY, USUAL_CONNECT


@dataclass(frozen=True, slots=True)
class Tried:
    """A library that was run against Vitrine by hand, at this version: what is set, and what of it then worked."""

    house: str
    library: str
    code: str
    runs: str


_TRIED = (
    Tried(
        "replicate",
        "@ai-sdk/replicate 2.0.57",
        f'createReplicate({{ baseURL: "{BASE}/v1", apiToken: "vt_…" }})',
        "generateImage, with pictures and a mask too, and generateVideo.",
    ),
    Tried(
        "replicate",
        "replicate 0.25 for Python",
        f"REPLICATE_BASE_URL={BASE}",
        "run, predictions, models, files, trainings and collections.",
    ),
    Tried(
        "replicate",
        "replicate 0.8 for Python",
        f"REPLICATE_API_BASE_URL={BASE}",
        "run with a version, predictions, versions.",
    ),
    Tried(
        "fal",
        "@ai-sdk/fal 2.0.59",
        f'createFal({{ baseURL: "{BASE}/fal/run", apiKey: "vt_…" }})',
        "generateImage. For speech and films it knows fal’s host names alone: its fetch has to lead https://fal.run to "
        "/fal/run, https://queue.fal.run/fal-ai to /fal/queue, and to send Authorization along.",
    ),
    Tried(
        "fal",
        "@fal-ai/serverless-client 0.15.0",
        "fal.config({ credentials, fetch })",
        "run, subscribe, stream, queue and uploads, with a fetch like the one above that also leads "
        "https://rest.alpha.fal.ai to /fal/rest.",
    ),
    Tried(
        "fal",
        "@fal-ai/server-proxy 1.2.1, @fal-ai/serverless-proxy 0.10.0",
        f"HTTPS_PROXY={PROXY}",
        "An app’s own proxy in front of Vitrine, with undici’s EnvHttpProxyAgent as its dispatcher, which trusts "
        "var/tls/ca.pem. In Express they lose the status of an error, here as there.",
    ),
    Tried(
        "fal",
        "fal-client 0.5 and 0.7 for Python",
        f"HTTPS_PROXY={PROXY}",
        "run, subscribe, submit, stream, uploads; with the authority as above.",
    ),
    Tried(
        "fal",
        "LiteLLM 1.110.2",
        f'image_generation(model="fal_ai/vitrine/daylight", api_base="{BASE}/fal/run/vitrine/daylight")',
        f"The address of one model; video_generation takes {BASE}/fal/queue.",
    ),
    Tried(
        "openai",
        "@ai-sdk/openai 3.0.141, @ai-sdk/openai-compatible 2.0.92",
        f'createOpenAI({{ baseURL: "{BASE}/openai/v1", apiKey: "vt_…" }})',
        "generateImage, with pictures and a mask too.",
    ),
    Tried(
        "openai",
        "LiteLLM 1.110.2",
        f'image_generation(model="openai/vitrine/daylight", api_base="{BASE}/openai/v1", api_key="vt_…")',
        "image_generation, image_edit, speech, and video_generation with its status and content.",
    ),
    Tried(
        "openai",
        "langchain-community 0.4.2",
        f"OPENAI_API_BASE={BASE}/openai/v1",
        "DallEAPIWrapper and its tool, with a model and a size that it has.",
    ),
    Tried(
        "openai",
        "openai 0.28 for Python",
        f'openai.api_base = "{BASE}/openai/v1"',
        "Image.create, create_edit and create_variation with a model, Model, File; openai 1.3 as the one above.",
    ),
    Tried(
        "huggingface",
        "huggingface_hub 0.20, 0.26 and 0.36",
        f'InferenceClient(model="{BASE}/hf/vitrine/daylight", token="vt_…")',
        "text_to_image, image_to_image, text_to_speech, post.",
    ),
)


def tried(base: str = LOCAL, *, connect_port: int = USUAL_CONNECT) -> tuple[Tried, ...]:
    """Them, with the address of an installation, and the port that leads other houses' names to it."""
    marks = {BASE: base.rstrip("/"), PROXY: f"http://127.0.0.1:{connect_port or USUAL_CONNECT}"}
    return tuple(replace(one, code=_with(marks, one.code), runs=_with(marks, one.runs)) for one in _TRIED)


def here() -> tuple[Tried, ...]:
    """Them, for this installation."""
    return tried(settings.PUBLIC_URL, connect_port=settings.CONNECT_PORT)


def _with(marks: Mapping[str, str], text: str) -> str:
    for mark, address in marks.items():
        text = text.replace(mark, address)
    return text
