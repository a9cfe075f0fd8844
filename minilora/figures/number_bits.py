"""Draws one number as it is stored in 32, in 16 and in 4 bits, a box for each bit.

Not here: quantizing (minilora/quantization); only the bits of float32 and bfloat16 are worked out.
"""

from __future__ import annotations

import struct

from minilora.figures.colors import COLORS, ink
from minilora.figures.svg import WIDTH, frame, line, rect, svg, text, title

BOX = WIDTH / 32
TOP, ROW, HIGH = 62.0, 96.0, 30.0
SIGN, EXPONENT, FRACTION, CODE = (COLORS[c] for c in ("neutral", "activations", "frozen", "quantized"))


def draw(number: float, code: int, level: float, absmax: float) -> tuple[str, str]:
    """Draws a number in 32, 16 and 4 bits.

    Args:
        number: A float32.
        code: Its NF4 code, 0 … 15.
        level: The level that the code stands for, -1 … 1.
        absmax: Largest magnitude in its block.

    Returns:
        The picture and its sentence.

    >>> draw(0.25, 14, 0.7229568, 0.35)[1]
    'The same number in 32 bits (0.25), in 16 bits (0.25), and in 4 bits (code 14: 0.723 · 0.35 = 0.253).'
    """
    full, half = bits_of(number), bits_of(number)[:16]
    halved = struct.unpack(">f", struct.pack(">I", int(half.ljust(32, "0"), 2)))[0]
    sentence = (
        f"The same number in 32 bits ({number:.8g}), in 16 bits ({halved:.4g}), and in 4 bits "
        f"(code {code}: {level:.3g} · {absmax:.3g} = {level * absmax:.3g})."
    )
    floating = [SIGN] + [EXPONENT] * 8
    rows = [
        (f"float32: {number:.8g}", full, floating + [FRACTION] * 23, f"{2**32:,} patterns"),
        (f"bfloat16: {halved:.4g}", half, floating + [FRACTION] * 7, f"{2**16:,} patterns"),
        (f"NF4: {level * absmax:.3g}", f"{code:04b}", [CODE] * 4, "16 patterns"),
    ]
    parts = [title("The same weight in 32, in 16 and in 4 bits")]
    for i, (name, bits, colors, patterns) in enumerate(rows):
        y = TOP + i * ROW
        parts += [text(0, y - 10, name, size=17, bold=True)]
        parts += [text(WIDTH, y - 10, patterns, size=17, anchor="end")]
        for j, (bit, color) in enumerate(zip(bits, colors, strict=True)):
            parts += [rect(j * BOX + 1, y, BOX - 2, HIGH, color)]
            parts += [text((j + 0.5) * BOX, y + 21, bit, size=16, anchor="middle", fill=ink(color))]
    parts += _braces(TOP + HIGH)
    y = TOP + 2 * ROW
    parts += [text(4 * BOX + 12, y + 21, f"code {code} stands for {level:.3g}", size=17)]
    parts += [text(4 * BOX + 12, y + 45, f"times the block's absmax, {absmax:.3g}", size=17)]
    parts += [frame(1, y, 4 * BOX - 2, HIGH, CODE)]
    return svg(y + 58, parts, sentence), sentence


def bits_of(number: float) -> str:
    """The 32 bits of a float32.

    >>> bits_of(-1.0)
    '10111111100000000000000000000000'
    """
    return f"{struct.unpack('>I', struct.pack('>f', number))[0]:032b}"


def _braces(y: float) -> list[str]:
    """What the bits of a floating-point number mean, below the first row."""
    parts = []
    for start, end, words in ((0, 1, "sign"), (1, 9, "exponent: size"), (9, 32, "fraction: digits")):
        left, right = start * BOX + 1, end * BOX - 1
        parts.append(line(left, y + 6, right, y + 6, thick=2))
        parts.append(text(left + (BOX if start == 1 else 0), y + 24, words, size=16))  # clear of "sign"
    return parts
