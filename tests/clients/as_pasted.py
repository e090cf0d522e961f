"""Programs as the API tab shows them, each run as `python call.py` in its own folder. `as_pasted.py FOLDER…`

Prints what each said, by its folder, as JSON. One process for all: what costs time is importing the clients.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import sys
import traceback

said: dict[str, str] = {}
for folder in sys.argv[1:]:
    heard = io.StringIO()
    os.chdir(folder)
    with contextlib.redirect_stdout(heard):
        try:
            runpy.run_path("call.py", run_name="__main__")
        except SystemExit as end:
            print("ended:", end.code)
        except Exception:
            print(traceback.format_exc())
    said[folder] = heard.getvalue()
print(json.dumps(said))
