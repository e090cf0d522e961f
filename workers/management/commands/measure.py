"""`manage.py measure MODEL`: how fast it runs here, plain and accelerated, and what that changes in its output."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from marketplace import catalog, schema
from marketplace.models import Publisher
from workers import measuring


class Command(BaseCommand):
    """Measure, print, keep with the version."""

    help = "measure a model's accelerations on this machine; the result is kept with the version and shown on its page"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("model", help="publisher/name, or publisher/name:version")
        parser.add_argument(
            "--seeds", type=int, default=3, help="how many inputs, which differ in their seed"
        )
        parser.add_argument("--runs", type=int, default=3, help="how often each is run; the median counts")
        parser.add_argument("--input", default="{}", help="JSON of fields that differ from the example")
        parser.add_argument("--device", default="auto")
        parser.add_argument("--threads", type=int, default=None)

    def handle(self, *args: Any, **options: Any) -> None:
        owner = Publisher.objects.filter(name=options["model"].partition("/")[0]).first()
        workspace = owner.workspace if owner is not None else None
        if options["seeds"] < 1 or options["runs"] < 1:
            raise CommandError("one seed and one run are the least")
        try:
            called = catalog.callable_endpoint(options["model"], workspace=workspace, now=timezone.now())
            given = json.loads(options["input"])
            found = measuring.measure(
                called,
                given=given,
                seeds=options["seeds"],
                runs=options["runs"],
                device=options["device"],
                threads=options["threads"],
                tell=self._tell,
            )
        except (catalog.NotFound, schema.InvalidInput, measuring.CannotMeasure, ValueError) as error:
            raise CommandError(str(error)) from None
        catalog.record_measurement(called.version, found)
        self.stdout.write(f"kept with {called.model_id}:{called.version.sha256[:12]}")

    def _tell(self, row: catalog.Row) -> None:
        if row["error"]:
            self.stdout.write(f"{row['name']:20} {row['error']}")
            return
        memory = (row["peak_memory_bytes"] or 0) / 2**20
        line = f"{row['name']:20} {row['seconds_per_step']:.4f} s a step, {row['speedup']:.2f} x, {memory:,.0f} MiB"
        apart = row["difference"]
        if apart is not None:
            line += ", identical" if apart["is_identical"] else f", {_far(apart)}"
        self.stdout.write(line)
        for note in row["notes"]:
            self.stdout.write(f"  {note}")


def _far(apart: catalog.Difference) -> str:
    if apart["psnr_db"] is None:
        return "another output"
    return f"up to {apart['max_level']} levels off, {apart['mean_level']:.2f} on average, {apart['psnr_db']:.1f} dB"
