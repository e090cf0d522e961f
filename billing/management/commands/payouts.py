"""Payouts by the operator's hand: what is to be paid, what was, holds, shares and delays.

manage.py payouts list
manage.py payouts run [--at 2027-01-31]
manage.py payouts paid PAYOUT [--reference "TX 17"]
manage.py payouts failed PAYOUT REASON
manage.py payouts returned PAYOUT 12.50 REFERENCE
manage.py payouts hold PUBLISHER REASON
manage.py payouts lift PUBLISHER
manage.py payouts share PUBLISHER 72.5
manage.py payouts delay PUBLISHER 14|usual
"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import payouts
from billing.letters import dollars
from billing.management.typed import micros, moment, number
from billing.payouts import Payout
from billing.payouts.find import held, under_way
from marketplace.models import Publisher


class Command(BaseCommand):
    """Payouts by hand."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True, parser_class=ArgumentParser)
        acts.add_parser("list", help="payouts under way, where to, and holds")
        run = acts.add_parser("run", help="let earnings mature, and begin the payouts that are due")
        run.add_argument("--at", help="as if it were this day (UTC); play money only")
        paid = acts.add_parser("paid", help="a payout by hand was made")
        paid.add_argument("payout")
        paid.add_argument("--reference", default="", help="the bank's, for the publisher")
        failed = acts.add_parser("failed", help="a payout by hand cannot be made")
        failed.add_argument("payout")
        failed.add_argument("reason")
        returned = acts.add_parser("returned", help="of a payout by hand, so much came back")
        returned.add_argument("payout")
        returned.add_argument("usd")
        returned.add_argument("reference", help="the bank's: each counts once")
        hold = acts.add_parser("hold", help="hold back what a publisher has earned")
        hold.add_argument("publisher")
        hold.add_argument("reason", help="told to the publisher")
        acts.add_parser("lift", help="end a hold").add_argument("publisher")
        share = acts.add_parser("share", help="what a publisher gets of each charge from now on")
        share.add_argument("publisher")
        share.add_argument("percent")
        delay = acts.add_parser("delay", help="days until a publisher's earnings can be paid out")
        delay.add_argument("publisher")
        delay.add_argument("days", help="or `usual`, for the installation's")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['act']}")(options)
        except payouts.Refused as error:
            raise CommandError(str(error)) from error

    def _list(self, options: dict[str, Any]) -> None:
        for row in under_way():
            wait = row.get_wait_display() or (
                "to be paid by hand" if row.method == "manual" else "being asked for"
            )
            self.stdout.write(f"{row.uid}  {dollars(row.amount_micros)}  {row.publisher.name}  {wait}")
            self.stdout.write("\n".join(f"    {line}" for line in row.destination.splitlines()))
        for account in held():
            self.stdout.write(f"{account.publisher.name} is on hold: {account.hold_reason}")

    def _run(self, options: dict[str, Any]) -> None:
        now = None
        if options["at"]:
            if settings.LEDGER_BOOK == "live":
                raise CommandError("The clock is not moved where there is real money.")
            now = moment(options["at"])
        matured, begun = payouts.run(now=now)
        self.stdout.write(f"matured {dollars(matured)}, {len(begun)} payouts begun")
        for row in begun:
            self.stdout.write(f"{row.uid}  {dollars(row.amount_micros)}  {row.publisher.name}")

    def _paid(self, options: dict[str, Any]) -> None:
        row = _payout(options)
        if not payouts.mark_paid(row, reference=options["reference"]):
            raise CommandError("It was closed before.")
        self.stdout.write("Paid.")

    def _failed(self, options: dict[str, Any]) -> None:
        if not payouts.mark_failed(_payout(options), options["reason"]):
            raise CommandError("It was closed before.")
        self.stdout.write("Failed; it can be paid out again.")

    def _returned(self, options: dict[str, Any]) -> None:
        if not payouts.mark_returned(_payout(options), micros(options["usd"]), key=options["reference"]):
            raise CommandError("That was noted before.")
        self.stdout.write("Noted; it can be paid out again.")

    def _hold(self, options: dict[str, Any]) -> None:
        payouts.hold(_publisher(options), options["reason"], by=None)
        self.stdout.write("On hold.")

    def _lift(self, options: dict[str, Any]) -> None:
        if not payouts.lift(_publisher(options)):
            raise CommandError("There is no hold.")
        self.stdout.write("Lifted.")

    def _share(self, options: dict[str, Any]) -> None:
        payouts.set_share(_publisher(options), number(options["percent"]))
        self.stdout.write("From the next run on.")

    def _delay(self, options: dict[str, Any]) -> None:
        text = options["days"]
        if text != "usual" and not text.isdecimal():
            raise CommandError(f"{text!r} is no number of days.")
        payouts.set_delay(_publisher(options), None if text == "usual" else int(text[:6]))
        self.stdout.write("Set. What has matured stays so.")


def _publisher(options: dict[str, Any]) -> Publisher:
    row = Publisher.objects.filter(name=options["publisher"]).select_related("workspace").first()
    if row is None:
        raise CommandError(f"There is no publisher {options['publisher']}.")
    return row


def _payout(options: dict[str, Any]) -> Payout:
    row = payouts.find(options["payout"])
    if row is None:
        raise CommandError(f"There is no payout {options['payout']}.")
    return row
