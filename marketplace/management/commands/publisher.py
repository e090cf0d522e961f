"""Publishers by the operator's hand: opening one for a workspace, names, closing and opening again.

manage.py publisher list
manage.py publisher open WORKSPACE NAME [--title "Northlight Studio"]
manage.py publisher rename PUBLISHER NAME
manage.py publisher title PUBLISHER TITLE
manage.py publisher close PUBLISHER
manage.py publisher reopen PUBLISHER
"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Count

from marketplace import publishers
from marketplace.models import Publisher, Workspace


class Command(BaseCommand):
    """Publishers by hand."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True, parser_class=ArgumentParser)
        acts.add_parser("list", help="name, workspace, share and number of models of each")
        begin = acts.add_parser("open", help="let a workspace publish, on terms agreed elsewhere")
        begin.add_argument("workspace", help="the workspace's slug")
        begin.add_argument("name")
        begin.add_argument("--title", default="", help="its display name")
        rename = acts.add_parser("rename", help="another name, for one that has no models yet")
        rename.add_argument("publisher")
        rename.add_argument("name")
        title = acts.add_parser("title", help="another display name")
        title.add_argument("publisher")
        title.add_argument("title")
        acts.add_parser("close", help="take all its models off the shelf").add_argument("publisher")
        acts.add_parser("reopen", help="let it publish again").add_argument("publisher")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.stdout.write(self._do(options))
        except (publishers.Invalid, publishers.Refused) as error:
            raise CommandError(str(error)) from None

    def _do(self, given: dict[str, Any]) -> str:
        if given["act"] == "list":
            return "\n".join(_lines()) or "there is no publisher"
        if given["act"] == "open":
            workspace = Workspace.objects.open().filter(slug=given["workspace"]).first()
            if workspace is None:
                raise CommandError(f"there is no workspace {given['workspace']!r}")
            made = publishers.found(workspace, name=given["name"], title=given["title"], agreed=True, by=None)
            return f"{workspace.slug} publishes as {made.name}"
        publisher = Publisher.objects.filter(name=given["publisher"]).first()
        if publisher is None:
            raise CommandError(f"there is no publisher {given['publisher']!r}")
        if given["act"] == "rename":
            return f"it is {publishers.change(publisher, name=given['name']).name} now"
        if given["act"] == "title":
            return f"it is shown as {publishers.change(publisher, title=given['title']).title} now"
        if given["act"] == "close":
            is_news = publishers.close(publisher)
            return f"{publisher.name} is closed" if is_news else f"{publisher.name} was closed before"
        is_news = publishers.reopen(publisher)
        return (
            f"{publisher.name} is open; its models are private"
            if is_news
            else f"{publisher.name} was not closed"
        )


def _lines() -> list[str]:
    rows = Publisher.objects.select_related("workspace").annotate(models=Count("listings")).order_by("name")
    return [
        f"{row.name:<39}  {row.workspace.slug:<39}  {row.share_percent:>6} %  {row.models} models"
        + ("  closed" if row.is_closed else "")
        for row in rows
    ]
