"""The few SVG elements that the explorables are drawn with: strings in, strings out.

A drawing is WIDTH units wide and shrinks with the page. Text takes the page's color (`currentColor`), so one picture
serves a light and a dark theme. Nothing has an id: many pictures share a page. Not here: layout, axes, animation.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from html import escape

WIDTH = 640
MOST = 704  # pixels: wider, and the words in a picture would be larger than those around it
MARGIN = 12
GIB = 2**30


def svg(height: float, parts: Iterable[str], sentence: str) -> str:
    """A whole picture. `sentence` says in words what it shows: it is what a screen reader reads.

    >>> svg(10, [rect(0, 0, 5, 5, "#000000")], "a square")[:60]
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 10"'
    """
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img" '
        f'aria-label="{escape(sentence)}" font-family="system-ui, sans-serif" font-size="14" fill="currentColor" '
        f'style="display:block;width:100%;max-width:{MOST}px">' + "".join(parts) + "</svg>"
    )


def still(picture: str) -> str:
    """The same picture for a viewer without a page around it: with a size, a background, a margin, and dark text."""
    place = picture.split('viewBox="')[1].split('"')[0]
    wide, high = WIDTH + 2 * MARGIN, float(place.split()[-1]) + 2 * MARGIN
    with_margin = f'width="{wide}" height="{high:g}" viewBox="{-MARGIN} {-MARGIN} {wide} {high:g}"'
    return picture.replace(f'viewBox="{place}"', with_margin, 1).replace(
        'style="', 'style="background:#ffffff;color:#1a1a1a;', 1
    )


def still_html(picture: str, sentence: str) -> str:
    """A still and its sentence as HTML: JupyterLab hides SVG in notebooks not yet trusted, and never shrinks it."""
    words = picture.split('aria-label="')[1].split('"')[0]
    data = base64.b64encode(still(picture).encode()).decode()
    image = (
        f'<img src="data:image/svg+xml;base64,{data}" alt="{words}" style="width:100%;max-width:{MOST}px">'
    )
    return f'{image}<p aria-hidden="true">{escape(sentence)}</p>'


def text(
    x: float,
    y: float,
    words: str,
    *,
    size: float | None = None,
    anchor: str = "start",
    bold: bool = False,
    fill: str | None = None,
) -> str:
    """Words that start at x, are centered on it, or end there (anchor start, middle, end); y is their baseline."""
    extra = f' font-size="{size:g}"' if size else ""
    extra += f' text-anchor="{anchor}"' if anchor != "start" else ""
    extra += ' font-weight="600"' if bold else ""
    extra += f' fill="{fill}"' if fill else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{extra}>{escape(words, quote=False)}</text>'


def title(words: str) -> str:
    """The heading of a picture: what to see in it."""
    return text(0, 16, words, size=16, bold=True)


def rect(
    x: float, y: float, width: float, height: float, fill: str, *, opacity: float = 1, hint: str = ""
) -> str:
    """A filled box; `hint` shows when the mouse rests on it."""
    faint = f' opacity="{opacity:g}"' if opacity != 1 else ""
    inside = f"<title>{escape(hint, quote=False)}</title>" if hint else ""
    box = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {box} fill="{fill}"{faint}>{inside}</rect>'


def frame(
    x: float, y: float, width: float, height: float, stroke: str = "currentColor", thick: float = 1
) -> str:
    """The outline of a box."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="none" '
        f'stroke="{stroke}" stroke-width="{thick:g}"/>'
    )


def line(
    x1: float,
    y1: float,
    x2: float,
    y2: float,
    stroke: str = "currentColor",
    *,
    thick: float = 1,
    dash: str = "",
) -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}" '
        f'stroke-width="{thick:g}"{dashes}/>'
    )


def curve(points: Iterable[tuple[float, float]], stroke: str, *, thick: float = 2.5, dash: str = "") -> str:
    """A line through all points (x, y)."""
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<polyline points="{places}" fill="none" stroke="{stroke}" stroke-width="{thick:g}" '
        f'stroke-linejoin="round"{dashes}/>'
    )


def dot(x: float, y: float, radius: float, fill: str, *, opacity: float = 1) -> str:
    faint = f' opacity="{opacity:g}"' if opacity != 1 else ""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{fill}"{faint}/>'


def holds(parts: Iterable[str], control: str, value: object, cursor: str = "pointer") -> str:
    """Parts that set a control of the explorable when they are clicked, or dragged to (widgets/holding.js).

    A box without a fill among them counts too: it makes a small mark easier to hit.

    >>> holds([dot(5, 5, 2, "#000000")], "outlier", 8)[:30]
    '<g data-set="outlier=8" style='
    """
    name = escape(f"{control}={in_a_name(value)}")
    return f'<g data-set="{name}" style="cursor:{cursor};touch-action:none;pointer-events:all">{"".join(parts)}</g>'


def polygon(points: Iterable[tuple[float, float]], fill: str, *, opacity: float = 1) -> str:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polygon points="{places}" fill="{fill}" opacity="{opacity:g}"/>'


def in_a_name(value: object) -> str:
    """A control's value as `holds` writes it.

    >>> in_a_name(24.0), in_a_name("nf4"), in_a_name(True)
    ('24', 'nf4', 'True')
    """
    return f"{value:g}" if isinstance(value, float) else str(value)


def scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """A linear scale: maps low … high to start … end.

    >>> scale(0, 10, 100, 200)(5)
    150.0
    """
    return lambda value: start + (value - low) / ((high - low) or 1) * (end - start)


# -- numbers as words ------------------------------------------------------------------------------------------


def bytes_in_words(number: float) -> str:
    """Bytes in decimal units, as disks and files are sold.

    >>> bytes_in_words(393_216), bytes_in_words(13.5e9), bytes_in_words(512)
    ('393 kB', '13.5 GB', '512 B')
    """
    return _scaled(number, ["B", "kB", "MB", "GB", "TB"], " ")


def gib(number: float) -> str:
    """Bytes in GiB, as the memory of GPUs is counted.

    >>> gib(24 * 2**30), gib(2**29), gib(3 * 2**20)
    ('24.0 GiB', '0.5 GiB', '0.0029 GiB')
    """
    value = number / GIB
    return f"{value:,.0f} GiB" if value >= 100 else f"{value:.1f} GiB" if value >= 1 else f"{value:.2g} GiB"


def count_in_words(number: float) -> str:
    """A large number in short form.

    >>> count_in_words(98_304), count_in_words(6_738_415_616), count_in_words(512)
    ('98.3 thousand', '6.74 billion', '512')
    """
    return _scaled(number, ["", "thousand", "million", "billion", "trillion"], " ").strip()


def percent(share: float) -> str:
    """A share in percent; small ones have two significant digits.

    >>> percent(0.0184), percent(0.00034), percent(0.5)
    ('1.84%', '0.034%', '50.0%')
    """
    if share >= 0.1 or share == 0:
        return f"{share:.1%}"
    return f"{share:.2%}" if share >= 0.001 else f"{100 * share:.2g}%"


def _scaled(number: float, units: list[str], space: str) -> str:
    value, unit = float(number), 0
    while value >= 999.5 and unit < len(units) - 1:
        value, unit = value / 1000, unit + 1
    digits = f"{value:.0f}" if unit == 0 or value >= 100 else f"{value:.3g}"
    return f"{digits}{space}{units[unit]}"
