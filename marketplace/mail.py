"""Mail: written into the outbox, sent by control; on one machine into a folder, where it can be read.

`post` is one row in the transaction that causes the mail, so no page waits for a mail server or fails with it.
"""

from __future__ import annotations

import logging
import re
import secrets
import smtplib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email import policy
from email.errors import MessageError
from email.message import EmailMessage as ParsedMessage
from email.parser import BytesParser
from pathlib import Path

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.utils import timezone

from marketplace import dispatch

SEND_TASK = "marketplace.send_mail"
GIVE_UP_AFTER = timedelta(days=2)  # its links have expired by then
MOST_FILED = 1000  # mails in the folder; the oldest leave
MOST_SHOWN_BYTES = 256 * 1024
_NAME = re.compile(r"[0-9]{20}-[0-9a-f]{16}")

log = logging.getLogger(__name__)


def post(to: str, *, subject: str, body: str) -> None:
    """Have a mail sent once the present transaction commits. It is plain text."""
    line = " ".join(subject.split())
    dispatch.post(
        SEND_TASK,
        {"to": to, "subject": line, "body": body, "written_at": timezone.now().isoformat()},
    )


@dispatch.handler(SEND_TASK)
def send(payload: dispatch.Payload) -> None:
    """Send one mail. Raises what the mail server says, to be tried again; what it refuses for good is let go."""
    if timezone.now() - datetime.fromisoformat(payload["written_at"]) > GIVE_UP_AFTER:
        log.warning("a mail of %s could not be sent for two days and was dropped", payload["written_at"])
        return
    message = EmailMessage(payload["subject"], payload["body"], settings.DEFAULT_FROM_EMAIL, [payload["to"]])
    try:
        message.send()
    except smtplib.SMTPRecipientsRefused as error:
        if all(500 <= code < 600 for code, _ in error.recipients.values()):
            log.warning("the mail server refuses a mail's address for good")
            return
        raise


class Folder(BaseEmailBackend):
    """Files mails in a folder, one file each, readable by this user only, newest last by name."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        folder = Path(settings.MAIL_FOLDER)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for message in email_messages:
            name = f"{timezone.now():%Y%m%d%H%M%S%f}-{secrets.token_hex(8)}"
            unfinished = folder / f".{name}"
            unfinished.touch(mode=0o600)
            unfinished.write_bytes(message.message().as_bytes())
            unfinished.rename(folder / name)
        for old in _filed(folder)[MOST_FILED:]:
            (folder / old).unlink(missing_ok=True)
        return len(email_messages)


@dataclass(frozen=True, slots=True)
class Letter:
    """A filed mail, as text and nothing else."""

    name: str
    to: str
    sender: str
    subject: str
    at: datetime
    body: str


def letters(*, limit: int = 50, offset: int = 0) -> list[Letter]:
    """Filed mails, newest first."""
    names = _filed(Path(settings.MAIL_FOLDER))[offset : offset + limit]
    return [letter for name in names if (letter := read(name)) is not None]


def read(name: str) -> Letter | None:
    """The filed mail of this name; None if there is none."""
    if not _NAME.fullmatch(name):
        return None
    try:
        with (Path(settings.MAIL_FOLDER) / name).open("rb") as file:
            data = file.read(MOST_SHOWN_BYTES)
    except OSError:
        return None
    parsed = BytesParser(ParsedMessage, policy=policy.default).parsebytes(data)
    at = datetime.strptime(f"{name[:20]}+0000", "%Y%m%d%H%M%S%f%z")
    return Letter(
        name, _text(parsed, "to"), _text(parsed, "from"), _text(parsed, "subject"), at, _body(parsed)
    )


def _filed(folder: Path) -> list[str]:
    try:
        return sorted((path.name for path in folder.iterdir() if _NAME.fullmatch(path.name)), reverse=True)
    except FileNotFoundError:
        return []


def _text(parsed: ParsedMessage, header: str) -> str:
    try:
        return str(parsed.get(header, ""))
    except (MessageError, ValueError, LookupError):
        return ""


def _body(parsed: ParsedMessage) -> str:
    part = parsed.get_body(("plain",))
    if part is None:
        return ""
    try:
        return str(part.get_content())
    except (MessageError, ValueError, LookupError, KeyError):
        return ""
