"""An invoice as a PDF: set in the fonts that come with us, in whatever script a name is written.

What is drawn comes from people: control characters are left out, long words are broken, and a character that no font
has becomes a box and no error.
"""

from __future__ import annotations

import functools
import logging
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, cast

import weblate_fonts
from fontTools.ttLib import TTFont
from fpdf import FPDF
from fpdf.enums import MethodReturnValue, WrapMode, XPos, YPos

from billing.invoices import Month
from billing.receipts import counted, dollars
from playground.invoices.present import rows_of

FONTS: Final = Path(weblate_fonts.__file__).parent / "static" / "weblate_fonts"
PLAIN, STRONG = (FONTS / "source-sans/ttf" / f"SourceSans3-{cut}.ttf" for cut in ("Regular", "Semibold"))
# For what Source Sans has no letters: one for most scripts, then those of Japanese, Chinese and Korean.
OTHERS: Final = ("KurintoSans", "KurintoSansJP", "KurintoSansSC", "KurintoSansKR")
JOINERS: Final = ("\u200c", "\u200d")
MARGIN, LEAD = 20, 5.2  # mm
LONG = 40  # characters of a word that fit a line of any column
INK, SOFT, LINE = 24, 110, 200  # greys

logging.getLogger("fpdf").setLevel(logging.ERROR)  # it tells of every character that no font has
logging.getLogger("fontTools").setLevel(logging.ERROR)


class _Paper(FPDF):
    """A4 with the number of the page at its foot."""

    def __init__(self, title: str, texts: Iterable[str]) -> None:
        super().__init__(format="A4")
        self.set_title(title)
        self.set_lang("en")
        self.add_font("sans", "", PLAIN)
        self.add_font("sans", "B", STRONG)
        others = _needed({ord(letter) for text in texts for letter in text})
        if others:
            for name in others:
                self.add_font(name, "", _other(name))
            self.set_fallback_fonts(others, exact_match=False)
            self.set_text_shaping(use_shaping_engine=True)
        self.set_margins(MARGIN, MARGIN)
        self.set_auto_page_break(auto=True, margin=22)
        self.add_page()

    def footer(self) -> None:
        self.set_y(-15)
        self.write_line(f"{self.title}, page {self.page_no()} of {{nb}}", size=8, grey=SOFT)

    def write_line(
        self, text: str, *, size: float = 10, style: str = "", grey: int = INK, lead: float = LEAD
    ) -> None:
        """A paragraph of the whole width."""
        self.set_font("sans", style, size)
        self.set_text_color(grey)
        for line in self.broken(text, self.epw):
            self.put(0, lead, line)

    def put(self, width: float, lead: float, line: str) -> None:
        """One line, and on to the next."""
        # What ended the last line in another font has left that one behind, and the library does not see it.
        self.current_font_is_set_on_page = False
        self.cell(width, lead, line, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def broken(self, text: str, width: float) -> list[str]:
        """The text in lines of at most this width, in the present font; to be `put` one by one."""
        found = self.multi_cell(
            width, LEAD, text, dry_run=True, output=MethodReturnValue.LINES, align="L", wrapmode=_wrap(text)
        )
        return cast("list[str]", found) or [""]

    def rule(self) -> None:
        """A thin line across."""
        self.set_draw_color(LINE)
        self.line(self.l_margin, self.get_y(), self.w - self.r_margin, self.get_y())
        self.ln(1.2)

    def cells(
        self, texts: Sequence[str], widths: Sequence[float], *, style: str = "", grey: int = INK
    ) -> None:
        """One row of a table, its first column to the left and the others to the right; all of it on one page."""
        self.set_font("sans", style, 9.5)
        self.set_text_color(grey)
        first, *rest = texts
        lines = self.broken(first, widths[0] - 2)
        height = len(lines) * LEAD
        if self.will_page_break(height):
            self.add_page()
            self.set_font("sans", style, 9.5)
            self.set_text_color(grey)
        top = self.get_y()
        for line in lines:
            self.put(widths[0], LEAD, line)
        self.set_xy(self.l_margin + widths[0], top)
        self.current_font_is_set_on_page = False
        for text, width in zip(rest, widths[1:], strict=True):
            self.cell(width, LEAD, text, align="R")
        self.set_xy(self.l_margin, top + height + 0.8)


def as_pdf(shown: Month) -> bytes:
    """The invoice as a PDF. The same month makes the same bytes once it is over."""
    sender = [clean(line) for line in shown.sender]
    recipient = [clean(line) for line in _recipient(shown)]
    models = [clean(line.model) for line in shown.lines]
    title = f"Invoice {shown.number}" if shown.is_final else f"Usage in {shown.month:%B %Y}, so far"
    paper = _Paper(title, [*sender, *recipient, *models])
    if shown.issued_at is not None:
        paper.set_creation_date(shown.issued_at)
    paper.write_line(title, size=20, style="B", lead=9)
    paper.write_line(f"1 to {shown.last_day.day} {shown.month:%B %Y}, days of UTC", grey=SOFT)
    if shown.issued_at is not None:
        paper.write_line(f"Issued on {shown.issued_at.day} {shown.issued_at:%B %Y}", grey=SOFT)
    if shown.book == "test":
        paper.write_line("Test mode: no real money was moved.", grey=SOFT)
    paper.ln(5)
    _parties(paper, sender, recipient)
    _used(paper, shown)
    _credit(paper, shown)
    return bytes(paper.output())


def clean(text: str) -> str:
    """Text without what steers a printer or turns the direction of others' words."""
    kept = (one for one in text if one in JOINERS or not unicodedata.category(one).startswith("C"))
    return "".join(kept).strip()


def _recipient(shown: Month) -> list[str]:
    named = shown.recipient
    lines = [named.name or shown.workspace, *named.address.splitlines()]
    return [*filter(None, lines), *([f"Tax number {named.tax_id}"] if named.tax_id else [])]


def _parties(paper: _Paper, sender: Sequence[str], recipient: Sequence[str]) -> None:
    for label, lines in (("From", sender), ("For", recipient)):
        paper.write_line(label, size=8.5, grey=SOFT)
        for number, line in enumerate(lines):
            paper.write_line(line, style="B" if number == 0 else "")
        paper.ln(3)


def _used(paper: _Paper, shown: Month) -> None:
    paper.ln(2)
    paper.write_line("Runs", size=12.5, style="B", lead=8)
    widths = (70, 45, 25, 30)
    paper.cells(("Model", "Quantity", "Unit price", "Amount"), widths, grey=SOFT)
    paper.rule()
    for line in shown.lines:
        name = clean(line.model) + (", canceled in part" if line.is_part else "")
        quantity = counted(line.quantity, line.unit).strip()
        paper.cells((name, quantity, _price(line.unit_price), dollars(line.amount_micros)), widths)
    if not shown.lines:
        paper.cells(("Nothing was charged", "", "", ""), widths, grey=SOFT)
    paper.rule()
    count = f"{shown.runs:,} runs, {shown.not_charged_runs:,} of them not charged"
    paper.cells(("Charged", count, "", dollars(shown.charged_micros)), widths, style="B")
    paper.ln(4)


def _credit(paper: _Paper, shown: Month) -> None:
    paper.write_line("Credit", size=12.5, style="B", lead=8)
    paper.rule()
    for row in rows_of(shown):
        if row.is_total:
            paper.rule()
        paper.cells((row.words, dollars(row.amount_micros)), (140, 30), style="B" if row.is_total else "")
    paper.ln(4)
    paper.write_line(
        "Runs are paid from credit as they end, so nothing is due. Credit is taxed when it is bought: the invoices of "
        "those payments show the tax. Amounts are US dollars, exact to a millionth; each run is rounded up once.",
        size=8.5,
        grey=SOFT,
        lead=4.4,
    )


def _price(text: str) -> str:
    whole, _, decimals = text.partition(".")
    return f"${int(whole):,}.{decimals:0<4}" if whole else ""


def _wrap(text: str) -> WrapMode:
    """By words, where there are such that fit a line."""
    return WrapMode.WORD if all(len(word) <= LONG for word in text.split()) else WrapMode.CHAR


def _needed(letters: set[int]) -> list[str]:
    """The fonts that have what the first one lacks of these letters; each is megabytes, so no more than that."""
    missing, found = letters - (_letters(PLAIN) & _letters(STRONG)), []
    for name in OTHERS if missing else ():
        if missing & _letters(_other(name)):
            missing -= _letters(_other(name))
            found.append(name)
    return found


def _other(name: str) -> Path:
    return FONTS / "kurinto/ttf" / f"{name}-Rg.ttf"


@functools.cache
def _letters(path: Path) -> frozenset[int]:
    """The characters that a font has."""
    with TTFont(path, lazy=True) as font:
        return frozenset(font.getBestCmap())
