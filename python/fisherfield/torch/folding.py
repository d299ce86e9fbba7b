# SPDX-License-Identifier: BSD-3-Clause
"""What a traced module computes, folded: calls in a row, and sums of two branches of one stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Union

from .refused import reader_of, refusal
from .tracing import Call, Leaf

__all__ = ["Item", "Sum", "folded", "has_weights"]


@dataclass(frozen=True)
class Sum:
    """skip + scale * branch of what comes in, where it is added."""

    where: str
    branch: tuple[Item, ...]
    skip: tuple[Item, ...]
    scale: float


Item = Union[Leaf, Sum]


def has_weights(item: Any) -> bool:
    """Whether a Dense or a convolution is in it."""
    if isinstance(item, Sum):
        return any(map(has_weights, (*item.branch, *item.skip)))
    return any((reader := reader_of(part)) is not None and reader.affine for part in item.module.modules())


def folded(output: Call) -> list[Item]:
    """From the input to the output; refused where sums do not stand within or behind one another."""
    order = _ordered(output)
    folding = _Folding(_before_all(order))
    return folding.chain(output, order[0])


def _ordered(output: Call) -> list[Call]:
    """Every step that the output depends on, behind what it reads."""
    order: list[Call] = []
    done: set[Call] = set()
    stack = [(output, iter(output.reads))]
    while stack:
        call, reads = stack[-1]
        following = next((one for one in reads if one not in done), None)
        if following is not None:
            stack.append((following, iter(following.reads)))
            continue
        stack.pop()
        if call not in done:
            done.add(call)
            order.append(call)
    return order


def _before_all(order: list[Call]) -> dict[Call, Call]:
    """For each step the last one before it that all ways from the input to it go through."""
    before: dict[Call, Call] = {}
    depth = {order[0]: 0}
    for call in order[1:]:
        common, *rest = call.reads
        for other in rest:
            while common is not other:
                if depth[common] < depth[other]:
                    other = before[other]
                else:
                    common = before[common]
        before[call], depth[call] = common, depth[common] + 1
    return before


class _Folding:
    def __init__(self, before: dict[Call, Call]) -> None:
        self.before = before
        self.used: set[Call] = set()

    def chain(self, last: Call, first: Call) -> list[Item]:
        """The items behind the first step up to the last one."""
        items: list[Item] = []
        while last is not first:
            if last in self.used:
                why = "it goes into sums that stand neither within nor behind one another, and the theory has none such"
                raise refusal(last.where, last.name, why)
            self.used.add(last)
            if last.factor is not None:
                why = "the theory has factors of branches alone, as in x + 0.5 * f(x)"
                raise refusal(last.where, last.name, why)
            items += [self._sum(last)] if last.signs else reversed(last.leaves)
            last = self.before[last]
        return items[::-1]

    def _sum(self, call: Call) -> Sum:
        common = self.before[call]
        factors, scaled, chains = list(call.signs), [False, False], []
        for place, end in enumerate(call.reads):
            while end.factor is not None and end is not common:
                factors[place] *= end.factor
                scaled[place] = True
                (end,) = end.reads
            chains.append(tuple(self.chain(end, common)))
        branch = _branch_of(factors, scaled, chains)
        if factors[1 - branch] != 1.0:
            raise refusal(call.where, call.name, "the theory has a factor of one of the branches alone")
        return Sum(call.where, chains[branch], chains[1 - branch], factors[branch])


def _branch_of(factors: list[float], scaled: list[bool], chains: list[tuple[Item, ...]]) -> int:
    """Which of the two is the branch: the one with a factor, not the input as it is, or the one with more weights."""
    for marks in ([factor != 1.0 for factor in factors], scaled):
        if marks[0] is not marks[1]:
            return marks.index(True)
    sizes = [(sum(map(_weights, chain)), len(chain)) for chain in chains]
    return int(sizes[1] > sizes[0])


def _weights(item: Any) -> int:
    """How many layers with weights are in it."""
    if isinstance(item, Sum):
        return sum(map(_weights, (*item.branch, *item.skip)))
    return int(has_weights(item))
