"""A run as a program: code that works as pasted, with nothing installed beyond the language itself.

It saves every file of the output, whatever its type and wherever the model's schema puts it, and prints an output that
is none. A file is an object with `url` and `content_type`; its own name ends in the right extension.

A prompt with quotes, line ends, `$()` or `</script>` stays a prompt: see `spelling`.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any, TypedDict

from playground import spelling

WAIT_SECONDS = 60
KEY_VARIABLE = "$VITRINE_API_KEY"
_VARIABLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_KEY = re.compile(r"vt_[0-9a-z]{12}_[0-9a-z]{32}")


class Snippet(TypedDict):
    """One piece of code. `language` names it in addresses, `title` is what people read."""

    language: str
    title: str
    code: str


def snippets(
    base_url: str, model_id: str, input: Mapping[str, Any], key: str = KEY_VARIABLE
) -> list[Snippet]:
    """How to run `model_id` with `input` from curl, Python and JavaScript: wait for the end, then use the result.

    `key` is a whole key, or `$NAME` of the environment variable that holds it; anything else, such as the start of a
    key, is only mentioned beside the variable. Fields that are None are left out.
    """
    body = {"model": model_id, "input": {name: value for name, value in input.items() if value is not None}}
    address = f"{base_url.rstrip('/')}/api/v1/predictions"
    return [
        Snippet(language="curl", title="curl", code=_curl(address, body, key)),
        Snippet(language="python", title="Python", code=_python(address, body, key)),
        Snippet(language="javascript", title="JavaScript", code=_javascript(address, body, key)),
    ]


def _variable(key: str) -> str | None:
    """The environment variable to read the key from; None for a key that stands in the code."""
    if _KEY.fullmatch(key):
        return None
    named = _VARIABLE.fullmatch(key)
    return named[1] if named else KEY_VARIABLE[1:]


def missing(variable: str) -> str:
    """What a program says that finds no key, and nothing more."""
    return f"Set {variable} to your API key first."


def in_shell(variable: str) -> str:
    """The key for a command that is not run without one: the shell says why, with the variable's name before it."""
    return f"${{{variable}:?Set it to your API key first.}}"


def in_python(variable: str) -> str:
    """The key, or the end of the program; it needs `os` and `sys`."""
    return f"os.environ.get({spelling.python_text(variable)}) or sys.exit({spelling.python_text(missing(variable))})"


def note(key: str, comment: str) -> str:
    """What to do before the code runs, as a comment; nothing where the key is in it."""
    variable = _variable(key)
    if variable is None:
        return ""
    hint = "".join(c for c in key if c.isascii() and (c.isalnum() or c == "_"))[:15]
    shown = f"{hint}..." if hint.startswith("vt_") else "vt_..."
    return f"{comment} First: export {variable}={shown}\n"


_CURL = """\
{note}curl -sS {address} \\
  -H {key} \\
  -H 'Content-Type: application/json' \\
  -H 'Prefer: wait={wait}' \\
  --data-raw {body} | tee prediction.json

# Every file of the output, under its own name
grep -o '"url": *"[^"]*/media/[^"]*"' prediction.json | cut -d '"' -f 4 | while read -r url; do
  curl -sS -O "$url"
done
"""


def _curl(address: str, body: Mapping[str, Any], key: str) -> str:
    variable = _variable(key)
    bearer = "Authorization: Bearer "
    header = f'"{bearer}{in_shell(variable)}"' if variable else shlex.quote(f"{bearer}{key}")
    return _CURL.format(
        note=note(key, "#"),
        address=spelling.shell(address),
        key=header,
        wait=WAIT_SECONDS,
        body=spelling.shell(json.dumps(body, indent=2)),
    )


_PYTHON = """\
{note}import json
{import_os}{import_sys}import time
import urllib.error
import urllib.request

KEY = {key}


def call(method, url, body=None):
    headers = {{"Authorization": f"Bearer {{KEY}}", "Content-Type": "application/json", "Prefer": "wait={wait}"}}
    data = json.dumps(body).encode() if body is not None else None
    try:
        request = urllib.request.Request(url, data, headers, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise SystemExit(error.read().decode())


def files(output):
    if isinstance(output, dict) and "url" in output and "content_type" in output:
        yield output["url"]
    elif isinstance(output, (dict, list)):
        for one in output.values() if isinstance(output, dict) else output:
            yield from files(one)


prediction = call("POST", {address}, {body})
while prediction["status"] in ("queued", "running"):
    time.sleep(0.5)
    prediction = call("GET", prediction["urls"]["get"])
if prediction["status"] != "succeeded":
    raise SystemExit(f"{{prediction['status']}}: {{prediction['error']}}")

saved = list(files(prediction["output"]))
for number, url in enumerate(saved, start=1):
    name = f"{{prediction['id']}}-{{number}}.{{url.split('.')[-1]}}"
    urllib.request.urlretrieve(url, name)
    print(url, "saved as", name)
if not saved:
    print(json.dumps(prediction["output"], indent=2))
print(f"cost: ${{prediction['cost_micros'] / 1_000_000:.6f}}")
"""


def _python(address: str, body: Mapping[str, Any], key: str) -> str:
    variable = _variable(key)
    return _PYTHON.format(
        note=note(key, "#"),
        import_os="import os\n" if variable else "",
        import_sys="import sys\n" if variable else "",
        key=in_python(variable) if variable else spelling.python_text(key),
        wait=WAIT_SECONDS,
        address=spelling.python_text(address),
        body=spelling.python(body),
    )


_JAVASCRIPT = """\
{note}const KEY = {key};

async function call(method, url, body) {{
  const answer = await fetch(url, {{
    method,
    headers: {{ Authorization: `Bearer ${{KEY}}`, "Content-Type": "application/json", Prefer: "wait={wait}" }},
    body: body && JSON.stringify(body),
  }});
  const data = await answer.json();
  if (!answer.ok) throw new Error(JSON.stringify(data));
  return data;
}}

function files(output) {{
  if (output === null || typeof output !== "object") return [];
  return output.url && output.content_type ? [output.url] : Object.values(output).flatMap(files);
}}

async function main() {{
{check}  const {{ writeFile }} = await import("node:fs/promises");
  let prediction = await call("POST", {address}, {body});
  while (["queued", "running"].includes(prediction.status)) {{
    await new Promise((resolve) => setTimeout(resolve, 500));
    prediction = await call("GET", prediction.urls.get);
  }}
  if (prediction.status !== "succeeded") {{
    throw new Error(`${{prediction.status}}: ${{JSON.stringify(prediction.error)}}`);
  }}

  const saved = files(prediction.output);
  for (const [index, url] of saved.entries()) {{
    const name = `${{prediction.id}}-${{index + 1}}.${{url.split(".").pop()}}`;
    const file = await fetch(url);
    await writeFile(name, Buffer.from(await file.arrayBuffer()));
    console.log(url, "saved as", name);
  }}
  if (!saved.length) console.log(JSON.stringify(prediction.output, null, 2));
  console.log(`cost: $${{(prediction.cost_micros / 1_000_000).toFixed(6)}}`);
}}

main().catch((error) => {{
  console.error(error.message);
  process.exitCode = 1;
}});
"""


def _javascript(address: str, body: Mapping[str, Any], key: str) -> str:
    variable = _variable(key)
    return _JAVASCRIPT.format(
        note=note(key, "//"),
        key=f"process.env.{variable}" if variable else json.dumps(key),
        check=f"  if (!KEY) throw new Error({json.dumps(missing(variable))});\n" if variable else "",
        wait=WAIT_SECONDS,
        address=json.dumps(address),
        body=json.dumps(body, indent=2).replace("\n", "\n  "),
    )
