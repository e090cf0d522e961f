"""The sandbox in a whole Vitrine: asked at the web process, told of by control."""

from __future__ import annotations

import queue
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import stripe

SHOW_KEY = "from django.conf import settings; print(settings.STRIPE_SECRET_KEY)"


def test_control_tells_what_was_asked_at_the_web_process(stack):
    key = stack.manage("shell", "-v", "0", "-c", SHOW_KEY).split()[-1]
    client = stripe.StripeClient(key, base_addresses={"api": f"{stack.url}/-/stripe"})
    heard: queue.Queue[tuple[bytes, str]] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            heard.put(
                (self.rfile.read(int(self.headers["Content-Length"])), self.headers["Stripe-Signature"])
            )
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        endpoint = client.v1.webhook_endpoints.create({"url": url, "enabled_events": ["customer.created"]})
        try:
            customer = client.v1.customers.create({"email": "ada@example.com"})
            body, signature = heard.get(timeout=60)
            event = client.construct_event(body, signature, endpoint.secret)
            assert (event.type, event.data.object.id) == ("customer.created", customer.id)
        finally:
            client.v1.webhook_endpoints.delete(endpoint.id)
            server.shutdown()
