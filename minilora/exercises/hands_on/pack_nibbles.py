"""Exercise: two 4-bit numbers in one byte."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Codes
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong


def pack_nibbles(places, filler):
    """places uint8 (n,), each 0 … 15; filler 0 … 15 joins an odd one out -> bytes uint8 (ceil(n / 2),).

    >>> packed = pack_nibbles(np.array([15, 2, 8], np.uint8), filler=7)
    >>> [f"{byte:08b}" for byte in packed]  # 15 and 2, then 8 and the filler
    ['11110010', '10000111']
    """
    ### BEGIN SOLUTION
    if len(places) % 2:
        places = np.append(places, np.uint8(filler))
    return places[0::2] << 4 | places[1::2]
    ### END SOLUTION


def draw(rng: np.random.Generator) -> list[Case]:
    odd = (
        "Only an odd number of values goes wrong: the last value is then joined by the "
        "filler, which takes the low bits."
    )
    fillers = [int(filler) for filler in rng.permutation(np.setdiff1d(np.arange(1, 15), [7]))[:4]]

    def places(count, filler):
        """No two neighbors are equal, and the last is neither 0 nor the filler, so that each mistake shows."""
        while True:
            found = rng.integers(0, 16, count).astype(np.uint8)
            if (found[1:] != found[:-1]).all() and found[-1] not in (0, filler):
                return found

    return [
        Case(label, {"places": places(count, filler), "filler": filler}, odd if count % 2 else "")
        for (label, count), filler in zip(
            (("an even number", 8), ("six", 6), ("an odd number", 7), ("a single one", 1)),
            fillers,
            strict=True,
        )
    ]


def by_arithmetic(places, filler):
    padded = [*places.tolist(), filler][: len(places) + len(places) % 2]
    return np.array([16 * high + low for high, low in zip(padded[::2], padded[1::2], strict=True)], np.uint8)


def by_reshape(places, filler):
    pairs = np.pad(places, (0, len(places) % 2), constant_values=filler).reshape(-1, 2)
    return (pairs * np.array([16, 1], np.uint8)).sum(axis=1, dtype=np.uint8)


def by_bits(places, filler):
    padded = np.r_[places, np.full(len(places) % 2, filler, np.uint8)]
    return np.packbits(np.unpackbits(padded[:, None], axis=1)[:, 4:])


def by_torch(places, filler):
    import torch

    places = torch.from_numpy(places)
    if places.numel() % 2:
        places = torch.cat([places, places.new_tensor([filler])])
    high, low = places.view(-1, 2).unbind(dim=1)
    return high << 4 | low


def padded_with(value):
    def pad(places, filler):
        return np.append(places, np.uint8(value(filler))) if len(places) % 2 else places

    return pad


def flawed(join=lambda high, low: high << 4 | low, pad=None, kind=np.uint8):
    def pack(places, filler):
        padded = (pad or padded_with(lambda filler: filler))(places, filler)
        return join(padded[0::2], padded[1::2]).astype(kind)

    return pack


def kept_last(places, filler):
    """The odd one out becomes a byte by itself, in the low bits."""
    even = len(places) // 2 * 2
    return np.append(flawed()(places[:even], filler), places[even:])


def always_filled(places, filler):
    return flawed()(
        np.append(places, np.uint8(filler))
        if len(places) % 2
        else np.append(places, [filler] * 2).astype(np.uint8),
        filler,
    )


def backwards(places, filler):
    return flawed()(places, filler)[::-1]


def as_bit_text(places, filler):
    padded = padded_with(lambda filler: filler)(places, filler)
    return np.array([int(f"{a:b}{b:b}", 2) for a, b in zip(padded[::2], padded[1::2], strict=True)], np.uint8)


def filled_in_front(places, filler):
    return flawed()(np.append(np.uint8(filler), places) if len(places) % 2 else places, filler)


def halves(places, filler):
    padded = padded_with(lambda filler: filler)(places, filler)
    half = len(padded) // 2
    return padded[:half] << 4 | padded[half:]


def filler_first(places, filler):
    padded = np.append(places, np.uint8(filler)) if len(places) % 2 else places
    packed = padded[0::2] << 4 | padded[1::2]
    if len(places) % 2:
        packed[-1] = filler << 4 | places[-1]
    return packed


EXERCISE = Exercise(
    name="pack-nibbles",
    title="Two numbers in one byte",
    minutes=10,
    points=2,
    statement="""
A 4-bit number in a `uint8` array wastes half of every byte, for a computer has no smaller unit. So two of
them share one: the first in the high four bits, the second in the low ones. Without this step "4-bit"
weights would take as much memory as 8-bit ones.

Write `pack_nibbles`. If the number of values is odd, `filler` takes the empty place at the end.
""",
    solution=pack_nibbles,
    example={"places": np.array([15, 2, 8], np.uint8), "filler": 7},
    draw=draw,
    result=Codes("the bytes", np.uint8),
    hints=(
        "places[0::2] are the first ones of all pairs, places[1::2] the second ones.",
        "Moving a number four bits to the left, with << 4, is multiplying it by 16. Then there is room for "
        "a second one.",
        "If the length is odd, append the filler; then places[0::2] << 4 | places[1::2].",
    ),
    pitfalls=(
        "`operands could not be broadcast together`: the number of values is odd, and the two halves are "
        "of unequal length.",
        "`has the type int64`: a Python int slipped in; keep to np.uint8.",
    ),
    explanation="bitsandbytes packs in this order too, so its files and ours hold the same bytes. An odd "
    "count costs half a byte; and "
    "whoever unpacks must know the count, for the filler looks like any other value.",
    wrong=(
        Wrong(
            "swapped",
            flawed(lambda high, low: low << 4 | high),
            "The two halves of each byte are swapped: the first value of a pair goes into the high bits.",
        ),
        Wrong(
            "odd-lost",
            flawed(pad=lambda places, filler: places[: len(places) // 2 * 2]),
            "The last value is lost when their number is odd; it shares its byte with the filler.",
        ),
        Wrong(
            "zero-filler",
            flawed(pad=padded_with(lambda filler: 0)),
            "The odd one out is joined by 0 instead of the filler. Place 0 stands for -1, not for zero.",
        ),
        Wrong(
            "repeated",
            flawed(pad=lambda places, filler: np.append(places, places[-1:]) if len(places) % 2 else places),
            "The odd one out is joined by itself; the filler belongs there.",
        ),
        Wrong(
            "filler-high",
            filler_first,
            "The filler stands in the high bits of the last byte. The value comes first, and the filler "
            "after it.",
        ),
        Wrong(
            "no-shift",
            flawed(lambda high, low: high | low),
            "Both values lie on the same four bits. Move the first one up with << 4.",
        ),
        Wrong(
            "added",
            flawed(lambda high, low: high + low),
            "The two values are added up, so that no one can tell them apart again. Move the first one up "
            "with << 4.",
        ),
        Wrong(
            "shift-three",
            flawed(lambda high, low: high << 3 | low),
            "The first value is moved by three bits, so the two overlap. A nibble has four.",
        ),
        Wrong(
            "ten",
            flawed(lambda high, low: high * 10 + low),
            "You join the values as decimal digits. Four bits hold 16 values, so the first one counts 16 "
            "times.",
        ),
        Wrong(
            "last-alone",
            kept_last,
            "The odd one out gets a byte without the filler, in the low bits. Append the filler first, "
            "then pack.",
        ),
        Wrong(
            "filler-in-front",
            filled_in_front,
            "The filler is put in front, so all pairs move by one. Append it at the end.",
        ),
        Wrong(
            "always-filled",
            always_filled,
            "A byte of fillers is added although the number of values is even. Fill up an odd number only.",
        ),
        Wrong(
            "backwards",
            backwards,
            "The bytes are in reverse order; the first pair comes first.",
        ),
        Wrong(
            "bits-joined",
            as_bit_text,
            "You join the binary digits without leading zeros. Each number takes four bits, also a small "
            "one.",
        ),
        Wrong(
            "and",
            flawed(lambda high, low: high << 4 & low),
            "You join with &, which keeps only bits that both have. Use | to put both in one byte.",
        ),
        Wrong(
            "times-fifteen",
            flawed(lambda high, low: high * 15 + low),
            "The first value counts 15 times. Four bits hold 16 values, so multiply by 16, or shift by 4.",
        ),
        Wrong(
            "halves",
            halves,
            "You pair the first half with the second half. Neighbors share a byte.",
        ),
        Wrong(
            "unpacked",
            lambda places, filler: places,
            "The values are still one to a byte; nothing is saved yet.",
        ),
        Wrong(
            "wide",
            flawed(kind=np.uint16),
            "The bytes are right, but stored as uint16, two bytes each: so nothing is saved.",
        ),
        Wrong(
            "low-half",
            flawed(lambda high, low: high << 4 | low >> 1),
            "The high half of each byte is right, the low one is not: the second number goes there as it is.",
            recognize=lambda arguments, value: np.array_equal(value >> 4, pack_nibbles(**arguments) >> 4),
        ),
        Wrong(
            "high-half",
            flawed(lambda high, low: high << 5 | low),
            "The low half of each byte is right, the high one is not: the first number goes there, moved "
            "by four bits.",
            recognize=lambda arguments, value: np.array_equal(value & 15, pack_nibbles(**arguments) & 15),
        ),
        Wrong(
            "both-halves",
            flawed(lambda high, low: high << 3 ^ low << 1),
            "Neither half of the bytes is right. The first number of a pair takes the high four bits (<< "
            "4), the second the "
            "low four, and | joins them.",
            recognize=lambda arguments, value: (
                value.shape == pack_nibbles(**arguments).shape and value.dtype == np.uint8
            ),
        ),
    ),
    variants=(
        Variant("arithmetic", by_arithmetic),
        Variant("pairs in rows", by_reshape),
        Variant("bit by bit", by_bits),
        Variant("torch", by_torch),
    ),
)
