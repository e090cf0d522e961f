"""What of fal-client is beside runs and the queue, unmodified: uploads of every kind and realtime connections.

Prints what it saw as JSON. FAL_BASE leads the module's constants here; without it the environment has to.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from pathlib import Path

import fal_client
import fal_client.client as settings
import httpx
from fal_client import StorageSettings

APP, PICTURE = sys.argv[1], Path(sys.argv[2])
BASE = os.environ.get("FAL_BASE")
if BASE:
    settings.RUN_URL_FORMAT = f"{BASE}/fal/run/"
    settings.QUEUE_URL_FORMAT = f"{BASE}/fal/queue/"
    settings.REST_URL = f"{BASE}/fal/rest"
    settings.CDN_URL = f"{BASE}/fal/cdn"
    settings.REALTIME_URL_FORMAT = f"{BASE.replace('http', 'ws', 1)}/fal/run/"

client = fal_client.SyncClient()
data = PICTURE.read_bytes()
seen: dict[str, object] = {"sha256": hashlib.sha256(data).hexdigest()}


def read(url: str) -> str:
    """The digest of what is at an address of ours, for whoever has it."""
    return hashlib.sha256(httpx.get(url).raise_for_status().content).hexdigest()


seen["small"] = read(client.upload_file(PICTURE, lifecycle=StorageSettings(expires_in="1d")))
seen["bytes"] = read(client.upload(data, "image/png", file_name="s.png"))
seen["storage"] = read(client.upload(data, "image/png", repository="fal", fallback_repository=[]))

threshold, chunk = settings.MULTIPART_THRESHOLD, settings.MULTIPART_CHUNK_SIZE
settings.MULTIPART_THRESHOLD, settings.MULTIPART_CHUNK_SIZE = 1000, len(data) // 7
seen["parts"] = read(client.upload(data, "image/png", file_name="big.png"))
seen["parts_of_file"] = read(client.upload_file(PICTURE))
settings.MULTIPART_THRESHOLD, settings.MULTIPART_CHUNK_SIZE = threshold, chunk

try:
    client.upload(b"MZ" * 200, "application/octet-stream", fallback_repository=[])
except fal_client.FalClientHTTPError as error:
    seen["refused"] = [error.status_code, error.message]

for name, named in (("realtime", {}), ("realtime_by_key", {"use_jwt": False, "max_buffering": 2})):
    with client.realtime(APP, **named) as connection:
        connection.send({"prompt": "a vase", "seed": 7, "request_id": "1"})
        answer = connection.recv()
        seen[name] = [answer["request_id"], len(answer["images"]), answer["seed"]]
        connection.send({"prompt": "a vase", "num_images": 9})
        try:
            connection.recv()
        except fal_client.client.RealtimeError as error:
            seen[f"{name}_refused"] = [error.error, error.payload["detail"][0]["loc"]]

        connection.send({"prompt": "x" * 400_000})  # more than a page of ours ever says
        try:
            connection.recv()
        except fal_client.client.RealtimeError as error:
            seen[f"{name}_large"] = error.payload["detail"][0]["loc"]


async def elsewhere() -> list[object]:
    there = fal_client.AsyncClient()
    url = await there.upload(data, "image/png", file_name="s.png")
    async with there.realtime(APP) as connection:
        for number in range(3):
            await connection.send({"prompt": "a vase", "request_id": str(number)})
        names = [(await connection.recv())["request_id"] for _ in range(3)]
    return [read(url) == seen["sha256"], names]


seen["async"] = asyncio.run(elsewhere())
print(json.dumps(seen))
