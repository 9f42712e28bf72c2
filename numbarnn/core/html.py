"""Tables for notebooks: what is shown of an object, escaped, without styles or scripts of others."""

import html
from collections.abc import Iterable, Sequence
from typing import Any

from numbarnn.checks import brief


def html_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], note: str = "") -> str:
    """Return a table in HTML; all texts are escaped.

    Parameters
    ----------
    title : str
    columns : sequence of str
    rows : iterable of sequences
        Of text or numbers.
    note : str
        A line below the table.
    """
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    below = f"<p>{html.escape(note)}</p>" if note else ""
    caption = f"<caption>{html.escape(title)}</caption>"
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"


def html_parameters(self) -> str:
    """Return a table of the parameters of an object with `get_params`, those that are not their defaults first."""
    from inspect import signature

    defaults = signature(type(self).__init__).parameters
    rows = [(name, value, value is defaults[name].default or value == defaults[name].default)
            for name, value in self.get_params(deep=False).items()]  # fmt: skip
    rows = [
        (name, brief(value), "default" if same else "") for name, value, same in sorted(rows, key=lambda row: row[2])
    ]
    return html_table(type(self).__name__, ("parameter", "value", ""), rows, _fitted(self))


def _fitted(self):
    return "fitted" if any(name.endswith("_") and not name.startswith("_") for name in vars(self)) else "not fitted"


def _cell(value):
    if isinstance(value, float):
        value = f"{value:.4g}"
    return f"<td>{html.escape(str(value))}</td>"


class Shown(str):
    """Text that a prompt shows as it is, not as a literal with escaped line breaks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
