"""READMEs from anybody: links that stay what they look like, and no text that keeps a process busy."""

from __future__ import annotations

import pytest

from playground.pages.markdown import to_html


@pytest.mark.parametrize(
    "target",
    [
        "javascript:alert(1)",
        "//elsewhere.test",
        "/\\elsewhere.test",
        "/\t/elsewhere.test",
        "data:text/html,x",
    ],
)
def test_a_link_leads_where_it_says_or_is_none(target):
    assert "<a " not in to_html(f"[here]({target})")


@pytest.mark.parametrize("target", ["/m/kiln/vase", "/", "#prices", "https://example.test/a?b=c"])
def test_links(target):
    assert f'<a href="{target}" rel="nofollow noopener">here</a>' in to_html(f"[here]({target})")


def test_a_table_needs_the_line_under_its_heads():
    assert "<table>" in to_html("| a | b |\n| :-- | --: |\n| 1 | 2 |")
    assert "<table>" in to_html("a | b\n--|--\n1 | 2")
    assert "<table>" not in to_html("a | b\n-- x | --\n1 | 2")


# Each of these once took time by the square of its length: seconds at this size, and minutes at the largest.
@pytest.mark.parametrize("text", ["**a ", "[", "![", "| a\n--" + " " * 200_000 + "x"])
def test_no_text_takes_long(text):
    html = to_html(text * (200_000 // len(text)) if len(text) < 100 else text)
    assert html
