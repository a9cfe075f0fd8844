"""A step's forward and backward pass as a CUDA graph: thousands of kernels that start with a single launch.

A processor core needs several microseconds to start a kernel, and a QLoRA step has about eight thousand, many of which
run for less. The GPU then waits. A CUDA graph records once which kernels ran, with all their arguments, and replays
them without the processor. Their arguments are addresses, so nothing may move: the batch is copied to where the
recorded one was, gradients are added up where they were, and the optimizer changes weights in place anyway.

Not here: batches of several shapes, which the Trainer runs as usual; random numbers of dropout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

WARM = 2  # passes before recording: what is allocated or compiled at first use must not be recorded


class GraphedPasses:
    """A forward and backward pass, recorded.

    Args:
        passes: Called with input_ids, targets (batch, tokens) and a scalar to multiply the loss with; adds to the
            gradients and returns the loss, without waiting for the GPU.
        parameters: What gets gradients, of which there are none yet.
        input_ids: A batch of the shape that all will have.
        targets: Like input_ids.
        scale: A scalar tensor.
    """

    def __init__(
        self,
        passes: Callable[[Tensor, Tensor, Tensor], Tensor],
        parameters: Iterable[nn.Parameter],
        input_ids: Tensor,
        targets: Tensor,
        scale: Tensor,
    ):
        self.inputs = (input_ids.clone(), targets.clone(), scale.clone())
        gradients = []
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM):
                passes(*self.inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        # thread_local: NCCL's own thread may ask the GPU something meanwhile
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self.loss = passes(*self.inputs)
        torch._foreach_zero_(gradients)  # warming up has added to them

    def fits(self, input_ids: Tensor) -> bool:
        """Returns whether a batch has the recorded shape."""
        return input_ids.shape == self.inputs[0].shape

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Replays the passes on other values; the loss is overwritten by the next call."""
        for recorded, value in zip(self.inputs, inputs, strict=True):
            recorded.copy_(value)
        self.graph.replay()
        return self.loss
