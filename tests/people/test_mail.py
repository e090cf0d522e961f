"""Mail: never in anybody's way, filed where nobody else reads it, shown as nothing but text."""

from __future__ import annotations

import smtplib
import stat
from datetime import timedelta

import pytest
from django.core import mail as django_mail
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.db import transaction
from django.test import Client
from django.utils import timezone

from marketplace import mail
from marketplace.models import Outbox
from marketplace.settings import email
from tests.people import cast


@pytest.fixture
def filed(settings, tmp_path):
    settings.EMAIL_BACKEND = "marketplace.mail.Folder"
    settings.MAIL_FOLDER = str(tmp_path / "mail")
    settings.MAIL_IS_FILED = True
    return tmp_path / "mail"


def test_a_mail_is_written_with_what_causes_it(db):
    with transaction.atomic():
        mail.post("ada@example.test", subject="Hello", body="x")
        transaction.set_rollback(True)
    assert cast.letters() == []
    mail.post("ada@example.test", subject="Hello\nBcc: mal@example.test", body="Text")
    (letter,) = cast.letters()
    assert (letter.subject, letter.to, letter.bcc) == (
        "Hello Bcc: mal@example.test",
        ["ada@example.test"],
        [],
    )
    assert not Outbox.objects.exists()


def test_a_server_that_is_away_is_asked_again_and_one_that_refuses_is_not(db, monkeypatch):
    mail.post("ada@example.test", subject="Hello", body="x")
    said = [smtplib.SMTPServerDisconnected("away"), smtplib.SMTPRecipientsRefused({"a": (550, b"nobody")})]

    def refuse(self):
        raise said.pop(0)

    monkeypatch.setattr(EmailMessage, "send", refuse)
    row = Outbox.objects.get()
    mail.send(row.pk)
    assert "away" in Outbox.objects.get().last_error
    mail.send(row.pk)
    assert not Outbox.objects.exists()


def test_what_is_too_old_to_help_is_dropped(db):
    mail.post("ada@example.test", subject="Hello", body="x")
    row = Outbox.objects.get()
    row.payload["written_at"] = (timezone.now() - timedelta(days=3)).isoformat()
    row.save()
    mail.send(row.pk)
    assert (django_mail.outbox, Outbox.objects.count()) == ([], 0)


def test_filed_mails_are_for_this_user_alone(filed):
    EmailMessage("Grüße", "Zeile\nzwei", "Vitrine <a@b.test>", ["ada@example.test"]).send()
    (path,) = filed.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(filed.stat().st_mode) == 0o700
    (letter,) = mail.letters()
    assert (letter.subject, letter.to, letter.body.strip()) == ("Grüße", "ada@example.test", "Zeile\nzwei")


def test_the_folder_does_not_grow_for_ever(filed, monkeypatch):
    monkeypatch.setattr(mail, "MOST_FILED", 3)
    for number in range(5):
        EmailMessage(f"n{number}", "x", "a@b.test", ["c@d.test"]).send()
    assert [letter.subject for letter in mail.letters()] == ["n4", "n3", "n2"]


@pytest.mark.parametrize("name", ["..", "../../etc/passwd", "%2e%2e", ".hidden", "x" * 300, "\x00"])
def test_only_mails_are_read(filed, name):
    assert mail.read(name) is None


def test_damaged_files_are_shown_as_far_as_they_go(filed):
    filed.mkdir()
    for number, data in enumerate(
        [b"", b"\xff\xfe\x00", b"Subject: =?x?q?\xff?=\n\n\xff", b"no header at all" * 9]
    ):
        (filed / f"{number:020}-{'0' * 16}").write_bytes(data)
    for path in filed.iterdir():  # the names must be moments
        path.rename(filed / f"20260101000000{path.name[14:]}")
    assert len(mail.letters()) == 4


def get(client, path, **meta):
    return client.get(path, **{"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost", **meta})


def test_mails_are_text_and_only_links_of_ours_open(db, filed):
    hostile = (
        "<script>alert(1)</script> http://localhost/a?b=1&c=2. https://elsewhere.test/x javascript:alert(2) "
        "http://[half"
    )
    EmailMessage("<b>Hi</b>", hostile, "a@b.test", ["c@d.test"]).send()
    name = mail.letters()[0].name
    page = get(Client(), f"/-/mail/{name}", HTTP_HOST="localhost").content.decode()
    assert "<script>alert" not in page
    assert "&lt;b&gt;Hi&lt;/b&gt;" in page
    assert 'href="http://localhost/a?b=1&amp;c=2"' in page
    assert 'href="https://elsewhere.test' not in page
    assert "http://[half" in page
    assert "&lt;b&gt;Hi" in get(Client(), "/-/mail").content.decode()


def test_mails_are_read_at_the_machine_and_by_staff(filed, team):
    assert get(Client(), "/-/mail").status_code == 200
    away = {"REMOTE_ADDR": "192.0.2.1"}
    assert get(Client(), "/-/mail", **away)["Location"].startswith("/accounts/login?next=/-/mail")
    assert get(team.browser("developer"), "/-/mail", **away).status_code == 404
    team.users["admin"].is_staff = True
    team.users["admin"].save()
    assert get(team.browser("admin"), "/-/mail", **away).status_code == 200


@pytest.mark.parametrize(
    "meta",
    [
        {"HTTP_X_FORWARDED_FOR": "192.0.2.1"},
        {"HTTP_FORWARDED": "for=192.0.2.1"},
        {"HTTP_VIA": "1.1 proxy"},
        {"HTTP_HOST": "vitrine.example"},
        {"REMOTE_ADDR": ""},
    ],
)
def test_behind_a_proxy_nobody_sits_at_the_machine(db, filed, settings, meta):
    settings.ALLOWED_HOSTS = ["localhost", "vitrine.example"]
    assert get(Client(), "/-/mail", **meta).status_code == 302


def test_an_installation_for_others_has_nobody_at_the_machine(db, filed, settings):
    settings.PUBLIC_URL = "https://vitrine.example"
    assert get(Client(), "/-/mail").status_code == 302


def test_where_mails_are_sent_there_is_no_such_page(db, settings, team):
    settings.MAIL_IS_FILED = False
    team.users["owner"].is_staff = True
    team.users["owner"].save()
    assert get(team.browser("owner"), "/-/mail").status_code == 404
    assert get(Client(), "/-/mail").status_code == 404


@pytest.mark.parametrize(
    ("url", "port", "ssl", "tls"),
    [
        ("smtp://mail.test", 587, False, True),
        ("smtp://u%40x:p%3A1@mail.test:2525", 2525, False, True),
        ("smtp://mail.test:25?tls=0", 25, False, False),
        ("smtps://mail.test", 465, True, False),
    ],
)
def test_mail_servers_by_address(url, port, ssl, tls):
    made = email(url)
    assert (made["HOST"], made["PORT"], made["USE_SSL"], made["USE_TLS"]) == ("mail.test", port, ssl, tls)
    if "@" in url:
        assert (made["HOST_USER"], made["HOST_PASSWORD"]) == ("u@x", "p:1")


def test_a_folder_by_address():
    assert email("file:///srv/mail%20box")["FOLDER"] == "/srv/mail box"


@pytest.mark.parametrize(
    "url", ["mail.test", "http://mail.test", "smtp://", "file://host/x", "smtp://h:port"]
)
def test_addresses_that_are_no_mail_server(url):
    with pytest.raises(ImproperlyConfigured, match="EMAIL_URL"):
        email(url)
