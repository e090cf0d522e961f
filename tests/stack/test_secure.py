"""The ports of a whole install for clients that insist on https."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl


def test_https_and_the_way_to_it_by_fals_names(stack):
    context = ssl.create_default_context(cafile=str(stack.data / "tls" / "ca.pem"))
    said = {"Authorization": f"Bearer {stack.key}"}
    client = http.client.HTTPSConnection("localhost", stack.tls_port, context=context, timeout=30)
    with contextlib.closing(client):
        client.request("GET", "/api/v1/workspace", headers=said)
        answer = client.getresponse()
        assert answer.status == 200
        assert json.load(answer)["caller"]["kind"] == "key"
    client = http.client.HTTPSConnection("127.0.0.1", stack.connect_port, context=context, timeout=30)
    client.set_tunnel("fal.run", 443)
    with contextlib.closing(client):
        client.request("GET", "/nothing/here", headers={**said, "Accept": "application/json"})
        assert client.getresponse().status in {404, 405}
