# SPDX-License-Identifier: BSD-3-Clause
"""Networks that have no closed recursion: their descriptions, what they say of themselves, and what is refused."""

import importlib
import pickle
import re

import numpy as np
import pytest

import fisherfield as ff
from fisherfield import reference
from fisherfield.network.toml import from_toml

D, BN, RELU, A = ff.Dense, ff.BatchNorm(), ff.Activation("relu"), ff.Activation
IMAGE = (3, 8, 8)


def conv(channels, stride=1, **words):
    return ff.Conv2d(channels, 3, stride, 1, **words)


def block(channels, skip=(), stride=1):
    return ff.Residual([conv(channels, stride), BN, RELU, conv(channels), BN], skip)


def image(*layers):
    return ff.Network(IMAGE, [*layers, ff.GlobalAvgPool2d(), ff.Flatten(), D(2)])


STEM = (conv(4), BN, RELU)
UNEQUAL = "BatchNorm has no closed recursion: mean and variance over the data differ from unit to unit where units are"
SUM = "Residual has no closed recursion: a sum with units that are not Gaussian"
LARGEST = "MaxPool2d has no closed recursion: the largest of several positions"
PHI = "Activation has no closed recursion: what comes in is not Gaussian"
# Each with the first step that has none, and its sentence.
NETWORKS = {
    "max pooling": (image(*STEM, ff.MaxPool2d(2)), f"layers[3]: {LARGEST}"),
    "max pooling of Gaussian units": (image(conv(4), ff.MaxPool2d(3, 2, 1), RELU), f"layers[1]: {LARGEST}"),
    "post-activation block": (image(*STEM, block(4), RELU), f"layers[3]: {SUM}"),
    "skip without parameters": (
        image(*STEM, block(6, [ff.Subsample(6)], 2), RELU),
        "layers[3].skip[0]: Subsample has no closed recursion: zeros stand in place",
    ),
    "pooled skip without parameters": (
        image(*STEM, ff.Residual([conv(6, 2)], [ff.AvgPool2d(2), ff.Subsample(6, 1)]), RELU),
        "layers[3].skip[1]: Subsample",
    ),
    "skip of a pre-activation net": (
        image(conv(4), ff.Residual([BN, RELU, conv(6, 2)], [ff.Subsample(6)])),
        "layers[1].s",
    ),
    "sum of activations": (image(*STEM, ff.Residual([conv(4), RELU], [conv(4), RELU])), f"layers[3]: {SUM}"),
    "dense block": (ff.Network(6, [D(8), RELU, ff.Residual([D(8), BN]), RELU, D(1)]), f"layers[2]: {SUM}"),
    "BatchNorm at the input": (image(BN, *STEM), f"layers[0]: {UNEQUAL}"),
    "BatchNorm behind phi": (ff.Network(6, [D(8), RELU, BN, D(1)]), f"layers[2]: {UNEQUAL}"),
    "BatchNorm behind a pooling": (image(conv(4), RELU, ff.AvgPool2d(2), BN, RELU), f"layers[3]: {UNEQUAL}"),
    "BatchNorm behind Flatten": (ff.Network(IMAGE, [*STEM, ff.Flatten(), BN, D(1)]), f"layers[4]: {UNEQUAL}"),
    "BatchNorm behind a sum": (image(*STEM, block(4), BN, RELU), f"layers[3]: {SUM}"),
    "BatchNorm of pooled outputs": (ff.Network(IMAGE, [conv(2), ff.GlobalAvgPool2d(), BN]), f"layers[2]: {UNEQUAL}"),
    "phi behind a pooling": (image(conv(4), ff.AvgPool2d(2), RELU), f"layers[2]: {PHI}"),
    "depthwise": (
        image(*STEM, conv(4, groups=4), BN, RELU, ff.Conv2d(8, 1)),
        "layers[3]: Conv2d has no closed recursion: a sum over the taps of one channel is not Gaussian",
    ),
    "two channels of each": (image(*STEM, conv(8, groups=4)), "layers[3]: Conv2d has no closed recursion: a sum"),
    "depthwise at the input": (image(conv(6, groups=3), RELU, conv(4)), "layers[0]: Conv2d has no closed recursion"),
    "depthwise of Gaussian units": (
        image(conv(4), conv(4, 2, groups=4), BN, ff.MaxPool2d(2)),
        "layers[1]: Conv2d has no closed recursion: a sum",
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_say_which_step_needs_sampled_units_and_why(name):
    net, words = NETWORKS[name]
    assert net.needs_units.startswith(words)
    first = next(step for step in net.steps if step.needs_units and not step.closed_nearly)
    assert (
        net.needs_units == f"{first.where}: {type(first.layer).__name__} has no closed recursion: {first.needs_units}"
    )
    for refused in (
        lambda: ff.fisher(net, units=None),
        lambda: ff.fisher(net, "frozen", samples=8, units=None),
        lambda: ff.max_learning_rate(net, units=None),
        lambda: ff.order_parameters(net, units=None),
        lambda: ff.scan(net, {"sigma_w2": [1.0, 2.0]}, samples=8),
        lambda: reference.fisher(net, units=None),
        lambda: reference.order_parameters(net, units=None),
        lambda: reference.scan(net, {"sigma_w2": [1.0, 2.0]}, samples=8),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(net.needs_units)}$"):
            refused()


@pytest.mark.parametrize("name", NETWORKS)
def test_units_are_drawn_of_networks_without_a_recursion(name):
    net, _ = NETWORKS[name]
    net = net.replace(eps=1e-3) if net.batch_norms else net  # relu switches all samples of some units off
    for theory in ("exact", "frozen"):
        # of seed 0 one number of the post-activation block lies within float32 of the kink of relu, 1/5120 of all
        slow, fast = (module.fisher(net, theory, samples=5, units=64, seed=1) for module in (reference, ff))
        # sums in float32; a norm of the outputs takes all of b but what rounding leaves of a
        assert (fast.a, fast.b) == pytest.approx((slow.a, slow.b), rel=2e-5, abs=1e-5 * slow.a)
        assert fast.drawing is not None


FLAT = [ff.Flatten(), ff.BatchNorm(0.9, 0.2, 0.1, True)]
FLATTENED = {
    "poolings": ff.Network(IMAGE, [*STEM, ff.MaxPool2d(3, 2, 1), ff.AvgPool2d(2), *FLAT, RELU, D(20), RELU, D(1)]),
    "a norm": ff.Network(IMAGE, [conv(4), ff.BatchNorm(1.2, 0.3, 0.1, True), *FLAT, D(1)]),
    "a block": ff.Network(IMAGE, [*STEM, block(4), RELU, ff.AvgPool2d(2), *FLAT, D(1)]),
}


@pytest.mark.parametrize("theory", ["exact", "frozen"])
@pytest.mark.parametrize("name", FLATTENED)
def test_batch_norm_behind_flatten_has_units_that_are_the_references(name, theory):
    net = FLATTENED[name].replace(eps=0.05)
    slow, fast = (module.fisher(net, theory, samples=6, units=64, seed=1) for module in (reference, ff))
    # sums in float32
    assert (fast.a, fast.b) == pytest.approx((slow.a, slow.b), rel=2e-5, abs=1e-5 * slow.a)


@pytest.mark.parametrize("theory", ["exact", "frozen"])
def test_batch_norm_behind_flatten_is_what_sampled_networks_have(theory):
    """40 samples and five networks of 64 channels, which scatter by 1 to 6 %."""
    layers = [conv(64), ff.BatchNorm(), RELU, ff.AvgPool2d(2), ff.Flatten(), ff.BatchNorm(1.2, 0.5, 0.01, True)]
    net, n = ff.Network(IMAGE, [*layers, ff.Activation("gelu"), D(800), BN, RELU, D(1)]), 40
    expected = ff.fisher(net, theory, samples=n)
    x = np.random.default_rng(0).standard_normal((n, *IMAGE))
    measured = [ff.sampled_fisher(net, x, seed, theory).lambda_max for seed in range(5)]
    error = np.hypot(np.std(measured, ddof=1) / np.sqrt(5), expected.error)
    assert error < 0.04 * expected.lambda_max
    assert expected.lambda_max == pytest.approx(np.mean(measured), abs=4 * error + 0.01 * expected.lambda_max)


@pytest.mark.parametrize(
    "layers",
    [[conv(4), *FLAT, D(1)], [conv(4), ff.Activation("linear"), *FLAT, D(1)]],
)
def test_batch_norm_behind_flatten_of_gaussian_units_is_refused(layers):
    net = ff.Network(IMAGE, layers)
    for module in (ff, reference):
        with pytest.raises(ValueError, match="sampled units have no BatchNorm behind Flatten of Gaussian units"):
            module.fisher(net, samples=8)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_saved_printed_replaced_and_pickled(name):
    net, _ = NETWORKS[name]
    assert from_toml("a file", net._to_toml().encode()) == net
    assert pickle.loads(pickle.dumps(net)).needs_units == net.needs_units
    words = {name: getattr(ff, name) for name in ff.__all__ if isinstance(getattr(ff, name), type)}
    assert eval(repr(net), words) == net
    assert net.replace(sigma_w2=1.5).needs_units == net.needs_units
    assert net.replace(batch_norm=False).batch_norms == ()


def test_chains_that_have_a_closed_recursion_need_no_units():
    for net in (
        ff.mlp([5, 8, 8, 2]),
        image(*STEM, conv(4), RELU, ff.AvgPool2d(2)),
        image(ff.Conv2d(4, 3), BN, RELU, ff.AvgPool2d(2), ff.Conv2d(4, 2), BN, RELU),
        ff.Network((1, 4, 4), [conv(4), RELU, ff.LayerNorm(), ff.Dropout(0.1), ff.Flatten(), D(1)]),
    ):
        assert (net.needs_units, net.without_recursion) == ("", "")
        assert not any(step.needs_units for step in net.steps)


PRE = ff.Residual([BN, RELU, conv(4)])
UNEVEN = {  # with the BatchNorms that see positions differ
    "two padded convolutions": (image(*STEM, conv(4), BN, RELU), ["layers[4]"]),
    "padding in front alone": (
        image(*STEM, ff.Conv2d(4, 3), BN, RELU, ff.Conv2d(4, 2), BN),
        ["layers[4]", "layers[7]"],
    ),
    "padding without a norm": (image(conv(4), RELU, ff.Conv2d(4, 3), BN, RELU), ["layers[3]"]),
    "a padded mean": (
        image(ff.Conv2d(4, 3), RELU, ff.AvgPool2d(3, 2, 1), ff.Conv2d(4, 2), BN, RELU),
        ["layers[4]"],
    ),
    "a pre-activation net": (
        image(conv(4), PRE, PRE, BN, RELU),
        ["layers[2].branch[0]", "layers[3]"],
    ),
    "a projection": (
        image(*STEM, block(4, [ff.Conv2d(4, 1), BN]), RELU),
        ["layers[3].branch[1]", "layers[3].branch[4]", "layers[3].skip[1]"],
    ),
    "padding in a branch alone": (
        image(ff.Conv2d(4, 3), BN, RELU, ff.Residual([conv(4), RELU, conv(4)], [ff.Conv2d(4, 1)]), BN, RELU),
        ["layers[4]"],
    ),
    "one position behind it": (
        ff.Network((3, 2, 2), [conv(4), RELU, conv(4, 2), BN, RELU, ff.Flatten(), D(2), BN]),
        [],
    ),
}


@pytest.mark.parametrize("name", UNEVEN)
def test_exact_norms_behind_padding_need_units_and_have_a_recursion_all_the_same(name):
    net, where = UNEVEN[name]
    assert [step.where for step in net.steps if step.needs_units] == where
    assert all(step.closed_nearly for step in net.steps if step.needs_units)
    assert net.without_recursion == ""
    assert net.needs_units.startswith(f"{where[0]}: BatchNorm has no closed recursion that is exact" if where else "")
    for theory in ("exact", "frozen"):
        by_units = ff.fisher(net, theory, samples=9).drawing
        assert (by_units is not None) == (theory == "exact" and bool(where))
        settings = reference.arguments.settings_of(net, theory, 9, 0, 1, None, True)
        slow = reference.units.walk.drawing(net, settings, "auto", 0)
        assert (slow and slow[:5]) == (by_units and by_units[:5])
    assert ff.fisher(net, samples=9, units=None).drawing is None


def test_closed_recursions_stand_where_units_would_take_too_much():
    norm = ff.LayerNorm((1.0, 2.0, 1.0, 1.0))
    for net, words in (
        (ff.convnet((3, 70, 70), [8, 8], 2), {}),
        (ff.convnet((3, 8, 8), [8, 8], 2), {"memory": 1000.0}),
        (ff.Network(IMAGE, [*STEM, conv(4), BN, RELU, ff.Flatten(), D(4), norm, RELU, D(2)]), {}),
    ):
        assert net.needs_units
        spectrum = ff.fisher(net, samples=9, **words)
        assert spectrum.drawing is None
        assert spectrum.error == 0
        assert "behind padding a part of what BatchNorm takes from the gradient is left out" in spectrum.reason


def test_scans_say_that_they_are_by_the_closed_recursion():
    net = UNEVEN["two padded convolutions"][0]
    table = ff.scan(net, {"sigma_w2": [1.0, 2.0]}, samples=8)
    words = f"by the closed recursion, where fisher draws sampled units: {net.needs_units}"
    assert f"note: {words}" in repr(table)
    assert table.to_xarray().attrs["note"] == words
    for theory in ("exact", "frozen"):
        of_two = ff.scan(net, {"sigma_w2": [1.0, 2.0]}, theory=theory, samples=8).lambda_max[1]
        assert of_two == pytest.approx(ff.fisher(net, theory, samples=8, units=None).lambda_max, rel=1e-14)
    assert "note" not in repr(ff.scan(net, {"sigma_w2": [1.0, 2.0]}, theory="frozen"))
    assert "note" not in repr(ff.scan(net.replace(batch_norm=False), {"sigma_w2": [1.0, 2.0]}))


def test_shapes_and_parameters():
    net = NETWORKS["skip without parameters"][0]
    assert net.shapes[4] == (6, 4, 4)
    assert net.parameters() == sum((9 * a + 1) * b for a, b in ((3, 4), (4, 6), (6, 6))) + 2 * 6 + 2
    assert ff.Subsample(4, (1, 2)).shape_of((4, 5, 5)) == (4, 5, 3)
    assert ff.MaxPool2d(3, 2, 1).shape_of((64, 112, 112)) == (64, 56, 56)
    assert ff.MaxPool2d(2) == ff.MaxPool2d(2, 2)
    assert repr(ff.MaxPool2d(2)) == "MaxPool2d(kernel=2, stride=2)"
    assert repr(ff.Subsample(32)) == "Subsample(channels=32, stride=2)"


SUB, POOL = ff.Subsample(4), ff.MaxPool2d(2)
END = "zeros in place of units may be added to other units alone, at the end of a skip; it stands after Subsample"
MIXED = (
    "what comes in must go through a Dense or a convolution that mixes channels on all ways of the branch, or of the "
    "skip; where both hold it as it is, they are not independent"
)
ALONE = "for data are described by second moments alone"
NO_DATA = f"MaxPool2d must stand behind a Dense or a convolution, {ALONE}; it stands after"
DATA_SKIP = "a skip must hold units behind a Dense or a convolution, and this one holds the data"
ZEROS = (
    "BatchNorm must not stand directly behind another normalisation, or where units are 0; it stands after Subsample"
)
BEHIND = "Subsample must stand behind a Dense or a convolution; it stands after"


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        ([POOL, conv(4)], f"layers[0]: {NO_DATA} the input"),
        ([ff.AvgPool2d(2), POOL, conv(4)], f"layers[1]: {NO_DATA} AvgPool2d"),
        (
            [conv(4), ff.MaxPool2d(8)],
            "layers[1]: the output must be linear, got MaxPool2d(kernel=8, stride=8) after the last Dense or Conv2d",
        ),
        ([conv(4), ff.MaxPool2d(9), conv(4)], "layers[1]: kernel must be at most the image's size 8, got 9"),
        ([ff.Residual([conv(3), BN])], f"layers[0]: {DATA_SKIP}"),
        ([ff.Residual([conv(3), BN], [BN])], f"layers[0]: {DATA_SKIP}"),
        ([conv(4), SUB, conv(4)], f"layers[2]: {END}"),
        ([conv(4), SUB, BN, conv(4)], f"layers[2]: {ZEROS}"),
        (
            [conv(4), RELU, ff.Residual([conv(8, 2)], [SUB, ff.Subsample(8, 1)])],
            f"layers[2].skip[1]: {BEHIND} Subsample",
        ),
        ([SUB, conv(4)], f"layers[0]: {BEHIND} the input"),
        (
            [conv(4), ff.Residual([conv(4), SUB], [conv(4, 2)])],
            "layers[1]: Subsample must end the skip, and it ends the branch",
        ),
        ([conv(4), SUB], "layers[1]: Subsample must be the last layer of a skip, and it stands behind the output"),
        (
            [conv(4), ff.Residual([conv(3, 2)], [ff.Subsample(3)])],
            "layers[1].skip[0]: channels must be at least the 4 that come in, got 3",
        ),
        ([conv(4), RELU, ff.Residual([conv(4, groups=4), BN, RELU])], f"layers[2]: {MIXED}"),
    ],
)
def test_what_stays_undefined_is_refused_in_a_sentence(layers, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        ff.Network(IMAGE, [*layers, *([] if "output" in sentence else [ff.Flatten(), D(1)])])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ff.MaxPool2d(0), "kernel must be a whole number >= 1, got 0"),
        (lambda: ff.MaxPool2d(2, 0), "stride must be a whole number >= 1, got 0"),
        (lambda: ff.MaxPool2d(2, 2, 2), "padding must be at most half of the kernel 2, got 2"),
        (lambda: ff.Subsample(0), "channels must be a whole number >= 1, got 0"),
        (lambda: ff.Subsample(4, (2, 0)), "stride must be a whole number >= 1, got 0"),
    ],
)
def test_sizes_out_of_range_are_refused(make, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        make()


def test_a_depthwise_convolution_between_others_may_be_a_branch():
    branch = [ff.Conv2d(12, 1), BN, RELU, conv(12, groups=12), BN, RELU, ff.Conv2d(4, 1), BN]
    net = image(*STEM, ff.Residual(branch))
    assert net.needs_units.startswith("layers[3].branch[3]: Conv2d has no closed recursion")


def test_widths_are_changed_with_what_goes_by_them():
    branch = [ff.Conv2d(12, 1), BN, RELU, conv(12, groups=12), BN, RELU, ff.Conv2d(4, 1), BN]
    down = ff.Residual([conv(8, 2), BN], [ff.AvgPool2d(1), ff.Subsample(8)])
    net = image(*STEM, ff.Residual(branch), RELU, down, RELU)
    wide = net.with_widths([6, 18, 18, 6, 10])
    assert wide.layers[3].branch[3] == conv(18, groups=18)
    assert wide.layers[5].skip == (ff.AvgPool2d(1), ff.Subsample(10))
    assert wide.with_widths([4, 12, 12, 4, 8]) == net
    flat = ff.Network(IMAGE, [*STEM, ff.Flatten(), BN, D(5), RELU, ff.Residual([D(5)]), D(2)])
    assert flat.with_widths([6, 7, 7]).shapes[-3:] == ((7,), (7,), (2,))


@pytest.fixture
def no_theory(monkeypatch):
    """Whatever theory there is of such networks: here it knows none of them."""

    def refused(net, *args, **words):
        raise ValueError(net.needs_units)

    monkeypatch.setattr(importlib.import_module("fisherfield.sampled.verify"), "fisher", refused)


def test_verify_samples_what_no_theory_is_known_of(no_theory):
    net = image(conv(4), ff.MaxPool2d(3, 2, 1), RELU, block(6, [ff.Subsample(6)], 2), RELU)
    found = ff.verify(net, widths=[6, 12], seeds=2, samples=8)
    assert found.fishers == (None, None)
    assert np.isnan(found.theory["lambda_max"]).all()
    assert np.isnan(found.others["frozen"]).all()
    for width, seed, value in ((0, 0, 6), (1, 1, 12)):
        scaled = net.with_widths([round(2 * value / 3), value, value])
        measured = ff.sampled_fisher(scaled, ff.data.gaussian(scaled, 8, seed), seed).lambda_max
        assert found.runs["lambda_max"][width, seed] == pytest.approx(measured, rel=1e-6)  # Lanczos' tolerance
    assert re.fullmatch(
        r"At width 12 2 networks had lambda_max [\d.]+ \+- [\d.]+, and no theory is known: layers\[1\]: MaxPool2d has "
        r"no closed recursion: the largest .*\.",
        found.verdict,
    )
    assert "not known" in repr(found)
    assert "not known" in found._repr_html_()
    assert found.to_pandas()["theory"].isna().all()
    one = ff.verify(net, seeds=1, samples=8)
    assert one.verdict.startswith("One network had lambda_max ")


def test_verify_draws_what_no_theory_is_known_of(no_theory):
    pytest.importorskip("matplotlib")
    net = ff.Network(6, [D(8), RELU, ff.Residual([D(8)]), RELU, D(1)])
    for widths in (None, [8, 16, 24]):
        [axes] = ff.verify(net, widths=widths, seeds=3, samples=8).plot().axes
        assert axes.get_legend_handles_labels()[1] == ["each network", "sampled: mean, two standard errors"]


# ------------------------------------------------------------------------------------------------- finite networks
# Units that relu has switched off have no variance over few samples.
FINITE = {name: net.replace(eps=1e-3) if net.batch_norms else net for name, (net, _) in NETWORKS.items()}


@pytest.mark.parametrize("name", FINITE)
def test_modules_have_the_same_outputs_gradients_and_description(name):
    pytest.importorskip("torch")
    from test_torch import assert_same

    assert_same(FINITE[name])


@pytest.mark.parametrize("statistics", reference.sampled.STATISTICS)
@pytest.mark.parametrize("name", FINITE)
def test_all_eigenvalues_are_the_reference_s(name, statistics):
    net = FINITE[name].replace(trained=True) if FINITE[name].batch_norms else FINITE[name]
    x = np.random.default_rng(5).standard_normal((5, *net.input_shape))
    slow = reference.sampled_fisher(net, x, 2, statistics, k="all")
    for dtype, tolerance in (("float64", 1e-13), ("float32", 1e-5)):  # some dozen roundings
        fast = ff.sampled_fisher(net, x, seed=2, statistics=statistics, k="all", method="dense", dtype=dtype)
        np.testing.assert_allclose(fast.eigenvalues, slow[: len(fast.eigenvalues)], rtol=0, atol=tolerance * slow[0])


def test_a_user_s_own_resnet_is_read_with_its_numbers():
    torch = pytest.importorskip("torch")
    nn = torch.nn

    def layers(before, after, stride):
        first, second = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.Conv2d(after, after, 3, 1, 1, bias=False)
        return nn.Sequential(first, nn.BatchNorm2d(after), nn.ReLU(inplace=True), second, nn.BatchNorm2d(after))

    own = nn.Sequential(
        *(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
        nn.MaxPool2d(3, 2, padding=1, ceil_mode=True),  # which changes nothing here
        *(ff.torch.Residual(layers(4, 4, 1)), nn.ReLU()),
        *(ff.torch.Residual(layers(4, 6, 2), ff.torch.Subsample(6)), nn.ReLU()),
        *(nn.Conv2d(6, 6, 3, 1, 1, groups=6), nn.BatchNorm2d(6), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)),
    ).double()
    net = ff.torch.describe(own, (3, 9, 9))
    assert net.layers[4] == ff.MaxPool2d((3, 3), (2, 2), (1, 1))
    assert net.layers[7].skip == (ff.Subsample(6),)
    assert net.layers[9].groups == 6
    assert net.needs_units.startswith("layers[0]: BatchNorm")
    x = torch.randn(6, 3, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(ff.torch.sampled(own, (3, 9, 9))(x.numpy()), own(x).detach().numpy(), rtol=1e-11)
    assert "6, stride=2" in repr(own)
    line = nn.Sequential(nn.Conv1d(2, 4, 3), nn.MaxPool1d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 1)).double()
    described = ff.torch.describe(line, (2, 6))
    assert described.layers[1] == ff.MaxPool2d((1, 2), (1, 2))
    x = torch.randn(5, 2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values = ff.torch.sampled(line, (2, 6))(x.numpy()[:, :, None])
    np.testing.assert_allclose(values, line(x).detach().numpy(), rtol=1e-12)


def test_adaptive_maxima_are_those_of_whole_windows():
    nn = pytest.importorskip("torch").nn
    for size, layer in ((1, ff.MaxPool2d((8, 8))), (4, ff.MaxPool2d((2, 2))), ((8, 2), ff.MaxPool2d((1, 4)))):
        model = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.AdaptiveMaxPool2d(size), nn.Flatten(), nn.LazyLinear(2))
        x = torch_of(np.random.default_rng(0).standard_normal((3, *IMAGE)))
        outputs = model.double()(x).detach().numpy()
        assert ff.torch.describe(model, IMAGE).layers[1] == layer
        np.testing.assert_allclose(ff.torch.sampled(model, IMAGE)(x.numpy()), outputs, rtol=1e-11)
    same = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.AdaptiveMaxPool2d((8, None)), nn.Flatten(), nn.Linear(256, 2))
    assert [type(layer) for layer in ff.torch.describe(same, IMAGE).layers] == [ff.Conv2d, ff.Flatten, D]


def torch_of(array):
    import torch

    return torch.from_numpy(array)


def test_a_subsample_of_pytorch_refuses_what_does_not_fit():
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"^channels must be a whole number >= 1, got 0$"):
        ff.torch.Subsample(0)
    with pytest.raises(ValueError, match=r"^x must have at most 2 channels, got 3$"):
        ff.torch.Subsample(2)(torch.zeros(1, 3, 4, 4))
    picked = ff.torch.Subsample(3, (1, 2))(torch.arange(12.0).reshape(1, 2, 2, 3))
    assert picked.tolist() == [[[[0, 2], [3, 5]], [[6, 8], [9, 11]], [[0, 0], [0, 0]]]]
