"""A small document: sections of text, tables and pictures, written as one self-contained HTML page and as Markdown.

All text is plain, and escaped for both formats, so that text from files can be passed unchanged.
"""

import base64
import html
import io
import re
import unicodedata
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from PIL import Image

from ganzoo.markdown import escaped, without_control
from ganzoo.markdown import plain as plain

FIGURES = "figures"  # the folder of the Markdown's pictures, beside it
_NUMBER = re.compile(r"[-+]?\d[\d,.]*( ± \d[\d,.]*)?( %)?|—")
_RIGHT, _LONG = ' class="n"', ' class="long"'
LONG = 40  # characters in a table's cell, beyond which it is wrapped


@dataclass(frozen=True)
class Text:
    """A paragraph; a `note` is highlighted, for what a reader must not miss."""

    text: str
    note: bool = False


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    items: Sequence[str]


@dataclass(frozen=True)
class Code:
    """Commands to type, one per line."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; in a row that is shorter than the header, the last cell spans the remaining columns."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A PNG or GIF. `name` becomes that of its file; `density` is the number of its pixels per pixel of the page."""

    name: str
    data: bytes
    alt: str
    caption: str = ""
    density: float = 1.0

    @property
    def suffix(self) -> str:
        return "gif" if self.data.startswith(b"GIF8") else "png"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height on the page."""
        with Image.open(io.BytesIO(self.data)) as image:
            return round(image.width / self.density), round(image.height / self.density)


@dataclass(frozen=True)
class Row:
    """Pictures or tables, side by side if there is room."""

    cells: "Sequence[Picture | Table]"


@dataclass(frozen=True)
class Section:
    """A heading and the blocks below it, which may be sections."""

    title: str
    blocks: "Sequence[Block]"


Block: TypeAlias = Text | Items | Code | Table | Picture | Row | Section


@dataclass(frozen=True)
class Document:
    """A document; `lead` is the paragraph before the table of contents."""

    title: str
    lead: str
    sections: Sequence[Section]

    def to_html(self) -> str:
        """Return a self-contained page: no scripts, no network, embedded pictures."""
        return _Html().page(self)

    def to_markdown(self) -> tuple[str, dict[str, bytes]]:
        """Return the text, and the pictures that it shows, by their relative path."""
        writer = _Markdown()
        return writer.page(self), writer.files


def slug(text: str) -> str:
    """Return a text in lower-case letters, digits and hyphens, for anchors and file names."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_text.lower()).strip("-")[:80] or "part"


def integer(value: float | None) -> str:
    """Return a number with separators, 65536 -> 65,536; a dash for None."""
    return "—" if value is None else f"{value:,.0f}"


def percent(share: float) -> str:
    """Return a share in percent, 0.9957 -> 99.57 %."""
    return f"{100 * share:.2f} %"


def is_number(cell: str) -> bool:
    """Return whether a cell is a number, which is aligned right."""
    return _NUMBER.fullmatch(cell) is not None


def _unique(name: str, taken: Container[str]) -> str:
    """Return `name`, else the first of `name-2`, `name-3`, ... that is not taken."""
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    return candidate


@dataclass
class _Html:
    anchors: dict[str, str] = field(default_factory=dict)

    def page(self, document: Document) -> str:
        body = "\n".join(self.section(section, 2) for section in document.sections)
        title = html.escape(plain(document.title))
        return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p class="lead">{html.escape(plain(document.lead))}</p>
<nav aria-label="Contents">
{self.contents()}
</nav>
{body}
</main>
</body>
</html>
"""

    def contents(self) -> str:
        links = [f'<a href="#{anchor}">{html.escape(title)}</a>' for anchor, title in self.anchors.items()]
        return "<ul>" + "".join(f"<li>{link}</li>" for link in links) + "</ul>"

    def section(self, section: Section, level: int) -> str:
        title = plain(section.title)
        heading = f"<h{level}>{html.escape(title)}</h{level}>"
        if level <= 3:  # headings in the table of contents
            anchor = _unique(slug(title), self.anchors)
            self.anchors[anchor] = title
            heading = f'<h{level} id="{anchor}">{html.escape(title)}</h{level}>'
        blocks = "\n".join(self.block(block, level) for block in section.blocks)
        return f"<section>\n{heading}\n{blocks}\n</section>"

    def block(self, block: Block, level: int) -> str:
        match block:
            case Text():
                opening = '<p class="note">' if block.note else "<p>"
                return f"{opening}{html.escape(plain(block.text))}</p>"
            case Items():
                return "<ul>" + "".join(f"<li>{html.escape(plain(item))}</li>" for item in block.items) + "</ul>"
            case Code():
                return f"<pre><code>{html.escape(_lines(block.text))}</code></pre>"
            case Table():
                return self.table(block)
            case Picture():
                return self.picture(block)
            case Row():
                cells = "\n".join(self.block(cell, level) for cell in block.cells)
                return f'<div class="row">\n{cells}\n</div>'
            case Section():
                return self.section(block, level + 1)

    def table(self, table: Table) -> str:
        caption = f"<caption>{html.escape(plain(table.caption))}</caption>" if table.caption else ""
        numeric = _numeric_columns(table)
        header = "".join(
            f'<th scope="col"{_RIGHT if right else ""}>{html.escape(plain(cell))}</th>'
            for cell, right in zip(table.header, numeric, strict=True)
        )
        rows = "\n".join(f"<tr>{''.join(_html_cells(row, numeric))}</tr>" for row in table.rows)
        return (
            f'<div class="table" tabindex="0"><table>{caption}\n<thead><tr>{header}</tr></thead>\n'
            f"<tbody>\n{rows}\n</tbody></table></div>"
        )

    def picture(self, picture: Picture) -> str:
        width, height = picture.size
        source = f"data:image/{picture.suffix};base64,{base64.b64encode(picture.data).decode()}"
        caption = f"<figcaption>{html.escape(plain(picture.caption))}</figcaption>" if picture.caption else ""
        alt = html.escape(plain(picture.alt))
        return f'<figure><img src="{source}" alt="{alt}" width="{width}" height="{height}">{caption}</figure>'


@dataclass
class _Markdown:
    files: dict[str, bytes] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def page(self, document: Document) -> str:
        parts = [f"# {escaped(document.title)}", escaped(document.lead)]
        parts += [part for section in document.sections for part in self.section(section, 2)]
        return "\n\n".join(parts) + "\n"

    def section(self, section: Section, level: int) -> Iterator[str]:
        yield f"{'#' * level} {escaped(section.title)}"
        for block in section.blocks:
            yield from self.block(block, level)

    def block(self, block: Block, level: int) -> Iterator[str]:
        match block:
            case Text():
                yield f"{'> ' if block.note else ''}{escaped(block.text)}"
            case Items():
                yield "\n".join(f"- {escaped(item)}" for item in block.items)
            case Code():
                fence = "`" * max(3, 1 + max(map(len, re.findall("`+", block.text)), default=0))
                yield f"{fence}\n{_lines(block.text)}\n{fence}"
            case Table():
                yield from self.table(block)
            case Picture():
                yield self.image(block)
                if block.caption:
                    yield escaped(block.caption)
            case Row():
                pictures = [cell for cell in block.cells if isinstance(cell, Picture)]
                cells = [[escaped(picture.caption) for picture in pictures], ["---"] * len(pictures)]
                cells.append([self.image(picture) for picture in pictures])
                if pictures:
                    yield "\n".join(map(_markdown_row, cells))
                for cell in block.cells:
                    if isinstance(cell, Table):
                        yield from self.table(cell)
            case Section():
                yield from self.section(block, level + 1)

    def table(self, table: Table) -> Iterator[str]:
        if table.caption:
            yield escaped(table.caption)
        lines = [map(escaped, table.header), ["---:" if right else "---" for right in _numeric_columns(table)]]
        lines += [[*map(escaped, row), *[""] * (len(table.header) - len(row))] for row in table.rows]
        yield "\n".join(_markdown_row(list(line)) for line in lines)

    def image(self, picture: Picture) -> str:
        name = _unique(slug(picture.name), self.names)
        self.names.add(name)
        path = f"{FIGURES}/{name}.{picture.suffix}"
        self.files[path] = picture.data
        return f"![{escaped(picture.alt)}]({path})"


def _numeric_columns(table: Table) -> list[bool]:
    """Return which columns contain only numbers, except the first, which names the rows."""
    width = len(table.header)
    whole = [row if len(row) == width else row[:-1] for row in table.rows]  # without cells that span several columns
    columns = [[row[index] for row in whole if index < len(row)] for index in range(width)]
    return [index > 0 and bool(column) and all(map(is_number, column)) for index, column in enumerate(columns)]


def _html_cells(row: Sequence[str], numeric: Sequence[bool]) -> Iterator[str]:
    for index, cell in enumerate(row):
        rest = len(numeric) - index if index == len(row) - 1 else 1
        span = f' colspan="{rest}"' if rest > 1 else ""
        align = _RIGHT if numeric[index] and not span else _LONG if len(cell) > LONG else ""
        text = html.escape(plain(cell))
        yield f'<th scope="row">{text}</th>' if index == 0 else f"<td{align}{span}>{text}</td>"


def _lines(text: str) -> str:
    return "\n".join(map(without_control, text.splitlines()))


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


STYLE = """
:root { --ink: #1d2329; --soft: #5b6570; --line: #d9dee3; --link: #0059a8; --panel: #f5f7f9; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: #fff; color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", Arial, sans-serif; }
main { max-width: 992px; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1, h2, h3, h4 { line-height: 1.25; margin: 2em 0 .6em; }
h1 { font-size: 2rem; margin-top: 0; }
h2 { font-size: 1.5rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.2rem; }
h4 { font-size: 1rem; color: var(--soft); margin-top: 1.6em; }
p, ul { margin: 0 0 1em; max-width: 46rem; overflow-wrap: anywhere; }
a { color: var(--link); }
.lead { font-size: 1.1rem; color: var(--soft); }
.note { padding: .6rem .9rem; background: var(--panel); border-left: 4px solid var(--link); }
nav { padding: .8rem 1rem; background: var(--panel); border-radius: 6px; }
nav ul { margin: 0; padding: 0; max-width: none; list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; }
figure { margin: 1.2rem 0; }
img { display: block; max-width: 100%; height: auto; }
figcaption, caption { color: var(--soft); font-size: .875rem; text-align: left; }
figcaption { margin-top: .4rem; }
caption { margin-bottom: .4rem; }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(210px, 1fr)); gap: .8rem; margin: 1.2rem 0; }
.row figure, .row .table { margin: 0; }
.row:has(.table) { grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); }
.table { overflow-x: auto; margin: 1.2rem 0; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
tbody th, td { white-space: nowrap; }
.long { white-space: normal; min-width: 16rem; overflow-wrap: anywhere; }
thead th { border-bottom: 2px solid var(--ink); }
tbody th { font-weight: 600; position: sticky; left: 0; background: #fff; }
@media (max-width: 40rem) { tbody th { white-space: normal; } .long { min-width: 12rem; } }
.n { text-align: right; }
pre { padding: .8rem 1rem; overflow-x: auto; background: var(--panel); border-radius: 6px; font-size: .85rem; }
@media print { main { max-width: none; } figure, tr { break-inside: avoid; } }
"""
