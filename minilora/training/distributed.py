"""Where training runs: which device, and, under torchrun, which of several processes this is.

Not here: one model divided over several devices.
"""

from __future__ import annotations

import os
import sys

import torch
import torch.distributed as dist
from torch import nn


def join_processes() -> tuple[int, int]:
    """(rank, number of processes): what torchrun says, or (0, 1)."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return 0, 1
    gpus, local = torch.cuda.device_count(), int(os.environ["LOCAL_RANK"])
    if gpus and local >= gpus:
        raise ValueError(
            f"{local + 1} processes or more, but {gpus} GPU(s) here; give torchrun as many processes as GPUs"
        )
    if gpus:
        torch.cuda.set_device(local)  # each process its own card, also for plain "cuda"
    if not dist.is_initialized():
        dist.init_process_group("nccl" if gpus else "gloo")
    return dist.get_rank(), dist.get_world_size()


def choose_device(model: nn.Module) -> torch.device:
    """The GPU if there is one, also where the model is still in main memory; else the processor."""
    current = next(model.parameters()).device
    if current.type != "cpu" or not torch.cuda.is_available():
        return current
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def peak_memory(device: torch.device) -> int:
    """Highest number of bytes so far: of the GPU's allocator, or resident in this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB, macOS in bytes
