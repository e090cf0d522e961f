"""Code that the documentation shows, with nothing installed beyond the language itself. The tests run it."""

from __future__ import annotations

VERIFY_PYTHON = '''\
import base64, hashlib, hmac, json, os, time
from http.server import BaseHTTPRequestHandler, HTTPServer

SECRET = os.environ["VITRINE_WEBHOOK_SECRET"]  # whsec_...


def verify(headers, body: bytes) -> dict:
    """The event, if it comes from Vitrine and is not old; ValueError otherwise."""
    message_id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
    if abs(time.time() - int(timestamp)) > 300:
        raise ValueError("too old")
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signed = f"{message_id}.{timestamp}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    given = headers["webhook-signature"].split(" ")
    if not any(hmac.compare_digest(expected, one) for one in given):
        raise ValueError("wrong signature")
    return json.loads(body)


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            event = verify(self.headers, body)
        except (KeyError, TypeError, ValueError):
            self.send_error(400)
            return
        # The same webhook-id may come twice: do the work once, and answer before you begin.
        print(event["type"], event["data"].get("id"), flush=True)
        self.send_response(204)
        self.end_headers()


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9000"))), Receiver).serve_forever()
'''

VERIFY_JAVASCRIPT = """\
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const SECRET = process.env.VITRINE_WEBHOOK_SECRET; // whsec_...

/** The event, if it comes from Vitrine and is not old; throws otherwise. */
function verify(headers, body) {
  const timestamp = Number(headers["webhook-timestamp"]);
  if (!(Math.abs(Date.now() / 1000 - timestamp) < 300)) throw new Error("too old");
  const key = Buffer.from(SECRET.replace("whsec_", ""), "base64");
  const signed = Buffer.concat([Buffer.from(`${headers["webhook-id"]}.${timestamp}.`), body]);
  const expected = Buffer.from(`v1,${createHmac("sha256", key).update(signed).digest("base64")}`);
  const given = headers["webhook-signature"].split(" ").map((one) => Buffer.from(one));
  if (!given.some((one) => one.length === expected.length && timingSafeEqual(one, expected))) {
    throw new Error("wrong signature");
  }
  return JSON.parse(body);
}

createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    try {
      const event = verify(request.headers, Buffer.concat(chunks));
      // The same webhook-id may come twice: do the work once, and answer before you begin.
      console.log(event.type, event.data.id);
      response.writeHead(204).end();
    } catch {
      response.writeHead(400).end();
    }
  });
}).listen(Number(process.env.PORT ?? 9000), "127.0.0.1");
"""

EVENTS_JAVASCRIPT = """\
const answer = await fetch(`${prediction.urls.events}`, { headers: { Authorization: `Bearer ${KEY}` } });
let rest = "";
for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
  const blocks = (rest + chunk).split("\\n\\n");
  rest = blocks.pop();
  for (const block of blocks) {
    const data = block.split("\\n").find((line) => line.startsWith("data: "));
    if (data) console.log(JSON.parse(data.slice(6)).status);
  }
}
"""

CHECK_PYTHON = """\
import hashlib, json, sys


def h(*pieces: bytes) -> bytes:
    return hashlib.sha256(b"".join(pieces)).digest()


def text(value) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


seals, head, balances = [], "0" * 64, {}
for line in open(sys.argv[1], encoding="utf-8"):
    ((kind, it),) = json.loads(line).items()
    if kind == "export":
        book, owner = it["book"], it["owner"]
    elif kind == "seal":
        link = ["vitrine seal", book, it["number"], head, it["root"], it["count"], it["at"]]
        head = h(text(link)).hex()
        seals.append(it)
        if len(sys.argv) > 2 and head == sys.argv[2]:
            print("The chain contains", head)
    elif kind == "transaction":
        parts = it["parts"]
        if it["seal"] is not None:
            seal, at, path = seals[it["seal"] - 1], it["position"], list(it["path"])
            hashes = [
                h(bytes.fromhex(part["salt"]), text(part["value"])) if "value" in part else bytes.fromhex(part["hash"])
                for part in parts
            ]
            node, count = h(b"\\0", *hashes), seal["count"]
            while count > 1:
                if at ^ 1 < count:  # the last of an odd row moves up as it is
                    beside = bytes.fromhex(path.pop(0))
                    node = h(b"\\1", beside, node) if at & 1 else h(b"\\1", node, beside)
                at, count = at // 2, (count + 1) // 2
            assert node.hex() == seal["root"], f"not what was sealed: {line}"
        for part in parts[1:]:
            if "value" in part and part["value"]["of"] == owner:
                account = part["value"]["account"]
                balances[account] = balances.get(account, 0) + part["value"]["amount_micros"]
    elif kind == "end":
        assert it["head"] == head, "the chain ends elsewhere"
        print(head, balances)
"""
