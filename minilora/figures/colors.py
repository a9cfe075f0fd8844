"""One color for each part of training, the same in every figure, on a light page and on a dark one.

Any two of these stay apart for readers who confuse red with green or blue with yellow, and each has a contrast of
3 : 1 or more against white and against JupyterLab's dark page; the tests measure both. Color is never the only sign:
figures also write the name beside the bar. Not here: text, which takes the page's own color.

>>> COLORS["trainable"]
'#d18301'
"""

from __future__ import annotations

from collections.abc import Sequence

COLORS = {
    "frozen": "#595f7e",  # weights that no step changes
    "trainable": "#d18301",  # weights that training changes, and what they do
    "quantized": "#25a1c3",  # frozen weights stored in 4 bits
    "gradients": "#c40307",
    "optimizer": "#8527fd",  # Adam's two moments
    "activations": "#117c53",  # what the forward pass keeps for the backward pass
    "neutral": "#8a8a8a",  # everything else: axes, references, what is not in question
}


def ink(color: str) -> str:
    """Black or white: what reads better on `color`.

    >>> ink("#ffffff"), ink(COLORS["frozen"])
    ('#000000', '#ffffff')
    """
    light = luminance(color)
    return "#000000" if (light + 0.05) / 0.05 > 1.05 / (light + 0.05) else "#ffffff"


def luminance(color: str) -> float:
    """Relative luminance, 0 black … 1 white, as the Web Content Accessibility Guidelines define it."""
    red, green, blue = (_linear(part / 255) for part in rgb(color))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def rgb(color: str) -> tuple[int, int, int]:
    """'#d18301' -> (209, 131, 1)."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def diverging(share: float) -> str:
    """The color of a signed number: -1 is blue-gray, 0 white, 1 amber; larger ones are clipped.

    >>> diverging(0.0), diverging(1.0), diverging(-1.0)
    ('#ffffff', '#d18301', '#595f7e')
    """
    share = min(1.0, max(-1.0, share))
    end = rgb(COLORS["trainable"] if share > 0 else COLORS["frozen"])
    return _hex([255 + (part - 255) * abs(share) for part in end])


def _hex(parts: Sequence[float]) -> str:
    return "#" + "".join(f"{round(part):02x}" for part in parts)


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
