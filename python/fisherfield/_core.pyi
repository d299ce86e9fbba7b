# SPDX-License-Identifier: BSD-3-Clause
"""The C++ core; its arguments have been checked by the Python modules."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MAX_DEGREE: int

class Activation:
    def __init__(self, name: str, parameters: Sequence[float] = ()) -> None: ...
    @property
    def homogeneous(self) -> bool: ...
    def evaluate(self, x: Array) -> tuple[Array, Array]: ...

def CallableActivation(
    function: Callable[[Array], Any], slope: Callable[[Array], Any], kinks: Sequence[float]
) -> Activation: ...
def activation_names() -> list[str]: ...
def gaussian_ufunc(
    activation: Activation,
    which: str,
    one_minus_c: bool,
    slope: bool,
    shift: bool,
    outputs: str,
    name: str,
    doc: str,
    activation_name: str,
) -> np.ufunc: ...
def has_kernel(activation: Activation) -> bool: ...
def simd_paths() -> list[str]: ...
def simd_path() -> str: ...
def set_simd_path(name: str) -> bool: ...

class Table:
    @property
    def bytes(self) -> int: ...
    @property
    def error(self) -> float: ...

# None: it would be larger; a number: the status of an integral that failed
def tabulate(activation: Activation, low: float, high: float, error: float, bytes: float) -> Table | int | None: ...
def table_ufunc(table: Table, which: str, one_minus_c: bool, name: str, doc: str, activation_name: str) -> np.ufunc: ...

class Network:
    def __init__(self, input_shape: Sequence[int]) -> None: ...
    def dense(self, units: int, sigma_w2: float, sigma_b2: float) -> None: ...
    def conv2d(
        self,
        channels: int,
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        sigma_w2: float,
        sigma_b2: float,
    ) -> None: ...
    def batch_norm(self, gamma: float, beta: float, eps: float, trained: bool) -> None: ...
    def activation(self, activation: Activation) -> None: ...
    def average_pool(self, kernel: Sequence[int], stride: Sequence[int]) -> None: ...
    def flatten(self) -> None: ...

# A tuple of two integers (status, layer) stands for a failure.
def fisher(
    network: Network, parameters: float, theory: int, samples: float, overlap: float, length: float, biases: bool
) -> tuple[Any, ...]: ...
def max_learning_rate(
    network: Network,
    parameters: float,
    theory: int,
    samples: float,
    overlap: float,
    length: float,
    biases: bool,
    momentum: float,
    loss: int,
) -> tuple[Any, ...]: ...
def order_parameters(
    network: Network, theory: int, samples: float, overlap: float, length: float, biases: bool
) -> tuple[Any, ...]: ...
def contributions(
    network: Network, theory: int, samples: float, overlap: float, length: float, biases: bool
) -> tuple[Any, ...]: ...

# samples (0: infinitely many), overlap, length and momentum; (field, layer, values) of what varies, an array with the
# box's number of dimensions each; statuses are those of `_arguments`.
def scan(
    network: Network,
    theory: int,
    biases: bool,
    loss: int,
    settings: tuple[float, float, float, float],
    shape: Sequence[int],
    slots: Sequence[tuple[str, int, Array]],
    quantities: Sequence[str],
    threads: int,
    pause: Callable[[int], object] | None,
) -> tuple[dict[str, Array], NDArray[np.int8]]: ...
def set_num_threads(threads: int) -> None: ...
def num_threads() -> int: ...
