"""Curves in a terminal: lines in braille dots, single points as marks, the scale at the left.

A braille cell is two dots wide and four high, so 40 columns show 80 points.
"""

from __future__ import annotations

from collections.abc import Sequence

Points = Sequence[tuple[float, float]]

MARK = "●"
_BLANK = 0x2800
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # by column and row, as Unicode numbers them
_PLAIN_MARK, _PLAIN_DOT = "o", "*"


def curve(line: Points, marks: Points = (), *, width: int, height: int, last: float = 0.0) -> list[str]:
    """Return `height` rows of `width` cells: `line` in dots, `marks` as marks over it.

    The abscissa goes from 0 to `last` or the furthest point, the ordinate from the least to the greatest value drawn;
    several points of a column of dots are one, their mean.
    """
    end = max([last, *(x for x, _ in (*line, *marks))], default=0.0) or 1.0
    drawn = _columns(line, end, width * 2)
    low, high = bounds(line, marks, columns=width * 2, last=last)
    span = (high - low) or 1.0
    cells = [[_BLANK] * width for _ in range(height)]

    def place(value: float, rows: int) -> int:
        return min(rows - 1, max(0, round((high - value) / span * (rows - 1))))

    before: tuple[int, int] | None = None
    for column, mean in sorted(drawn.items()):
        here = column, place(mean, height * 4)
        for x, y in _between(before, here):
            cells[y // 4][x // 2] |= _DOTS[x % 2][y % 4]
        before = here
    rows = [[chr(cell) if cell != _BLANK else " " for cell in row] for row in cells]
    for at, value in marks:
        rows[place(value, height)][min(width - 1, int(at / end * width))] = MARK
    return ["".join(row) for row in rows]


def bounds(line: Points, marks: Points = (), *, columns: int, last: float = 0.0) -> tuple[float, float]:
    """Return the least and the greatest value that `curve` draws; (0, 0) of nothing."""
    end = max([last, *(x for x, _ in (*line, *marks))], default=0.0) or 1.0
    values = [*_columns(line, end, columns).values(), *(value for _, value in marks)]
    return (min(values), max(values)) if values else (0.0, 0.0)


def plain(text: str) -> str:
    """Return a drawing in characters that every terminal has."""
    return "".join(_PLAIN_MARK if c == MARK else _PLAIN_DOT if _BLANK < ord(c) < _BLANK + 256 else c for c in text)


def _columns(line: Points, end: float, columns: int) -> dict[int, float]:
    found: dict[int, list[float]] = {}
    for x, value in line:
        found.setdefault(min(columns - 1, int(x / end * columns)), []).append(value)
    return {column: sum(values) / len(values) for column, values in found.items()}


def _between(before: tuple[int, int] | None, here: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the dots from one to the next, the first left out."""
    if before is None:
        return [here]
    (x0, y0), (x1, y1) = before, here
    count = max(abs(x1 - x0), abs(y1 - y0))
    return [(x0 + round((x1 - x0) * i / count), y0 + round((y1 - y0) * i / count)) for i in range(1, count + 1)]
