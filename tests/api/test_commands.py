"""create_key, seed and promote, as an operator types them."""

from __future__ import annotations

import io
import json
import re
import stat

import pytest
from django.core.management import CommandError, call_command

from billing import ledger
from marketplace import catalog, keys, people
from marketplace.models import ApiKey, Listing, User, Version, Workspace
from tests.api.programs import Caller
from tests.predictions import cast

pytestmark = pytest.mark.django_db
KEY = re.compile(r"vt_[0-9a-z]{12}_[0-9a-z]{32}")


def run(*args: str) -> str:
    out = io.StringIO()
    call_command(*args, stdout=out, stderr=io.StringIO())
    return out.getvalue()


# create_key


def test_a_new_workspace_has_exactly_that_credit():
    key = run("create_key", "studio", "--credit", "12.50").splitlines()[-1]
    assert KEY.fullmatch(key)
    balance = Caller(key).get("balance").json()
    assert balance["workspace"] == "studio"
    assert balance["balance_micros"] == balance["available_micros"] == 12_500_000
    assert ledger.verify() == []


def test_without_credit_there_is_none():
    key = run("create_key", "studio").splitlines()[-1]
    assert Caller(key).get("balance").json()["balance_micros"] == 0


def test_a_workspace_that_is_there_gets_another_key_and_more_credit():
    first = run("create_key", "studio", "--credit", "1").splitlines()[-1]
    second = run("create_key", "studio", "--credit", "0.000001").splitlines()[-1]
    assert first != second
    assert Caller(first).get("balance").json()["balance_micros"] == 1_000_001
    assert Caller(second).get("balance").json()["balance_micros"] == 1_000_001
    assert Workspace.objects.filter(slug="studio").count() == 1


@pytest.mark.parametrize("amount", ["-1", "nan", "inf", "1e9", "0.0000001", "five", "", "1,5", "0x10"])
def test_amounts_that_are_none(amount):
    with pytest.raises(CommandError, match="--credit must be"):
        run("create_key", "studio", f"--credit={amount}")
    assert not Workspace.objects.exists()
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("name", ["", "a", "Studio", "a b", "-a", "a" * 40, "é", "a/b"])
def test_names_that_are_none(name):
    with pytest.raises(CommandError, match="not a workspace name"):
        run("create_key", "--", name)
    assert not Workspace.objects.exists()


# seed


@pytest.fixture
def house(settings, tmp_path, monkeypatch):
    """A data folder and weights of one's own, so that nothing depends on what was trained."""
    monkeypatch.setenv("VITRINE_DATA", str(tmp_path / "data"))
    weights = tmp_path / "weights" / "daylight"
    weights.mkdir(parents=True)
    (weights / "model.safetensors").write_bytes(b"weights")
    settings.WEIGHTS_DIR = weights.parent
    return tmp_path / "data"


def test_a_fresh_house(house):
    assert run("seed") == ""
    assert catalog.listing("vitrine/daylight").publisher.workspace.slug == "vitrine"
    way_in = json.loads(run("seed", "--print"))
    assert set(way_in) == {"email", "password", "key"}
    user = User.objects.get(email=way_in["email"])
    assert user.check_password(way_in["password"])
    assert people.workspace_of(user).slug == "demo"
    assert [one.slug for one in user.workspaces.order_by("memberships__created_at")] == ["demo", "vitrine"]
    balance = Caller(way_in["key"]).get("balance").json()
    assert (balance["workspace"], balance["balance_micros"]) == ("demo", 5_000_000)
    for file in (house / "keys").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE((house / "keys").stat().st_mode) == 0o700


def test_again_changes_nothing(house, settings):
    first = run("seed", "--print")
    counts = [kind.objects.count() for kind in (Workspace, User, ApiKey, Listing, Version)]
    settings.STARTER_CREDIT_MICROS = 7_000_000
    assert run("seed", "--print") == first
    assert [kind.objects.count() for kind in (Workspace, User, ApiKey, Listing, Version)] == counts
    assert ledger.balance(Workspace.objects.get(slug="demo").pk).balance_micros == 5_000_000
    assert ledger.verify() == []


def test_spent_credit_does_not_come_back(house):
    run("seed")
    demo = Workspace.objects.get(slug="demo")
    row = cast.submit(demo, model="vitrine/daylight")
    from playground.predictions import work

    (job,) = work.claim(worker="w", lane="cpu", limit=1)
    cast.succeed(job)
    run("seed")
    cost = cast.again(row).cost_micros
    assert cost > 0
    assert ledger.balance(demo.pk).balance_micros == 5_000_000 - cost


def test_a_revoked_or_lost_key_is_made_anew(house):
    first = json.loads(run("seed", "--print"))["key"]
    from django.utils import timezone

    ApiKey.objects.update(revoked_at=timezone.now())
    second = json.loads(run("seed", "--print"))["key"]
    assert second != first
    assert keys.resolve(second).workspace.slug == "demo"
    (house / "keys" / "demo_api_key").write_text("damaged", encoding="ascii")
    third = json.loads(run("seed", "--print"))["key"]
    assert third not in {first, second}
    assert json.loads(run("seed", "--print"))["key"] == third


def test_weights_that_are_missing_are_said_and_passed_over(house, settings, tmp_path):
    settings.WEIGHTS_DIR = tmp_path / "none"
    said = io.StringIO()
    call_command("seed", stderr=said)
    assert "daylight" in said.getvalue()
    assert len(said.getvalue().splitlines()) == 1
    assert not Listing.objects.exists()
    assert json.loads(run("seed", "--print"))["key"]


# promote


def test_promote():
    User.objects.create_user("first@vitrine.test", "a long password")
    user = User.objects.create_user("ada@vitrine.test", "a long password")
    assert not user.is_staff
    assert "is staff now" in run("promote", "ADA@vitrine.test")
    user.refresh_from_db()
    assert user.is_staff
    assert "already" in run("promote", "ada@vitrine.test")
    with pytest.raises(CommandError, match="nobody"):
        run("promote", "none@vitrine.test")
