"""Exercise: two 4-bit numbers in one byte."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Codes
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong


def pack_nibbles(indices, filler):
    """Packs two 4-bit numbers into each byte.

    Args:
        indices: uint8 (n,), each 0 … 15.
        filler: 0 … 15; fills the last byte if n is odd.

    Returns:
        The bytes, uint8 (ceil(n / 2),).

    >>> packed = pack_nibbles(np.array([15, 2, 8], np.uint8), filler=7)
    >>> [f"{byte:08b}" for byte in packed]  # 15 and 2, then 8 and the filler
    ['11110010', '10000111']
    """
    ### BEGIN SOLUTION
    if len(indices) % 2:
        indices = np.append(indices, np.uint8(filler))
    return indices[0::2] << 4 | indices[1::2]
    ### END SOLUTION


def draw(rng: np.random.Generator) -> list[Case]:
    odd = "Only an odd number of values goes wrong: the filler takes the low bits of the last byte."
    fillers = [int(filler) for filler in rng.permutation(np.setdiff1d(np.arange(1, 15), [7]))[:4]]

    def indices(count, filler):
        """No two neighbors are equal, and the last is neither 0 nor the filler, so that each mistake shows."""
        while True:
            found = rng.integers(0, 16, count).astype(np.uint8)
            if (found[1:] != found[:-1]).all() and found[-1] not in (0, filler):
                return found

    return [
        Case(label, {"indices": indices(count, filler), "filler": filler}, odd if count % 2 else "")
        for (label, count), filler in zip(
            (("an even number", 8), ("six", 6), ("an odd number", 7), ("a single one", 1)),
            fillers,
            strict=True,
        )
    ]


def by_arithmetic(indices, filler):
    padded = [*indices.tolist(), filler][: len(indices) + len(indices) % 2]
    return np.array([16 * high + low for high, low in zip(padded[::2], padded[1::2], strict=True)], np.uint8)


def by_reshape(indices, filler):
    pairs = np.pad(indices, (0, len(indices) % 2), constant_values=filler).reshape(-1, 2)
    return (pairs * np.array([16, 1], np.uint8)).sum(axis=1, dtype=np.uint8)


def by_bits(indices, filler):
    padded = np.r_[indices, np.full(len(indices) % 2, filler, np.uint8)]
    return np.packbits(np.unpackbits(padded[:, None], axis=1)[:, 4:])


def by_torch(indices, filler):
    import torch

    indices = torch.from_numpy(indices)
    if indices.numel() % 2:
        indices = torch.cat([indices, indices.new_tensor([filler])])
    high, low = indices.view(-1, 2).unbind(dim=1)
    return high << 4 | low


def padded_with(value):
    def pad(indices, filler):
        return np.append(indices, np.uint8(value(filler))) if len(indices) % 2 else indices

    return pad


def flawed(join=lambda high, low: high << 4 | low, pad=None, kind=np.uint8):
    def pack(indices, filler):
        padded = (pad or padded_with(lambda filler: filler))(indices, filler)
        return join(padded[0::2], padded[1::2]).astype(kind)

    return pack


def kept_last(indices, filler):
    """The odd one out becomes a byte by itself, in the low bits."""
    even = len(indices) // 2 * 2
    return np.append(flawed()(indices[:even], filler), indices[even:])


def always_filled(indices, filler):
    return flawed()(
        np.append(indices, np.uint8(filler))
        if len(indices) % 2
        else np.append(indices, [filler] * 2).astype(np.uint8),
        filler,
    )


def backwards(indices, filler):
    return flawed()(indices, filler)[::-1]


def as_bit_text(indices, filler):
    padded = padded_with(lambda filler: filler)(indices, filler)
    return np.array([int(f"{a:b}{b:b}", 2) for a, b in zip(padded[::2], padded[1::2], strict=True)], np.uint8)


def filled_in_front(indices, filler):
    return flawed()(np.append(np.uint8(filler), indices) if len(indices) % 2 else indices, filler)


def halves(indices, filler):
    padded = padded_with(lambda filler: filler)(indices, filler)
    half = len(padded) // 2
    return padded[:half] << 4 | padded[half:]


def filler_first(indices, filler):
    padded = np.append(indices, np.uint8(filler)) if len(indices) % 2 else indices
    packed = padded[0::2] << 4 | padded[1::2]
    if len(indices) % 2:
        packed[-1] = filler << 4 | indices[-1]
    return packed


EXERCISE = Exercise(
    name="pack-nibbles",
    title="Two numbers in one byte",
    minutes=20,
    points=2,
    statement="""
A 4-bit number in a `uint8` array wastes half of every byte, and NumPy has no smaller type. So two numbers
share one byte: the first in the high four bits, the second in the low four. Without this step, "4-bit"
weights would take as much memory as 8-bit ones.

Write `pack_nibbles`. If the number of values is odd, `filler` takes the low bits of the last byte.
""",
    solution=pack_nibbles,
    example={"indices": np.array([15, 2, 8], np.uint8), "filler": 7},
    draw=draw,
    result=Codes("the bytes", np.uint8),
    hints=(
        "indices[0::2] are the first of each pair, indices[1::2] the second.",
        "Shifting a number four bits to the left (<< 4) multiplies it by 16. That makes room for a second "
        "one.",
        "If the length is odd, append the filler; then indices[0::2] << 4 | indices[1::2].",
    ),
    pitfalls=(
        "`operands could not be broadcast together`: the number of values is odd, and the two halves are "
        "of unequal length.",
        "`has the type int64`: NumPy's default integer was used somewhere; use np.uint8.",
    ),
    explanation="bitsandbytes packs in the same order, so its files and ours hold the same bytes. The "
    "filler looks like any other value, so to unpack, you must know how many values there are.",
    wrong=(
        Wrong(
            "swapped",
            flawed(lambda high, low: low << 4 | high),
            "The two halves of each byte are swapped: the first value of a pair goes into the high bits.",
        ),
        Wrong(
            "odd-lost",
            flawed(pad=lambda indices, filler: indices[: len(indices) // 2 * 2]),
            "The last value is lost when their number is odd; it shares its byte with the filler.",
        ),
        Wrong(
            "zero-filler",
            flawed(pad=padded_with(lambda filler: 0)),
            "The last value is paired with 0 instead of the filler. Index 0 means the value -1, not zero.",
        ),
        Wrong(
            "repeated",
            flawed(
                pad=lambda indices, filler: np.append(indices, indices[-1:]) if len(indices) % 2 else indices
            ),
            "The last value is paired with itself; use the filler.",
        ),
        Wrong(
            "filler-high",
            filler_first,
            "The filler is in the high bits of the last byte. The value comes first, then the filler.",
        ),
        Wrong(
            "no-shift",
            flawed(lambda high, low: high | low),
            "Both values use the same four bits. Shift the first one with << 4.",
        ),
        Wrong(
            "added",
            flawed(lambda high, low: high + low),
            "The two values are added, so they cannot be told apart again. Shift the first one with << 4.",
        ),
        Wrong(
            "shift-three",
            flawed(lambda high, low: high << 3 | low),
            "The first value is shifted by three bits, so the two overlap. Shift by four.",
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
            "The last value is alone in its byte, in the low bits. Append the filler first, then pack.",
        ),
        Wrong(
            "filler-in-front",
            filled_in_front,
            "The filler is put first, so all pairs are shifted by one. Append it at the end.",
        ),
        Wrong(
            "always-filled",
            always_filled,
            "A byte of fillers is added although the number of values is even. Use the filler only for an "
            "odd number.",
        ),
        Wrong(
            "backwards",
            backwards,
            "The bytes are in reverse order; the first pair comes first.",
        ),
        Wrong(
            "bits-joined",
            as_bit_text,
            "You join the binary digits without leading zeros. Each number takes four bits, even a small "
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
            "You multiply the first value by 15. Four bits hold 16 values: multiply by 16, or shift by 4.",
        ),
        Wrong(
            "halves",
            halves,
            "You pair the first half with the second half. Neighbors share a byte.",
        ),
        Wrong(
            "unpacked",
            lambda indices, filler: indices,
            "There is still one value per byte, so nothing is saved.",
        ),
        Wrong(
            "wide",
            flawed(kind=np.uint16),
            "The bytes are right, but stored as uint16, two bytes each: so nothing is saved.",
        ),
        Wrong(
            "low-half",
            flawed(lambda high, low: high << 4 | low >> 1),
            "The high half of each byte is right, but the low half is not: put the second number there, "
            "unshifted.",
            recognize=lambda arguments, value: np.array_equal(value >> 4, pack_nibbles(**arguments) >> 4),
        ),
        Wrong(
            "high-half",
            flawed(lambda high, low: high << 5 | low),
            "The low half of each byte is right, but the high half is not: put the first number there, "
            "shifted by four bits.",
            recognize=lambda arguments, value: np.array_equal(value & 15, pack_nibbles(**arguments) & 15),
        ),
        Wrong(
            "both-halves",
            flawed(lambda high, low: high << 3 ^ low << 1),
            "Neither half of the bytes is right. Shift the first number of a pair into the high four bits "
            "(<< 4), and combine it with the second by |.",
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
