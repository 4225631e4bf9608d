"""How values show themselves: one line as their ``repr``, and in notebooks a table or a picture as HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence

_TABLE = '<table style="text-align:left">'


def cell(value: object) -> str:
    """A value in a table, as text."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}"
    return str(value)


def html_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; whatever is in it is text."""
    top = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    lines = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell(value))}</td>" for value in row) + "</tr>" for row in rows
    )
    return f"{_TABLE}<thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"


def html_lines(text: str) -> str:
    """Lines of text as a paragraph each."""
    return "".join(f"<div>{html.escape(line)}</div>" for line in text.splitlines())


class Shown:
    """Has a short ``repr``, and an HTML form where :meth:`_details` has more to say."""

    __slots__ = ()

    def _summary(self) -> str:
        """The value in one line, without its type."""
        raise NotImplementedError

    def _details(self) -> str:
        """HTML that notebooks show below that; empty for nothing."""
        return ""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._summary()}>"

    def _repr_html_(self) -> str:
        return f"<div><b>{html.escape(self._summary())}</b></div>{self._details()}"
