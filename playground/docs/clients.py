"""How clients that were written for other services are led here: the settings, and the tests that use these very ones.

`tests/test_docs.py` holds each way against the programs that it names, and the README against this table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from django.conf import settings

# What stands for an address in `Way.code`: of the installation, of its sockets, its two names for TLS, and the proxy.
BASE, SOCKET, SECURE, NAMED, PROXY = "<base>", "<socket>", "<secure>", "<named>", "<proxy>"
LOCAL = "http://127.0.0.1:8000"
HOUSES = {"replicate": "Replicate", "fal": "fal", "openai": "OpenAI", "huggingface": "Hugging Face"}
USUAL_TLS, USUAL_CONNECT = 8443, 8444  # ports of `make run`
_AUTHORITY = "SSL_CERT_FILE=var/tls/ca.pem"


@dataclass(frozen=True, slots=True)
class Way:
    """One way of one client.

    `code` is the whole of what is set; `runs` is what of the client then works. `programs` and `proofs` are below
    `tests/clients`: what uses the settings, and the tests (`file::function`) that run it. `is_local` is a way that only
    programs on the machine of the installation have. `lacks` is the setting of a port that it needs, where there is
    none at present.
    """

    client: str
    how: str
    code: str
    runs: str
    programs: tuple[str, ...]
    proofs: tuple[str, ...]
    is_local: bool = False
    lacks: str = ""

    @property
    def house(self) -> str:
        """Whose client it is: a key of HOUSES."""
        return self.programs[0].partition("/")[0]

    @property
    def title(self) -> str:
        return f"{self.client} ({self.how})"

    @property
    def id(self) -> str:
        """Of its code on the page."""
        words = "".join(letter if letter.isalnum() else " " for letter in self.title.lower()).split()
        return "-".join(["way", *words])


_REPLICATE, _FAL, _OPENAI, _HF = "replicate", "fal", "openai", "huggingface"
_WAYS = (
    Way(
        "replicate 1.x",
        "Python",
        f"REPLICATE_BASE_URL={BASE}\nREPLICATE_API_TOKEN=vt_…",
        "run, stream, predictions, webhooks, files, models and what lies around them; an address with /v1 does, too. "
        "It needs Python below 3.14.",
        (f"{_REPLICATE}/programs/first.py", f"{_REPLICATE}/programs/first_beside.py"),
        (
            f"{_REPLICATE}/test_clients.py::test_version_1_for_python",
            f"{_REPLICATE}/test_clients.py::test_version_1_for_python_beside",
        ),
    ),
    Way(
        "replicate 2 beta",
        "Python",
        f"REPLICATE_BASE_URL=https://{NAMED}/v1\nREPLICATE_API_TOKEN=vt_…\n{_AUTHORITY}",
        "The same, and use(); an address without /v1 does, too. Over https, where it takes addresses for files.",
        (f"{_REPLICATE}/programs/second.py", f"{_REPLICATE}/programs/second_beside.py"),
        (
            f"{_REPLICATE}/test_clients.py::test_version_2_for_python",
            f"{_REPLICATE}/test_clients.py::test_version_2_for_python_beside",
        ),
    ),
    Way(
        "replicate",
        "JavaScript",
        f'const replicate = new Replicate({{ baseUrl: "{BASE}/v1" }}); // REPLICATE_API_TOKEN=vt_…',
        "The same; an address without /v1 does, too. Its fileEncodingStrategy data-uri is refused: with it the client "
        "sends its own token along.",
        (f"{_REPLICATE}/programs/browserless.mjs", f"{_REPLICATE}/programs/beside.mjs"),
        (
            f"{_REPLICATE}/test_clients.py::test_javascript",
            f"{_REPLICATE}/test_clients.py::test_javascript_beside",
        ),
    ),
    Way(
        "fal-client",
        "Python, two host names",
        f"FAL_KEY=vt_…\nFAL_RUN_HOST={SECURE}/fal/run\nFAL_QUEUE_RUN_HOST={SECURE}/fal/queue\n{_AUTHORITY}",
        "run, submit, status with logs, result, stream, and the asynchronous ones; not uploads.",
        (f"{_FAL}/led_here.py",),
        (f"{_FAL}/test_clients.py::test_python_with_two_host_names",),
    ),
    Way(
        "fal-client",
        "Python, the CONNECT port",
        f"FAL_KEY=vt_…\nHTTPS_PROXY={PROXY}\n{_AUTHORITY}",
        "The same, uploads and realtime; for programs on the machine of the installation.",
        (f"{_FAL}/led_here.py",),
        (f"{_FAL}/test_clients.py::test_python_with_a_proxy_and_no_other_word",),
        is_local=True,
    ),
    Way(
        "fal-client",
        "Python, its module’s constants",
        f"""\
# FAL_KEY=vt_…
import fal_client.client as settings

settings.RUN_URL_FORMAT = "{BASE}/fal/run/"
settings.QUEUE_URL_FORMAT = "{BASE}/fal/queue/"
settings.REST_URL = "{BASE}/fal/rest"
settings.CDN_URL = "{BASE}/fal/cdn"
settings.REALTIME_URL_FORMAT = "{SOCKET}/fal/run/"
""",
        "run, queue, stream, uploads small and in parts, realtime; without TLS too.",
        (f"{_FAL}/surface.py", f"{_FAL}/beside.py"),
        (
            f"{_FAL}/test_clients.py::test_python_with_its_constants_pointed_here",
            f"{_FAL}/test_beside.py::test_python",
        ),
    ),
    Way(
        "@fal-ai/client",
        "JavaScript, proxyUrl",
        f"""\
const fal = createFalClient({{
  credentials: process.env.FAL_KEY,
  proxyUrl: {{ url: "{BASE}/api/fal/proxy", when: "always" }},
}});

// For realtime, the one address that no setting of it reaches:
import {{ WebSocket as Socket }} from "ws";
globalThis.WebSocket = class extends Socket {{
  constructor(url) {{
    super(String(url).replace("wss://fal.run", "{SOCKET}/fal/run"));
    this.binaryType = "arraybuffer";
  }}
}};
""",
        "run, subscribe, stream, uploads small and in parts, realtime.",
        (f"{_FAL}/beside.mjs",),
        (f"{_FAL}/test_beside.py::test_javascript_through_the_proxy",),
    ),
    Way(
        "@fal-ai/client",
        "JavaScript, fetch",
        f"""\
const hosts = {{
  "https://queue.fal.run": "{BASE}/fal/queue",
  "https://fal.run": "{BASE}/fal/run",
  "https://rest.fal.ai": "{BASE}/fal/rest",
}};
const here = (url) => {{
  const host = Object.keys(hosts).find((it) => url.startsWith(it));
  return host ? hosts[host] + url.slice(host.length) : url;
}};
const fal = createFalClient({{
  credentials: process.env.FAL_KEY,
  fetch: (url, init) => fetch(here(String(url)), init),
}});
""",
        "run, subscribe by polling and by stream, queue, stream.",
        (f"{_FAL}/surface.mjs",),
        (f"{_FAL}/test_clients.py::test_javascript",),
    ),
    Way(
        "@fal-ai/client",
        "JavaScript, the CONNECT port",
        f"FAL_KEY=vt_…\nHTTPS_PROXY={PROXY}\nNODE_USE_ENV_PROXY=1\nNODE_EXTRA_CA_CERTS=var/tls/ca.pem",
        "run, subscribe, queue, stream, uploads, realtime, without a line of code; Node 22.21, 24.5 or later.",
        (f"{_FAL}/led_here.mjs",),
        (f"{_FAL}/test_clients.py::test_javascript_with_a_proxy_and_no_other_word",),
        is_local=True,
    ),
    Way(
        "openai",
        "Python",
        f"OPENAI_BASE_URL={BASE}/openai/v1\nOPENAI_API_KEY=vt_…",
        "images (generate, edit, variations, streams), videos, audio.speech, files, models; "
        "what else there is of media is 501.",
        (f"{_OPENAI}/surface.py",),
        tuple(
            f"{_OPENAI}/test_clients.py::test_{name}"
            for name in (
                *("pictures", "a_picture_that_grows", "edits"),
                *("errors", "films", "speech", "files", "models"),
                *("what_is_not_here", "asynchronous"),
            )
        ),
    ),
    Way(
        "openai",
        "JavaScript",
        f"OPENAI_BASE_URL={BASE}/openai/v1\nOPENAI_API_KEY=vt_…",
        "images (generate, edit, streams), videos, audio.speech, files, models.",
        (f"{_OPENAI}/surface.mjs",),
        (f"{_OPENAI}/test_clients.py::test_javascript",),
    ),
    Way(
        "huggingface_hub",
        "Python",
        f'client = InferenceClient(base_url="{BASE}/hf/vitrine/daylight/", token="vt_…")',
        "text_to_image, image_to_image, text_to_speech; the address may be the call’s model= instead.",
        (f"{_HF}/surface.py",),
        (f"{_HF}/test_clients.py::test_python",),
    ),
    Way(
        "@huggingface/inference",
        "JavaScript",
        f'const client = new InferenceClient("vt_…", {{ endpointUrl: "{BASE}/hf/vitrine/daylight" }});',
        "textToImage, imageToImage, textToSpeech.",
        (f"{_HF}/surface.mjs",),
        (f"{_HF}/test_clients.py::test_javascript",),
    ),
    Way(
        "huggingface_hub",
        "Python, by provider",
        f"""\
# HF_ENDPOINT={BASE}/hf HF_TOKEN=vt_…
from huggingface_hub.inference._providers import PROVIDERS

houses = {{
    "https://router.huggingface.co/hf-inference": "{BASE}/hf/hf-inference",
    "https://fal.run": "{BASE}/fal/run",
    "https://queue.fal.run": "{BASE}/fal/queue",
    "https://api.replicate.com": "{BASE}",
}}
for tasks in PROVIDERS.values():
    for one in tasks.values():
        one.base_url = houses.get(one.base_url, one.base_url)
""",
        "The same by a model’s name, with provider= hf-inference, fal-ai, replicate or none; text_to_video and "
        "image_to_video too.",
        (f"{_HF}/providers.py",),
        (f"{_HF}/test_clients.py::test_python_by_provider",),
    ),
    Way(
        "@huggingface/inference",
        "JavaScript, by provider",
        f"""\
const houses = {{
  "https://huggingface.co": "{BASE}/hf",
  "https://router.huggingface.co": "{BASE}/hf",
  "https://queue.fal.run": "{BASE}/fal/queue",
  "https://fal.run": "{BASE}/fal/run",
  "https://api.replicate.com": "{BASE}",
}};
const distant = globalThis.fetch;
globalThis.fetch = (address, init) => {{
  const {{ origin, pathname, search }} = new URL(address);
  const below = pathname.replace(/^\\/fal\\/queue/, ""); // of a run in the queue, which says where it is here
  return distant(origin in houses ? houses[origin] + below + search : address, init);
}};
""",
        "The same by a model’s name, with provider hf-inference, fal-ai or replicate; textToVideo and imageToVideo "
        "too.",
        (f"{_HF}/providers.mjs",),
        (f"{_HF}/test_clients.py::test_javascript_by_provider",),
    ),
)


def ways(
    base: str = LOCAL, *, tls_port: int = USUAL_TLS, connect_port: int = USUAL_CONNECT
) -> tuple[Way, ...]:
    """All of them, with the address of an installation and its ports, 0 for none.

    One with https needs no port and no authority of its own.
    """
    return tuple(_at(way, base.rstrip("/"), tls_port, connect_port) for way in _WAYS)


def here() -> tuple[Way, ...]:
    """All of them, for this installation."""
    return ways(settings.PUBLIC_URL, tls_port=settings.TLS_PORT, connect_port=settings.CONNECT_PORT)


def _at(way: Way, base: str, tls_port: int, connect_port: int) -> Way:
    parts, code, lacks = urlsplit(base), way.code, ""
    secure, named = (f"{host}:{tls_port or USUAL_TLS}" for host in ("127.0.0.1", "localhost"))
    if parts.scheme == "https":
        secure = named = parts.netloc
        if not way.is_local:
            code = code.removesuffix(f"\n{_AUTHORITY}")
    elif not tls_port and (SECURE in code or NAMED in code):
        lacks = "TLS_PORT"
    if PROXY in code and not (tls_port and connect_port):
        lacks = "CONNECT_PORT" if tls_port else "TLS_PORT"
    proxy = f"http://127.0.0.1:{connect_port or USUAL_CONNECT}"
    sockets = base.replace("http", "ws", 1)
    marks = {BASE: base, SOCKET: sockets, SECURE: secure, NAMED: named, PROXY: proxy}
    for mark, address in marks.items():
        code = code.replace(mark, address)
    return replace(way, code=code.rstrip(), lacks=lacks)
