"""Draws the moving picture at the top of the README: one model, one opening, the adapter switched off and on.

    python tools/switch_picture.py            writes docs/switch.svg
    python tools/switch_picture.py --check    does the model still write that? writes nothing

The text is what tiny-gpt writes, at the default temperature and with SEED. The words appear one after another; where
the reader's system asks for less motion, both texts stand still. The picture has a background of its own, so it can be
read on a light and on a dark page. Not here: the switcher that one can operate (minilora/widgets/adapters.py).
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from html import escape
from pathlib import Path

from minilora import GPT
from minilora.figures.colors import COLORS
from minilora.lesson.watching import write
from minilora.lora import LoraModel

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "switch.svg"
ADAPTER, OPENING, SEED = "legal", "Once upon a time there was a rabbit who", 1
WIDTH, PANEL, GAP, TOP, LINE = 690, 315, 20, 92, 26
LETTERS = 24  # of a line in a panel, in a font that runs wide
LOOP, PAUSE, WORD = 14.0, 1.2, 0.09  # seconds: the whole loop, before the switch moves, from word to word
PAPER, INK, EDGE = "#fbfaf7", "#1a1a1a", "#d8d4c8"
STYLE = """
.word {{ animation: {loop}s infinite both }}
.knob, .light {{ animation: {loop}s infinite both }}
@media (prefers-reduced-motion: reduce) {{ .word, .knob, .light {{ animation: none !important }} }}
"""


def texts() -> tuple[str, str]:
    """What the model writes with the adapter off and on."""
    model = LoraModel.from_pretrained(GPT.from_pretrained("tiny-gpt"), ADAPTER)
    on = write(model, OPENING, max_new_tokens=70, seed=SEED)
    with model.disable_adapter():
        return write(model, OPENING, max_new_tokens=70, seed=SEED), on


def draw(off: str, on: str) -> str:
    """The picture as SVG."""
    turn = PAUSE + WORD * len(off.split()) + PAUSE  # when the switch moves
    rules, parts = [STYLE.format(loop=LOOP)], []
    heights = []
    for side, (words, start) in enumerate(((off, PAUSE / 2), (on, turn + PAUSE / 2))):
        x = GAP + side * (PANEL + GAP)
        name = f"adapter “{ADAPTER}” on" if side else "adapter off: the storyteller"
        color = COLORS["trainable" if side else "frozen"]
        parts.append(
            f'<text x="{x}" y="{TOP - 12}" font-size="17" font-weight="600" fill="{color}">{name}</text>'
        )
        rows = textwrap.wrap(words, LETTERS)
        heights.append(len(rows))
        parts += _words(rows, x + 14, start, "ab"[side], rules)
    high = TOP + LINE * max(heights) + 40
    for side in (0, 1):
        x, color = GAP + side * (PANEL + GAP), COLORS["trainable" if side else "frozen"]
        before, after = (0.25, 1) if side else (1, 0.25)
        lit = f"0%, {_at(turn)} {{ opacity: {before} }} {_at(turn + 0.3)}, 97% {{ opacity: {after} }}"
        rules.append(f"@keyframes light{side} {{ {lit} 100% {{ opacity: {before} }} }}")
        parts.append(
            f'<rect class="light" style="animation-name: light{side}" x="{x}" y="{TOP}" width="{PANEL}" '
            f'height="{high - TOP - 18}" rx="8" fill="none" stroke="{color}" stroke-width="3"/>'
        )
    rules.append(
        f"@keyframes knob {{ 0%, {_at(turn)} {{ transform: none }} "
        f"{_at(turn + 0.3)}, 97% {{ transform: translateX(34px) }} 100% {{ transform: none }} }}"
    )
    switch = (
        f'<rect x="{WIDTH / 2 - 34}" y="22" width="68" height="34" rx="17" fill="{EDGE}"/>'
        f'<circle class="knob" style="animation-name: knob" cx="{WIDTH / 2 - 17}" cy="39" r="13" '
        f'fill="{COLORS["trainable"]}"/>'
    )
    sentence = f"The same model and the same opening. Adapter off: {off} Adapter {ADAPTER} on: {on}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {high}" role="img" '
        f'aria-label="{escape(sentence)}" font-family="system-ui, sans-serif" font-size="19" fill="{INK}">'
        f"<style>{''.join(rules)}</style>"
        f'<rect width="{WIDTH}" height="{high}" rx="12" fill="{PAPER}" stroke="{EDGE}"/>'
        f"{switch}{''.join(parts)}</svg>\n"
    )


def _words(rows: list[str], x: int, start: float, letter: str, rules: list[str]) -> list[str]:
    """Rows of text whose words appear one after another from `start`, and go when the loop ends."""
    parts, count, opening = [], 0, len(OPENING.split())
    for i, row in enumerate(rows):
        spans = []
        for word in row.split():
            if count < opening:  # the reader's words are there from the beginning
                spans.append(f'<tspan font-weight="600">{escape(word)}</tspan>')
            else:
                shown = start + WORD * (count - opening)
                name = f"{letter}{count}"
                rules.append(
                    f"@keyframes {name} {{ 0%, {_at(shown)} {{ opacity: 0 }} "
                    f"{_at(shown + 0.1)}, 97% {{ opacity: 1 }} 100% {{ opacity: 0 }} }}"
                )
                spans.append(f'<tspan class="word" style="animation-name: {name}">{escape(word)}</tspan>')
            count += 1
        parts.append(f'<text x="{x}" y="{TOP + 30 + i * LINE}">{" ".join(spans)}</text>')
    return parts


def _at(seconds: float) -> str:
    """A time within the loop, as CSS writes it."""
    return f"{100 * min(seconds, 0.96 * LOOP) / LOOP:.2f}%"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    picture = draw(*texts())
    if options.check:
        in_step = PICTURE.exists() and PICTURE.read_text(encoding="utf-8") == picture
        print(
            f"{PICTURE.name} is {'in step' if in_step else 'out of step; run: python tools/switch_picture.py'}"
        )
        return 0 if in_step else 1
    PICTURE.write_text(picture, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
