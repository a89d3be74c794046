"""One process or many: what torchrun says, and the few collective operations that training needs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from detector.errors import DeviceError, UsageError

__all__ = ["Group", "choose_device", "choose_precision", "join_group"]


@dataclass(frozen=True, kw_only=True)
class Group:
    """This process among those that train together.

    Attributes:
        device: where this process computes.
        rank: 0 writes files and speaks.
        world_size: number of processes; 1 without torchrun.
    """

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait for all."""
        if self.world_size > 1:
            dist.barrier()

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over all processes of (N,) values; the same N everywhere."""
        if self.world_size > 1:
            values = values.clone()
            dist.all_reduce(values)
            values /= self.world_size
        return values

    def gather_rows(self, rows: Tensor) -> Tensor:
        """Return the rows (N, C) of all processes, N being each one's own; moved to the CPU. Nothing is pickled."""
        if self.world_size == 1:
            return rows.cpu()
        rows = rows.to(self.device)
        counts = [torch.zeros(1, dtype=torch.int64, device=self.device) for _ in range(self.world_size)]
        dist.all_gather(counts, torch.tensor([len(rows)], device=self.device))
        most = max(int(count) for count in counts)
        padded = rows.new_zeros(most, rows.shape[1])
        padded[: len(rows)] = rows
        parts = [torch.zeros_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[: int(count)] for part, count in zip(parts, counts, strict=True)]).cpu()


def choose_device(wanted: str, local_rank: int = 0) -> tuple[torch.device, str]:
    """Return the device and why.

    Args:
        wanted: `auto`, `cpu` or `cuda`.
        local_rank: of this process on its machine: which GPU.

    Raises:
        DeviceError: when CUDA is asked for and is not there, or has too few GPUs.
    """
    there = torch.cuda.is_available()
    if wanted == "cpu" or (wanted == "auto" and not there):
        return torch.device("cpu"), "it was asked for" if wanted == "cpu" else "no CUDA device is there"
    if not there or local_rank >= torch.cuda.device_count():
        raise DeviceError(
            f"train.device cuda needs a GPU for each process of this machine; there are "
            f"{torch.cuda.device_count() if there else 0}; start fewer processes, or give train.device=cpu"
        )
    name = torch.cuda.get_device_name(local_rank)
    return torch.device("cuda", local_rank), f"{name} {'was asked for' if wanted == 'cuda' else 'is there'}"


def choose_precision(wanted: str, device: torch.device) -> tuple[torch.dtype, str]:
    """Return what autocast computes in (float32: none) and why.

    Raises:
        DeviceError: when bf16 is asked for on a GPU that has none.
    """
    if wanted == "float32" or (wanted == "auto" and device.type == "cpu"):
        return torch.float32, "it was asked for" if wanted == "float32" else "the CPU is the exact reference"
    has_bf16 = device.type == "cpu" or torch.cuda.is_bf16_supported(including_emulation=False)
    if wanted == "auto" and not has_bf16:
        return torch.float32, "this GPU has no bf16 units"
    if not has_bf16:
        raise DeviceError("train.precision bf16 needs a GPU with bf16 units; this one has none; give float32")
    return torch.bfloat16, "it was asked for" if wanted == "bf16" else "this GPU has bf16 units"


@contextmanager
def join_group(wanted: str) -> Iterator[tuple[Group, str]]:
    """Join the processes that torchrun started, or be the only one; yield the group and why its device was chosen.

    Args:
        wanted: device, `auto`, `cpu` or `cuda`.

    Raises:
        UsageError: when torchrun's environment is incomplete.
        DeviceError: as for `choose_device`.
    """
    try:
        rank, world, local = (int(os.environ.get(k, d)) for k, d in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0)))
    except ValueError as error:
        raise UsageError(f"RANK, WORLD_SIZE and LOCAL_RANK must be numbers, as torchrun sets them: {error}") from error
    device, reason = choose_device(wanted, local)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if world == 1:
        yield Group(device=device), reason
        return
    if device.type == "cuda":
        dist.init_process_group("nccl", device_id=device)
    else:
        dist.init_process_group("gloo")
    try:
        yield Group(device=device, rank=rank, world_size=world), reason
    finally:
        dist.destroy_process_group()
