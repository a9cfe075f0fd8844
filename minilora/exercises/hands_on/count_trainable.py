"""Exercise: how many weights LoRA trains, out of how many."""

from __future__ import annotations

import numpy as np

from minilora.exercises.compare import Parts, Whole
from minilora.exercises.exercise import Case, Exercise, Variant, Wrong


def count_trainable(shapes, targets, r):
    """Counts the weights that LoRA trains, and all weights.

    Args:
        shapes: Layer path -> [out, in], or [n] for a norm.
        targets: Names of the layers to adapt: the last parts of their paths.
        r: The rank.

    Returns:
        (trainable, total), two integers.

    >>> shapes = {"0.q_proj": [8, 8], "0.v_proj": [4, 8], "0.norm": [8]}
    >>> count_trainable(shapes, ["q_proj", "v_proj"], r=2)  # 2·(8 + 8) + 2·(8 + 4); 104 more
    (56, 160)
    """
    ### BEGIN SOLUTION
    base = adapters = 0
    for path, shape in shapes.items():
        base += int(np.prod(shape))
        if path.split(".")[-1] in targets:
            out_features, in_features = shape
            adapters += r * (in_features + out_features)  # A is (r, in), B is (out, r)
    return adapters, base + adapters
    ### END SOLUTION


def draw(rng: np.random.Generator) -> list[Case]:
    cases = []
    for label, stem, targets in (
        ("queries and values", "layers", ["q_proj", "v_proj"]),
        ("all of attention, in deep paths", "base.model.layers", ["q_proj", "k_proj", "v_proj", "o_proj"]),
        ("a single target", "h", ["up_proj"]),
        ("the feed-forward part and the output layer", "layers", ["up_proj", "down_proj", "lm_head"]),
    ):
        hidden, shared, wide = (int(n) for n in rng.permutation([24, 40, 72]) + rng.integers(0, 8, 3))
        shapes: dict[str, list[int]] = {"embed_tokens": [int(rng.integers(90, 120)), hidden]}
        for i in range(int(rng.integers(2, 5))):
            shapes |= {
                f"{stem}.{i}.q_proj": [hidden, hidden],
                f"{stem}.{i}.k_proj": [shared, hidden],  # heads that several queries share: fewer outputs
                f"{stem}.{i}.v_proj": [shared, hidden],
                f"{stem}.{i}.o_proj": [hidden, hidden],
                f"{stem}.{i}.up_proj": [wide, hidden],
                f"{stem}.{i}.down_proj": [hidden, wide],
                f"{stem}.{i}.norm": [hidden],
                f"{stem}.{i}.up_proj.gate": [4, hidden],  # below a target, and none itself
                f"{stem}.{i}.q_proj.gate": [4, hidden],
            }
        shapes |= {
            "seq_proj": [hidden, shared],
            "setup_proj": [shared, hidden],
            "lm_head": [int(rng.integers(90, 120)), hidden],
        }  # no targets, for all their names
        cases.append(Case(label, {"shapes": shapes, "targets": targets, "r": int(rng.integers(3, 9))}))
    return cases


def by_numpy(shapes, targets, r):
    ends = tuple(f".{target}" for target in targets)
    chosen = np.array([shape for path, shape in shapes.items() if f".{path}".endswith(ends)])
    trainable = r * chosen.sum()
    return trainable, sum(np.prod(shape) for shape in shapes.values()) + trainable


def as_floats(shapes, targets, r):
    trainable, total = count_trainable(shapes, targets, r)
    return [float(trainable), float(total)]


def flawed(
    one=lambda i, o, r: r * (i + o), hit=lambda path, targets: path.split(".")[-1] in targets, total=None
):
    def count(shapes, targets, r):
        base = sum(int(np.prod(shape)) for shape in shapes.values())
        chosen = [shape for path, shape in shapes.items() if len(shape) == 2 and hit(path, targets)]
        trainable = sum(one(i, o, r) for o, i in chosen)
        return trainable, base + trainable if total is None else total(base, trainable, chosen)

    return count


def any_part(shapes, targets, r):
    """A target's name anywhere in the path."""
    return flawed(hit=lambda path, targets: any(part in targets for part in path.split(".")))(
        shapes, targets, r
    )


def with_norms(shapes, targets, r):
    """Norms count as trained too."""
    trainable, total = count_trainable(shapes, targets, r)
    norms = sum(shape[0] for shape in shapes.values() if len(shape) == 1)
    return trainable + norms, total


def matrices_only(shapes, targets, r):
    trainable, total = count_trainable(shapes, targets, r)
    return trainable, total - sum(shape[0] for shape in shapes.values() if len(shape) == 1)


def summed_shapes(shapes, targets, r):
    trainable, _ = count_trainable(shapes, targets, r)
    return trainable, sum(sum(shape) for shape in shapes.values()) + trainable


def frozen_instead(shapes, targets, r):
    trainable, total = count_trainable(shapes, targets, r)
    return trainable, total - 2 * trainable


def array_of_two(shapes, targets, r):
    return np.array(count_trainable(shapes, targets, r))


def one_layer(shapes, targets, r):
    """As if the model had a single layer of each kind."""
    first = {path.split(".")[-1]: shape for path, shape in shapes.items() if len(shape) == 2}
    trainable = sum(r * sum(first[target]) for target in targets)
    return trainable, sum(int(np.prod(shape)) for shape in shapes.values()) + trainable


def base_of(arguments):
    return sum(int(np.prod(shape)) for shape in arguments["shapes"].values())


def is_some_layers(arguments, value, more=False):
    """Whether fewer layers than should be (or more) are counted, and each of them rightly."""
    shapes, targets, r = arguments.values()
    kinds: dict[bool, dict[str, int]] = {True: {}, False: {}}
    for path, shape in shapes.items():
        if len(shape) == 2:
            kind = ".".join(part for part in path.split(".") if not part.isdigit())
            group = kinds[kind.split(".")[-1] in targets]
            group[kind] = group.get(kind, 0) + r * sum(shape)
    right = sum(kinds[True].values())
    if value[0] == right:
        return True
    sums = {0}
    for amount in kinds[not more].values():
        sums |= {total + amount for total in sums}
    return value[0] - (right if more else 0) in sums and value[1] - value[0] == base_of(arguments)


EXERCISE = Exercise(
    name="count-trainable",
    title="Count what LoRA trains",
    minutes=15,
    points=2,
    statement="""
For each layer that it adapts, LoRA trains two matrices. `A` maps the layer's inputs to `r` numbers, and `B`
maps these `r` numbers to the layer's outputs. Everything else is frozen.

Write `count_trainable`. It gets the shape of every weight in a model and the names of the layers to adapt.
Return two integers: the number of trainable weights, and the number of all weights, including the adapters.
A layer is adapted if the last part of its dotted path is in `targets`.
""",
    solution=count_trainable,
    example={
        "shapes": {"0.q_proj": [8, 8], "0.v_proj": [4, 8], "0.norm": [8]},
        "targets": ["q_proj", "v_proj"],
        "r": 2,
    },
    draw=draw,
    result=Parts((Whole("trainable"), Whole("total"))),
    hints=(
        "Draw A and B for one layer, and write their shapes beside them. How many numbers is that together?",
        "A has r rows of length in, and B has r columns of length out. Careful: in and out differ in most "
        "layers.",
        "Add r * (in + out) over the paths whose path.split('.')[-1] is in targets. For the total, add the "
        "size of every weight in shapes.",
    ),
    pitfalls=(
        "`not enough values to unpack`: the shape of a norm has only one number. Unpack the shapes of "
        "target layers only.",
        "The result is slightly too large: `seq_proj` ends with the letters of `q_proj`, but it is a "
        "different layer.",
    ),
    explanation="The full matrix grows with in · out, the adapter with in + out. That is why LoRA trains a "
    "smaller and smaller share of the weights as models get wider: a fraction of a percent.",
    wrong=(
        Wrong(
            "full-matrix",
            flawed(lambda i, o, r: i * o),
            "You count the frozen matrix of each target, out · in. LoRA trains A and B in its place: r · "
            "(in + out).",
        ),
        Wrong(
            "product",
            flawed(lambda i, o, r: r * i * o),
            "You multiply in and out. A has r · in weights and B has r · out: add them.",
        ),
        Wrong(
            "a-only", flawed(lambda i, o, r: r * i), "You count A alone; B, with r · out weights, trains too."
        ),
        Wrong(
            "b-only", flawed(lambda i, o, r: r * o), "You count B alone; A, with r · in weights, trains too."
        ),
        Wrong(
            "square-in",
            flawed(lambda i, o, r: 2 * r * i),
            "You treat every layer as square, 2 · r · in. Use both numbers of its shape.",
        ),
        Wrong(
            "square-out",
            flawed(lambda i, o, r: 2 * r * o),
            "You treat every layer as square, 2 · r · out. Use both numbers of its shape.",
        ),
        Wrong(
            "no-rank",
            flawed(lambda i, o, r: i + o),
            "The rank is missing: that would be right for r = 1. Multiply by r.",
        ),
        Wrong(
            "bottleneck",
            flawed(lambda i, o, r: r * (i + o) + r * r),
            "You count an (r, r) matrix between A and B; there is none.",
        ),
        Wrong(
            "all-layers",
            flawed(hit=lambda path, targets: True),
            "You adapt every matrix of the model; only the layers named in targets get adapters.",
        ),
        Wrong(
            "by-letters",
            flawed(hit=lambda path, targets: path.endswith(tuple(targets))),
            "A layer such as seq_proj is counted because its name ends with q_proj. Compare the whole last "
            "part of the path.",
        ),
        Wrong(
            "one-layer",
            one_layer,
            "Each target is counted once, but it occurs in every layer of the model.",
        ),
        Wrong(
            "one-matrix",
            flawed(lambda i, o, r: r * max(i, o)),
            "You count one of the two matrices, the larger one. A has r · in weights and B has r · out: "
            "add them.",
        ),
        Wrong(
            "r-squared",
            flawed(lambda i, o, r: r * r * (i + o)),
            "The rank is multiplied in twice. A has r · in weights and B has r · out.",
        ),
        Wrong(
            "biases",
            flawed(lambda i, o, r: r * (i + o) + o),
            "You count a bias for each adapter; A and B have none.",
        ),
        Wrong(
            "full-and-adapter",
            flawed(lambda i, o, r: i * o + r * (i + o)),
            "You count the frozen matrix of each target as trained too. Only A and B train.",
        ),
        Wrong(
            "any-part",
            any_part,
            "You count a path if a target's name occurs anywhere in it. Only the last part of the path "
            "matters.",
        ),
        Wrong(
            "norms-train",
            with_norms,
            "You count the norms as trained; they are frozen.",
        ),
        Wrong(
            "norms-missing",
            matrices_only,
            "The total leaves out the weights of norms, whose shapes have one number.",
        ),
        Wrong(
            "summed-shapes",
            summed_shapes,
            "For the total you add the dimensions of each shape. A matrix has out · in weights: multiply "
            "them.",
        ),
        Wrong(
            "total-less-adapters",
            frozen_instead,
            "You subtract the adapters from the total. Add them: they are weights of the model too.",
        ),
        Wrong(
            "total-is-base",
            flawed(total=lambda base, trainable, chosen: base),
            "The total leaves the adapters out; they are weights of the model too.",
        ),
        Wrong(
            "total-replaces",
            flawed(total=lambda base, trainable, chosen: base + trainable - sum(o * i for o, i in chosen)),
            "The total lacks the adapted matrices. They are frozen, but still there: LoRA adds, it does "
            "not replace.",
        ),
        Wrong(
            "some-targets",
            flawed(hit=lambda path, targets: path.split(".")[-1] == targets[0]),
            "Some layers that should get an adapter get none. Every path whose last part is one of "
            "targets counts, however "
            "long the path is.",
            recognize=lambda arguments, value: is_some_layers(arguments, value),
        ),
        Wrong(
            "too-many-layers",
            flawed(hit=lambda path, targets: any(target in path for target in targets)),
            "Layers that are not targets get an adapter too. The whole last part of the path must be in "
            "targets.",
            recognize=lambda arguments, value: is_some_layers(arguments, value, more=True),
        ),
        Wrong(
            "wrong-per-layer",
            flawed(lambda i, o, r: r * min(i, o)),
            "The number of trainable weights per layer is wrong: A has r · in and B has r · out.",
            recognize=lambda arguments, value: value[1] - value[0] == base_of(arguments),
        ),
    ),
    variants=(
        Variant("NumPy", by_numpy),
        Variant("one array", array_of_two),
        Variant("whole numbers as floats", as_floats),
    ),
)
