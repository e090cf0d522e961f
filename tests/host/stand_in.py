"""A supervisor of tiny children, to be killed: `python -m tests.host.stand_in DATA [stubborn] [crashing] [lasting]`."""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path

from marketplace.host import supervisor as supervisors
from marketplace.host.child import Child, end_survivors
from marketplace.host.places import HostProblem, Places
from marketplace.host.run import say
from marketplace.host.supervisor import Stopped, Supervisor, sole

# It forks, as Celery's prefork pool does; both note their ids; the parent notes when it is asked to stop.
CHILD = """
import os, signal, sys, time
sys.path.insert(0, {project!r})
from marketplace.host.process import die_with_parent
name, folder, ignores = sys.argv[1], sys.argv[2], sys.argv[3:] == ["ignores"]
def note(line):
    with open(f"{{folder}}/events", "a") as file:
        file.write(line + "\\n")
def end(*_):
    note(f"{{name}} stops")
    os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if ignores else end)
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if not ignores:
        die_with_parent()
    note(f"{{name}} child {{os.getpid()}}")
    time.sleep(600)
note(f"{{name}} parent {{os.getpid()}}")
print("up", flush=True)
time.sleep(600)
"""


def child(name: str, data: Path, *more: str, orphaned: signal.Signals = signal.SIGKILL) -> Child:
    source = CHILD.format(project=str(Path(__file__).resolve().parent.parent.parent))
    return Child(name=name, command=[sys.executable, "-c", source, name, str(data), *more], orphaned=orphaned)


def main(data: Path, *kinds: str) -> None:
    places = Places.at(data)
    places.prepare()
    if "stubborn" in kinds:  # who will not end need not be waited for as long as who may
        supervisors.WORKERS_GRACE_SECONDS = 1.0
    with sole(places):
        end_survivors(places, say)
        with Supervisor(places, say) as supervisor, contextlib.suppress(Stopped):
            supervisor.start([child("ground", data)], floor=0)
            above = [child("upper", data, *(["ignores"] if "stubborn" in kinds else []))]
            if "crashing" in kinds:
                above.append(Child(name="crashing", command=[sys.executable, "-c", "raise SystemExit(3)"]))
            if "lasting" in kinds:  # as a server of another make that the kernel does not end
                above.append(child("lasting", data, "ignores", orphaned=signal.SIGTERM))
            supervisor.start(above, floor=1)
            supervisor.wait()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), *sys.argv[2:])
    except HostProblem as problem:
        sys.exit(f"vitrine: {problem}")
