"""`manage.py ledger`: the books checked against themselves, sealed, exported, and an export checked without them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import ledger
from billing.ledger import proofs
from marketplace.models import Publisher, Workspace

MICROS = 1_000_000


class Command(BaseCommand):
    help = "Checks that every sum in the ledger agrees; exits with an error that lists what does not."
    requires_system_checks = ()  # the audit answers even where the rest of the site does not

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        actions.add_parser("verify", help="check every sum and every seal")
        seal = actions.add_parser("seal", help="seal what has been committed")
        seal.add_argument("--thorough", action="store_true", help="look at all transactions ever")
        export = actions.add_parser("export", help="the books of one workspace or publisher, with proofs")
        export.add_argument("owner", help="the workspace's slug, or with --publisher the publisher's name")
        export.add_argument("--publisher", action="store_true")
        export.add_argument("--book", choices=["test", "live"])
        export.add_argument("-o", "--output", type=Path, help="where to write; standard output otherwise")
        check = actions.add_parser("check", help="check an export; needs no database")
        check.add_argument("file", type=Path)
        check.add_argument("--head", help="the hash of a seal that the chain must contain")
        check.add_argument("--since", type=Path, help="an earlier export, whose chain this one must continue")

    def handle(self, *args: Any, **options: Any) -> None:
        getattr(self, f"_{options['action']}")(**options)

    def _verify(self, **_: Any) -> None:
        problems = ledger.verify()
        if problems:
            lines = "\n".join(f"  {problem.check}: {problem.detail}" for problem in problems[:100])
            raise CommandError(f"{len(problems)} problems in the ledger\n{lines}")
        self.stdout.write(self.style.SUCCESS("The ledger is clean."))

    def _seal(self, *, thorough: bool, **_: Any) -> None:
        count = sum(seal.count for seal in ledger.seal(thorough=thorough))
        self.stdout.write(f"{count} transactions were sealed.")
        for book, head in ledger.heads().items():
            self.stdout.write(f"{book} {head}")

    def _export(
        self, *, owner: str, publisher: bool, book: str | None, output: Path | None, **_: Any
    ) -> None:
        if publisher:
            maker = Publisher.objects.filter(name=owner).first()
            lines = ledger.export_publisher(maker.pk, maker.public_id, book=book) if maker else None
        else:
            payer = Workspace.objects.filter(slug=owner).first()
            lines = ledger.export_workspace(payer.pk, payer.public_id, book=book) if payer else None
        if lines is None:
            raise CommandError(f"there is no {'publisher' if publisher else 'workspace'} {owner!r}")
        if output is None:
            self.stdout.writelines(lines)
            return
        with output.open("w", encoding="utf-8") as file:
            file.writelines(lines)

    def _check(self, *, file: Path, head: str | None, since: Path | None, **_: Any) -> None:
        try:
            with _opened(file) as lines:
                checked = ledger.check(lines)
            with _opened(file) as lines:
                known = {proofs.FIRST, *proofs.heads(lines)}
            if since is not None:
                with _opened(since) as lines:
                    head = head or ledger.check(lines).head
        except ledger.BrokenProof as broken:
            raise CommandError(str(broken)) from None
        if head is not None and head not in known:
            raise CommandError(f"the chain of this export has no seal {head}: the past was changed")
        for account, micros in sorted(checked.balances.items()):
            self.stdout.write(f"{account:<22} {micros / MICROS:>16,.6f} USD")
        self.stdout.write(
            f"{checked.proven} transactions are proven by {checked.seals} seals, "
            f"{checked.not_sealed} are not sealed yet."
        )
        self.stdout.write(f"The newest seal is {checked.head}")
        self.stdout.write(self.style.SUCCESS("The export is what was sealed."))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        file = path.open(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from None
    with file:
        yield file
