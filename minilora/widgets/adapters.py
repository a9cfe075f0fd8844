"""Explorable: one base, several adapters, one prompt; both texts stream side by side.

Not here: training the adapters, and combining them (`LoraModel.set_adapters`).
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import ipywidgets
import torch

from minilora.explorables.controls import choice, slider
from minilora.figures.adapters import draw
from minilora.lora import LoraModel
from minilora.widgets.explorer import STYLE, Explorer, control_layout

SCALES = [(f"{scale:g}", scale) for scale in (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)]
OFF = "none: the base"


class AdapterSwitcher(Explorer):
    """Two adapters are combined half and half. The texts grow while the kernel is idle; `finish()` completes them.

    After every piece the model's own choice of active adapters is restored, so other cells notice nothing.

    Args:
        model: A model with adapters.
        adapters: The names to choose from, by default all.
        prompt: The text to continue.
        max_new_tokens: Length of each text.
    """

    def __init__(
        self,
        model: LoraModel,
        adapters: Sequence[str] | None = None,
        prompt: str = "The little dog ran to the garden and",
        max_new_tokens: int = 50,
    ):
        if not isinstance(model, LoraModel):
            raise TypeError(f"model is a {type(model).__name__}; give one with adapters, from add_lora(...)")
        names = list(model.peft_config if adapters is None else adapters)
        unknown = [name for name in names if name not in model.peft_config]
        if unknown or not names:
            raise ValueError(f"adapters is {names}; the model has {', '.join(model.peft_config) or 'none'}")
        self.adapted_model, self.max_new_tokens = model, max_new_tokens
        self.digests = (base_digest(model),) * 2
        self.texts: dict[str, str] = {}
        self.streams: dict[str, Iterator[None]] = {}
        self.task: asyncio.Task | None = None
        pairs = [" + ".join(pair) for pair in itertools.combinations(names, 2)]
        super().__init__(
            prompt=ipywidgets.Text(
                prompt,
                description="Prompt",
                style=STYLE,
                layout=control_layout("420px"),
            ),
            adapter=choice("Adapter", [OFF, *names, *pairs], names[0]),
            scale=slider("Scale", SCALES, 1.0),
        )
        self._restart("base", "adapted")
        self.finish()  # the first picture, and with it the still, shows whole texts

    def scales(self) -> dict[str, float]:
        """What is chosen now, adapter name -> scale."""
        names = [] if self.adapter.value == OFF else self.adapter.value.split(" + ")
        return {name: self.scale.value / len(names) for name in names}

    def draw(self, prompt: str, adapter: str, scale: float) -> tuple[str, str]:
        base, adapted = (self.texts.get(side, "") for side in ("base", "adapted"))
        return draw(prompt, base, adapted, self.scales(), self.digests)

    def finish(self) -> None:
        """Writes both texts to their end, now."""
        while self._advance():
            pass
        self.redraw()

    def _redraw_after_change(self, change: Any) -> None:
        self._restart(*(("base", "adapted") if change.owner is self.prompt else ("adapted",)))
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # plain Python: nobody will be idle later
            return self.finish()
        self.redraw()
        if self.task is None or self.task.done():
            self.task = loop.create_task(self._stream())

    async def _stream(self) -> None:
        await asyncio.sleep(0.03)  # first the page paints the change; both want the same few cores
        while self._advance():
            self.redraw()
            await asyncio.sleep(0.005)  # key presses and cells come first
        self.redraw()

    def _restart(self, *sides: str) -> None:
        for side in sides:
            self.texts[side] = ""
            self.streams[side] = self._write(side, {} if side == "base" else self.scales())

    def _advance(self) -> bool:
        """One more piece for each unfinished text; False once all are finished."""
        for side, stream in list(self.streams.items()):
            try:
                next(stream)
            except StopIteration:
                del self.streams[side]
        if not self.streams:
            self.digests = (self.digests[0], base_digest(self.adapted_model))
        return bool(self.streams)

    def _write(self, side: str, scales: dict[str, float]) -> Iterator[None]:
        model = self.adapted_model
        pieces = model.stream(self.prompt.value, self.max_new_tokens, seed=1)
        while True:
            before = model.adapter_scales
            try:
                model.set_adapters(list(scales), list(scales.values()))
                piece = next(pieces, None)
            except ValueError as error:  # an empty or too long prompt; an adapter that was deleted meanwhile
                piece, pieces = str(error), iter(())
            finally:
                model.active.scales = before
            if piece is None:
                return
            self.texts[side] += piece
            yield


def base_digest(model: LoraModel) -> str:
    """SHA-256 over the bytes of every tensor of the base, adapters left out."""
    digest = hashlib.sha256()
    for name, tensor in [*model.base.named_parameters(), *model.base.named_buffers()]:
        if ".lora_" not in name:
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
