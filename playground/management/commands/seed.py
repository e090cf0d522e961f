"""Put on the shelf what this installation ships, and let the demo user in. Again is quick and changes nothing."""

from __future__ import annotations

import contextlib
import json
import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction

from billing import ledger
from marketplace import catalog, keys, people
from marketplace.host.places import Places, make_private
from marketplace.models import Publisher, User, Workspace

MANIFESTS = Path(catalog.__file__).parent / "manifests"
HOUSE = "vitrine"  # the publisher of what is shipped, and its workspace
DEMO = "demo"
DEMO_EMAIL = "demo@vitrine.test"
DEMO_PASSWORD_LENGTH = 20  # hex digits: 80 bits, and short enough to copy from a terminal
KEY_FILE = "demo_api_key"


class Command(BaseCommand):
    help = "Publish the models that are shipped and make the demo user with their key; safe to repeat."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--print", action="store_true", dest="show", help="print how to get in, as one line of JSON"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        places = Places.configured()
        with transaction.atomic():
            with connection.cursor() as cursor:  # two machines that are set up at once
                cursor.execute("SELECT pg_advisory_xact_lock(hashtext('vitrine seed'))")
            house = self._publish()
            workspace, password = _demo(places, house)
            key = _demo_key(workspace, places.keys / KEY_FILE)
        if options["show"]:
            self.stdout.write(json.dumps({"email": DEMO_EMAIL, "password": password, "key": key}))

    def _publish(self) -> Workspace:
        """Every manifest that is shipped. One whose weights are not there is passed over with a line."""
        house = _workspace(HOUSE, name="Vitrine")
        publisher, _ = Publisher.objects.get_or_create(
            name=HOUSE, defaults={"workspace": house, "title": "Vitrine"}
        )
        for path in sorted(MANIFESTS.glob("*.toml")):
            try:
                manifest = catalog.read_manifest(path, weights_dir=settings.WEIGHTS_DIR)
                catalog.publish(publisher, manifest)
            except catalog.InvalidManifest as error:
                self.stderr.write(f"seed: {path.name} is not on the shelf: {error}")
        return house


def _workspace(slug: str, *, name: str, owner: User | None = None) -> Workspace:
    found = Workspace.objects.filter(slug=slug).first()
    return found or people.make_workspace(slug, name=name, owner=owner)


def _demo(places: Places, house: Workspace) -> tuple[Workspace, str]:
    """The demo user in the demo workspace, with the starter credit, and the password that is kept for them.

    They buy there, and sell in the house's workspace, which is theirs as long as nobody else has it.
    """
    password = places.secret("demo_password")[:DEMO_PASSWORD_LENGTH]
    user = User.objects.filter(email=DEMO_EMAIL).first()
    if user is None:
        user = User.objects.create_user(DEMO_EMAIL, password, name="Demo")
    elif not user.check_password(password):
        user.set_password(password)
        user.save(update_fields=["password"])
    people.verify(user)
    workspace = _workspace(DEMO, name="Demo", owner=user)
    user.memberships.get_or_create(workspace=workspace)
    if not house.memberships.exists():
        user.memberships.create(workspace=house)
    ledger.open_workspace(workspace.pk)
    if settings.STARTER_CREDIT_MICROS > 0:
        with contextlib.suppress(ledger.KeyReused):  # granted before, when the setting was another
            ledger.credit(
                workspace.pk,
                settings.STARTER_CREDIT_MICROS,
                key=f"promo:starter:{workspace.public_id}",
                note="starter credit",
            )
    return workspace, password


def _demo_key(workspace: Workspace, kept: Path) -> str:
    """The demo key, kept in a file of this user alone; a new one where it is missing, revoked or another database's."""
    text = kept.read_text(encoding="ascii", errors="replace").strip() if kept.exists() else ""
    try:
        if text and keys.resolve(text).workspace_id == workspace.pk:
            return text
    except keys.InvalidKey:
        pass
    _, text = keys.make(workspace, name="Demo")
    make_private(kept.parent)
    new = kept.with_suffix(".new")
    try:
        new.unlink(missing_ok=True)
        with open(new, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(text + "\n")
        new.replace(kept)
    except OSError as error:
        raise CommandError(f"the demo key could not be kept in {kept}: {error.strerror}") from None
    return text
