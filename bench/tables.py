"""Tables as Markdown, and figures as words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tabulate import tabulate

from .statistics import Estimate

NONE, MINUS = "–", "\N{MINUS SIGN}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells stand as they are written, also those that look like numbers. No rows, no table."""
    lines = [list(row) for row in rows]
    return tabulate(lines, head, tablefmt="pipe", disable_numparse=True) if lines else ""


def columns_table(items: Iterable[Any], columns: Mapping[str, Callable[[Any], str]]) -> str:
    """A line an item; columns: by title what says the item's cell."""
    return table(list(columns), [[cell(item) for cell in columns.values()] for item in items])


def number(figure: Estimate | None, digits: int = 3, interval: bool = True, scale: float = 1, unit: str = "") -> str:
    """A figure: 0.072 (0.070–0.075)."""
    if figure is None or not figure.count:
        return NONE
    value, low, high = (f"{scale * part:.{digits}f}" for part in (figure.value, figure.low, figure.high))
    return f"{value}{unit} ({low}–{high})" if interval else f"{value}{unit}"


def percent(figure: Estimate | None, interval: bool = True) -> str:
    """A share: 12 % (9–16)."""
    return number(figure, 0, interval, 100, " %")


def recorded(figure: dict[str, Any] | None, digits: int = 3) -> str:
    """A figure that the results bring with its interval."""
    if figure is None:
        return NONE
    value, low, high = (f"{part + 0.0:.{digits}f}" for part in (figure["value"], *figure["interval"]))  # no -0.0
    return f"{value} ({low}–{high})"


def signed(value: float, digits: int = 0) -> str:
    """With its sign, a minus of the width of a digit; what rounds to nothing has none."""
    text = f"{abs(value):.{digits}f}"
    return text if not float(text) else f"{MINUS if value < 0 else '+'}{text}"


def points(figure: Estimate | None) -> str:
    """A difference of shares, in points: -3 (-6 to +1), with MINUS."""
    if figure is None:
        return NONE
    value, low, high = (signed(100 * part) for part in (figure.value, figure.low, figure.high))
    return f"{value} ({low} to {high})"


def times(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f} x"


def report(template: str, values: Mapping[str, str]) -> str:
    """A template with its {values}.

    A section (from "## " to the next) whose values are all empty is left out, and a picture without a file.
    """
    sections = []
    for section in re.split(r"(?m)^(?=## )", template):
        names = re.findall(r"{(\w+)", section)
        if not names or any(values[name] for name in names):
            sections.append(section.format(**values))
    text = re.sub(r"(?m)^!\[.*\]\(\)$", "", "".join(sections))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def made_of(made: Mapping[str, Any], provenance: str) -> dict[str, str]:
    """What a template may say of how results were made."""
    quick = " **A quick run: a sanity check, not a result.**" if made.get("quick") else ""
    values = {name: f"{value:g}" if isinstance(value, (int, float)) else str(value) for name, value in made.items()}
    return {**values, "minutes": f"{made.get('minutes', 0):.0f}", "provenance": provenance, "quick": quick}
