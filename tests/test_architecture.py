"""The house, held by tests: the import law, the sizes, the names that cross the line."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import call_command
from django.urls import URLPattern, URLResolver, get_resolver

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("marketplace", "billing", "playground", "workers")
LINE = {
    name: place for place, name in enumerate(PACKAGES)
}  # a room may point to itself and to what stands before it
MODULE_LINES, FUNCTION_LINES, TEMPLATE_LINES = 500, 80, 150
NO_ROOMS = {"utils", "helpers", "services", "common", "core", "misc"}
INTERFACES = (
    *(
        "playground/api/",
        "playground/calling/",
        "playground/facades/",
        "playground/pages/",
        "playground/edge/",
    ),
    "workers/tasks.py",
)


def sources() -> list[Path]:
    found = [p for package in PACKAGES for p in (ROOT / package).rglob("*.py") if "migrations" not in p.parts]
    assert len(found) > 50
    return found


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_the_import_contracts_hold() -> None:
    # In a process of its own: what other tests have imported here changes what it finds.
    command = [Path(sys.executable).parent / "lint-imports"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("module", ["playground.asgi", "playground.urls", "workers.tasks"])
def test_a_process_without_tensors_never_loads_torch(module: str) -> None:
    program = f"import django; django.setup(); import {module}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_modules_and_functions_stay_small() -> None:
    too_long = []
    for path in sources():
        text = path.read_text()
        if text.count("\n") > MODULE_LINES:
            too_long.append(f"{name(path)}: {text.count(chr(10))} lines")
        for function in functions(ast.parse(text)):
            length = (function.end_lineno or 0) - function.lineno + 1
            if length > FUNCTION_LINES:
                too_long.append(f"{name(path)}:{function.name}: {length} lines")
    templates = (ROOT / "templates").rglob("*.html")
    too_long += [name(path) for path in templates if path.read_text().count("\n") > TEMPLATE_LINES]
    assert too_long == []


def test_no_room_without_a_name() -> None:
    nameless = [name(p) for p in sources() if p.stem in NO_ROOMS or NO_ROOMS & set(p.parts)]
    assert nameless == []


def test_no_signals_of_our_own() -> None:
    """Control flow is visible. Celery's process hooks in workers/tasks.py are the one place that listens."""
    listening = [
        name(path)
        for path in sources()
        if re.search(r"django\.db\.models\.signals|django\.dispatch|@receiver", path.read_text())
    ]
    assert listening == []


def test_interfaces_do_not_write_rows() -> None:
    """They translate in, make one domain call and translate out."""
    writing = [
        f"{name(path)}:{node.lineno}"
        for path in sources()
        if name(path).startswith(INTERFACES)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"save", "create", "update_or_create", "get_or_create", "bulk_create", "delete"}
        and "objects" in ast.unparse(node.func)
    ]
    assert writing == []


def test_every_module_says_what_it_hides() -> None:
    silent = [
        name(path)
        for path in sources()
        if path.read_text().strip()
        and path.name not in {"__init__.py", "apps.py", "__main__.py"}
        and ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert silent == []


def test_foreign_keys_point_down_the_line() -> None:
    wrong = []
    for model in apps.get_models():
        here = model._meta.app_label
        for field in model._meta.get_fields():
            target = getattr(field, "related_model", None)
            there = target._meta.app_label if target is not None and field.concrete else None
            if here in LINE and there in LINE and LINE[there] > LINE[here]:
                wrong.append(f"{model.__name__}.{field.name}")
    assert wrong == []


@pytest.mark.django_db
def test_every_change_of_the_rows_has_its_migration() -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_every_task_named_across_the_line_exists() -> None:
    import workers.tasks  # noqa: F401 - registers its tasks
    from marketplace.dispatch import app

    constants = re.compile(r"^[A-Z_]*TASK\b[^=]*= \"([a-z_.]+)\"", re.MULTILINE)
    named = {match for path in sources() for match in constants.findall(path.read_text())}
    assert named
    assert named <= set(app.tasks), named - set(app.tasks)


def url_names(resolver: URLResolver) -> Iterator[str]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLPattern) and pattern.name:
            yield pattern.name
        elif isinstance(pattern, URLResolver):
            yield from url_names(pattern)


def test_every_url_named_in_code_and_templates_exists() -> None:
    known = set(url_names(get_resolver()))
    used = {
        match: name(path)
        for path in [*sources(), *(ROOT / "templates").rglob("*.html")]
        for match in re.findall(r"(?:reverse\(|redirect\(|{% url )[\"']([a-z_-]+)[\"']", path.read_text())
    }
    assert used
    assert {url: at for url, at in used.items() if url not in known} == {}


def test_templates_hold_nothing_inline() -> None:
    """The content security policy forbids it, so it would be dead besides being ugly."""
    inline = [
        name(path)
        for path in (ROOT / "templates").rglob("*.html")
        if re.search(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son[a-z]+=|javascript:", path.read_text())
    ]
    assert inline == []
