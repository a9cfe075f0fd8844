"""Wrong answers to the exercises that go to fewer bits and back."""

import numpy as np

NF4_LIKE = np.array(
    [-1, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0, 0.0796, 0.1609, 0.2461, 0.3379, 0.4407, 0.5626,
     0.7230, 1]
)  # fmt: skip


def int8_with(step=lambda x: np.abs(x).max() / 127, number=np.round, give=lambda q, step: (q, step)):
    def quantize_int8(x):
        s = float(step(x)) or 1.0
        return give(np.clip(number(x / s), -128, 127).astype(np.int8), s)

    return quantize_int8


def in_python(x):
    top = max(abs(float(v)) for v in x.ravel())
    step = top / 127 or 1.0
    return np.array([int(float(v) / step) for v in x.ravel()], np.int8).reshape(x.shape), step


def zeros_crash(x):
    step = max(abs(float(v)) for v in x.ravel()) / 127
    return np.array([round(float(v) / step) for v in x.ravel()], np.int8).reshape(x.shape), step


def blocks_of(x, size):
    flat = np.asarray(x, np.float64).ravel()
    return [flat[i : i + size] for i in range(0, len(flat), size)]


def blockwise(
    top=lambda block: np.abs(block).max(),
    nearest=lambda code, share: np.abs(code - share).argmin(),
    code=lambda code: code,
    size=lambda size: size,
    give=lambda places, tops: (np.array(places, np.uint8), np.array(tops)),
):
    def quantize_blockwise(x, code_, block_size):
        places, tops = [], []
        for block in blocks_of(x, size(block_size)):
            t = top(block)
            tops.append(t)
            places += [int(nearest(code(code_).astype(np.float64), v / t if t else 0.0)) for v in block]
        return give(places, tops)

    return quantize_blockwise


def up_at_ties(code, share):
    return 15 - np.abs(code[::-1] - share).argmin()


def unpack(packed):
    return np.stack([packed >> 4, packed & 15], axis=1).ravel()


def decode(
    places=unpack,
    values=lambda code, places: code[places],
    factor=lambda absmax, size, n: absmax.repeat(size)[:n],
    end=lambda values, shape: values.reshape(shape),
):
    def dequantize(packed, absmax, code, block_size, shape):
        n = int(np.prod(shape))
        found = values(code.astype(np.float64), places(packed)[:n])
        return end(found * factor(absmax.astype(np.float64), block_size, n), shape)

    return dequantize


def packing(join, fill=lambda places, filler: np.append(places, [filler] * (len(places) % 2)).astype(int)):
    def pack_nibbles(places, filler):
        padded = fill(places, filler)
        return np.array(join(padded[0::2], padded[1::2]) % 256, np.uint8)

    return pack_nibbles


def double(
    mean=lambda absmax: absmax.mean(),
    rest=lambda absmax, mean: absmax - mean,
    code=lambda code: code,
    give=lambda places, nested, mean: (places, nested, mean),
    nearest=lambda code, share: np.abs(code - share).argmin(),
):
    def double_quantize(absmax, code_, block_size):
        wide = absmax.astype(np.float64)
        m = mean(wide)
        places, nested = [], []
        for block in blocks_of(rest(wide, m), block_size):
            top = np.abs(block).max()
            nested.append(top)
            places += [int(nearest(code(code_).astype(np.float64), v / top if top else 0.0)) for v in block]
        return give(np.array(places, np.uint8), np.array(nested), m)

    return double_quantize


FUNCTIONS = {
    "quantize-int8": {
        "int() for round(), plain Python": in_python,
        "crash for zeros": zeros_crash,
        "127.5": int8_with(lambda x: np.abs(x).max() / 127.5),
        "128, float64": int8_with(lambda x: np.abs(x.astype(np.float64)).max() / 128),
        "256": int8_with(lambda x: np.abs(x).max() / 256),
        "max without abs, float64": int8_with(lambda x: abs(float(x.max())) / 127),
        "min": int8_with(lambda x: -float(x.min()) / 127),
        "floor, float64": int8_with(number=lambda s: np.floor(s.astype(np.float64))),
        "twice the largest": int8_with(lambda x: 2 * np.abs(x).max() / 127),
        "order": int8_with(give=lambda q, step: (step, q)),
        "q alone": int8_with(give=lambda q, step: q),
        "int64": int8_with(give=lambda q, step: (q.astype(np.int64), step)),
        "a list": int8_with(give=lambda q, step: (q.tolist(), step)),
        "step in float16": int8_with(give=lambda q, step: (q, np.float16(step))),
        "flat": int8_with(give=lambda q, step: (q.ravel(), step)),
        "first row's largest": int8_with(lambda x: np.abs(x[:1]).max() / 127),
    },
    "quantize-blockwise": {
        "ties up, float64": blockwise(nearest=up_at_ties),
        "one scale, float64": lambda x, code, size: blockwise(size=lambda s: x.size)(x, code, size),
        "fixed NF4, to four digits": blockwise(code=lambda code: NF4_LIKE),
        "equal steps, by hand": blockwise(nearest=lambda code, share: round((share + 1) * 7.5)),
        "int4, -7 to 7": blockwise(nearest=lambda code, share: round(share * 7) + 7),
        "block of 4": blockwise(size=lambda size: 4),
        "block of 64": blockwise(size=lambda size: 64),
        "double blocks": blockwise(size=lambda size: 2 * size),
        "block one too long": blockwise(size=lambda size: size + 1),
        "max without abs, float64": blockwise(top=lambda block: block.max()),
        "order": blockwise(give=lambda places, tops: (np.array(tops), np.array(places, np.uint8))),
        "int64": blockwise(give=lambda places, tops: (np.array(places), np.array(tops))),
        "lists": blockwise(give=lambda places, tops: (places, tops)),
        "absmax in float16": blockwise(give=lambda p, t: (np.array(p, np.uint8), np.array(t, np.float16))),
        "places alone": blockwise(give=lambda places, tops: np.array(places, np.uint8)),
        "next larger, float64": blockwise(nearest=lambda code, share: min(np.searchsorted(code, share), 15)),
    },
    "dequantize": {
        "low half first, float64": decode(lambda p: np.stack([p & 15, p >> 4], axis=1).ravel()),
        "halves joined, float64": decode(lambda p: np.concatenate([p >> 4, p & 15])),
        "tiled, float64": decode(factor=lambda absmax, size, n: np.resize(absmax, n)),
        "one absmax, float64": decode(factor=lambda absmax, size, n: absmax[0]),
        "mean absmax": decode(factor=lambda absmax, size, n: absmax.mean()),
        "no absmax, float64": decode(factor=lambda absmax, size, n: 1.0),
        "divided, float64": decode(factor=lambda absmax, size, n: 1 / absmax.repeat(size)[:n]),
        "fixed NF4": decode(values=lambda code, places: NF4_LIKE[places]),
        "equal steps": decode(values=lambda code, places: places / 7.5 - 1),
        "int4": decode(values=lambda code, places: (places.astype(int) - 8) / 8),
        "columns, float64": decode(end=lambda values, shape: values.reshape(shape, order="F")),
        "flat, float64": decode(end=lambda values, shape: values),
        "shape reversed": decode(end=lambda values, shape: values.reshape(shape[::-1])),
        "float16": decode(end=lambda values, shape: values.reshape(shape).astype(np.float16)),
        "through float16": decode(
            end=lambda v, shape: v.reshape(shape).astype(np.float16).astype(np.float32)
        ),
        "bytes as places": decode(lambda p: np.minimum(p, 15).repeat(2)),
        "blocks of 2": decode(factor=lambda absmax, size, n: np.resize(absmax.repeat(2), n)),
    },
    "pack-nibbles": {
        "low first": packing(lambda a, b: b * 16 + a),
        "times 15": packing(lambda a, b: a * 15 + b),
        "times 8": packing(lambda a, b: a * 8 + b),
        "shift by 8": packing(lambda a, b: (a << 8) + b),
        "plus": packing(lambda a, b: a + b),
        "exclusive or": packing(lambda a, b: a ^ b),
        "filler of the docstring": packing(
            lambda a, b: a << 4 | b,
            lambda places, filler: np.append(places, [7] * (len(places) % 2)).astype(int),
        ),
        "fifteen for filler": packing(
            lambda a, b: a << 4 | b,
            lambda places, filler: np.append(places, [15] * (len(places) % 2)).astype(int),
        ),
        "zero for filler": packing(
            lambda a, b: a << 4 | b,
            lambda places, filler: np.append(places, [0] * (len(places) % 2)).astype(int),
        ),
        "dropped": lambda places, filler: places[: len(places) // 2 * 2 : 2] << 4 | places[1::2],
        "crash for odd": lambda places, filler: places[0::2] << 4 | places[1::2],
        "a list": lambda places, filler: packing(lambda a, b: a << 4 | b)(places, filler).tolist(),
        "bytes": lambda places, filler: bytes(packing(lambda a, b: a << 4 | b)(places, filler)),
        "int64": lambda places, filler: packing(lambda a, b: a << 4 | b)(places, filler).astype(np.int64),
        "text": lambda places, filler: [f"{b:08b}" for b in packing(lambda a, b: a << 4 | b)(places, filler)],
    },
    "double-quantize": {
        "equal steps, by hand": double(nearest=lambda code, share: round((share + 1) * (len(code) - 1) / 2)),
        "fixed table of 255": double(code=lambda code: np.linspace(-1, 1, 255)),
        "fixed table of 256": double(code=lambda code: np.linspace(-1, 1, 256)),
        "no mean, float64": double(mean=lambda absmax: 0.0),
        "min for mean, float64": double(mean=lambda absmax: absmax.min()),
        "max for mean": double(mean=lambda absmax: absmax.max()),
        "first for mean": double(mean=lambda absmax: absmax[0]),
        "divided by the mean": double(rest=lambda absmax, mean: absmax / mean - 1),
        "sign, float64": double(rest=lambda absmax, mean: mean - absmax),
        "order: nested first": double(give=lambda places, nested, mean: (nested, places, mean)),
        "order: mean second": double(give=lambda places, nested, mean: (places, mean, nested)),
        "mean missing": double(give=lambda places, nested, mean: (places, nested)),
        "int64": double(give=lambda places, nested, mean: (places.astype(np.int64), nested, mean)),
        "nested in float16": double(give=lambda p, nested, mean: (p, nested.astype(np.float16), mean)),
        "mean as an array of one": double(give=lambda p, nested, mean: (p, nested, np.array([mean]))),
        "floor, float64": double(nearest=lambda code, share: np.searchsorted(code, share, side="right") - 1),
        "deviation for the largest": lambda absmax, code, size: double(
            rest=lambda absmax, mean: (absmax - mean) / (absmax.std() or 1)
        )(absmax, code, size),
    },
}
