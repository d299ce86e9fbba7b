# SPDX-License-Identifier: BSD-3-Clause
"""The C++ core; its arguments have been checked by the Python modules."""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MAX_DEGREE: int

class Refusal:
    status: Status
    operand: str
    received: float
    tabulated: bool
    low: float
    high: float

class Activation:
    def __init__(self, name: str, parameters: Sequence[float] = ()) -> None: ...
    @property
    def homogeneous(self) -> bool: ...
    @property
    def kinks(self) -> list[float]: ...
    def evaluate(self, x: Array) -> tuple[Array, Array]: ...
    def cheap(self, shift: float) -> bool: ...

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
    refuse: Callable[[Refusal], NoReturn],
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

class Tabulated:
    table: Table | None
    status: Status
    too_large: bool

def tabulate(
    activation: Activation, low: float, high: float, error: float, bytes: float, hear: Callable[[], None]
) -> Tabulated: ...
def table_ufunc(
    table: Table, which: str, one_minus_c: bool, name: str, doc: str, refuse: Callable[[Refusal], NoReturn]
) -> np.ufunc: ...

class Spot: ...

class Network:
    def __init__(self, input_shape: Sequence[int], for_units: bool = False) -> None: ...
    def affine(
        self,
        units: int,
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        groups: int,
        biases: bool,
        sigma_w2: float,
        sigma_b2: float,
    ) -> None: ...
    def activation(self, activation: Activation) -> None: ...
    def average_pool(self, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]) -> None: ...
    def upsample(self, times: Sequence[int]) -> None: ...
    def max_pool(self, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> None: ...
    def subsample(self, channels: int, stride: tuple[int, int]) -> None: ...
    def flatten(self) -> None: ...
    def layer(
        self, kind: str, numbers: Sequence[float], trained: bool = False, units: Sequence[Sequence[float]] = ()
    ) -> None: ...
    def spot(self) -> Spot: ...
    def stand(self, spot: Spot) -> None: ...
    def add(self, branch: Spot, skip: Spot, scale: float) -> None: ...
    def finish(self) -> None: ...

class _Settings(Protocol):
    """What is assumed of data and parameters; samples None: infinitely many."""

    @property
    def theory(self) -> str: ...
    @property
    def samples(self) -> int | float | None: ...
    @property
    def overlap(self) -> float: ...
    @property
    def length(self) -> float: ...
    @property
    def biases(self) -> bool: ...

class _Descent(Protocol):
    @property
    def loss(self) -> str: ...
    @property
    def momentum(self) -> float: ...
    @property
    def nesterov(self) -> bool: ...
    @property
    def weight_decay(self) -> float: ...

# log2: lambda_max's logarithm; fit: whether all others are within float64's range
class Spectrum:
    a: float
    b: float
    lambda_max: float
    bulk: float
    mean: float
    second_moment: float
    multiplicity: float
    outlier: bool
    log2: float
    fit: bool

class LearningRate:
    max_learning_rate: float
    spectrum: Spectrum

# Of every affine layer; beyond_range: from which one on, from 1, numbers stand as 0 or inf; 0: none do.
class OrderParameters:
    fan_in: Array
    q_hat: Array
    q_hat_xy: Array
    v_hat: Array
    q: Array
    q_xy: Array
    v: Array
    theta: Array
    theta_xy: Array
    d: Array
    beyond_range: int

class Contributions:
    a: Array
    b: Array

# A row for the data (step -1), then for each phi; rates: by q_hat, q_hat_xy, the mean, t, divisor, centre.
class Sensitivities:
    step: Array
    layer: Array
    units: Array
    normed: Array
    xy: Array
    v: Array
    mean: Array
    o: Array
    lambda_rates: Array
    sample_rates: Array
    worth: Array
    worth_d: Array

# All of these raise Failure with the place of the layer among those that were added.
def fisher(network: Network, parameters: float, settings: _Settings) -> Spectrum: ...
def spectrum(o: float, d: float, outputs: float, parameters: float, settings: _Settings) -> Spectrum: ...
def rate_of(lambda_max: float, outputs: float, descent: _Descent) -> float: ...
def max_learning_rate(network: Network, parameters: float, settings: _Settings, descent: _Descent) -> LearningRate: ...
def order_parameters(network: Network, settings: _Settings) -> OrderParameters: ...
def contributions(network: Network, settings: _Settings) -> Contributions: ...

# How units are drawn: theory/units.py.
class _Drawing(Protocol):
    @property
    def units(self) -> int: ...
    @property
    def largest(self) -> int: ...
    @property
    def of_batch(self) -> bool: ...
    @property
    def reads(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def gains(self) -> tuple[float, ...]: ...

# o and d of each group of units; of every name of OrderParameters' columns an array (groups, layers).
class UnitPasses:
    o: Array
    d: Array
    rows: dict[str, Array]

def unit_passes(
    network: Network, settings: _Settings, drawing: _Drawing, threads: int = 0, only: int = -1
) -> UnitPasses: ...

class UnitNeeds:
    bytes: float
    products: float
    written: float

def unit_needs(network: Network, settings: _Settings, drawing: _Drawing) -> UnitNeeds: ...
def unit_normals(seed: int, group: int, place: int, which: int, units: int, size: int) -> Array: ...
def sensitivities(network: Network, settings: _Settings) -> Sensitivities: ...
def output_state(network: Network, settings: _Settings) -> tuple[float, float]: ...
def step_limit(momentum: float, nesterov: bool) -> float: ...

# Where the bulk ends; NaN of networks that its equations do not describe. And at each x the density of the n
# eigenvalues, and how many lie above.
def edge(network: Network, settings: _Settings) -> float: ...
def sample_moments(activation: Activation, scale: float, shift: float) -> tuple[float, ...]: ...
def sample_lengths(
    activation: Activation, scale: float, shift: float, mean: float, length: float, share: float
) -> tuple[float, float, float]: ...
def bulk_spectrum(
    network: Network, settings: _Settings, x: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...

# (name, layer, values) of what varies: in one of the layers that were added, by its number, or in all (-1); an array
# with the box's number of dimensions each. Statuses are Status's.
def scan(
    network: Network,
    settings: _Settings,
    descent: _Descent,
    shape: Sequence[int],
    slots: Sequence[tuple[str, int, Array]],
    quantities: Sequence[str],
    threads: int,
    pause: Callable[[int], object] | None,
    tables: Sequence[Table | None] = (),
    edges: float | None = None,
    sharp: bool = False,
) -> tuple[dict[str, Array], NDArray[np.int8]]: ...
def set_num_threads(threads: int) -> None: ...
def num_threads() -> int: ...

# Of a layer: it has no numbers.
class Failure(Exception):
    status: Status
    node: int
    unit: int

class Status:
    def __init__(self, value: int) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> int: ...
    ok: Status
    zero_variance: Status
    out_of_range: Status
    not_converged: Status
    overflow: Status
    beyond_range: Status
    inadmissible: Status
    edge_not_computed: Status

class _Linearization:
    def __init__(self, input_shape: Sequence[int], mean: bool, variance: bool, biases: bool) -> None: ...
    def affine(
        self,
        weights: NDArray[Any],
        biases: NDArray[Any],
        trained: bool,
        stride: Sequence[int] = ...,
        padding: Sequence[int] = ...,
        dilation: Sequence[int] = ...,
    ) -> None: ...
    def batch_norm(self, gamma: NDArray[Any], beta: NDArray[Any], eps: float, trained: bool) -> None: ...
    def activation(self, activation: Activation) -> None: ...
    def average_pool(self, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int] = ...) -> None: ...
    def layer(self, kind: str, numbers: Sequence[float], arrays: Sequence[NDArray[Any]], trained: bool) -> None: ...
    def add(self, inputs: Sequence[int]) -> None: ...
    last: int
    seed: int
    @property
    def nodes(self) -> int: ...
    def forward(
        self, x: NDArray[Any], workspace: float, keep: bool, noise: float = ..., seed: int = ...
    ) -> NDArray[Any]: ...
    def prepare(self, products: float, bytes: float) -> None: ...
    def pull(self, w: NDArray[Any]) -> NDArray[Any]: ...
    def push(self, v: NDArray[Any]) -> NDArray[Any]: ...
    def product(self, w: NDArray[Any]) -> NDArray[Any]: ...
    def product_of_last(self, w: NDArray[Any]) -> NDArray[Any]: ...
    def gram(self) -> NDArray[Any]: ...
    def bytes(self, samples: int) -> float: ...
    @property
    def parameters(self) -> int: ...
    @property
    def coupled(self) -> bool: ...
    @property
    def forward_flops(self) -> float: ...
    @property
    def product_flops(self) -> float: ...
    @property
    def gram_flops(self) -> float: ...

class Linearization64(_Linearization): ...
class Linearization32(_Linearization): ...
