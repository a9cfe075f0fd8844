"""Explorable: one base and several adapters, each with a strength; base and mixture continue the same opening.

The texts grow while the kernel is idle, so a slider never waits for them. Not here: training the adapters, and how
several of them are combined (`LoraModel.set_adapters`).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import ipywidgets
import torch

from minilora.explorables.controls import slider
from minilora.figures.svg import svg, title
from minilora.figures.voices import Voice, draw
from minilora.lora import LoraModel
from minilora.widgets.explorer import STYLE, Explorer, control_layout
from minilora.widgets.voices import LIKELIER, voice, whole_sentences

STRENGTHS = [(f"{strength:g}", strength) for strength in (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)]
MOST_WORDS = 40  # of an opening
SIDES = ("base", "adapted")


class AdapterSwitcher(Explorer):
    """One slider for each adapter. `finish()` completes the texts at once.

    After every piece the model's own choice of active adapters is restored, so other cells notice nothing.

    Args:
        model: A model with adapters.
        adapters: The names to choose from, by default all; the first one starts at strength 1.
        opening: The text to continue.
        max_new_tokens: Length of each text.
        seed: The same for both texts, so that only the adapters differ.
    """

    def __init__(
        self,
        model: LoraModel,
        adapters: Sequence[str] | None = None,
        opening: str = "The old bear opened the door and",
        max_new_tokens: int = 60,
        seed: int = 3,
    ):
        if not isinstance(model, LoraModel):
            raise TypeError(f"model is a {type(model).__name__}; give one with adapters, from add_lora(...)")
        self.names = list(model.peft_config if adapters is None else adapters)
        unknown = [name for name in self.names if name not in model.peft_config]
        if unknown or not self.names:
            raise ValueError(
                f"adapters is {self.names}; the model has {', '.join(model.peft_config) or 'none'}"
            )
        self.adapted_model, self.max_new_tokens, self.seed = model, max_new_tokens, seed
        self.digests = (base_digest(model),) * 2
        self.texts: dict[str, str] = {}
        self.streams: dict[str, Iterator[None]] = {}
        self.problem = ""
        self.task: asyncio.Task | None = None
        self.home = running_loop()  # of the kernel, where cells run: the only one that may use the model
        text = ipywidgets.Text(opening, description="Opening", style=STYLE, layout=control_layout())
        sliders = {
            f"strength_{name}": slider(name, STRENGTHS, float(name == self.names[0])) for name in self.names
        }
        super().__init__(opening=text, **sliders)
        self._restart(*SIDES)
        self.finish()  # the first picture, and with it the still, shows whole texts

    def strengths(self) -> dict[str, float]:
        """What is chosen now, adapter name -> strength, without those at 0."""
        chosen = {name: self.controls[f"strength_{name}"].value for name in self.names}  # type: ignore[attr-defined]
        return {name: strength for name, strength in chosen.items() if strength}

    def opening_text(self) -> str:
        return self.controls["opening"].value.strip()  # type: ignore[attr-defined]

    def draw(self, opening: str, **strengths: float) -> tuple[str, str]:
        if self.problem:
            return svg(30, [title("No text yet; the reason is below")], self.problem), self.problem
        mixture = " + ".join(f"{strength:g} × {name}" for name, strength in self.strengths().items())
        voices = [
            self._voice("base", "base", adapted=False),
            self._voice("adapted", mixture or "all adapters at 0", adapted=bool(mixture)),
        ]
        fate = "unchanged" if self.digests[0] == self.digests[1] else "CHANGED"
        note = (
            f"Underlined: words that the adapters made at least {LIKELIER} times as likely. "
            f"Fingerprint of the base's weights: {self.digests[1][:12]}, {fate}."
        )
        heading = "Same opening, same random seed" if mixture else "Without adapters: the base itself"
        return draw(self.opening_text(), voices, heading, note, least_lines=3)

    def finish(self) -> None:
        """Writes both texts to their end, now."""
        while self._advance():
            pass
        self.redraw()

    def _voice(self, side: str, name: str, adapted: bool) -> Voice:
        text, scales = self.texts.get(side, ""), self.strengths() if adapted else {}
        if side in self.streams or not text:  # still growing
            return Voice(name, [(word, False) for word in [*text.split(), "▌"]], adapted)
        with using(self.adapted_model, scales):
            return voice(self.adapted_model, self.opening_text(), text, name)

    def _redraw_after_change(self, change: Any) -> None:
        sides = SIDES if change.owner is self.controls["opening"] or self.problem else SIDES[1:]
        if self.home is None:  # plain Python: there is no event loop to continue later
            self._restart(*sides)
            self.finish()
        elif running_loop() is self.home:
            self._begin(*sides)
        else:  # subtle: JupyterLab sends some moves to a second thread, and two threads must not share the model
            self.home.call_soon_threadsafe(self._begin, *sides)

    def _begin(self, *sides: str) -> None:
        self._restart(*sides)
        self.redraw()
        if self.task is None or self.task.done():
            self.task = asyncio.get_running_loop().create_task(self._stream())

    async def _stream(self) -> None:
        await asyncio.sleep(0.03)  # first the page paints the change; both want the same few cores
        while self._advance():
            self.redraw()
            await asyncio.sleep(0.005)  # key presses and cells come first
        self.redraw()

    def _restart(self, *sides: str) -> None:
        words = len(self.opening_text().split())
        self.problem = "" if words else "The opening is empty. Type a few words for the model to continue."
        if words > MOST_WORDS:
            self.problem = f"The opening has {words} words; it can have up to {MOST_WORDS}."
        for side in sides:
            self.texts[side] = ""
            self.streams[side] = self._write(side, {} if side == "base" else self.strengths())

    def _advance(self) -> bool:
        """One more piece for each unfinished text; False once all are finished."""
        for side, stream in [] if self.problem else list(self.streams.items()):
            try:
                next(stream)
            except StopIteration:
                del self.streams[side]
                self.texts[side] = whole_sentences(self.texts[side])
            except (
                ValueError
            ) as error:  # an adapter that was deleted meanwhile, or a model without a tokenizer
                self.problem = str(error)
        if self.problem or not self.streams:
            self.digests = (self.digests[0], base_digest(self.adapted_model))
        return bool(self.streams) and not self.problem

    def _write(self, side: str, scales: dict[str, float]) -> Iterator[None]:
        opening = self.opening_text()
        pieces = self.adapted_model.stream(opening, self.max_new_tokens, seed=self.seed)
        while True:
            with using(self.adapted_model, scales):
                piece = next(pieces, None)
            if piece is None:
                return
            self.texts[side] += piece
            yield


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of this thread; None where none is running, as in plain Python."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class using:
    """`with using(model, {"legal": 1.0}):` these adapters are active inside, the model's own choice again after it."""

    def __init__(self, model: LoraModel, scales: dict[str, float]):
        self.model, self.scales = model, scales

    def __enter__(self) -> None:
        self.before = self.model.adapter_scales
        self.model.set_adapters(list(self.scales), list(self.scales.values()))

    def __exit__(self, *error: object) -> None:
        self.model.set_adapters(list(self.before), list(self.before.values()))


def base_digest(model: LoraModel) -> str:
    """SHA-256 over the bytes of every tensor of the base, adapters left out: changes with the smallest bit."""
    digest = hashlib.sha256()
    for name, tensor in [*model.base.named_parameters(), *model.base.named_buffers()]:
        if ".lora_" not in name:
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
