"""The chain: what was committed is sealed once, what was sealed cannot change unseen, and an export proves itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections, transaction
from django.utils import timezone

from billing import auditor, ledger
from billing.ledger import proofs
from billing.ledger.audit import Problem
from billing.models import Audit, LedgerEntry, LedgerTransaction, Seal, SealedTransaction
from marketplace.host.places import SUPERUSER, Places
from marketplace.models import Outbox, Publisher, User, Workspace
from tests.billing.cast import USAGE, new_publisher, new_workspace

pytestmark = pytest.mark.django_db(transaction=True)


def run(workspace: Workspace, publisher: Publisher, amount: int = 100) -> UUID:
    reference = uuid4()
    ledger.hold(workspace_id=workspace.pk, reference=reference, amount_micros=amount + 1)
    share = ledger.Share(publisher.pk, Decimal("0.8"))
    ledger.capture(reference=reference, amount_micros=amount, share=share, usage=USAGE)
    return reference


def exported(workspace: Workspace) -> list[str]:
    return list(ledger.export_workspace(workspace.pk, workspace.public_id))


@pytest.fixture
def vandal() -> Iterator[psycopg.Connection]:
    """Somebody who may do everything in the database, triggers or not."""
    url = Places.configured().postgres_url(role=SUPERUSER, database=str(connection.settings_dict["NAME"]))
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("SET session_replication_role = replica")
        yield session


def test_each_transaction_is_sealed_once_and_the_chain_holds() -> None:
    workspace, publisher = new_workspace(granted=50, bought=1000), new_publisher()
    ledger.credit(workspace.pk, 7, key="promo:live", book="live")
    run(workspace, publisher)
    first = ledger.seal()
    assert [(seal.book, seal.number, seal.count) for seal in first] == [("test", 1, 4), ("live", 1, 1)]
    assert ledger.seal() == []
    ledger.refund(run(workspace, publisher), 10, key="r", reason="fault")
    (second,) = ledger.seal()
    assert (second.number, second.count, second.previous) == (2, 3, first[0].hash)
    assert ledger.heads() == {"test": second.hash, "live": first[1].hash}
    assert SealedTransaction.objects.count() == LedgerTransaction.objects.count() == 8
    assert ledger.verify() == []
    assert ledger.seal(every=timedelta(hours=1)) == []


def test_what_commits_late_is_in_a_later_seal() -> None:
    """A movement that took its id first and commits last, while seals are made and time goes by."""
    workspace = new_workspace(bought=5)  # opens the platform's accounts, too, which others would wait for
    written, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        try:
            with transaction.atomic():
                ledger.credit(workspace.pk, 1, key="topup:slow", source="bought")
                written.set()
                go_on.wait(60)
        finally:
            connections.close_all()

    other = threading.Thread(target=slow)
    other.start()
    assert written.wait(30)
    fast = new_workspace(bought=5)
    at = timezone.now()
    assert [seal.count for seal in ledger.seal(now=at)] == [1]  # nothing newer than what is under way
    go_on.set()
    other.join()
    at += timedelta(hours=2)
    assert [seal.count for seal in ledger.seal(now=at)] == [2]
    for day in range(1, 5):  # where the next ones begin is moved on
        ledger.credit(fast.pk, 1, key=f"topup:{day}", source="bought")
        assert [seal.count for seal in ledger.seal(now=at + timedelta(days=day))] == [1]
    assert not LedgerTransaction.objects.exclude(pk__in=SealedTransaction.objects.values("pk")).exists()
    assert ledger.seal(thorough=True) == []


def test_seals_are_not_edited() -> None:
    new_workspace(bought=5)
    ledger.seal()
    for attempt in (
        lambda: Seal.objects.update(root="0" * 64),
        lambda: Seal.objects.all()._raw_delete("default"),
        lambda: SealedTransaction.objects.update(leaf=b"0" * 32),
        lambda: SealedTransaction.objects.all()._raw_delete("default"),
    ):
        with pytest.raises(DatabaseError, match="are not edited"):
            attempt()


@pytest.mark.parametrize(
    "deed",
    [
        "UPDATE billing_ledgertransaction SET note = 'never mind' WHERE kind = 'purchase'",
        "UPDATE billing_ledgertransaction SET created_at = created_at - interval '1 day' WHERE key LIKE 'topup%'",
        "UPDATE billing_ledgerentry SET amount_micros = 2 WHERE id = (SELECT min(id) FROM billing_ledgerentry)",
        "DELETE FROM billing_sealedtransaction WHERE position = 2",
        "DELETE FROM billing_seal WHERE number = 1",
        "UPDATE billing_seal SET previous = repeat('1', 64) WHERE number = 2",
        "UPDATE billing_seal SET sealed_at = sealed_at + interval '1 second' WHERE number = 2",
    ],
)
def test_verify_sees_what_was_changed_behind_the_ledger_s_back(vandal: psycopg.Connection, deed: str) -> None:
    workspace, publisher = new_workspace(bought=1000), new_publisher()
    run(workspace, publisher)
    ledger.seal()
    run(workspace, publisher)
    ledger.seal()
    assert ledger.verify() == []
    assert vandal.execute(deed).rowcount == 1
    assert "what was sealed is as it was" in {problem.check for problem in ledger.verify()}


def test_an_export_proves_what_it_says_and_tells_nothing_of_others() -> None:
    workspace, publisher = new_workspace(granted=50, bought=1000), new_publisher()
    stranger = new_workspace(bought=77_777)
    run(workspace, publisher, 135)
    run(stranger, publisher, 99)
    ledger.seal()
    run(workspace, publisher, 20)
    lines = exported(workspace)
    checked = ledger.check(lines)
    assert (checked.proven, checked.not_sealed, checked.seals) == (4, 2, 1)
    assert checked.head == ledger.heads()["test"]
    assert checked.balances == {"workspace_granted": 0, "workspace_bought": 895, "workspace_held": 0}
    text = "".join(lines)
    others = (str(publisher.public_id), str(stranger.public_id), "publisher_pending", "platform_revenue")
    for secret in (*others, '"amount_micros":108', '"amount_micros":77777'):
        assert secret not in text
    theirs = "".join(ledger.export_publisher(publisher.pk, publisher.public_id))
    assert ledger.check(theirs.splitlines()).balances == {
        "publisher_pending": 68 + 79 + 16,
        "publisher_unpayable": 40,
    }
    assert str(workspace.public_id) not in theirs
    assert "workspace_" not in theirs


def test_no_line_of_an_export_can_be_changed_left_out_or_doubled() -> None:
    workspace, publisher = new_workspace(bought=1000), new_publisher()
    for _ in range(3):
        run(workspace, publisher)
    ledger.seal()
    lines = exported(workspace)
    assert ledger.check(lines).proven == 7
    for at, line in enumerate(lines):
        for changed in (lines[:at] + lines[at + 1 :], lines[: at + 1] + lines[at:]):
            with pytest.raises(ledger.BrokenProof):
                ledger.check(changed)
        if '"amount_micros":' in line:
            data = json.loads(line)
            for part in data["transaction"]["parts"]:
                if "amount_micros" in part.get("value", {}):
                    part["value"]["amount_micros"] += 1
                    with pytest.raises(ledger.BrokenProof, match="is not what was sealed"):
                        ledger.check([*lines[:at], json.dumps(data), *lines[at + 1 :]])
                    part["value"]["amount_micros"] -= 1


@pytest.mark.parametrize(
    "line", ["", "{}", "[]", "null", "7", '{"seal": 1}', '{"export": {}}', "{", "[" * 9999]
)
def test_nonsense_is_no_proof(line: str) -> None:
    good = exported(new_workspace(bought=5))
    for lines in ([line], [good[0], line], [*good[:-1], line, good[-1]], [*good, line]):
        with pytest.raises(ledger.BrokenProof):
            ledger.check(lines)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13])
def test_every_leaf_climbs_to_the_root_and_to_no_other(count: int) -> None:
    leaves = [proofs.sha256(bytes([at])) for at in range(count)]
    rows = proofs.tree(leaves)
    for at, leaf in enumerate(leaves):
        path = proofs.path(rows, at)
        assert proofs.climb(leaf, at, count, path) == rows[-1][0]
        for wrong in ([*path, b""], path[:-1]) if path else ([b""],):
            with pytest.raises(ValueError, match="path"):
                proofs.climb(leaf, at, count, wrong)
        if path:
            assert proofs.climb(leaf, at, count, path[::-1]) != rows[-1][0] or path == path[::-1]
            assert proofs.climb(proofs.sha256(leaf), at, count, path) != rows[-1][0]


def test_the_command_exports_and_checks_without_the_books(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, publisher = new_workspace(bought=1000), new_publisher()
    run(workspace, publisher)
    call_command("ledger", "seal")
    old, new, theirs = (str(tmp_path / name) for name in ("old", "new", "theirs"))
    call_command("ledger", "export", workspace.slug, "-o", old)
    run(workspace, publisher)
    call_command("ledger", "seal", "--thorough")
    call_command("ledger", "export", workspace.slug, "-o", new)
    call_command("ledger", "export", publisher.name, "--publisher", "-o", theirs)
    capsys.readouterr()
    with connection.execute_wrapper(lambda *_: pytest.fail("checking an export asked the database")):
        call_command("ledger", "check", new, "--since", old)
        call_command("ledger", "check", new, "--head", ledger_head := _head(old))
        call_command("ledger", "check", theirs)
        said = capsys.readouterr().out
        assert "workspace_bought               0.000800 USD" in said
        assert "2 transactions are proven by 2 seals" in said
        for refused in (["--since", new], ["--head", "1" * 64]):
            with pytest.raises(CommandError, match="the past was changed"):
                call_command("ledger", "check", old, *refused)
        Path(new).write_text(Path(new).read_text().replace("purchase", "grant"))
        with pytest.raises(CommandError, match="is not what was sealed"):
            call_command("ledger", "check", new)
        with pytest.raises(CommandError, match="cannot be read"):
            call_command("ledger", "check", str(tmp_path / "none"))
    assert len(ledger_head) == 64
    with pytest.raises(CommandError, match="there is no workspace"):
        call_command("ledger", "export", "nobody")


def _head(file: str) -> str:
    return ledger.check(Path(file).read_text().splitlines()).head


def test_the_audit_of_the_night_seals_and_is_written_down_and_runs_once() -> None:
    new_workspace(bought=1000)
    now = timezone.now()
    audit = auditor.run_if_due(now=now)
    assert audit is not None
    assert (audit.problem_count, audit.problems, audit.heads) == (0, [], ledger.heads())
    assert auditor.run_if_due(now=now + timedelta(hours=19)) is None
    assert auditor.run_if_due(now=now + timedelta(hours=21)) is not None
    assert Audit.objects.count() == 2
    assert not Outbox.objects.filter(task="marketplace.send_mail").exists()
    with pytest.raises(DatabaseError, match="are not edited"):
        Audit.objects.update(problem_count=0)


def test_what_the_audit_finds_is_told_to_staff(
    vandal: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    staff = User.objects.create_user("boss@example.com", "secret")
    User.objects.filter(pk=staff.pk).update(is_staff=True)
    gone = User.objects.create_user("gone@example.com", "secret")
    User.objects.filter(pk=gone.pk).update(is_staff=True, is_active=False)
    User.objects.create_user("ada@example.com", "secret")
    workspace = new_workspace(bought=1000)
    auditor.run()
    vandal.execute("UPDATE billing_ledgeraccount SET balance_micros = 9 WHERE kind = 'workspace_bought'")
    # ... and the chain is made again from its beginning
    vandal.execute("DELETE FROM billing_sealedtransaction")
    vandal.execute("DELETE FROM billing_seal")
    audit = auditor.run()
    assert {problem["check"] for problem in audit.problems} == {
        "a cached balance equals the sum of its entries",
        "the chain goes on from where it was",
    }
    assert audit.problem_count == 2
    assert f"workspace_bought:{workspace.pk}: cached 9" in caplog.text
    letters = Outbox.objects.filter(task="marketplace.send_mail").values_list("payload", flat=True)
    assert [letter["to"] for letter in letters] == ["boss@example.com"]
    assert "cached 9" in letters[0]["body"]
    assert "... and" not in letters[0]["body"]
    assert len(mail.outbox) == 0
    assert LedgerEntry.objects.count() == 2
    auditor._alarm([Problem("one", "thing")] * (auditor.MOST_MAILED + 3))
    assert "\none: thing\n... and 3 more\n" in letters.last()["body"]
