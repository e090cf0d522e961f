"""READMEs as HTML. A parser of CommonMark does the reading; this says what of it may reach a page.

No markup of the writer's own passes. Links lead to http(s), mail or this very site; pictures come from our static files
or our media; headings begin below the page's own and can be linked to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.utils.safestring import SafeString, mark_safe
from django.utils.text import slugify
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

MAX_LENGTH = 100_000
TOP_LEVEL, LOWEST_LEVEL = 2, 6
ANCHOR = "readme-"  # so that no heading takes an id that the page needs
MIN_LISTED = 3  # headings from which on a table of contents helps
_OUTSIDE = re.compile(r"(?:https?://|mailto:)[^\s]+\Z", re.IGNORECASE)
_INSIDE = re.compile(r"(?:/(?![/\\]|%5[cC])|#|\./)[^\s\\]*\Z|\Z")
_PICTURE = re.compile(r"/(?:static|media)/[\w./=-]+\Z")
_TASK = re.compile(r"\[([ xX])\] ")


@dataclass(frozen=True, slots=True)
class Heading:
    """One line of the table of contents."""

    anchor: str
    text: str
    level: int


@dataclass(frozen=True, slots=True)
class Document:
    """A README as it is shown."""

    html: SafeString
    contents: tuple[Heading, ...]


class _Renderer(RendererHTML):
    """HTML in the parts of our own design."""

    def fence(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return self._code(tokens[idx].content)

    def code_block(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return self._code(tokens[idx].content)

    def _code(self, text: str) -> str:
        safe = _escaped(text.rstrip("\n"))
        return f'<figure class="code"><pre tabindex="0"><code>{safe}</code></pre></figure>\n'

    def table_open(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>\n'

    def table_close(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return "</table></div>\n"

    def image(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        token = tokens[idx]
        source, words = str(token.attrs.get("src", "")), _escaped(token.content)
        if not _PICTURE.match(source) or ".." in source:
            return words
        return f'<img src="{_escaped(source)}" alt="{words}" loading="lazy">'

    def td_open(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return f"<td{_alignment(tokens[idx])}>"

    def th_open(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return f'<th scope="col"{_alignment(tokens[idx])}>'


def to_html(text: str) -> SafeString:
    """`text` as HTML that is safe to show."""
    return document(text).html


@lru_cache(maxsize=64)
def document(text: str) -> Document:
    """`text` as HTML that is safe to show, with its headings."""
    parser = _parser()
    tokens = parser.parse(text[:MAX_LENGTH])
    contents = _headings(tokens)
    for token in tokens:
        _guard(token)
    html = parser.renderer.render(tokens, parser.options, {})
    # The parser escapes all text, passes no markup (html=False), and every address went through `_guard`.
    return Document(mark_safe(html), contents)  # noqa: S308


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 20}, renderer_cls=_Renderer)
    parser.enable(["table", "strikethrough"])
    parser.validateLink = _is_link  # type: ignore[method-assign]
    return parser


def _is_link(url: str) -> bool:
    return bool(_OUTSIDE.match(url) or _INSIDE.match(url))


def _guard(token: Token) -> None:
    """Links say that we do not vouch for them; the boxes of a task list are boxes."""
    for child in token.children or ():
        if child.type == "link_open":
            target = str(child.attrs.get("href", ""))
            child.attrs["href"] = f"#{ANCHOR}{target[1:]}" if target.startswith("#") else target
            child.attrs["rel"] = "nofollow noopener"
            child.attrs.pop("title", None)
    first = token.children[0] if token.type == "inline" and token.children else None
    if first is not None and first.type == "text" and (found := _TASK.match(first.content)):
        first.content = ("☑ " if found[1] != " " else "☐ ") + first.content[found.end() :]


def _headings(tokens: Sequence[Token]) -> tuple[Heading, ...]:
    """Move the headings below the page's own and give each an anchor; what belongs into a table of contents."""
    opened = [place for place, token in enumerate(tokens) if token.type == "heading_open"]
    shift = TOP_LEVEL - min((int(tokens[place].tag[1]) for place in opened), default=TOP_LEVEL)
    used: dict[str, int] = {}
    found = []
    for place in opened:
        level = min(int(tokens[place].tag[1]) + shift, LOWEST_LEVEL)
        end = next(at for at in range(place, len(tokens)) if tokens[at].type == "heading_close")
        tokens[place].tag = tokens[end].tag = f"h{level}"
        text = _plain(tokens[place + 1])
        slug = slugify(text)[:60] or "section"
        used[slug] = used.get(slug, 0) + 1
        anchor = ANCHOR + (slug if used[slug] == 1 else f"{slug}-{used[slug]}")
        tokens[place].attrs["id"] = anchor
        if level <= TOP_LEVEL + 1:
            found.append(Heading(anchor, text, level))
    return tuple(found) if len(found) >= MIN_LISTED else ()


def _plain(inline: Token) -> str:
    return "".join(
        one.content for one in inline.children or () if one.type in {"text", "code_inline"}
    ).strip()


def _alignment(token: Token) -> str:
    """The parser says it as a style, which the page's policy forbids."""
    return ' class="num"' if "right" in str(token.attrs.get("style", "")) else ""


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
