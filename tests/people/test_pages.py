"""Members, settings and workspaces in the browser: as each role, an outsider and nobody."""

from __future__ import annotations

import pytest
from django.test import Client

from marketplace.ids import encode
from marketplace.models import Invitation, Membership, Workspace
from playground.urls import urlpatterns
from tests.pages.test_access import INLINE
from tests.people import cast
from tests.predictions import cast as runs

ACCOUNT = (
    "/accounts/profile",
    "/accounts/email",
    "/accounts/password",
    "/accounts/two-factor",
    "/accounts/sessions",
    "/accounts/logout",
    "/dashboard/workspaces",
    "/dashboard/workspaces/new",
)
DOOR = (
    "/accounts/login",
    "/accounts/signup",
    "/accounts/inactive",
    "/accounts/email/sent",
    "/accounts/email/confirm/nothing",
    "/accounts/password/reset",
    "/accounts/password/reset/sent",
    "/accounts/password/reset/done",
    "/accounts/password/reset/1-nothing",
)
EVERYBODY = (*cast.ROLES, "outsider", "nobody")
OK, REFUSED, GONE, AWAY = 200, 403, 404, 302
MATRIX = {  # of a workspace's pages and acts: owner, admin, developer, billing, outsider, nobody
    "GET /dashboard/members": (OK, OK, OK, OK, OK, AWAY),
    "POST /dashboard/members/invite": (AWAY, AWAY, REFUSED, REFUSED, AWAY, AWAY),
    "POST /dashboard/members/{billing}/role": (AWAY, AWAY, REFUSED, REFUSED, GONE, AWAY),
    "POST /dashboard/members/{billing}/remove": (AWAY, AWAY, REFUSED, REFUSED, GONE, AWAY),
    "POST /dashboard/invitations/{invitation}/resend": (AWAY, AWAY, REFUSED, REFUSED, GONE, AWAY),
    "POST /dashboard/invitations/{invitation}/revoke": (AWAY, AWAY, REFUSED, REFUSED, GONE, AWAY),
    "POST /dashboard/members/leave": (AWAY, AWAY, AWAY, AWAY, AWAY, AWAY),
    "GET /dashboard/settings": (OK, OK, OK, OK, OK, AWAY),
    "POST /dashboard/settings": (AWAY, AWAY, REFUSED, REFUSED, AWAY, AWAY),
    "GET /dashboard/settings/delete": (AWAY, REFUSED, REFUSED, REFUSED, AWAY, AWAY),
    "POST /dashboard/switch": (AWAY, AWAY, AWAY, AWAY, AWAY, AWAY),
}


@pytest.mark.parametrize("who", EVERYBODY)
@pytest.mark.parametrize("route", MATRIX)
def test_each_may_what_the_table_says(team, route, who):
    cast.invite(team, "bob@example.test")
    row = Invitation.objects.get()
    Invitation.objects.update(sent_at=row.sent_at - runs.later(minutes=5))
    method, path = route.split()
    path = path.format(billing=team.uid("billing"), invitation=encode(row.public_id, "i"))
    client = team.browser(who)
    data = {"email": "carol@example.test", "role": "developer", "name": "Other", "days": "9"}
    answer = client.get(path) if method == "GET" else client.post(path, data)
    assert answer.status_code == MATRIX[route][EVERYBODY.index(who)]
    if method == "POST":
        assert client.get(path).status_code in {AWAY, OK, 405}
        name = Workspace.objects.get(pk=team.workspace.pk).name
        assert name == ("Other" if route.endswith("settings") and who in {"owner", "admin"} else "Northlight")
    if who == "nobody":
        # After signing in comes the page; after an act, the page that it was on, and here there was none.
        assert answer["Location"] in {f"/accounts/login?next={path}", "/accounts/login?next=/"}


@pytest.mark.parametrize("path", ACCOUNT)
def test_the_account_is_for_who_is_signed_in(team, path):
    answer = team.browser("developer").get(path)
    assert answer.status_code == OK
    assert INLINE.search(answer.content.decode()) is None
    refused = Client().get(path)
    assert refused.status_code == AWAY
    assert refused["Location"] in {f"/accounts/login?next={path}", "/"}


@pytest.mark.parametrize("path", DOOR)
def test_the_door_is_ours_in_every_corner(db, path):
    answer = Client().get(path)
    assert answer.status_code == OK
    page = answer.content.decode()
    assert 'class="door"' in page
    assert INLINE.search(page) is None


def test_every_page_of_the_accounts_is_known_to_these_tests():
    seen = {path.partition("/nothing")[0] for path in (*ACCOUNT, *DOOR)}
    for one in urlpatterns:
        route = str(one.pattern)
        if route.startswith("accounts/") and "<" not in route:
            assert (
                f"/{route}" in seen
                or "two-factor/" in route
                or route
                in {
                    "accounts/confirm",
                    "accounts/password/set",
                    "accounts/delete",
                }
            ), route


def test_members_and_invitations_are_shown_to_who_may_see_them(team):
    cast.invite(team, "bob@example.test")
    shown = team.browser("admin").get("/dashboard/members").content.decode()
    assert "bob@example.test" in shown
    assert "billing@example.test" in shown
    assert f'id="{team.uid("owner")}"' not in shown  # an admin changes no owner
    plain = team.browser("developer").get("/dashboard/members").content.decode()
    assert "bob@example.test" not in plain
    assert "Send invitation" not in plain
    assert "example.test</small>" not in team.browser("outsider").get(
        "/dashboard/members"
    ).content.decode().replace("outsider@example.test", "")


def test_what_is_wrong_with_an_invitation_stands_beside_it(team):
    answer = team.browser("owner").post("/dashboard/members/invite", {"email": "nobody", "role": "admin"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "not an email address" in page
    assert 'value="nobody"' in page
    assert '<option value="admin" selected>' in page
    bad = team.browser("owner").post("/dashboard/members/invite", {"email": "a@b.test", "role": "god"})
    assert bad.status_code == 422


def test_many_members_come_in_pages(team, django_assert_max_num_queries):
    from marketplace.models import User

    for number in range(60):
        user = User.objects.create_user(f"n{number}@example.test", hashed="!")
        Membership.objects.create(workspace=team.workspace, user=user, role="developer")
    client = team.browser("owner")
    with django_assert_max_num_queries(10):
        page = client.get("/dashboard/members").content.decode()
    assert page.count('popovertarget="u_') == 2 * 50
    assert "n59@example.test" in client.get("/dashboard/members?page=2").content.decode()


def test_one_works_in_the_workspace_one_chose(team):
    outsider = team.users["outsider"]
    Membership.objects.create(workspace=team.workspace, user=outsider, role="billing")
    client = team.browser("outsider")
    own = outsider.memberships.order_by("id").first().workspace
    assert own.name in client.get("/dashboard/members").content.decode()
    answer = client.post(
        "/dashboard/switch", {"workspace": team.workspace.slug, "next": "/dashboard/settings"}
    )
    assert answer["Location"] == "/dashboard/settings"
    assert "You are billing of Northlight" in client.get("/dashboard/settings").content.decode()
    for nothing in ("nothing-there", "\0", ""):
        assert client.post("/dashboard/switch", {"workspace": nothing}).status_code == AWAY
    assert "Northlight" in client.get("/dashboard/settings").content.decode()


@pytest.mark.parametrize(
    "away", ["https://elsewhere.test/", "//elsewhere.test", "/p/p_1", "/accounts/logout", "x"]
)
def test_switching_leads_to_pages_that_every_workspace_has(team, away):
    answer = team.browser("owner").post("/dashboard/switch", {"workspace": team.workspace.slug, "next": away})
    assert answer["Location"] == "/dashboard/history"


def test_another_workspace_is_not_chosen(team):
    client = team.browser("outsider")
    client.post("/dashboard/switch", {"workspace": team.workspace.slug})
    assert "Northlight" not in client.get("/dashboard/members").content.decode()


def test_a_new_workspace_is_worked_in_at_once(team):
    client = team.browser("developer")
    assert client.post("/dashboard/workspaces/new", {"name": "  "}).status_code == 422
    client.post("/dashboard/workspaces/new", {"name": "<b>Kiln</b>"})
    page = client.get("/dashboard/settings").content.decode()
    assert "You are owner of &lt;b&gt;Kiln&lt;/b&gt;" in page
    assert Workspace.objects.get(name="<b>Kiln</b>").slug == "bkilnb"


@pytest.mark.parametrize("days", ["0", "366", "-1", "x", "9" * 30, "1.5"])
def test_outputs_are_kept_for_days_that_exist(team, days):
    answer = team.browser("owner").post("/dashboard/settings", {"name": "Northlight", "days": days})
    assert answer.status_code == 422
    assert Workspace.objects.get(pk=team.workspace.pk).output_days is None


def test_a_workspace_keeps_its_outputs_as_long_as_it_says(team):
    team.browser("owner").post("/dashboard/settings", {"name": "Northlight", "days": "3"})
    runs.shelve()
    row = runs.submit(team.workspace)
    (job,) = runs.claim()
    assert runs.succeed(job)
    (asset,) = runs.again(row).assets.all()
    assert (asset.expires_at - runs.again(row).finished_at).days == 3


def test_deleting_a_workspace_in_the_browser(team):
    client = team.browser("owner")
    page = "/dashboard/settings/delete"
    assert client.get(page)["Location"].startswith("/accounts/confirm")
    client.post("/accounts/confirm", {"password": cast.PASSWORD})
    assert "$1.0000 can no longer be used" in client.get(page).content.decode()
    assert client.post(page, {"name": "northlight"}).status_code == 422
    assert client.post(page, {"name": " Northlight "})["Location"] == "/dashboard/workspaces"
    assert "You belong to no workspace" in client.get("/dashboard/workspaces").content.decode()
    for role in cast.ROLES:
        assert team.browser(role).get("/dashboard/history").status_code == REFUSED


def test_leaving_leads_to_what_is_left(team):
    client = team.browser("billing")
    assert client.post("/dashboard/members/leave")["Location"] == "/dashboard/workspaces"
    assert "You left Northlight." in client.get("/dashboard/workspaces").content.decode()
    owner = team.browser("owner")
    assert owner.post("/dashboard/members/leave")["Location"] == "/dashboard/settings"
    assert "this is the last one" in owner.get("/dashboard/settings").content.decode()


@pytest.mark.parametrize("uid", ["u_zzz", "0", "x" * 300, "%00", "i_" + "0" * 26])
def test_ids_that_name_nobody(team, uid):
    client = team.browser("owner")
    assert client.post(f"/dashboard/members/{uid}/remove").status_code == GONE
    assert client.post(f"/dashboard/invitations/{uid}/revoke").status_code == GONE


def test_words_that_the_site_uses_are_reserved():
    from marketplace.people.workspaces import RESERVED

    first = {str(one.pattern).lstrip("^").split("/")[0] for one in urlpatterns} - {"", "-"}
    assert {word for word in first if "." not in word} <= RESERVED  # no name has a dot
