# SPDX-License-Identifier: BSD-3-Clause
"""Descriptions as PyTorch modules, and PyTorch modules as descriptions."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from .. import _numbers
from .._optional import optional
from ..network import Network
from ..sampled import SampledNetwork, sample

if TYPE_CHECKING:
    import torch

__all__ = ["describe", "module", "sampled"]

VARIANCES = ("measured", "initial")


def _with_torch() -> tuple[Any, Any]:
    """What writes layers and what reads them; PyTorch is imported there."""
    optional("torch", "fisherfield.torch needs PyTorch", "fisherfield[torch]")
    from . import reading, writing

    return writing, reading


def module(net: Network | SampledNetwork, seed: int = 0, dtype: Any = None) -> torch.nn.Sequential:
    """A described network as a torch.nn.Sequential of PyTorch's own layers, with the weights of `sample(net, seed)`.

    Parameters
    ----------
    net : Network or SampledNetwork
        A description is sampled from `seed` first; of a SampledNetwork the arrays are copied as they are.
    seed : int
    dtype : {"float64", "float32"} or torch.dtype, optional
        By default float64, as in `sample`, or the SampledNetwork's own.

    Returns
    -------
    torch.nn.Sequential
        In train mode, on the CPU, one module a layer: Linear, Conv2d, BatchNorm1d or 2d, LayerNorm, GroupNorm, the
        activations, Flatten, AvgPool2d, AdaptiveAvgPool2d, MaxPool2d, `ff.torch.Residual` and `ff.torch.Subsample`.
        Inputs have shape
        (n, *net.input_shape), outputs (n, outputs). PyTorch's generator of random numbers is left as it was.

        A network of Conv1d is one of PyTorch's Conv1d, BatchNorm1d, AvgPool1d and AdaptiveAvgPool1d: inputs have shape
        (n, channels, length). With a Conv2d among them, or pooling that only two dimensions have, all are Conv2d.

    Raises
    ------
    ValueError, TypeError
        As `sample`, and for an activation that is a Python callable, whose gradient PyTorch cannot take.
    ImportError
        Without PyTorch.

    Notes
    -----
    Activations that PyTorch has no module for (abs, step, sign, erf, sin, cos, exp, gaussian, rbf, polynomials) are
    one of this package, `Elementwise`, made of PyTorch's functions; so is hardsigmoid, whose slope torch.nn.Hardsigmoid
    takes to be the 1/6 of float32. softplus has the threshold 40 in place of 20, where it would be off by 2e-9.

    A BatchNorm whose gamma and beta are not trained has them as parameters with ``requires_grad=False``. PyTorch
    refuses eps = 0 in train mode; in its place stands the smallest normal number of the dtype, 2.2e-308 or 1.2e-38,
    which added to a variance above 1e-291 or 1e-30 changes no digit, and `describe` reads it as 0. In eval mode
    BatchNorm uses its running averages, which start at PyTorch's 0 and 1 and are not what is described. Biases that are
    not parameters (``bias=False``, `SampledNetwork.trained_biases`) and 0 are left out.

    Examples
    --------
    >>> model = ff.torch.module(ff.mlp([784, 1000, 10]), seed=1, dtype="float32")
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    """
    writing, _ = _with_torch()
    if not hasattr(net, "weights"):
        _numbers.network_of(net)
    drawn = _numbers.sampled_network_of(net, seed, writing.numpy_dtype(dtype), sample)
    built: torch.nn.Sequential = writing.remembering(drawn)
    return built


def sampled(module: torch.nn.Module, input_shape: Any = None, dtype: Any = None) -> SampledNetwork:
    """A torch.nn.Module as a `SampledNetwork` with the module's own weights, biases, gammas and betas.

    What is measured of it, by `sampled_fisher` and its like, is the module's: `describe` leaves the weights behind, and
    whoever samples a description draws new ones.

    Parameters
    ----------
    module, input_shape
        As `describe` takes them.
    dtype : {"float64", "float32"} or torch.dtype, optional
        By default float64 where any of the module's numbers is, else float32.

    Returns
    -------
    SampledNetwork
        Its arrays are copies; its seed, which random vectors are drawn from, is 0; its description is `describe`'s.
        Outputs are those of the module in train mode, up to rounding.

    Raises
    ------
    ValueError, TypeError, ImportError
        As `describe` does, for the same modules: every weight and bias that is there must require gradients.

    Warns
    -----
    UserWarning
        Of a BatchNorm in eval mode: it takes the batch's mean and variance here, as in train mode.

    Notes
    -----
    gamma and beta are a normalisation's own in each unit, parameters where they require gradients, and 1 and 0 where a
    module has none (``affine=False``). Layers without biases have ``bias=False``, as `describe` says. PyTorch's
    softplus is linear from its threshold of 20 on, 2e-9 off softplus; its hardsigmoid has the slope 1/6 of float32.

    Examples
    --------
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 50), torch.nn.BatchNorm1d(50), torch.nn.ReLU(), ...)
    >>> ff.sampled_fisher(ff.torch.sampled(model), x, loss="mse").max_learning_rate(momentum=0.9)
    """
    writing, reading = _with_torch()
    taken, notes = reading.taken(module, input_shape, writing.numpy_dtype(dtype))
    for note in notes:
        warnings.warn(note, stacklevel=2)
    network: SampledNetwork = taken
    return network


def describe(module: torch.nn.Module, input_shape: Any = None, variances: str = "measured") -> Network:
    """A torch.nn.Module as a `Network`: what the theory says of it is asked of that.

    Parameters
    ----------
    module : torch.nn.Module
        Of Linear, Conv2d, Conv1d, BatchNorm1d and 2d, LayerNorm, GroupNorm, RMSNorm, activations that `Activation` has,
        Flatten, AvgPool1d and 2d, AdaptiveAvgPool1d and 2d, MaxPool1d and 2d, AdaptiveMaxPool1d and 2d,
        `ff.torch.Residual`, `ff.torch.Subsample`, Dropout, Identity, Sequentials of these, and modules whose forward
        calls these, or the functions and methods that they equal, and adds.
    input_shape : int or (int,) or (int, int) or (int, int, int), optional
        One input's shape, without the batch: (units,), (channels, length) or (channels, height, width). It may be left
        out where the first layer is Linear, or for what `ff.torch.module` made.
    variances : {"measured", "initial"}
        How sigma_w2 and sigma_b2 of each layer are found. "measured": fan_in times the mean square of its weights, and
        the mean square of its biases, as they are now. "initial": those of the known initialiser that the weights fit:
        PyTorch's own of Linear and Conv2d (sigma_w2 = 1/3, sigma_b2 = 1/(3 fan_in)); kaiming with the gain of ReLU (2,
        or 2 fan_in/fan_out with mode="fan_out"), xavier (2 fan_in/(fan_in + fan_out)) and LeCun's (1), uniform or
        normal; 0; and biases 0 or PyTorch's own. It must be likelier by 1e4 than any other that fits, which small
        layers are refused for. Weights that `ff.torch.module` drew and that nobody has changed have the described
        ones, either way.

    Returns
    -------
    Network
        ``describe(module(net)) == net``. It leaves the weights behind: sampling it draws new ones, with a warning;
        `sampled` keeps the module's own.

    Raises
    ------
    ValueError
        By its place in the module (``module.layer2[0].conv1``), by name and with what to do for what cannot be
        described (InstanceNorm, padding other than by zeros or windows cut at the border, concatenation, products of
        activations, recurrent layers, hooks, parametrisations, frozen or shared parameters, a forward that decides by
        the numbers that come in), for shapes that do not fit, and for weights of no known initialiser or too few to
        tell which. The sentence ends with
        the call that measures the model instead, where that can be run.
    TypeError
        For what is no torch.nn.Module.
    ImportError
        Without PyTorch.

    Warns
    -----
    UserWarning
        Of parameters that no output depends on, which are left out, and of what the description says otherwise than the
        module: gamma or beta of outputs, or of positions of an image,
        that are not the same, which enter by their root mean square and their mean (those of hidden units and channels
        are described each); weights whose mean is not 0; a BatchNorm in eval mode, which is described as in train mode.

    Notes
    -----
    A forward of a module's own is followed by torch.fx, on symbols that have the input's shape; nothing of the module
    is changed. Arguments behind the first one have their defaults. A sum of two branches of one stream is a `Residual`:
    its branch is the one with a factor, or the one that is not the stream as it is, or the one with more weights. What
    is changed in place is read as it is at that time. What torch.compile wraps is described as it is.

    A layer without biases is one with ``bias=False``; biases that require no gradients are refused. Biases directly
    before a BatchNorm, which has theirs in beta, are mostly left out: theory "exact" counts them among the parameters
    alone, for BatchNorm takes their gradient away; "frozen" counts their gradient too.

    The eps of a normalisation is taken over, and its gamma and beta count as trained where they require gradients. A
    layer that draws random numbers in train mode is described where the theory has it; else it is refused, and with
    these layers alone in eval mode, ``[part.eval() for part in model.modules() if isinstance(part, nn.Dropout2d)]``,
    the network without them is described.

    Normalisations over the units of a sample are taken over a whole sample: LayerNorm(input's shape), GroupNorm with
    two channels or more a group. Where images are (channels, length), as those of Conv1d, the description has them as
    (channels, 1, length); AvgPool1d is an AvgPool2d there.

    Examples
    --------
    >>> nn = torch.nn
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(784, 500), nn.BatchNorm1d(500), nn.ReLU(), nn.Linear(500, 10))
    >>> net = ff.torch.describe(model, (1, 28, 28))
    >>> ff.max_learning_rate(net, momentum=0.9, loss="mse")
    """
    _, reading = _with_torch()
    _numbers.choice("variances", variances, VARIANCES)
    net, notes = reading.read(module, input_shape, variances == "initial")
    for note in notes:
        warnings.warn(note, stacklevel=2)
    described: Network = net
    return described
