"""A page of sections, as Markdown and as HTML that needs no other file."""

from __future__ import annotations

import base64
import html
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem;
  color: #1c1f23; background: #fff; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #d9dde2; text-align: right;
  white-space: nowrap; }
th { vertical-align: bottom; white-space: normal; color: #4b5563; font-weight: 600; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
figure { display: inline-block; margin: .5rem; max-width: 36rem; vertical-align: top; }
figure img { width: 100%; } figcaption { color: #4b5563; font-size: 13px; }
dt { color: #4b5563; font-size: 13px; } dd { margin: 0 0 .6rem 1rem; white-space: pre-wrap; }
code, pre { font-size: 13px; background: #f3f4f6; border-radius: 4px; padding: .1rem .3rem; }
pre { padding: .6rem; overflow-x: auto; }
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A head and its rows, the first cell of each naming it."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Quotes:
    """What was answered to a prompt, by whom: none of its characters is markup."""

    prompt: str
    said: Sequence[tuple[str, str]]


Part = str | Table | Quotes | list[str] | Path


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what is below it."""

    title: str
    parts: Sequence[Part]
    """Paragraphs, tables, quotes, lists and pictures; `code` is marked as in Markdown."""


def markdown(title: str, sections: Sequence[Section]) -> str:
    """The page as Markdown; pictures are files beside it."""
    blocks = [f"# {title}"]
    for section in sections:
        blocks.append(f"## {section.title}")
        for part in section.parts:
            if isinstance(part, str):
                blocks.append(f"```text\n{part[1:-1]}\n```" if _is_code(part) else part)
            elif isinstance(part, Table):
                blocks.append(_markdown_table(part))
            elif isinstance(part, Quotes):
                blocks.append(f"Prompt: {_as_said(part.prompt)}")
                blocks.append("\n".join(f"- {who}: {_as_said(text)}" for who, text in part.said))
            elif isinstance(part, list):
                blocks.append("\n".join(f"- {item}" for item in part))
            else:
                blocks.append(f"![{part.stem}]({part.name})")
    return "\n\n".join(blocks) + "\n"


def _as_said(text: str) -> str:
    """In one line, with a backslash before what Markdown would read as markup."""
    return re.sub(r"([\\`*_\[\]<>#|~&$])", r"\\\1", " ".join(text.split())) or "(nothing)"


def _markdown_table(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = "|" + "|".join(["---", *["---:"] * (len(table.head) - 1)]) + "|"
    return "\n".join([line(table.head), rule, *map(line, table.rows)])


def html_page(title: str, sections: Sequence[Section]) -> str:
    """The page as HTML, pictures included."""
    body = [f"<h1>{html.escape(title)}</h1>"]
    for section in sections:
        body.append(f"<h2>{html.escape(section.title)}</h2>")
        body += [_html_part(part) for part in section.parts]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _html_part(part: Part) -> str:
    if isinstance(part, str):
        return (
            f"<pre>{html.escape(part[1:-1])}</pre>" if _is_code(part) else f"<p>{_marked(part)}</p>"
        )
    if isinstance(part, Table):
        return _html_table(part)
    if isinstance(part, Quotes):
        said = "".join(_html_quote(who, text) for who, text in part.said)
        return f"<p>Prompt: {html.escape(part.prompt)}</p><dl>{said}</dl>"
    if isinstance(part, list):
        return "<ul>" + "".join(f"<li>{_marked(item)}</li>" for item in part) + "</ul>"
    picture = base64.b64encode(part.read_bytes()).decode()
    source = f"data:image/svg+xml;base64,{picture}"
    return f'<figure><img src="{source}" alt="{html.escape(part.stem)}"></figure>'


def _html_quote(who: str, text: str) -> str:
    return f"<dt>{html.escape(who)}</dt><dd>{html.escape(text) or '(nothing)'}</dd>"


def _html_table(table: Table) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    rows = "\n".join(line(row, "td") for row in table.rows)
    return (
        f'<div class="wide"><table><thead>{line(table.head, "th")}</thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _is_code(part: str) -> bool:
    return part.startswith("`") and part.endswith("`") and part.count("`") == 2


def _marked(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
