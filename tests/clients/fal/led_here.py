"""fal-client with nothing but environment variables: where does each of its calls end up? Prints that as JSON.

With an argument `everything` also what has no variable of its own, and so takes the proxy: uploads, and connections
with a token.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys

import fal_client

app, *more = sys.argv[1:]
vase = {"prompt": "a vase", "seed": 7}
seen: dict[str, object] = {"run": fal_client.run(app, arguments=vase)["images"][0]["url"]}

handle = fal_client.submit(app, arguments=vase, priority="low", start_timeout=60)
seen["urls"] = [handle.status_url, handle.response_url, handle.cancel_url]
seen["statuses"] = [type(one).__name__ for one in handle.iter_events(with_logs=True)]
seen["result"] = len(handle.get()["images"])
seen["by_id"] = len(fal_client.result(app, handle.request_id)["images"])
seen["stream"] = len(list(fal_client.stream(app, arguments=vase))[-1]["images"])
seen["async"] = len(asyncio.run(fal_client.run_async(app, arguments=vase))["images"])
try:
    fal_client.run("nobody/nothing", arguments=vase)
except fal_client.FalClientHTTPError as error:
    seen["error"] = [error.status_code, "x-fal-request-id" in error.response_headers]

if more:
    dot = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    seen["upload"] = fal_client.upload(base64.b64decode(dot), "image/png", file_name="dot.png")
    with fal_client.realtime(app) as connection:
        connection.send({**vase, "request_id": "1"})
        seen["realtime"] = connection.recv()["request_id"]
print(json.dumps(seen))
