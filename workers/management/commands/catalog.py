"""The catalogue of open models: what is in it, what each needs, and its way onto the shelf."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db.models import F

from marketplace import catalog
from marketplace.catalog import InvalidManifest
from marketplace.models import Publisher, Version
from workers import installing

HOUSE = "vitrine"


class Command(BaseCommand):
    help = (
        "Open models by manifest. `catalog list` shows them; `catalog check [NAME…]` says what this machine lacks for "
        "them; `catalog install NAME` fetches the weights, verifies and publishes them."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        acts.add_parser("list", help="name, task, memory, licence and source of each")
        look = acts.add_parser("check", help="validate manifests, and say what this machine lacks for them")
        look.add_argument("names", nargs="*", help="all, if none is named")
        take = acts.add_parser("install", help="fetch the weights of one, verify them, put it on the shelf")
        take.add_argument("name")
        take.add_argument(
            "--publisher", default=HOUSE, help="name of an existing publisher (default: %(default)s)"
        )
        take.add_argument(
            "--from", type=Path, dest="given", help="a folder with the weights, instead of the hub"
        )
        take.add_argument(
            "--dry-run", action="store_true", help="only say what would be fetched and what is missing"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            {"list": self._list, "check": self._check, "install": self._install}[options["act"]](options)
        except InvalidManifest as error:
            raise CommandError(str(error)) from None
        except OSError as error:  # of a folder that cannot be written to
            raise CommandError(
                f"{error.filename or settings.WEIGHTS_DIR}: {error.strerror or error}"
            ) from None

    def _list(self, options: dict[str, Any]) -> None:
        shown = Version.objects.filter(listing__default_version_id=F("pk")).values_list("manifest", flat=True)
        manifests = list(shown)
        for one in installing.entries():
            is_there = any(
                installing.is_of(one, found, weights_dir=settings.WEIGHTS_DIR) for found in manifests
            )
            mark = "*" if is_there else " "
            gated = ", gated" if one.source.gated else ""
            needs = f"{one.task:<16} {one.memory_gb:>5g} GB"
            self.stdout.write(f"{mark} {one.name:<26} {needs}  {one.license:<40} {one.source.hub}{gated}")
        self.stdout.write("* is on the shelf, with its weights on this machine")

    def _check(self, options: dict[str, Any]) -> None:
        chosen = options["names"] or installing.names()
        lacking = wrong = 0
        for name in chosen:
            try:
                one = installing.entry(name)
                installing.complete(one)
            except InvalidManifest as error:
                wrong += 1
                self.stderr.write(str(error))
                continue
            missing = installing.check(one, weights_dir=settings.WEIGHTS_DIR)
            lacking += bool(missing)
            said = "; ".join(f"needs {each.what}" for each in missing)
            self.stdout.write(f"{name}: {said or 'lacks nothing here'}")
        self.stdout.write(f"{len(chosen)} checked, {lacking} lack something on this machine")
        if wrong:
            raise CommandError(f"{wrong} of {len(chosen)} cannot be installed, as said above")

    def _install(self, options: dict[str, Any]) -> None:
        one = installing.entry(options["name"])
        publisher = Publisher.objects.filter(name=options["publisher"]).first()
        if publisher is None:
            raise CommandError(
                f"there is no publisher {options['publisher']!r}; --publisher names one that exists"
            )
        if options["dry_run"]:
            self._rehearse(one, options["given"])
            return
        manifest = installing.bring(
            one, weights_dir=settings.WEIGHTS_DIR, say=self.stdout.write, given=options["given"]
        )
        listing = catalog.publish(publisher, manifest)
        self.stdout.write(f"published {listing.model_id}, {len(manifest['recipe']['hashes'])} files hashed")

    def _rehearse(self, one: installing.Entry, given: Path | None) -> None:
        installing.complete(one)
        wanted = None
        if given is not None:
            installing.check_given(given)
        else:
            wanted = installing.look_up(one.source)
            folder = installing.folder_of(one, wanted, weights_dir=settings.WEIGHTS_DIR)
            self.stdout.write(
                f"{wanted.hub} at {wanted.revision}: up to {len(wanted.files)} files, {wanted.size / 1e9:.2f} GB, "
                f"into {folder}"
            )
        for each in installing.check(one, weights_dir=settings.WEIGHTS_DIR, wanted=wanted):
            self.stdout.write(f"it needs {each.what}")
