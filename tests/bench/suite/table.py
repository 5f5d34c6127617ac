"""The one table that a run of the benchmarks ends with: a line a figure, and a verdict where there is an aim."""

from dataclasses import dataclass
from typing import Optional

AT_LEAST, AT_MOST = ">=", "<="


@dataclass
class Aim:
    sense: str  # AT_LEAST or AT_MOST
    value: float
    unit: str = ""

    def reached(self, figure):
        return figure >= self.value if self.sense == AT_LEAST else figure <= self.value

    def __str__(self):
        return f"{self.sense} {number(self.value)}{self.unit}"


@dataclass
class Row:
    part: str
    what: str
    measured: str  # raw, with its unit
    against: str  # what it is compared with, raw; or how it was measured
    figure: Optional[float] = None  # a ratio, or a figure that has an aim by itself
    unit: str = ""
    aim: Optional[Aim] = None

    @property
    def verdict(self):
        if self.aim is None:
            return ""
        return "ok" if self.aim.reached(self.figure) else "MISSED"

    def cells(self):
        figure = "" if self.figure is None else number(self.figure) + self.unit
        return (self.part, self.what, self.measured, self.against, figure, str(self.aim or ""), self.verdict)


def number(value):
    """Three digits that count, and no exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"


def rate(per_second):
    return f"{number(per_second)}/s"


def duration(seconds):
    for unit, scale in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1:
            return f"{number(seconds * scale)} {unit}"
    return f"{number(seconds * 1e9)} ns"


HEADINGS = ("part", "what", "measured", "against", "figure", "aim", "")
RIGHT = {4}


def render(rows):
    lines = [HEADINGS] + [row.cells() for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    out, part = [], None
    for line in lines:
        cells = list(line)
        if cells[0] == part:
            cells[0] = ""
        part = line[0]
        out.append("  ".join(cell.rjust(width) if column in RIGHT else cell.ljust(width)
                             for column, (cell, width) in enumerate(zip(cells, widths))).rstrip())
    out.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(out)


def missed(rows):
    return [row for row in rows if row.verdict == "MISSED"]
