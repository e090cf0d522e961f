"""READMEs from anybody: links that stay what they look like, and no text that keeps a process busy."""

from __future__ import annotations

import pytest

from playground.pages.markdown import document, to_html


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


@pytest.mark.parametrize(
    "target", ["/m/kiln/vase", "/", "https://example.test/a?b=c", "mailto:ada@example.test"]
)
def test_links(target):
    assert f'<a href="{target}" rel="nofollow noopener">here</a>' in to_html(f"[here]({target})")


@pytest.mark.parametrize(
    "text",
    [
        "[here](&#106;avascript:alert(1))",
        "<javascript:alert(1)>",
        "[here]: javascript:alert(1)\n\n[here]",
        "[here](vbscript:x)",
        "[here](/%5Celsewhere.test)",
    ],
)
def test_no_spelling_makes_a_link_that_runs(text):
    assert "<a " not in to_html(text)


def test_headings_begin_below_the_pages_own_and_can_be_linked_to():
    found = document("# Top\n\n[down](#lower-part)\n\n## Lower part\n\n### Deep\n\n## Lower part")
    for piece in (
        '<h2 id="readme-top">Top</h2>',
        'href="#readme-lower-part"',
        '<h3 id="readme-lower-part">',
        '<h4 id="readme-deep">',
        '<h3 id="readme-lower-part-2">',
    ):
        assert piece in found.html, piece
    assert [(one.text, one.level) for one in found.contents] == [
        ("Top", 2),
        ("Lower part", 3),
        ("Lower part", 3),
    ]
    assert document("# One\n\ntext").contents == ()


def test_pictures_come_from_here_only():
    html = to_html("![mine](/static/a.webp) ![theirs](https://elsewhere.test/x.png) ![up](/static/../x)")
    assert html.count("<img") == 1
    assert '<img src="/static/a.webp" alt="mine" loading="lazy">' in html
    assert "theirs" in html


def test_markup_is_text_and_boxes_are_boxes():
    html = to_html("<img src=x onerror=alert(1)>\n\n- [x] done\n- [ ] to do\n\n| a |\n|--:|\n| 1 |")
    assert "<img" not in html
    assert "☑ done" in html
    assert "☐ to do" in html
    assert "style" not in html
    assert '<td class="num">1</td>' in html


def test_a_table_needs_the_line_under_its_heads():
    assert "<table>" in to_html("| a | b |\n| :-- | --: |\n| 1 | 2 |")
    assert "<table>" in to_html("a | b\n--|--\n1 | 2")
    assert "<table>" not in to_html("a | b\n-- x | --\n1 | 2")


# Each of these once took time by the square of its length: seconds at this size, and minutes at the largest.
@pytest.mark.parametrize("text", ["**a ", "[", "![", "[](", "> ", "*a_", "| a\n--" + " " * 200_000 + "x"])
def test_no_text_takes_long(text):
    html = to_html(text * (200_000 // len(text)) if len(text) < 100 else text)
    assert html
