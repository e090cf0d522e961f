"""The whole run and queue surface of fal-client, unmodified, as its users call it. Prints what it saw as JSON.

FAL_BASE set: the module's constants are pointed there, plain http. Not set: its own environment variables say it all.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

import fal_client
import fal_client.client as settings

APP, SLOW, NOBODYS = sys.argv[1:4]
BASE = os.environ.get("FAL_BASE")
if BASE:
    settings.RUN_URL_FORMAT = f"{BASE}/fal/run/"
    settings.QUEUE_URL_FORMAT = f"{BASE}/fal/queue/"
    settings.REST_URL = f"{BASE}/fal/rest"
    settings.CDN_URL = f"{BASE}/fal/cdn"

VASE = {"prompt": "a vase", "seed": 7}
client = fal_client.SyncClient()
seen: dict[str, object] = {}


def said(call, *args, **named):
    """What an error tells: its status, what kind, the message, and whether its request is named."""
    try:
        call(*args, **named)
    except fal_client.FalClientHTTPError as error:
        named_there = "x-fal-request-id" in error.response_headers
        return [error.status_code, error.error_type, error.message, named_there]
    return None


seen["run"] = client.run(APP, arguments=VASE, hint="warm", start_timeout=30)
seen["sync_mode"] = client.run(APP, arguments={**VASE, "sync_mode": True})["images"][0]["url"][:22]

updates: list[fal_client.Status] = []
enqueued: list[str] = []
seen["subscribe"] = client.subscribe(
    SLOW,
    arguments={**VASE, "enable_safety_checker": True},
    with_logs=True,
    on_enqueue=enqueued.append,
    on_queue_update=updates.append,
    priority="low",
    start_timeout=60,
)
seen["enqueued"] = len(enqueued)
seen["updates"] = sorted({type(one).__name__ for one in updates})
seen["logs"] = updates[-1].logs
seen["metrics"] = updates[-1].metrics

handle = client.submit(APP, arguments=VASE, headers={"X-Fal-Store-IO": "0", "x-fal-no-retry": "1"})
seen["got"] = handle.get()
seen["by_id"] = client.result(APP, handle.request_id) == seen["got"]
seen["by_full_id"] = client._client.get(f"{handle.response_url}/response").json() == seen["got"]
seen["status"] = type(client.status(f"{APP}/some/path", handle.request_id, with_logs=True)).__name__
seen["cancel_late"] = said(handle.cancel)

told = client.submit(APP, arguments=VASE, webhook_url=f"{os.environ['RECEIVER']}/python?for=us")
seen["told"] = [told.request_id, told.get()]

stopped = client.submit(NOBODYS, arguments=VASE)
waiting = stopped.status()
seen["position"] = waiting.position
stopped.cancel()
ended = stopped.status(with_logs=True)
seen["canceled"] = [ended.error, ended.error_type]
seen["canceled_result"] = said(stopped.get)

late = client.submit(NOBODYS, arguments=VASE, start_timeout=1.1)
seen["late"] = said(late.get)

seen["stream"] = list(client.stream(SLOW, arguments=VASE))
seen["wrong_field"] = said(client.run, APP, arguments={"prompt": "a vase", "num_images": 9})
seen["no_prompt"] = said(client.submit, APP, arguments={})
seen["below"] = client.run(APP, arguments=VASE, path="/text-to-image")["seed"]
seen["no_app"] = said(client.run, "nobody/nothing", arguments=VASE)
seen["no_path"] = said(client.submit, f"{APP}/other", arguments=VASE)
seen["workflow"] = said(client.submit, "workflows/acme/my-flow", arguments=VASE)
seen["comfy"] = said(client.status, "comfy/acme/graph", handle.request_id)
seen["no_request"] = said(client.status, APP, "00000000-0000-7000-8000-000000000000")
seen["no_key"] = said(fal_client.SyncClient(key="no:key").run, APP, arguments=VASE)
stuck = client.submit(NOBODYS, arguments=VASE)
full = client._client.post(f"{settings.QUEUE_URL_FORMAT}{NOBODYS}?fal_max_queue_length=0", json=VASE)
seen["full_queue"] = [full.status_code, full.json()["error_type"]]
stuck.cancel()


async def elsewhere():
    there = fal_client.AsyncClient()
    ran, asked = await asyncio.gather(there.run(APP, arguments=VASE), there.subscribe(APP, arguments=VASE))
    events = [one async for one in there.stream(APP, arguments=VASE)]
    return [len(ran["images"]), len(asked["images"]), len(events[-1]["images"])]


seen["async"] = asyncio.run(elsewhere())
print(json.dumps(seen))
