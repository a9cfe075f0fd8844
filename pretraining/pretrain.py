"""Pretrains the tiny GPT that ships with minilora, from a folder of plain text.

    python pretraining/pretrain.py --corpus FOLDER --out FOLDER     the real run: about ten minutes on an H200
    python pretraining/pretrain.py --smoke --out FOLDER             the same stages on a toy text, in seconds

FOLDER/text/*.txt is learned from, except a few works that are held out to watch the training (validation);
FOLDER/heldout/*.txt is only measured at the end. One work per file, a blank line between paragraphs. To the stories
come the registers of the lessons (pretraining/registers/*.json: contracts, letters of a shop, short Python), about
six percent of the tokens, so that fine-tuning selects a style instead of teaching a language.

Thirty-three megabytes are little text: a model that sees them often enough to learn them begins to recite them.
Three things work against that:
  1. teachers: larger models, held back by dropout and weight decay;
  2. the student, which is what ships, learns less from the next token of the text than from how likely the teachers
     together found every token there (distillation, arXiv 1503.02531): after "the cat sat on the" the text has "mat"
     only once, but the teachers know what else could have stood there;
  3. at the end one number, found on the validation works, makes the student as sure of itself as it is right.

A finished teacher stays in OUT/work and is not trained again. Not here: several GPUs, text larger than memory.
README.md beside this file lists the losses to expect.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import random
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from minilora.gpt import GPT, GPTConfig

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from grammar import write_texts

END_OF_TEXT = "<|endoftext|>"  # token 0: between texts, so that one can begin from nothing and come to an end
REGISTERS = sorted((Path(__file__).parent / "registers").glob("*.json"))
PASSAGE_BYTES = 1_500  # a story ends at the first fitting paragraph after as many bytes


@dataclasses.dataclass(frozen=True)
class Stage:
    """One model and how it is trained."""

    config: GPTConfig
    steps: int
    learning_rate: float
    weight_decay: float  # of the matrices
    dropout: float = 0.0
    seed: int = 0
    rows: int = 64  # windows of the context's length in a batch


@dataclasses.dataclass(frozen=True)
class Recipe:
    teachers: tuple[Stage, ...]
    student: Stage
    soft_share: float = 0.9  # of the student's target comes from the teachers, the rest from the text
    soft_tokens: int = 64  # likeliest tokens per position that are kept of the teachers' probabilities
    register_bytes: int = 605_000  # of each register; three of them are just under six percent of all tokens


# vocabulary, width, feed-forward width, layers, query heads, key/value heads, context
TEACHER = GPTConfig(3072, 512, 1408, 8, 8, 8, 1024)
STUDENT = GPTConfig(3072, 256, 640, 8, 8, 2, 1024)
TOY = GPTConfig(300, 32, 64, 2, 4, 2, 32)
FULL = Recipe(
    teachers=tuple(
        Stage(TEACHER, 2400, 3e-3, weight_decay=1.5, dropout=dropout, seed=seed)
        for seed, dropout in enumerate((0.35, 0.4, 0.35, 0.4), start=1)
    ),
    student=Stage(STUDENT, 8500, 5e-3, weight_decay=0.6),
)
SMOKE = Recipe(
    teachers=tuple(Stage(TOY, 30, 5e-3, 1.0, dropout=0.2, seed=seed, rows=8) for seed in (1, 2)),
    student=Stage(TOY, 30, 5e-3, 0.6, rows=8),
    register_bytes=3_000,
)


# -- text ----------------------------------------------------------------------------------------------------


def read_corpus(folder: Path) -> dict[str, list[str]]:
    """{"training", "validation", "heldout"}: the works of each part. Every 50th work is kept for validation."""
    parts = [sorted((folder / part).glob("*.txt")) for part in ("text", "heldout")]
    works, heldout = ([path.read_text(encoding="utf-8") for path in paths] for paths in parts)
    if len(works) < 50 or not heldout:
        raise FileNotFoundError(
            f"{folder} has {len(works)} works in text/ and {len(heldout)} in heldout/; at least 50 and 1 are needed"
        )
    training = [work for i, work in enumerate(works) if i % 50 != 49]
    return {"training": training, "validation": works[49::50], "heldout": heldout}


def passages(work: str) -> list[str]:
    """A work in parts of some 1,500 bytes, each of which ends where a story could: after a paragraph without speech.

    Books end too seldom to teach a model that texts end at all.
    """
    parts: list[list[str]] = [[]]
    for paragraph in work.split("\n\n"):
        parts[-1].append(paragraph)
        if sum(map(len, parts[-1])) > PASSAGE_BYTES and '"' not in paragraph and paragraph.endswith("."):
            parts.append([])
    return ["\n\n".join(part) for part in parts if part]


def register_works(size: int, per_work: int = 60) -> list[list[str]]:
    """`size` bytes of each register, in works of `per_work` documents; none is held out, for none is of interest."""
    works = []
    for path in REGISTERS:
        documents = write_texts(path, "train", size // 200)  # none is as short as that
        lengths = itertools.accumulate(map(len, documents))
        documents = [document for document, length in zip(documents, lengths, strict=True) if length < size]
        works += [documents[i : i + per_work] for i in range(0, len(documents), per_work)]
    return works


def mix(stories: list[list[str]], registers: list[list[str]]) -> list[list[str]]:
    """The works of both, shuffled together, the same way on every machine."""
    draw = random.Random(0)
    return [work for _, work in sorted((draw.random(), work) for work in stories + registers)]


def toy_corpus() -> dict[str, list[str]]:
    draw = random.Random(0)
    who, where, what = ("cat", "dog", "hen", "boy"), ("house", "hill", "pond"), ("bell", "shoe", "ball")
    story = "The {} went to the {} and saw a {}.".format
    lines = [story(*map(draw.choice, (who, where, what))) for _ in range(600)]
    works = ["\n\n".join(lines[i::10]) for i in range(10)]
    return {"training": works[:8], "validation": works[8:9], "heldout": works[9:]}


def train_tokenizer(works: Iterable[str], vocab_size: int) -> Tokenizer:
    """Byte-level BPE: every text can be encoded, and the same works always give the same vocabulary.

    A token never crosses from one word into the next; digits stay single; line breaks may join the punctuation
    before them, since paragraphs end in few ways.
    """
    pattern = Regex(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+\n*|\n+|\s+(?!\S)|\s+")
    split = pre_tokenizers.Split(pattern, "isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(works, trainer)
    return tokenizer


def encode_works(works: list[list[str]], tokenizer: Tokenizer) -> Tensor:
    """All texts of all works in one row of token numbers (tokens,), each after an end-of-text token."""
    texts = tokenizer.encode_batch([text for work in works for text in work])
    return torch.tensor([token for text in texts for token in (0, *text.ids)])


# -- training ------------------------------------------------------------------------------------------------


def window_positions(starts: Tensor, config: GPTConfig) -> Tensor:
    """Positions (rows, context) in the text of the windows that begin at `starts` (rows,)."""
    return starts[:, None] + torch.arange(config.max_position_embeddings, device=starts.device)


def batches(tokens: Tensor, stage: Stage) -> Iterator[Tensor]:
    """Positions (rows, context) for each step: endless passes over the text, cut at other places in each."""
    generator = torch.Generator().manual_seed(stage.seed)
    context = stage.config.max_position_embeddings
    while True:
        first = int(torch.randint(context, (1,), generator=generator))
        starts = torch.arange(first, len(tokens) - context, context)
        starts = starts[torch.randperm(len(starts), generator=generator)].to(tokens.device)
        if len(starts) < stage.rows:
            raise ValueError(f"{len(tokens)} tokens are too few for a batch of {stage.rows} x {context}")
        for batch in starts[: len(starts) // stage.rows * stage.rows].split(stage.rows):
            yield window_positions(batch, stage.config)


def loss_of(model: GPT, tokens: Tensor, index: Tensor, soft: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Mean cross entropy at the positions `index` (rows, context), whose targets are one token further on.

    With `soft`, from ask_teachers, a share of the target lies on the tokens that the teachers expect, and only the
    rest on the token in the text.
    """
    with torch.autocast(tokens.device.type, torch.bfloat16, enabled=tokens.is_cuda):
        logits = model(tokens[index]).float()  # (rows, context, vocab)
    goal = logits.gather(-1, tokens[index + 1][..., None]).squeeze(-1)  # (rows, context)
    if soft is not None:
        p = soft[0][index + 1].float()  # (rows, context, soft_tokens)
        goal = (1 - p.sum(-1)) * goal + (p * logits.gather(-1, soft[1][index + 1].long())).sum(-1)
    return (logits.logsumexp(-1) - goal).mean()


def new_model(stage: Stage, device: torch.device) -> GPT:
    torch.manual_seed(stage.seed)
    model = GPT(stage.config)
    for block in model.model.layers:
        for part, last in ((block.self_attn, block.self_attn.o_proj), (block.mlp, block.mlp.down_proj)):
            torch.nn.init.zeros_(last.weight)  # a block that adds nothing at first lets the gradient through
            if stage.dropout:
                part.register_forward_hook(lambda module, _, y: F.dropout(y, stage.dropout, module.training))
    return model.to(device)


class Muon(torch.optim.Optimizer):
    """torch.optim.Muon with `adjust_lr_fn="match_rms_adamw"`, on all matrices of one shape at once.

    A test holds it to PyTorch's, which launches some forty small kernels for each matrix: on an H200 that takes
    longer than forward and backward of the student together.
    """

    def __init__(
        self, matrices: list[Tensor], lr: float, weight_decay: float, momentum: float = 0.95
    ) -> None:
        by_shape: dict[torch.Size, list[Tensor]] = {}
        for matrix in matrices:
            by_shape.setdefault(matrix.shape, []).append(matrix)
        groups = [{"params": group} for group in by_shape.values()]
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            matrices, rate, momentum = group["params"], group["lr"], group["momentum"]
            gradient = torch.stack([matrix.grad for matrix in matrices])  # (matrices, out, in)
            average = self.state[matrices[0]].setdefault("average", torch.zeros_like(gradient))
            average.lerp_(gradient, 1 - momentum)
            turned = orthogonalized(gradient.lerp(average, momentum)).to(gradient.dtype)
            torch._foreach_mul_(matrices, 1 - rate * group["weight_decay"])
            step = 0.2 * rate * math.sqrt(max(gradient.shape[1:]))
            torch._foreach_add_(matrices, list(turned.unbind()), alpha=-step)


def orthogonalized(x: Tensor) -> Tensor:
    """Five Newton-Schulz steps towards the nearest orthogonal matrices of x (matrices, rows, columns), in bfloat16."""
    tall = x.shape[1] > x.shape[2]
    x = (x.mT if tall else x).bfloat16()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(5):
        gram = x @ x.mT
        update = torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, update, x, beta=3.4445)
    return x.mT if tall else x


def optimizers_for(model: GPT, stage: Stage) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks (its steps turn all directions of a matrix alike), AdamW for the rest."""
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if all(p is not m for m in matrices)]
    rate = stage.learning_rate
    return [
        Muon(matrices, rate, weight_decay=stage.weight_decay),
        torch.optim.AdamW(others, rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def train(stage: Stage, tokens: Tensor, validation: Tensor, soft: tuple[Tensor, Tensor] | None = None) -> GPT:
    """A model trained for stage.steps steps; prints the mean loss since the last line, and the validation loss."""
    model = new_model(stage, tokens.device).train()
    optimizers = optimizers_for(model, stage)
    compute_loss = torch.compile(loss_of, dynamic=False) if tokens.is_cuda else loss_of
    every, started = max(1, stage.steps // 10), time.perf_counter()
    total = torch.zeros((), device=tokens.device)  # stays there: to read it at each step would stall the GPU
    for step, index in enumerate(itertools.islice(batches(tokens, stage), stage.steps), start=1):
        # Rise over the first steps, then fall in a straight line to zero: much of the gain comes late.
        factor = min(step / min(200, stage.steps / 10), 1.0) * (1 - (step - 1) / stage.steps)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = stage.learning_rate * factor
        loss = compute_loss(model, tokens, index, soft)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        total += loss.detach()
        if step % every == 0:
            unseen = mean_loss(model.eval(), validation)
            line = f"step {step:6}  loss {total.item() / every:.4f}  validation {unseen:.4f}"
            print(f"{line}  {time.perf_counter() - started:.0f} s", flush=True)
            total.zero_()
            model.train()
    return model.eval()


@torch.no_grad()
def mean_loss(model: GPT, tokens: Tensor) -> float:
    """Mean cross entropy, in nats per token, over the windows of another text."""
    context = model.config.max_position_embeddings
    index = window_positions(
        torch.arange(0, len(tokens) - context, context, device=tokens.device), model.config
    )
    return sum(loss_of(model, tokens, rows).item() * len(rows) for rows in index.split(32)) / len(index)


@torch.no_grad()
def ask_teachers(teachers: list[GPT], tokens: Tensor, keep: int, share: float) -> tuple[Tensor, Tensor]:
    """`share` of the teachers' mean probabilities: those of the `keep` likeliest tokens, and these tokens' numbers.

    Two tensors (tokens, keep); zeros at the few positions with less than half a context before them.
    Asked once and kept, many teachers cost the student no more than one.
    """
    config = teachers[0].config
    half = config.max_position_embeddings // 2
    probabilities = tokens.new_zeros(len(tokens), keep, dtype=torch.float16)
    numbers = tokens.new_zeros(len(tokens), keep, dtype=torch.int16)
    for starts in torch.arange(0, len(tokens) - 2 * half, half, device=tokens.device).split(64):
        index, mean = window_positions(starts, config), 0.0
        for teacher in teachers:
            with torch.autocast(tokens.device.type, torch.bfloat16, enabled=tokens.is_cuda):
                logits = teacher(tokens[index])[:, half:].float()  # (rows, half, vocab)
            mean = mean + torch.softmax(logits, dim=-1) * share / len(teachers)
        top = mean.topk(keep, dim=-1)
        where = index[:, half:] + 1  # what was predicted at i is token i + 1
        probabilities[where], numbers[where] = top.values.half(), top.indices.to(torch.int16)
    return probabilities, numbers


@torch.no_grad()
def calibrate(model: GPT, validation: Tensor) -> float:
    """Divides all logits by the number that suits unseen text best (arXiv 1706.04599), and returns it.

    The division goes into the weights of the final norm, so the model's shape does not change.
    """
    weight = model.model.norm.weight
    trained = weight.clone()

    def loss_at(temperature: float) -> float:
        weight.copy_(trained / temperature)
        return mean_loss(model, validation)

    best = min((1 + 0.02 * i for i in range(16)), key=loss_at)
    weight.copy_(trained / best)
    return best


@torch.no_grad()
def bits_per_byte(model: GPT, works: list[str], tokenizer: Tokenizer, stride: int) -> float:
    """How many bits the model needs per byte of text it has not seen: loss / ln 2, over all bytes of all works.

    Each work is read on its own, after an end-of-text token. With stride = context the windows do not overlap: the
    first token of a window is predicted from the one before it alone. With a shorter stride they do, and only what is
    new in each is counted. Either way every token of every work is predicted exactly once.
    """
    context, device = model.config.max_position_embeddings, model.lm_head.weight.device
    nats = 0.0
    for work in works:
        ids = torch.tensor([0, *tokenizer.encode(work).ids], device=device)
        for start in range(0, len(ids) - 1, stride):
            row = ids[start : start + context + 1]
            old = context - stride if start else 0
            logits = model(row[None, :-1])[0, old:].float()  # (new tokens, vocab)
            nats += F.cross_entropy(logits, row[1 + old :], reduction="sum").item()
    return nats / math.log(2) / sum(len(work.encode("utf-8")) for work in works)


# -- the run -------------------------------------------------------------------------------------------------


def save_model(model: GPT, tokenizer: Tokenizer, folder: Path) -> None:
    """The checkpoint in 16 bits, and the few settings that other programs need."""
    model.tokenizer = tokenizer
    model.half().save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"bos_token_id": 0, "eos_token_id": 0}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8", newline="\n")


def pretrain(
    corpus: dict[str, list[str]], recipe: Recipe, out: Path, device: torch.device
) -> dict[str, float]:
    """Runs all stages and leaves the student in `out`; returns its figures."""
    stories, registers = (
        [passages(work) for work in corpus["training"]],
        register_works(recipe.register_bytes),
    )
    tokenizer = train_tokenizer(itertools.chain(*stories, *registers), recipe.student.config.vocab_size)
    tokens = encode_works(mix(stories, registers), tokenizer).to(device)
    validation = encode_works([passages(work) for work in corpus["validation"]], tokenizer).to(device)
    share = len(encode_works(registers, tokenizer)) / len(tokens)
    print(f"{len(tokens):,} tokens to learn from, {share:.1%} of them in the registers")
    teachers = []
    for number, stage in enumerate(recipe.teachers, start=1):
        folder = out / "work" / f"teacher-{number}"
        if not (folder / "model.safetensors").exists():
            print(f"teacher {number}:")
            save_model(train(stage, tokens, validation), tokenizer, folder)
        teachers.append(GPT.from_pretrained(folder).to(device))
    soft = ask_teachers(teachers, tokens, recipe.soft_tokens, recipe.soft_share)
    print("student:")
    student = train(recipe.student, tokens, validation, soft)
    figures = {"temperature": calibrate(student, validation)}
    save_model(student, tokenizer, out)
    student = GPT.from_pretrained(out).to(device)  # measured as it ships: rounded to 16 bits
    context = student.config.max_position_embeddings
    for part, stride in (("validation", context), ("heldout", context), ("heldout", context // 2)):
        figures[f"{part} bits per byte, stride {stride}"] = bits_per_byte(
            student, corpus[part], tokenizer, stride
        )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--corpus", type=Path, help="a folder with text/*.txt and heldout/*.txt")
    source.add_argument(
        "--smoke", action="store_true", help="a toy text and toy models: a test of the program"
    )
    parser.add_argument("--out", type=Path, required=True, help="where the checkpoint is written")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_float32_matmul_precision("high")
    corpus = toy_corpus() if arguments.smoke else read_corpus(arguments.corpus)
    recipe = SMOKE if arguments.smoke else FULL
    for name, value in pretrain(corpus, recipe, arguments.out, device).items():
        print(f"{name:40} {value:.4f}")


if __name__ == "__main__":
    main()
