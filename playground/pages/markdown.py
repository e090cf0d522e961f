"""READMEs as HTML: a small part of Markdown, escaped first, so that nothing a publisher writes is markup of its own.

Understood: headings, paragraphs, lists, tables, fenced code, quotes, rules; in lines `code`, **strong**, *emphasis* and
links to http(s) or to places on this site.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape

from django.utils.safestring import SafeString, mark_safe

_HEADING = re.compile(r"(#{1,4})\s+(.+?)\s*#*$")
_BULLET = re.compile(r"\s{0,3}[-*+]\s+(.*)")
_NUMBER = re.compile(r"\s{0,3}\d{1,3}[.)]\s+(.*)")
_RULE = re.compile(r"\s*([-*_])(?:\s*\1){2,}\s*$")
_UNDER_HEAD = re.compile(r":?-{2,}:?")
_CODE = re.compile(r"`([^`]+)`")
# What a pattern spans is bounded, so that no text takes more than its length to read, many times over.
_IMAGE = re.compile(r"!\[([^\[\]]{0,300})\]\([^)\s]{0,2000}\)")
_LINK = re.compile(r"\[([^\[\]]{1,300})\]\(((?:https?://|/(?![/\\])|#)[^)\s]{0,2000})\)")
_STRONG = re.compile(r"\*\*(?=\S)(.{1,300}?)(?<=\S)\*\*")
_EMPHASIS = re.compile(r"(?<![\w*])\*(?=\S)([^*]+?)(?<=\S)\*(?![\w*])")
MAX_LENGTH = 100_000


def to_html(text: str) -> SafeString:
    """`text` as HTML that is safe to show. Headings begin at the second level, as the page has a first."""
    lines = text[:MAX_LENGTH].replace("\r\n", "\n").expandtabs(4).split("\n")
    out: list[str] = []
    at = 0
    while at < len(lines):
        for read in (_blank, _fence, _heading, _rule, _quote, _table, _bullets, _numbers, _paragraph):
            taken = read(lines, at, out)
            if taken:
                at += taken
                break
    return mark_safe("\n".join(out))  # noqa: S308 - every piece was escaped where it was taken


def _inline(text: str) -> str:
    """One run of text, escaped; code spans are kept apart, so that nothing inside them is read as markup."""
    parts = _CODE.split(text)
    for place, part in enumerate(parts):
        safe = escape(part)
        if place % 2:
            parts[place] = f"<code>{safe}</code>"
            continue
        safe = _IMAGE.sub(r"\1", safe)
        safe = _LINK.sub(r'<a href="\2" rel="nofollow noopener">\1</a>', safe)
        safe = _STRONG.sub(r"<strong>\1</strong>", safe)
        parts[place] = _EMPHASIS.sub(r"<em>\1</em>", safe)
    return "".join(parts)


def _blank(lines: list[str], at: int, out: list[str]) -> int:
    return int(not lines[at].strip())


def _fence(lines: list[str], at: int, out: list[str]) -> int:
    if not lines[at].lstrip().startswith("```"):
        return 0
    end = at + 1
    while end < len(lines) and not lines[end].lstrip().startswith("```"):
        end += 1
    code = escape("\n".join(lines[at + 1 : end]))
    out.append(f'<figure class="code"><pre tabindex="0"><code>{code}</code></pre></figure>')
    return end + 1 - at


def _heading(lines: list[str], at: int, out: list[str]) -> int:
    match = _HEADING.match(lines[at])
    if match:
        level = max(2, min(len(match[1]), 4))
        out.append(f"<h{level}>{_inline(match[2])}</h{level}>")
    return int(match is not None)


def _rule(lines: list[str], at: int, out: list[str]) -> int:
    if _RULE.match(lines[at]):
        out.append("<hr>")
        return 1
    return 0


def _quote(lines: list[str], at: int, out: list[str]) -> int:
    end = at
    while end < len(lines) and lines[end].lstrip().startswith(">"):
        end += 1
    if end > at:
        text = " ".join(line.lstrip()[1:].strip() for line in lines[at:end])
        out.append(f"<blockquote><p>{_inline(text)}</p></blockquote>")
    return end - at


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _is_under_heads(line: str) -> bool:
    return all(_UNDER_HEAD.fullmatch(cell) for cell in _cells(line))


def _table(lines: list[str], at: int, out: list[str]) -> int:
    if "|" not in lines[at] or at + 1 >= len(lines) or not _is_under_heads(lines[at + 1]):
        return 0
    end = at + 2
    while end < len(lines) and "|" in lines[end] and lines[end].strip():
        end += 1
    heads = _cells(lines[at])
    head = "".join(f'<th scope="col">{_inline(cell)}</th>' for cell in heads)
    rows = []
    for line in lines[at + 2 : end]:
        cells = (_cells(line) + [""] * len(heads))[: len(heads)]
        rows.append("<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in cells) + "</tr>")
    out.append(
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )
    return end - at


def _list(tag: str, item: re.Pattern[str]) -> Callable[[list[str], int, list[str]], int]:
    def read(lines: list[str], at: int, out: list[str]) -> int:
        items: list[str] = []
        end = at
        while end < len(lines):
            match = item.match(lines[end])
            if match:
                items.append(match[1])
            elif items and lines[end].startswith("  ") and lines[end].strip():
                items[-1] += " " + lines[end].strip()
            else:
                break
            end += 1
        if items:
            out.append(f"<{tag}>" + "".join(f"<li>{_inline(text)}</li>" for text in items) + f"</{tag}>")
        return end - at

    return read


_bullets = _list("ul", _BULLET)
_numbers = _list("ol", _NUMBER)


def _paragraph(lines: list[str], at: int, out: list[str]) -> int:
    end = at + 1
    while end < len(lines) and lines[end].strip() and not _begins(lines, end):
        end += 1
    out.append(f"<p>{_inline(' '.join(line.strip() for line in lines[at:end]))}</p>")
    return end - at


def _begins(lines: list[str], at: int) -> bool:
    """Whether something other than a paragraph begins here."""
    line = lines[at]
    return line.lstrip().startswith(("```", ">")) or any(
        pattern.match(line) for pattern in (_HEADING, _BULLET, _NUMBER, _RULE)
    )
