"""Credit by the operator's hand: given to a workspace, by code, taken back to a card; and compared with Stripe.

manage.py credit grant WORKSPACE 20 --reason "conference" [--days 90]
manage.py credit coupon 5 --reason "launch" [--most 100] [--code LAUNCH-2027] [--until 2027-01-31] [--days 90]
manage.py credit close CODE
manage.py credit refund TOPUP 10
manage.py credit reconcile [--since 2026-11-01]
manage.py credit events
manage.py credit follow EVENT
manage.py credit drop EVENT
"""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from billing import arrivals, topups
from billing.gateway import calls, events
from billing.management.typed import micros, moment
from marketplace.ids import uuid7
from marketplace.models import Workspace


class Command(BaseCommand):
    """Credit by hand."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True, parser_class=ArgumentParser)
        grant = acts.add_parser("grant", help="give a workspace credit")
        grant.add_argument("workspace")
        grant.add_argument("usd")
        coupon = acts.add_parser("coupon", help="make a code that gives credit")
        coupon.add_argument("usd")
        coupon.add_argument("--code", default="")
        coupon.add_argument("--most", type=int, default=1, help="workspaces that may use it")
        coupon.add_argument("--until", help="the last day (UTC) that it may be used")
        for one in (grant, coupon):
            one.add_argument("--reason", required=True, help="stands in the statement")
            one.add_argument("--days", type=int, help="that the credit lasts; without it, for good")
        close = acts.add_parser("close", help="end a code; what it gave stays")
        close.add_argument("code")
        refund = acts.add_parser("refund", help="send unspent credit back to its card, however old")
        refund.add_argument("topup")
        refund.add_argument("usd")
        refund.add_argument("--reason", default="By the operator")
        reconcile = acts.add_parser("reconcile", help="compare the books with Stripe, and mend them")
        reconcile.add_argument("--since", help="the first day (UTC)")

        acts.add_parser("events", help="what Stripe told and could not be followed, with the reason")
        follow = acts.add_parser("follow", help="follow an event that was put aside once more")
        drop = acts.add_parser("drop", help="be done with an event that was put aside")
        for one in (follow, drop):
            one.add_argument("event")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['act']}")(options)
        except topups.Refused as error:
            raise CommandError(str(error)) from error
        except calls.Unreachable as error:
            raise CommandError(f"Stripe does not answer: {error}") from error

    def _grant(self, options: dict[str, Any]) -> None:
        workspace = Workspace.objects.open().filter(slug=options["workspace"]).first()
        if workspace is None:
            raise CommandError(f"There is no workspace {options['workspace']}.")
        topups.coupons.grant(
            workspace,
            micros(options["usd"]),
            source=options["reason"],
            key=uuid7(),
            days=options["days"],
        )
        self.stdout.write(f"{workspace.slug} has ${options['usd']} more.")

    def _coupon(self, options: dict[str, Any]) -> None:
        row = topups.coupons.make(
            micros(options["usd"]),
            source=options["reason"],
            code=options["code"],
            most=options["most"],
            until=moment(options["until"], time.max) if options["until"] else None,
            credit_days=options["days"],
        )
        self.stdout.write(row.code)

    def _close(self, options: dict[str, Any]) -> None:
        if not topups.coupons.close(options["code"]):
            raise CommandError(f"There is no open code {options['code']}.")
        self.stdout.write("Closed.")

    def _refund(self, options: dict[str, Any]) -> None:
        row = topups.find_any(options["topup"])
        if row is None:
            raise CommandError(f"There is no top-up {options['topup']}.")
        refund = topups.refunds.start(
            row, micros(options["usd"]), by=None, reason=options["reason"], by_staff=True
        )
        topups.refunds.send(refund.uid)
        refund.refresh_from_db()
        self.stdout.write(f"{refund.uid}: {refund.get_status_display().lower()}. {refund.failure}".strip())

    def _reconcile(self, options: dict[str, Any]) -> None:
        since = moment(options["since"], time.min) if options["since"] else None
        report = topups.reconcile(since=since)
        self.stdout.write(f"From {report.since:%Y-%m-%d %H:%M} to {report.until:%Y-%m-%d %H:%M} UTC")
        for name, figure in sorted(report.figures.items()):
            self.stdout.write(f"  {name}: {figure:,}")
        if report.differences:
            lines = "\n".join(f"  {line}" for line in report.differences)
            raise CommandError(f"{len(report.differences)} differences\n{lines}")
        self.stdout.write(self.style.SUCCESS("The books agree with Stripe."))

    def _events(self, options: dict[str, Any]) -> None:
        for event_id, kind, error in events.stuck(before=timezone.now()):
            self.stdout.write(f"{event_id}  {kind}  {error or 'not followed yet'}")

    def _follow(self, options: dict[str, Any]) -> None:
        if not events.again(options["event"]):
            raise CommandError(f"No event {options['event']} was put aside.")
        is_done = events.follow(options["event"], arrivals.follow)
        self.stdout.write("Followed." if is_done else "It could not be followed; see `credit events`.")

    def _drop(self, options: dict[str, Any]) -> None:
        if not events.drop(options["event"]):
            raise CommandError(f"No event {options['event']} was put aside.")
        self.stdout.write("Done with.")
