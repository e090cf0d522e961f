"""LitServe and Gradio serving the shipped model, in batches, from a folder of their own: what Vitrine is held against.

What serves is `tests.bench.served`, run by the interpreter of `build/peers`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.wire import Wire

PROJECT = Path(__file__).resolve().parent.parent.parent
FOLDER = PROJECT / "build" / "peers"
PINNED = Path(__file__).with_name("peers.txt")
PROMPT = "a glossy teal vase on a white plinth, light from the left, ivory wall"


def install() -> Path:
    """The interpreter of `build/peers`, which sees the packages of this one and the peers beside them."""
    python, stamp = FOLDER / "bin" / "python", FOLDER / "installed"
    if not stamp.exists() or stamp.read_text() != PINNED.read_text():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER)], check=True)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        ours = next(path for path in sys.path if path.endswith("site-packages"))
        (FOLDER / "lib" / version / "site-packages" / "vitrine.pth").write_text(ours + "\n")
        pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", str(PINNED)], check=True)
        stamp.write_text(PINNED.read_text())
    return python


@contextlib.contextmanager
def serving(name: str, *, steps: int, batch: int) -> Iterator[str]:
    """The address of the peer `name`, ready to be asked."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(install()), "-m", "tests.bench.served", name, str(port), str(steps), str(batch)]
    quiet = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(PROJECT)}
    with (FOLDER / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=FOLDER,
            env={**os.environ, **quiet},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        asyncio.run(_until_up(name, url, process))
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


async def per_second(name: str, url: str, *, clients: int, each: int) -> float:
    """Pictures per second of so many clients that ask one after the other."""

    async def client(number: int) -> None:
        wire = Wire(url, "")
        for n in range(each):
            await _ask(name, wire, url, number * each + n)
        wire.close()

    begun = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(clients)))
    return clients * each / (time.perf_counter() - begun)


async def _ask(name: str, wire: Wire, url: str, seed: int) -> None:
    if name == "litserve":
        status, found = await wire.call("POST", "/predict", {"prompt": PROMPT, "seed": seed})
        assert (status, len(found["png"]) > 1000) == (200, True)
        return
    # Gradio's server ends connections that are quiet for as long as a picture takes.
    stream = Wire(url, "")
    _, made = await stream.call("POST", "/gradio_api/call/make", {"data": [PROMPT, seed]})
    await stream.open("GET", f"/gradio_api/call/make/{made['event_id']}")
    async for line in stream.lines():
        if line.startswith(b"data: ") and len(line) > 1000:
            break
    else:
        raise AssertionError("Gradio gave no picture")
    stream.close()


async def _until_up(name: str, url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            return await _ask(name, Wire(url, ""), url, 0)
        except (OSError, asyncio.IncompleteReadError, KeyError, ValueError, AssertionError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not come up, see {FOLDER / name}.log") from None
            await asyncio.sleep(0.3)
