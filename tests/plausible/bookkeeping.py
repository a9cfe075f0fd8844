"""Wrong answers to the exercises that count, name, freeze, choose and start."""

import numpy as np


def counting(
    one=lambda o, i, r: r * (o + i), hit=lambda path, targets: path.split(".")[-1] in targets, give=None
):
    def count_trainable(shapes, targets, r):
        base = sum(int(np.prod(shape)) for shape in shapes.values())
        trained = sum(one(*s, r) for path, s in shapes.items() if len(s) == 2 and hit(path, targets))
        return (trained, base + trained) if give is None else give(trained, base)

    return count_trainable


def starting(a=None, b=None):
    def init_adapter(in_features, out_features, r, rng):
        bound = in_features**-0.5
        A = (
            rng.uniform(-bound, bound, (r, in_features))
            if a is None
            else a(in_features, out_features, r, rng)
        )
        return A, np.zeros((out_features, r)) if b is None else b(in_features, out_features, r, rng)

    return init_adapter


def clipped_normal(i, o, r, rng):
    return np.clip(rng.normal(0, 1 / np.sqrt(3 * i), (r, i)), -1 / np.sqrt(i), 1 / np.sqrt(i))


def shuffled_grid(i, o, r, rng):
    return rng.permutation(np.linspace(-1, 1, r * i)).reshape(r, i) / np.sqrt(i)


def unseeded(i, o, r, rng):
    return np.random.default_rng().uniform(-1, 1, (r, i)) / np.sqrt(i)


def seeded_by_size(i, o, r, rng):
    return np.random.default_rng(i).uniform(-1, 1, (r, i)) / np.sqrt(i)


def freezing(trains):
    def freeze(model):
        for name, parameter in model.named_parameters():
            parameter.requires_grad = bool(trains(name))

    return freeze


def adapted(name):
    return {"lora_A", "lora_B"} & set(name.split("."))


def detached(model):
    for name, parameter in model.named_parameters():
        if not adapted(name):
            parameter.detach()


def wrong_flag(model):
    for name, parameter in model.named_parameters():
        parameter.require_grad = bool(adapted(name))


def first_only(model):
    model.requires_grad_(False)
    for name, parameter in model.named_parameters():
        if adapted(name):
            parameter.requires_grad = True
            return


def saving(pick, name=lambda path: f"base_model.model.{path}.weight", value=lambda v: v):
    def adapter_to_save(state, adapter):
        found = {}
        for full, v in state.items():
            path, _, last = full.rpartition(".")
            if pick(path, last, adapter):
                found[name(path)] = value(v)
        return found

    return adapter_to_save


def mine(path, last, adapter):
    return last == adapter and path.split(".")[-1] in ("lora_A", "lora_B")


def memory(weights, gradients=lambda f, t, b: 4 * t, optimizer=lambda f, t, b: 8 * t, total=sum, keys=None):
    def training_memory(frozen, trained, frozen_bits):
        parts = [part(frozen, trained, frozen_bits) for part in (weights, gradients, optimizer)]
        names = keys or ("weights", "gradients", "optimizer", "total")
        return dict(zip(names, [*parts, total(parts)], strict=True))

    return training_memory


def right_weights(f, t, b):
    return f * b / 8 + 4 * t


def choosing(kept=lambda s: np.cumsum(s**2) / np.sum(s**2), reached=np.greater_equal, plus=1):
    def choose_rank(singular_values, share):
        return int(np.argmax(reached(kept(singular_values), share))) + plus

    return choose_rank


FUNCTIONS = {
    "count-trainable": {
        "three parts of a path only": counting(
            hit=lambda path, targets: len(path.split(".")) == 3 and path.split(".")[-1] in targets
        ),
        "q_proj only": counting(hit=lambda path, targets: path.endswith(".q_proj")),
        "substring": counting(hit=lambda path, targets: any(t in path for t in targets)),
        "first target only": counting(hit=lambda path, targets: path.split(".")[-1] == targets[0]),
        "rank of the docstring": counting(lambda o, i, r: 2 * (o + i)),
        "twice": counting(lambda o, i, r: 2 * r * (o + i)),
        "smaller side": counting(lambda o, i, r: r * min(o, i)),
        "three r": counting(lambda o, i, r: r * (o + i + r)),
        "order": counting(give=lambda trained, base: (base + trained, trained)),
        "frozen for total": counting(give=lambda trained, base: (trained, base)),
        "percent": counting(give=lambda trained, base: (trained, 100 * trained / (base + trained))),
        "text": counting(give=lambda trained, base: f"{trained:,} of {base:,}"),
        "trained alone": counting(give=lambda trained, base: trained),
        "rounded to thousands": counting(give=lambda trained, base: (round(trained, -3), round(base, -3))),
    },
    "init-adapter": {
        "np.random": starting(lambda i, o, r, rng: np.random.uniform(-1, 1, (r, i)) / np.sqrt(i)),
        "a generator of its own": starting(unseeded),
        "seed 0": starting(lambda i, o, r, rng: np.random.default_rng(0).uniform(-1, 1, (r, i)) / np.sqrt(i)),
        "seeded by the size": starting(seeded_by_size),
        "two values": starting(lambda i, o, r, rng: rng.choice([-1, 1], (r, i)) / np.sqrt(3 * i)),
        "a shuffled grid": starting(shuffled_grid),
        "clipped normal": starting(clipped_normal),
        "quarter of the bound": starting(lambda i, o, r, rng: rng.uniform(-0.25, 0.25, (r, i)) / np.sqrt(i)),
        "randn / 100": starting(lambda i, o, r, rng: rng.standard_normal((r, i)) / 100),
        "0 to 2 bounds": starting(lambda i, o, r, rng: 2 * rng.random((r, i)) / np.sqrt(i)),
        "small B": starting(b=lambda i, o, r, rng: 1e-6 * rng.standard_normal((o, r))),
        "identity": starting(lambda i, o, r, rng: np.eye(r, i) / np.sqrt(i)),
        "B in the shape of A": starting(b=lambda i, o, r, rng: np.zeros((r, o))),
        "in a dict": lambda i, o, r, rng: {"A": np.zeros((r, i)), "B": np.zeros((o, r))},
    },
    "freeze": {
        "ends with default": freezing(lambda name: name.endswith("default")),
        "default inside": freezing(lambda name: "default" in name),
        "lora_ inside": freezing(lambda name: "lora_" in name),
        "next to last part": freezing(lambda name: f".{name}".split(".")[-2] in ("lora_A", "lora_B")),
        "lora inside": freezing(lambda name: "lora" in name.lower()),
        "not base_layer": freezing(lambda name: "base_layer" not in name),
        "only weights frozen": freezing(lambda name: adapted(name) or not name.endswith("weight")),
        "heads train": freezing(lambda name: adapted(name) or "head" in name),
        "detach()": detached,
        "require_grad": wrong_flag,
        "first adapter only": first_only,
        "first layer only": freezing(lambda name: adapted(name) and ".1." not in name),
    },
    "save-adapter": {
        "name.replace": lambda state, adapter: {
            "base_model.model." + n.replace(adapter, "weight"): v
            for n, v in state.items()
            if n.endswith(f".{adapter}") and ".lora_" in n
        },
        "endswith without the dot": saving(lambda p, last, adapter: last.endswith(adapter) and ".lora_" in p),
        "seven parts only": saving(lambda p, last, a: mine(p, last, a) and len(p.split(".")) == 6),
        "q_proj only": saving(lambda p, last, a: mine(p, last, a) and ".q_proj." in p),
        "adapter of the docstring": saving(
            lambda p, last, a: mine(p, "mine" if last == "mine" else last, "mine")
        ),
        "in": saving(lambda p, last, a: a in last and p.split(".")[-1] in ("lora_A", "lora_B")),
        "capital letters": saving(mine, lambda path: f"base_model.model.{path}.WEIGHT"),
        "prefix twice": saving(mine, lambda path: f"base_model.model.base_model.model.{path}.weight"),
        "model. stripped": saving(
            mine, lambda path: f"base_model.model.{path.removeprefix('model.')}.weight"
        ),
        "slashes": saving(mine, lambda path: f"base_model.model.{path}.weight".replace(".", "/")),
        "float32": saving(mine, value=lambda v: v.astype(np.float32)),
        "first row": saving(mine, value=lambda v: v[0]),
        "pairs": lambda state, adapter: list(state.items())[:2],
        "zeros": saving(mine, value=lambda v: 0 * v),
    },
    "training-memory": {
        "frozen bits forgotten": memory(lambda f, t, b: f + 4 * t),
        "16 bits always": memory(lambda f, t, b: 2 * f + 4 * t),
        "whole bytes": memory(lambda f, t, b: f * int(b / 8) + 4 * t),
        "rounded bits": memory(lambda f, t, b: f * round(b) / 8 + 4 * t),
        "gradients 8": memory(right_weights, lambda f, t, b: 8 * t),
        "no optimizer": memory(right_weights, optimizer=lambda f, t, b: 0),
        "weights in the optimizer": memory(right_weights, optimizer=lambda f, t, b: 12 * t),
        "total twice": memory(right_weights, total=lambda parts: 2 * sum(parts)),
        "total of trained": memory(right_weights, total=lambda parts: parts[1] + parts[2]),
        "largest for total": memory(right_weights, total=max),
        "gigabytes": lambda f, t, b: {k: v / 1e9 for k, v in memory(right_weights)(f, t, b).items()},
        "mebibytes": lambda f, t, b: {k: v / 2**20 for k, v in memory(right_weights)(f, t, b).items()},
        "other keys": memory(right_weights, keys=("weights", "grads", "adam", "total")),
        "a tuple": lambda f, t, b: tuple(memory(right_weights)(f, t, b).values()),
    },
    "choose-rank": {
        "a table": lambda s, share: {12: 4, 16: 9}.get(len(s), 3),
        "rounded to two digits": choosing(lambda s: np.round(np.cumsum(s**2) / np.sum(s**2), 2)),
        "rounded to one digit": choosing(lambda s: np.round(np.cumsum(s**2) / np.sum(s**2), 1)),
        "more than": choosing(reached=np.greater),
        "plain sums": choosing(lambda s: np.cumsum(s) / np.sum(s)),
        "from 0": choosing(plus=0),
        "energy of each": choosing(lambda s: s**2 / np.sum(s**2)),
        "what is lost": choosing(lambda s: 1 - np.cumsum(s**2) / np.sum(s**2)),
        "not normalized": choosing(lambda s: np.cumsum(s**2)),
        "reversed": choosing(lambda s: np.cumsum(s[::-1] ** 2) / np.sum(s**2)),
        "share of the docstring": lambda s, share: choosing()(s, 0.8),
        "a float too large": lambda s, share: choosing()(s, share) + 0.5,
        "the energies": lambda s, share: np.cumsum(s**2),
        "whole share": lambda s, share: len(s),
    },
}
