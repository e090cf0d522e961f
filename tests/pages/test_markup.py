"""What holds in every template, whatever page it is of: tables are named, and scrollers are reached by the keyboard."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings

FOLDER = Path(settings.BASE_DIR) / "templates"
TEMPLATES = {str(path.relative_to(FOLDER)): path.read_text() for path in sorted(FOLDER.rglob("*.html"))}
SCROLLER = r'<div class="scroll[^"]*"([^>]*)>'
NAMED = ("aria-label=", "aria-labelledby=")
# Inside of the part that includes them they are named by the heading before them.
INSIDE = {"docs/_fields.html", "playground/_history_rows.html"}


@pytest.mark.parametrize("name", sorted(name for name, text in TEMPLATES.items() if "<table" in text))
def test_tables_say_what_they_are(name):
    text = TEMPLATES[name]
    for found in re.finditer(rf"(?:{SCROLLER}\s*)?<table([^>]*)>\s*(<caption)?", text):
        scroller, table, caption = found[1] or "", found[2], found[3]
        is_named = caption or any(mark in scroller + table for mark in NAMED)
        assert is_named or name in INSIDE, found[0]
    assert re.findall(r"<th(?![a-z])(?![^>]*scope=)[^>]*>", text) == []
    headings = set(re.findall(r'\bid="([^"]+)"', text))
    for labelled in re.findall(r'<table[^>]*aria-labelledby="([^"]+)"', text):
        assert labelled in headings


@pytest.mark.parametrize("name", sorted(name for name, text in TEMPLATES.items() if 'class="scroll' in text))
def test_what_scrolls_sideways_is_reached_by_the_keyboard(name):
    for attributes in re.findall(SCROLLER, TEMPLATES[name]):
        assert 'tabindex="0"' in attributes
        assert any(mark in attributes for mark in NAMED)
