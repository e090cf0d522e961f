"""Put one manifest on the shelf."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from marketplace import catalog
from marketplace.models import Publisher


class Command(BaseCommand):
    help = "Publish a model from its manifest; the same manifest again changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("manifest", type=Path)
        parser.add_argument("--publisher", required=True, help="name of an existing publisher")

    def handle(self, *args: Any, **options: Any) -> None:
        publisher = Publisher.objects.filter(name=options["publisher"]).first()
        if publisher is None:
            raise CommandError(f"there is no publisher {options['publisher']!r}")
        try:
            manifest = catalog.read_manifest(options["manifest"], weights_dir=settings.WEIGHTS_DIR)
            listing = catalog.publish(publisher, manifest)
        except catalog.InvalidManifest as error:
            raise CommandError(str(error)) from None
        self.stdout.write(listing.model_id)
