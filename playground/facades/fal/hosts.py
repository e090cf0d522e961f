"""Which of fal's faces a request is for: by the prefix of its path, or by one of fal's host names.

The official clients know fal's host names and nothing else; they come here by name, through the TLS and CONNECT ports,
or by prefix, where they were told another address.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PREFIX = "/fal"
DOMAINS = ("fal.run", "fal.ai", "fal.media")
FACES = {
    "fal.run": "run",
    "queue.fal.run": "queue",
    "rest.fal.ai": "rest",
    "rest.alpha.fal.ai": "rest",
    "v3.fal.media": "cdn",
    "v3b.fal.media": "cdn",
    "fal.media": "cdn",
    "api.fal.ai": "v1",
}
# Parts of a file are put below the address that it will have, which is one of our media.
PART = re.compile(r"/media/[^/]+/[^/]+/multipart/[^/]+/(?:[0-9]+|complete)")
PROXY_PATH = "/api/fal/proxy"  # where @fal-ai/server-proxy is by default


@dataclass(frozen=True, slots=True)
class Addressed:
    """`path` is what follows, from its slash on; `prefix` is what the caller wrote before it, empty by host name."""

    face: str
    path: str
    prefix: str = ""

    @property
    def inside(self) -> str:
        """The path at which `routes` has it."""
        if self.face == "part":
            return self.path
        return f"{PREFIX}/{self.face}{self.path}" if self.face else f"{PREFIX}{self.path}"


def addressed(host: str, path: str) -> Addressed | None:
    """The face and the path there; None for what is not fal's. `host` may have a port.

    What is at another name of fal's, or at no face, has the face "": there is little, and errors are fal's.
    """
    name = host.partition(":")[0].lower().rstrip(".")
    face = FACES.get(name)
    if face == "v1" and _is_below(path, "/v1"):
        return Addressed(face, path.removeprefix("/v1"), "/v1")
    if face is not None:
        return Addressed(face, path)
    if any(name == domain or name.endswith(f".{domain}") for domain in DOMAINS):
        return Addressed("", path)
    if PART.fullmatch(path):
        return Addressed("part", path, path)
    if path == PROXY_PATH:
        return Addressed("proxy", "", "/api/fal")
    for face in ("run", "queue", "rest", "cdn", "v1", "proxy"):
        prefix = f"{PREFIX}/{face}"
        if _is_below(path, prefix):
            return Addressed(face, path[len(prefix) :], prefix)
    return Addressed("", path[len(PREFIX) :], PREFIX) if path.startswith(f"{PREFIX}/") else None


def face_at(scheme: str, host: str, face: str) -> str:
    """Where a face is for who asked `host`: at its own name if that was one of fal's, else by prefix."""
    name, colon, port = host.partition(":")
    if name.lower().rstrip(".") in FACES:
        own = next(known for known, its in FACES.items() if its == face)
        return f"{scheme}://{own}{colon}{port}" + ("/v1" if face == "v1" else "")
    return f"{scheme}://{host}{PREFIX}/{face}"


def _is_below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")
