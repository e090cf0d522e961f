"""Coming in: signing up, proving an address, a forgotten password, the second factor, and who tells what to whom."""

from __future__ import annotations

import re
import time
from urllib.parse import urlencode

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.test import Client

from billing import ledger
from marketplace import people
from marketplace.models import Invitation, Membership, User, Workspace
from playground.pages import attempts, sign_in
from tests.people import cast

EMAIL = "newcomer@example.test"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@pytest.fixture
def mandatory(settings):
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"


def sign_up(client, email=EMAIL, password=cast.PASSWORD, **more):
    return client.post("/accounts/signup", {"email": email, "password1": password, **more})


def log_in(client, email=EMAIL, password=cast.PASSWORD, **more):
    return client.post("/accounts/login", {"login": email, "password": password, **more})


def is_in(client):
    return client.get("/accounts/profile").status_code == 200


def code(step=0):
    return format_hotp_value(hotp_value(SECRET, int(time.time()) // 30 + step))


def test_a_newcomer_is_in_at_once_with_a_workspace_and_credit(db, settings):
    settings.STARTER_CREDIT_MICROS = 1234
    client = Client()
    answer = sign_up(client, name="Nela New", next="/m/kiln/vase?prompt=a+jug")
    assert (answer.status_code, answer["Location"]) == (302, "/m/kiln/vase?prompt=a+jug")
    user = User.objects.get(email=EMAIL)
    workspace = people.workspace_of(user)
    assert (user.name, workspace.name, workspace.slug) == ("Nela New", "Nela New", "nela-new")
    assert people.membership_of(user).role == "owner"
    assert ledger.balance(workspace.pk).granted_micros == 1234
    assert user.is_staff  # the first one
    welcome = client.get("/accounts/profile").content.decode()
    assert "to start with" in welcome
    assert f"A link went to {EMAIL}" in welcome
    assert [one.subject for one in cast.letters()] == ["Confirm your email address"]


def test_an_address_must_be_proved_first_where_that_is_set(db, mandatory):
    client = Client()
    page = "/m/kiln/vase?prompt=a+jug"
    answer = sign_up(client, next=page)
    assert answer["Location"] == "/accounts/email/sent"
    assert client.get("/accounts/email/sent").status_code == 200
    assert not is_in(client)
    assert not Workspace.objects.exists()  # and no credit either
    assert log_in(Client())["Location"] == "/accounts/email/sent"
    link = cast.link_in(cast.letters()[0])
    assert "Is this your address?" in client.get(link).content.decode()
    assert client.post(link)["Location"] == page
    assert is_in(client)
    assert Workspace.objects.count() == 1
    assert "Sign in to have another one sent" in Client().get(link).content.decode()
    over = client.get(link).content.decode()
    assert "This link is over" in over
    assert "Sign in to have another" not in over


def test_signing_up_tells_nobody_who_has_an_account(db, mandatory):
    User.objects.create_user(EMAIL, cast.PASSWORD)
    known, unknown = sign_up(Client()), sign_up(Client(), "other@example.test")
    assert (known.status_code, known["Location"]) == (unknown.status_code, unknown["Location"])
    assert User.objects.count() == 2
    subjects = {one.to[0]: one.subject for one in cast.letters()}
    assert subjects == {
        EMAIL: "You have an account already",
        "other@example.test": "Confirm your email address",
    }


def test_a_password_is_hashed_for_both(db, mandatory, monkeypatch):
    hashed = []
    monkeypatch.setattr(sign_in, "make_password", lambda text: hashed.append(text) or "!")
    User.objects.create_user(EMAIL, cast.PASSWORD)
    sign_up(Client())
    sign_up(Client(), "other@example.test")
    assert len(hashed) == 2


def test_a_forgotten_password_tells_nobody_either(db):
    User.objects.create_user(EMAIL, cast.PASSWORD)
    answers = [
        Client().post("/accounts/password/reset", {"email": one}) for one in (EMAIL, "other@example.test")
    ]
    assert {(one.status_code, one["Location"]) for one in answers} == {(302, "/accounts/password/reset/sent")}
    assert {one.to[0]: one.subject for one in cast.letters()} == {
        EMAIL: "A new password",
        "other@example.test": "No account with this address",
    }


def test_a_new_password_by_mail_ends_all_sessions(db):
    User.objects.create_user(EMAIL, cast.PASSWORD)
    thief = Client()
    log_in(thief)
    client = Client()
    client.post("/accounts/password/reset", {"email": EMAIL})
    link = cast.link_in(cast.letters()[0])
    form = client.get(link, follow=True)
    assert "Choose a new password" in form.content.decode()
    at = form.redirect_chain[-1][0]
    assert "too short" in client.post(at, {"password1": "short", "password2": "short"}).content.decode()
    new = "another long password"
    assert (
        client.post(at, {"password1": new, "password2": new})["Location"] == "/accounts/password/reset/done"
    )
    assert client.get("/accounts/password/reset/done").status_code == 200
    assert not is_in(thief)
    assert "This link is over" in Client().get(link, follow=True).content.decode()
    assert log_in(client).status_code == 200
    assert log_in(client, password=new).status_code == 302


@pytest.mark.parametrize("password", ["short", "password123", "newcomer-example"])
def test_weak_passwords_are_refused_beside_the_field(db, password):
    answer = sign_up(Client(), password=password)
    assert answer.status_code == 200
    assert 'aria-invalid="true"' in answer.content.decode()
    assert not User.objects.exists()


@pytest.mark.parametrize(
    "away", ["https://elsewhere.test/", "//elsewhere.test", "javascript:alert(1)", "\\\\e.test"]
)
def test_nobody_is_led_away(db, away):
    User.objects.create_user(EMAIL, cast.PASSWORD)
    assert log_in(Client(), next=away)["Location"] == "/"
    assert sign_up(Client(), "other@example.test", next=away)["Location"] == "/"


def test_claiming_an_address_keeps_nobody_out(db):
    mal = User.objects.create_user("mal@example.test", cast.PASSWORD)
    EmailAddress.objects.create(user=mal, email=EMAIL)  # as a change that waits to be proved
    assert sign_up(Client()).status_code == 302
    assert User.objects.filter(email=EMAIL).exists()


def test_an_address_of_another_account_is_not_taken_over(db):
    User.objects.create_user(EMAIL, cast.PASSWORD)
    mal = User.objects.create_user("mal@example.test", cast.PASSWORD)
    row = EmailAddress.objects.create(user=mal, email=EMAIL)
    client = Client()
    client.force_login(mal)
    from allauth.account.models import EmailConfirmationHMAC

    link = f"/accounts/email/confirm/{EmailConfirmationHMAC(row).key}"
    assert client.post(link).status_code == 302
    assert not EmailAddress.objects.filter(email=EMAIL, verified=True).exists()
    assert User.objects.get(pk=mal.pk).email == "mal@example.test"


def test_many_accounts_from_one_address_are_too_many(db, settings):
    settings.SIGNUPS_PER_DAY = 2
    answers = [sign_up(Client(REMOTE_ADDR="192.0.2.7"), f"n{n}@example.test") for n in range(3)]
    assert [one.status_code for one in answers] == [302, 302, 200]
    assert "Many accounts" in answers[-1].content.decode()
    assert sign_up(Client(REMOTE_ADDR="192.0.2.8"), "n3@example.test").status_code == 302


def test_a_closed_house_lets_in_who_is_invited(team, settings):
    settings.SIGNUP_OPEN = False
    assert "By invitation only" in Client().get("/accounts/signup").content.decode()
    assert "By invitation only" in sign_up(Client()).content.decode()
    token = cast.invite(team, EMAIL)
    client = Client()
    client.get(f"/invitations/{token}")
    assert sign_up(client, next=f"/invitations/{token}")["Location"] == f"/invitations/{token}"
    assert EmailAddress.objects.get(email=EMAIL).verified


def test_an_invitation_leads_through_the_sign_up(team, mandatory):
    token = cast.invite(team, EMAIL, "billing")
    client, page = Client(), f"/invitations/{token}"
    shown = client.get(page).content.decode()
    assert f"/accounts/signup?email=newcomer%40example.test&amp;next=%2Finvitations%2F{token}" in shown
    assert sign_up(client, next=page)["Location"] == page  # the link proves the address
    for _ in range(2):  # clicks
        assert client.post(page)["Location"] == "/dashboard/history"
    assert team.browser("outsider").post(page).status_code == 404
    assert Membership.objects.get(workspace=team.workspace, user__email=EMAIL).role == "billing"
    assert "Northlight" in client.get("/dashboard/members").content.decode()


def test_the_link_proves_its_own_address_only(team, mandatory):
    client = Client()
    client.get(f"/invitations/{cast.invite(team, EMAIL)}")
    assert sign_up(client, "other@example.test")["Location"] == "/accounts/email/sent"
    assert not EmailAddress.objects.filter(verified=True).exists()


def test_an_invitation_of_somebody_else_says_so(team):
    token = cast.invite(team, EMAIL)
    answer = team.browser("outsider").post(f"/invitations/{token}")
    assert answer.status_code == 403
    assert "outsider@example.test" in answer.content.decode()
    assert Invitation.objects.get().accepted_at is None
    assert Client().get("/invitations/nothing").status_code == 404


@pytest.fixture
def guarded(db):
    """An account with a second factor."""
    user = User.objects.create_user(EMAIL, cast.PASSWORD)
    people.verify(user)
    TOTP.activate(user, SECRET)
    return user


def test_a_second_factor_stands_between(guarded):
    client = Client()
    assert log_in(client, next="/dashboard/members")["Location"] == "/accounts/two-factor/sign-in"
    assert not is_in(client)
    wrong = client.post("/accounts/two-factor/sign-in", {"code": "000000"})
    assert "not right" in wrong.content.decode()
    right = code()
    assert client.post("/accounts/two-factor/sign-in", {"code": right})["Location"] == "/dashboard/members"
    assert is_in(client)
    other = Client()
    log_in(other)
    again = other.post("/accounts/two-factor/sign-in", {"code": right})
    assert again.status_code == 200  # a code that was seen over a shoulder
    assert not is_in(other)


def test_codes_are_not_guessed(guarded, monkeypatch):
    monkeypatch.setattr(sign_in, "CODE_WINDOW_SECONDS", 10**9)  # no five minutes end in between
    said = []
    for number in range(7):
        client = Client(REMOTE_ADDR=f"192.0.2.{number}")
        log_in(client)
        said.append(
            "Too many" in client.post("/accounts/two-factor/sign-in", {"code": "000000"}).content.decode()
        )
    assert said == [False] * 5 + [True] * 2
    client = Client()
    log_in(client)
    assert client.post("/accounts/two-factor/sign-in", {"code": code()}).status_code == 200


def test_without_redis_no_code_counts_and_passwords_still_do(guarded, monkeypatch):
    def away(*_, **__):
        raise attempts.CannotCount

    monkeypatch.setattr(attempts, "are_allowed", away)
    client = Client()
    assert log_in(client).status_code == 302
    answer = client.post("/accounts/two-factor/sign-in", {"code": code()})
    assert "at this moment" in answer.content.decode()
    assert not is_in(client)


def test_a_cache_without_redis_is_empty_and_breaks_nothing(db, settings):
    from marketplace.cache import SharedCache

    gone = SharedCache(
        ["redis://127.0.0.1:1/0"], {"KEY_PREFIX": "x", "OPTIONS": {"socket_connect_timeout": 0.2}}
    )
    assert gone.add("a", 1) is True
    assert gone.get("a", "nothing") == "nothing"
    gone.set("a", 1)
    assert gone.delete("a") is False


def test_the_cache_empties_itself_and_nothing_else():
    from django.core.cache import cache

    from marketplace.dispatch import redis_client

    redis_client().set("live:1", "kept")
    cache.set("a", [1.5, "x"], 60)
    assert cache.get("a") == [1.5, "x"]
    cache.clear()
    assert cache.get("a") is None
    assert redis_client().get("live:1") == b"kept"


def test_the_second_factor_of_who_lost_it_is_switched_off_by_the_operator(guarded, capsys):
    call_command("second_factor_off", EMAIL.upper())
    assert not Authenticator.objects.exists()
    assert log_in(Client())["Location"] == "/"


def test_what_touches_the_account_asks_for_the_password_again(db):
    user = User.objects.create_user(EMAIL, cast.PASSWORD)
    people.verify(user)
    client = Client()
    log_in(client)
    for page in ("/accounts/two-factor/app", "/accounts/delete"):
        assert client.get(page)["Location"] == f"/accounts/confirm?{urlencode({'next': page})}"
    assert client.post("/accounts/email", {"email": "new@example.test", "action_add": ""}).status_code == 302
    assert not EmailAddress.objects.filter(email="new@example.test").exists()
    assert (
        client.post("/accounts/confirm", {"password": "wrong", "next": "/accounts/delete"}).status_code == 200
    )
    done = client.post("/accounts/confirm", {"password": cast.PASSWORD, "next": "/accounts/delete"})
    assert done["Location"] == "/accounts/delete"
    assert client.get("/accounts/delete").status_code == 200


def test_a_new_address_counts_once_it_is_proved(db):
    user = User.objects.create_user(EMAIL, cast.PASSWORD)
    people.verify(user)
    client = Client()
    log_in(client)
    client.post("/accounts/confirm", {"password": cast.PASSWORD})
    client.post("/accounts/email", {"email": "new@example.test", "action_add": ""})
    assert User.objects.get().email == EMAIL
    assert "is waiting to be confirmed" in client.get("/accounts/email").content.decode()
    letter = next(one for one in cast.letters() if one.to == ["new@example.test"])
    client.post(cast.link_in(letter))
    assert User.objects.get().email == "new@example.test"
    assert any(
        one.to == [EMAIL] and "changed" in one.subject for one in cast.letters()
    )  # the old one is told


def test_all_other_sessions_end_at_a_click(db):
    User.objects.create_user(EMAIL, cast.PASSWORD)
    one, two = Client(), Client()
    log_in(one), log_in(two)
    assert "Sign out all others" in one.get("/accounts/sessions").content.decode()
    one.post("/accounts/sessions")
    assert is_in(one)
    assert not is_in(two)
    assert Session.objects.exists()


def test_one_session_ends_alone(db):
    User.objects.create_user(EMAIL, cast.PASSWORD)
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    one, two, three = Client(), Client(headers={"User-Agent": firefox}), Client()
    log_in(one), log_in(two), log_in(three)
    page = one.get("/accounts/sessions").content.decode()
    assert page.count("This one") == 1
    lines = [line for line in page.split("<tr>") if "/end" in line]
    assert len(lines) == 2
    (of_two,) = (line for line in lines if "Firefox on Linux" in line)
    assert re.search(r'<time datetime="\d{4}-', of_two)
    end = re.search(r'action="(/accounts/sessions/\w+/end)"', of_two)[1]
    assert one.get(end).status_code == 405
    assert one.post(end)["Location"] == "/accounts/sessions"
    assert (is_in(one), is_in(two), is_in(three)) == (True, False, True)
    assert one.post(end).status_code == 404  # it has ended


def test_only_ones_own_sessions_end_and_the_present_one_by_signing_out(db):
    for email in (EMAIL, "mal@example.test"):
        User.objects.create_user(email, cast.PASSWORD)
    one, two, mal = Client(), Client(), Client()
    log_in(one), log_in(two), log_in(mal, "mal@example.test")
    page = one.get("/accounts/sessions").content.decode()
    end = re.search(r'action="(/accounts/sessions/\w+/end)"', page)[1]
    assert mal.post(end).status_code == 404
    assert Client().post(end)["Location"].startswith("/accounts/login")
    for session in Session.objects.all():
        assert session.session_key not in page
        assert one.post(f"/accounts/sessions/{session.session_key}/end").status_code == 404
    assert two.post(end)["Location"] == "/accounts/logout"  # it names the browser that asks
    assert (is_in(one), is_in(two), is_in(mal)) == (True, True, True)


def test_deleting_the_account_in_the_browser(db):
    sign_up(Client())
    client = Client()
    log_in(client)
    client.post("/accounts/confirm", {"password": cast.PASSWORD})
    wrong = client.post("/accounts/delete", {"email": "other@example.test"})
    assert wrong.status_code == 422
    assert client.post("/accounts/delete", {"email": EMAIL.upper()})["Location"] == "/"
    assert not is_in(client)
    assert log_in(Client()).status_code == 200  # nobody by that address
    assert Workspace.objects.filter(closed_at=None).count() == 0


def test_who_was_switched_off_is_told_so(db):
    user = User.objects.create_user(EMAIL, cast.PASSWORD)
    user.is_active = False
    user.save()
    assert log_in(Client())["Location"] == "/accounts/inactive"
    assert Client().get("/accounts/inactive").status_code == 200


def test_too_many_of_something_is_a_page_of_ours(db):
    client = Client()
    answers = [client.post("/accounts/password/reset", {"email": EMAIL}) for _ in range(6)]
    assert answers[-1].status_code == 429
    assert "Wait a minute" in answers[-1].content.decode()


def test_links_in_mails_lead_to_the_site_whatever_host_a_request_names(db, mandatory, settings):
    settings.PUBLIC_URL = "https://vitrine.example"
    settings.ALLOWED_HOSTS = ["*"]
    User.objects.create_user(EMAIL, cast.PASSWORD)
    team = cast.team()
    stranger = Client(HTTP_HOST="elsewhere.test:8081")
    for email in (EMAIL, "nobody@example.test"):
        stranger.post("/accounts/password/reset", {"email": email})
        sign_up(stranger, email)
    inviter = Client(HTTP_HOST="elsewhere.test:8081")
    inviter.force_login(team.users["owner"])
    inviter.post("/dashboard/members/invite", {"email": "bob@example.test", "role": "developer"})
    letters = cast.letters()
    assert sorted(one.subject for one in letters) == [
        "A new password",
        "Confirm your email address",
        "No account with this address",
        "You have an account already",
        "owner invites you to Northlight on Vitrine",
    ]
    for letter in letters:
        assert re.findall(r"https?://[^/\s]+", letter.body) == ["https://vitrine.example"], letter.body
    (reset,) = (one for one in letters if one.subject == "A new password")
    assert "Choose a new password" in Client().get(cast.link_in(reset), follow=True).content.decode()


@pytest.mark.parametrize("email", ["n" * 242 + "@example.test", "n" * 300 + "@example.test"])
def test_an_address_that_no_mailbox_has_is_refused_beside_the_field(team, email):
    client = team.browser("owner")
    answers = [
        sign_up(Client(), email),
        Client().post("/accounts/password/reset", {"email": email}),
        client.post("/accounts/email", {"email": email, "action_add": ""}),
    ]
    for answer in answers:
        assert answer.status_code == 200
        assert "An address has at most 254 characters." in answer.content.decode()
    assert not cast.letters()
