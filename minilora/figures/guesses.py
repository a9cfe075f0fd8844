"""A guess beside what was measured: on a line of numbers, or among the options there were.

Each function returns (svg, sentence). The amber mark is the measurement, the gray one the guess, and words say which is
which. Not here: asking for the guess and keeping it (minilora/lesson/guessing.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from minilora.figures import svg
from minilora.figures.colors import COLORS

LEFT, RIGHT = 30, svg.WIDTH - 30  # of the line of numbers
GUESS, MEASURED = COLORS["neutral"], COLORS["trainable"]


def on_a_line(
    guess: float | None, measured: float, low: float, high: float, unit: str = "", log: bool = False
) -> tuple[str, str]:
    """Guess and measurement on a line from low to high; the line grows if the measurement lies outside.

    Args:
        guess: The learner's number, or None if there is none.
        measured: What the cell found.
        low: Where the line starts; above zero if log is true.
        high: Where the line ends.
        unit: Written after each number, for example "%" or "GB".
        log: Whether equal distances are equal factors.

    Returns:
        The picture, and one sentence that says how close the guess was.

    >>> on_a_line(10, 1.8, 0, 100, "%")[1]
    'Close: you guessed 10%, and it is 1.8%.'
    >>> on_a_line(100, 2, 0.1, 100, "%", log=True)[1]
    'You guessed 100%, and it is 2%: smaller by a factor of 50.'
    """
    sentence = _verdict(guess, measured, low, high, unit, log)
    log = log and low > 0 and measured > 0
    low, high = min(low, measured), max(high, measured)
    place = _places(low, high, log)
    y = 74.0
    parts = [svg.title(_heading(sentence, guess, measured))]
    parts.append(svg.line(LEFT, y, RIGHT, y, GUESS, thick=2))
    for value in (low, high):
        parts.append(svg.line(place(value), y - 5, place(value), y + 5, GUESS))
    if guess is not None:
        parts.append(svg.line(place(guess), y, place(measured), y, MEASURED, thick=4))
        parts += _mark(place(guess), y, -16, f"your guess: {in_words(guess, unit)}", GUESS)
    parts += _mark(place(measured), y, 26, f"measured: {in_words(measured, unit)}", MEASURED, bold=True)
    # The ends of the line, where the marks leave room for them.
    for value in (low, high):
        if abs(place(value) - place(measured)) > 130:
            anchor = "start" if value == low else "end"
            parts.append(
                svg.text(place(value), y + 26, in_words(value, unit), size=12, anchor=anchor, fill=GUESS)
            )
    return svg.svg(112, parts, sentence), sentence


def among_options(
    options: Sequence[str], guess: str | None, right: str, measured: str = ""
) -> tuple[str, str]:
    """The options in rows, with a mark on the guess and one on what came true.

    Args:
        options: All that could be chosen.
        guess: The learner's choice, or None.
        right: The option that the measurement picked.
        measured: The measurement itself, if it says more than the option, for example "1.8%".

    Returns:
        The picture, and one sentence that says whether the guess was right.

    >>> among_options(["rank 1", "rank 4"], "rank 4", "rank 4")[1]
    'Right: you guessed rank 4.'
    >>> among_options(["half", "one in fifty"], "half", "one in fifty", "1.8%")[1]
    'You guessed half; it is 1.8%.'
    """
    heading = "The answer" if guess is None else "Right" if guess == right else "Not quite"
    if guess is None:
        sentence = f"It is {measured}." if measured else f"The answer: {right}."
    elif guess == right:
        sentence = f"Right: you guessed {guess}" + (f", and it is {measured}." if measured else ".")
    else:
        sentence = f"You guessed {guess}; " + (
            f"it is {measured}." if measured else f"the answer is {right}."
        )
    parts, y = [svg.title(heading)], 30.0
    for option in options:
        if option == right:
            parts.append(svg.rect(0, y, svg.WIDTH, 26, MEASURED, opacity=0.25))
            said = f"it is {measured}" if measured else "the answer"
            parts.append(svg.text(svg.WIDTH - 10, y + 18, said, anchor="end", bold=True))
        parts.append(svg.frame(0.5, y, svg.WIDTH - 1, 26, GUESS))
        parts.append(svg.text(28, y + 18, option, bold=option == right))
        if option == guess:
            parts.append(svg.dot(14, y + 13, 6, GUESS))
            parts.append(svg.text(svg.WIDTH / 2, y + 18, "your guess", anchor="middle"))
        y += 30
    return svg.svg(y + 2, parts, sentence), sentence


def in_words(number: float, unit: str = "") -> str:
    """A number as people write it: three significant digits, or whole from 1,000 on.

    >>> in_words(1.8123, "%"), in_words(106_496), in_words(0.5, "GB"), in_words(120)
    ('1.81%', '106,496', '0.5 GB', '120')
    """
    digits = f"{number:,.0f}" if abs(number) >= 1000 else f"{float(f'{number:.3g}'):g}"
    return digits + (unit if unit == "%" else f" {unit}" if unit else "")


def _verdict(guess: float | None, measured: float, low: float, high: float, unit: str, log: bool) -> str:
    found = in_words(measured, unit)
    if guess is None:
        return f"It is {found}."
    said = f"you guessed {in_words(guess, unit)}, and it is {found}"
    word = "smaller" if measured < guess else "larger"
    if log and min(guess, measured) > 0:
        factor = max(guess, measured) / min(guess, measured)
        if factor <= 1.5:
            return f"{'Spot on' if factor <= 1.1 else 'Close'}: {said}."
        return f"Y{said[1:]}: {word} by a factor of {in_words(factor)}."
    distance = abs(measured - guess)
    if distance <= 0.1 * (high - low):
        return f"{'Spot on' if distance <= 0.03 * (high - low) else 'Close'}: {said}."
    far = f"{in_words(distance)} percentage points" if unit == "%" else in_words(distance, unit)
    return f"Y{said[1:]}: {word} by {far}."


def _heading(sentence: str, guess: float | None, measured: float) -> str:
    """A few words; the sentence below the picture has the numbers."""
    if guess is None:
        return "The answer"
    if sentence.startswith("Y"):
        return "Smaller than you guessed" if measured < guess else "Larger than you guessed"
    return sentence.split(":")[0]


def _places(low: float, high: float, log: bool):
    if not log:
        return svg.scale(low, high, LEFT, RIGHT)
    place = svg.scale(math.log(low), math.log(high), LEFT, RIGHT)
    return lambda value: place(math.log(max(value, low)))


def _mark(x: float, y: float, down: float, words: str, color: str, bold: bool = False) -> list[str]:
    """A dot on the line and its words above or below, kept inside the picture."""
    anchor = "start" if x < 120 else "end" if x > svg.WIDTH - 120 else "middle"
    edge = max(0.0, x - 8) if anchor == "start" else x + 8 if anchor == "end" else x
    return [svg.dot(x, y, 8, color), svg.text(edge, y + down, words, anchor=anchor, bold=bold)]
