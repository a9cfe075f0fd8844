"""Where training runs: on which device, and, under torchrun, as which of several processes.

Data parallelism: each process has the whole model and takes its share of every batch. After the backward pass the
gradients are added up over all processes. PyTorch's DistributedDataParallel does so during the backward pass, by a hook
for each parameter. A LoRA step has many small parameters and little to send: there the hooks cost more than they
hide, and they do not go together with a CUDA graph.

Not here: one model divided over several devices.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

SENT_AT_ONCE = 2**26  # numbers that are copied together and sent as one message


def join_processes(device: torch.device) -> tuple[int, int]:
    """Joins the processes that torchrun started.

    Args:
        device: Where they train: on GPUs they talk over NCCL, on a CPU over gloo.

    Returns:
        This process's rank and the number of processes: (0, 1) without torchrun.

    Raises:
        ValueError: If they train on GPUs, and this machine has fewer than processes.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return 0, 1
    gpus = torch.cuda.device_count() if device.type == "cuda" else 0
    local = int(os.environ["LOCAL_RANK"])
    if gpus and local >= gpus:
        raise ValueError(
            f"{local + 1} processes or more, but {gpus} GPU(s) here; start as many processes as there are GPUs"
        )
    if gpus:
        torch.cuda.set_device(local)  # each process its own GPU, also for plain "cuda"
    if not dist.is_initialized():
        dist.init_process_group("nccl" if gpus else "gloo")
    return dist.get_rank(), dist.get_world_size()


def share_weights(model: nn.Module) -> None:
    """Gives every process the first one's parameters, whatever each has drawn at random."""
    for parameter in model.parameters():
        dist.broadcast(parameter.detach(), 0)


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Adds up the gradients of all processes, in place: small ones together, as few messages."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    while gradients:
        count, numbers = 1, gradients[0].numel()
        while count < len(gradients) and gradients[count].dtype == gradients[0].dtype:
            numbers += gradients[count].numel()
            if numbers > SENT_AT_ONCE:
                break
            count += 1
        together, gradients = gradients[:count], gradients[count:]
        flat = torch.cat([gradient.flatten() for gradient in together])
        dist.all_reduce(flat)
        parts = flat.split([gradient.numel() for gradient in together])
        torch._foreach_copy_(together, [part.view_as(g) for part, g in zip(parts, together, strict=True)])


def sum_over_processes(value: Tensor, world_size: int) -> Tensor:
    """Returns the sum of each process's value, on all of them."""
    if world_size > 1:
        dist.all_reduce(value)
    return value


def choose_device(model: nn.Module) -> torch.device:
    """Returns the GPU if there is one, even if the model is still in main memory; otherwise the CPU."""
    current = next(model.parameters()).device
    if current.type != "cpu" or not torch.cuda.is_available():
        return current
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def peak_memory(device: torch.device) -> int:
    """Returns the largest number of bytes so far: of the GPU's allocator, or of this whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB, macOS in bytes
