"""How to see that a key works: three small programs that run as pasted, each asks the key what it is."""

from __future__ import annotations

import json
import shlex

from playground.snippets import KEY_VARIABLE, Snippet, in_python, in_shell, missing

_PYTHON = """\
import json
{imports}import urllib.error
import urllib.request

KEY = {key}

headers = {{"Authorization": f"Bearer {{KEY}}"{origin}}}
request = urllib.request.Request({address}, headers=headers)
try:
    with urllib.request.urlopen(request) as answer:
        print(json.dumps(json.load(answer), indent=2))
except urllib.error.HTTPError as error:
    raise SystemExit(error.read().decode())
"""
_JAVASCRIPT = """\
{check}fetch({address}, {{ headers: {{ Authorization: {header} }} }})
  .then((answer) => answer.text())
  .then((text) => console.log(text));
"""
_CHECK = """\
if (!process.env.{variable}) {{
  console.error({missing});
  process.exit(1);
}}
"""


def check_snippets(base_url: str, *, text: str = "", origin: str = "") -> list[Snippet]:
    """With the whole key in `text`, or else with the environment variable that holds it.

    `origin` is one of a publishable key's, which pages there send by themselves and programs have to.
    """
    address = f"{base_url.rstrip('/')}/api/v1/key"
    variable = KEY_VARIABLE[1:]
    header = f"Bearer {text}"
    curl = f"curl -sS {shlex.quote(address)} -H " + (
        shlex.quote(f"Authorization: {header}") if text else f'"Authorization: Bearer {in_shell(variable)}"'
    )
    python = _PYTHON.format(
        imports="" if text else "import os\nimport sys\n",
        key=json.dumps(text) if text else in_python(variable),
        origin=f', "Origin": {json.dumps(origin)}' if origin else "",
        address=json.dumps(address),
    )
    script = _JAVASCRIPT.format(
        check=""
        if text or origin
        else _CHECK.format(variable=variable, missing=json.dumps(missing(variable))),
        address=json.dumps(address),
        header=json.dumps(header) if text else f"`Bearer ${{process.env.{variable}}}`",
    )
    if origin:
        curl += f" -H {shlex.quote(f'Origin: {origin}')}"
        script = f"// In a page of {origin}, whose browser names the origin by itself\n{script}"
    return [
        Snippet(language="curl", title="curl", code=curl + "\n"),
        Snippet(language="python", title="Python", code=python),
        Snippet(language="javascript", title="JavaScript", code=script),
    ]
