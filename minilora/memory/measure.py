"""How much memory a training step really takes (`measure_memory`): two steps, of which the second is measured.

Not here: predictions (plan.py).
"""

from __future__ import annotations

import dataclasses
from typing import Any

from minilora.memory.plan import gigabytes


@dataclasses.dataclass(frozen=True)
class MeasuredMemory:
    """What a training step used, in bytes.

    Attributes:
        parts: Each at its own largest; they do not all exist at the same time.
        kept_by_forward: As in `MemoryPlan`.
        peak_until: The peak up to the end of the forward and of the backward pass; the update may exceed it.
        peak: Peak of the whole step.
        resident: The most main memory that this process has held so far, Python and all libraries included.
    """

    parts: dict[str, int]
    kept_by_forward: int
    peak_until: dict[str, int]
    peak: int
    resident: int

    def __str__(self) -> str:
        rows = self.parts | {
            "kept by forward": self.kept_by_forward,
            "peak": self.peak,
            "whole process": self.resident,
        }
        return "\n".join(f"{name:<24}{gigabytes(size):>12}" for name, size in rows.items())


def measure_memory(
    model: Any,
    batch_size: int = 1,
    sequence_length: int = 512,
    gradient_checkpointing: bool = False,
    activation_offloading: bool = False,
) -> MeasuredMemory:
    """Takes two real training steps with learning rate zero and measures the second; the weights do not change.

    Args:
        model: A `GPT`, or the `LoraModel` around one; the steps run on its device.
        batch_size: Rows.
        sequence_length: Tokens per row.
        gradient_checkpointing: As in `Trainer`.
        activation_offloading: As in `Trainer`.

    Returns:
        On a GPU the allocator's figures; on a CPU the sum of the live tensors, without the workspaces of operations.

    Raises:
        TypeError: The model has another layout.

    >>> from minilora import GPT, GPTConfig
    >>> measured = measure_memory(GPT(GPTConfig(num_hidden_layers=1)), sequence_length=8)
    >>> measured.parts["optimizer"] == 2 * measured.parts["weights"]
    True
    """
    import torch

    from minilora.quantization.linear4bit import Linear4bit
    from minilora.training.datasets import TokenData
    from minilora.training.distributed import peak_memory
    from minilora.training.trainer import Trainer

    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(model.config.vocab_size, (batch_size, sequence_length), generator=generator)
    decoder: Any = getattr(model, "model", None)  # also through a LoraModel
    if not hasattr(decoder, "embed_tokens"):
        raise TypeError(
            f"{type(model).__name__} cannot be measured; give a GPT, or a `transformers` model of the same layout "
            "(Llama, Qwen, Mistral, Gemma, Phi-3)"
        )
    before = decoder.gradient_checkpointing
    trainer = Trainer(
        model, TokenData(ids, ids), max_steps=1, batch_size=batch_size, learning_rate=0.0, progress=False,
        gradient_checkpointing=gradient_checkpointing, activation_offloading=activation_offloading,
        device=decoder.embed_tokens.weight.device,
    )  # fmt: skip
    trainer.train()  # the first step makes the optimizer's state
    trainer.max_steps = 2
    meter = _AllocatorMeter(trainer.device) if trainer.device.type == "cuda" else _tensor_meter(trainer)
    seen: dict[str, int] = {}

    def after_forward(*_: Any) -> None:
        seen.update(kept=meter.now - seen["before"], forward=meter.peak)

    def after_backward(*_: Any) -> None:
        gradients = sum(p.grad.nbytes for p in trainer.parameters.values() if p.grad is not None)
        seen.update(gradients=gradients, backward=meter.peak)

    hooks = [
        trainer.loss.register_forward_pre_hook(lambda *_: seen.update(before=meter.now)),
        trainer.loss.register_forward_hook(after_forward),
        trainer.optimizer.register_step_pre_hook(after_backward),
    ]
    try:
        with meter:
            trainer.train()
    finally:
        decoder.gradient_checkpointing = before
        if activation_offloading:
            decoder.activation_offloading = False
        for hook in hooks:
            hook.remove()
    packed = [layer.quantized for layer in model.modules() if isinstance(layer, Linear4bit)]
    adapters = sum(p.nbytes for name, p in model.named_parameters() if ".lora_" in name)
    plain = sum(p.nbytes for p in model.parameters()) - adapters
    parts = {
        "weights": plain + sum(q.packed.nbytes for q in packed),
        "quantization constants": sum(q.nbytes - q.packed.nbytes for q in packed),
        "adapters": adapters,
        "optimizer": sum(
            t.nbytes
            for s in trainer.optimizer.state.values()
            for t in s.values()
            if torch.is_tensor(t) and t.ndim
        ),
        "backup": sum(t.nbytes for t in trainer.last_good.values()),
        "gradients": seen["gradients"],
    }
    peak_until = {moment: seen[moment] for moment in ("forward", "backward")}
    return MeasuredMemory(parts, seen["kept"], peak_until, meter.peak, peak_memory(torch.device("cpu")))


class _AllocatorMeter:
    """The CUDA allocator's bytes: now, and the peak since the `with` block began."""

    def __init__(self, device: Any):
        import torch

        self.cuda, self.device = torch.cuda, device

    def __enter__(self) -> None:
        self.cuda.reset_peak_memory_stats(self.device)

    def __exit__(self, *_: Any) -> None:
        pass

    @property
    def peak(self) -> int:
        return self.cuda.max_memory_allocated(self.device)

    @property
    def now(self) -> int:
        return self.cuda.memory_allocated(self.device)


def _tensor_meter(trainer: Any) -> Any:
    from minilora.memory.live_tensors import LiveTensors

    meter = LiveTensors()
    meter.add([*trainer.model.parameters(), *trainer.model.buffers()])
    meter.add(t for state in trainer.optimizer.state.values() for t in state.values())
    meter.add(trainer.last_good.values())
    return meter
