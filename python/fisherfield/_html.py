# SPDX-License-Identifier: BSD-3-Clause
"""Results in a notebook: what their repr says, with its rows as tables."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from html import escape

_BETWEEN = re.compile(r"\s{2,}")  # cells of a row
_NUMBER = re.compile(r"[<>=~\s]*[-+]?(\d|inf\b|nan\b)", re.IGNORECASE)


class InNotebooks:
    """A result whose repr a notebook shows as tables and paragraphs."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return html(repr(self))


def html(text: str) -> str:
    """Rows of words and numbers as tables, the first line bold, other lines as paragraphs."""
    lines = [_BETWEEN.split(line.strip()) for line in text.splitlines() if line.strip()]
    parts: list[str] = []
    for several, group in itertools.groupby(lines, key=lambda cells: len(cells) > 1):
        rows = list(group)
        if several and len(rows) > 1:
            parts.append(table(rows))
            continue
        words = ["  ".join(cells) for cells in rows]
        if not parts:
            parts.append(f"<p><b>{escape(words.pop(0))}</b></p>")
        parts.append(paragraph(words))
    return together(*parts)


def together(*parts: str) -> str:
    return f"<div>{''.join(parts)}</div>"


def paragraph(lines: Sequence[str]) -> str:
    return f"<p>{'<br>'.join(map(escape, lines))}</p>" if lines else ""


def table(rows: Sequence[Sequence[str]]) -> str:
    """Numbers stand to the right; a first row without any is the head."""
    head = not any(_NUMBER.match(cell) for cell in rows[0])
    lines = []
    for place, cells in enumerate(rows):
        tag = "th" if head and place == 0 else "td"
        lines.append("".join(f'<{tag} style="text-align: {_side(cell, tag)}">{escape(cell)}</{tag}>' for cell in cells))
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _side(cell: str, tag: str) -> str:
    return "right" if tag == "th" or _NUMBER.match(cell) else "left"
