"""Where things lie on one machine, and the secrets that are made once.

Hides the layout of the data folder, the length limit of socket paths and how a secret comes to be exactly once.
Pure of Django: the settings and the supervisor ask the same object.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

# sun_path holds 108 bytes on Linux and 104 elsewhere; the longest name that we put below the folder is PostgreSQL's.
SOCKET_FOLDER_BYTES = 100 - len("/.s.PGSQL.5432.lock")
DATABASE = ROLE = "vitrine"
SUPERUSER = "postgres"


class HostProblem(Exception):
    """The machine refuses something that Vitrine needs. The message is one line that says what to change."""


def say_os_error(error: OSError, path: Path) -> HostProblem:
    """The one line for an operating-system error at `path`: what it means and what to do."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return HostProblem(f"no space left for {path}: free some space, or set VITRINE_DATA to another disk")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return HostProblem(
            f"{path} is not writable by this user: change its owner, or set VITRINE_DATA to another folder"
        )
    if error.errno in {errno.ENOTDIR, errno.EEXIST}:
        return HostProblem(f"{path} is in the way: it is no folder; set VITRINE_DATA to another folder")
    return HostProblem(f"{path}: {error.strerror or error}")


def make_private(folder: Path) -> Path:
    """Make `folder` with mode 0700 where it is missing; one that exists is left as it is. Raises HostProblem."""
    if not folder.parent.exists():
        make_private(folder.parent)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise say_os_error(error, folder) from None
    return folder


@dataclass(frozen=True)
class Places:
    """The paths and addresses that follow from one data folder. Making it touches nothing."""

    root: Path
    sockets: Path

    @classmethod
    def at(cls, data_dir: Path) -> Places:
        """The places of `data_dir`; a relative one counts from the current directory."""
        root = Path(os.path.abspath(data_dir))  # noqa: PTH100 - links stay as they were given
        return cls(root=root, sockets=_socket_folder(root))

    @classmethod
    def configured(cls) -> Places:
        """The places of VITRINE_DATA, by default `var/` in the project's folder."""
        project = Path(__file__).resolve().parent.parent.parent
        return cls.at(Path(os.environ.get("VITRINE_DATA", "").strip() or project / "var"))

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def redis(self) -> Path:
        return self.root / "redis"

    @property
    def media(self) -> Path:
        return self.root / "media"

    @property
    def mail(self) -> Path:
        return self.root / "mail"

    @property
    def tls(self) -> Path:
        return self.root / "tls"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def demo(self) -> Path:
        """How to sign in to a fresh install, written by `manage.py prepare`, readable by us only."""
        return self.run / "demo.json"

    @property
    def lock(self) -> Path:
        return self.run / "supervisor.lock"

    @property
    def redis_socket(self) -> Path:
        return self.sockets / "redis.sock"

    def prepare(self) -> None:
        """Make every folder that is missing, for this user alone. Raises HostProblem."""
        for folder in (self.root, self.keys, self.run, self.redis, self.media, self.mail, self.log):
            make_private(folder)
        for folder in (self.root, self.keys, self.run, self.log):
            if not os.access(folder, os.W_OK | os.X_OK):
                raise say_os_error(PermissionError(errno.EACCES, ""), folder)
        if stat.S_IMODE(self.keys.stat().st_mode) & 0o077:
            raise HostProblem(f"others may enter {self.keys}, where the secrets are: chmod 700 it")
        make_private(self.sockets)
        _refuse_foreign(self.sockets)

    def secret(self, name: str) -> str:
        """The secret called `name`: made at the first call, the same for everybody ever after, readable by us only.

        Two processes that ask at once get the same one. Raises HostProblem.
        """
        make_private(self.keys)
        path = self.keys / name
        try:
            if not path.exists():
                _write_once(path, secrets.token_hex(32))
            text = path.read_text(encoding="ascii").strip()
        except UnicodeDecodeError:
            text = ""
        except OSError as error:
            raise say_os_error(error, path) from None
        if len(text) < 16:
            raise HostProblem(f"{path} holds no secret: remove it to have a new one made")
        return text

    def postgres_url(self, *, role: str = ROLE, database: str = DATABASE) -> str:
        """The address of the embedded PostgreSQL, password included."""
        password = self.secret("postgres" if role == SUPERUSER else "database")
        return f"postgresql://{role}:{password}@/{database}?host={quote(str(self.sockets), safe='')}"

    def redis_url(self) -> str:
        """The address of the embedded Redis, password included, as redis-py, channels_redis and Django read it."""
        return f"unix://:{self.secret('redis')}@{quote(str(self.redis_socket))}"

    def broker_url(self) -> str:
        """The same server, as Celery reads it."""
        return f"redis+socket://:{self.secret('redis')}@{quote(str(self.redis_socket))}"


def _socket_folder(root: Path) -> Path:
    """The folder for sockets: in the data folder, or a short one of this user's where that would be too deep."""
    inside = root / "run"
    if len(os.fsencode(inside)) <= SOCKET_FOLDER_BYTES:
        return inside
    name = f"vitrine-{os.geteuid()}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}"
    return Path("/tmp") / name  # noqa: S108 - not TMPDIR: every process must find the same; 0700 and owner-checked


def _refuse_foreign(folder: Path) -> None:
    """Raise HostProblem unless `folder` is a real folder of ours that nobody else can enter."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise HostProblem(
            f"{folder} must be a folder of this user alone (mode 0700): remove it and start again"
        )


def _write_once(path: Path, text: str) -> None:
    """Let `path` appear whole with `text`, unless somebody else was first."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        Path(temporary).unlink()
