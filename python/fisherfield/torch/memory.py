# SPDX-License-Identifier: BSD-3-Clause
"""What products of a module's Jacobian and Hessian take in memory, by what a few samples save for reverse mode."""

from __future__ import annotations

from contextlib import suppress

import torch

from .. import _memory
from .calls import Calls, rows

__all__ = ["bytes_of_products", "couples", "memory_there"]


def memory_there(calls: Calls) -> float:
    """Bytes that are left where the module lives; infinity where nobody says."""
    device = calls.leaves[0].device
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return float(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    there = _memory.available_memory()
    return float("inf") if there is None else float(there)


def bytes_of_products(calls: Calls, hessian: bool) -> tuple[float, float, int] | None:
    """(of the parameters, of each sample), and how many outputs a sample has; None where a module takes no smaller
    batches.

    A kept graph holds what reverse mode saves. Forward mode on top of it holds a pass of values and tangents, and the
    Hessian the graph of both and the gradients on their way back.
    """
    parameters = float(sum(leaf.numel() * leaf.element_size() for leaf in calls.leaves))
    counts = sorted({min(calls.samples, 2), min(calls.samples, 4)})
    with suppress(Exception):  # what is wrong with the whole batch is told of that
        saved = [_saved(calls, count) for count in counts]
        few, many = saved[0][0], saved[-1][0]
        each = (many - few) / (counts[-1] - counts[0]) if len(counts) > 1 else few / counts[0]
        fixed = max(0.0, few - each * counts[0])
        return 4 * parameters + (3 if hessian else 1) * fixed, (3.0 if hessian else 1.5) * each, saved[0][1]
    return None


def _saved(calls: Calls, count: int) -> tuple[float, int]:
    """Bytes that so many samples save, but for what belongs to the module and the batch; and outputs of each."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*calls.leaves, *calls.fixed.values())}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor.detach()  # an output that its own node saves would hold that node, and both would stay for ever

    leaves = [leaf.detach().requires_grad_() for leaf in calls.leaves]
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = calls.forward(leaves, slice(0, count), lambda f: f)
    return float(sum(storage.nbytes() for storage in kept.values())), outputs[0].numel()


def couples(calls: Calls) -> bool:
    """Whether outputs of the first samples depend on the others: whether they change as these are all the first.

    The same random numbers are drawn both times.
    """
    if calls.samples == 1:
        return False
    first = slice(0, calls.samples // 2)
    with torch.no_grad():
        before = calls.forward(calls.leaves, slice(0, calls.samples), lambda f: f[first])
        x = calls.x
        try:
            index = torch.arange(calls.samples)
            index[first.stop :] = 0
            calls.x = rows(x, index)
            after = calls.forward(calls.leaves, slice(0, calls.samples), lambda f: f[first])
        finally:
            calls.x = x
    near = 1e3 * torch.finfo(before.dtype).eps  # rounding may depend on where a sample stands
    return bool((after - before).norm() > near * before.norm())
