# SPDX-License-Identifier: BSD-3-Clause
"""Which of the known architectures are described, and by the builders' networks; what the others are refused for."""

from __future__ import annotations

import numpy as np
import pytest

import fisherfield as ff

torch = pytest.importorskip("torch")
import architectures as known  # noqa: E402 (needs PyTorch)

nn = torch.nn
BASIC, DEEP = known.BasicBlock, known.Bottleneck
# name: the module at a width, of other keywords than the builder's network at that width; the number of parameters that
# its authors, or torchvision's pages, give
RESNETS = {
    "resnet18": (18, BASIC, (2, 2, 2, 2), {}, 11_689_512),
    "resnet34": (34, BASIC, (3, 4, 6, 3), {}, 21_797_672),
    "resnet50": (50, DEEP, (3, 4, 6, 3), {}, 25_557_032),
    "resnet101": (101, DEEP, (3, 4, 23, 3), {}, 44_549_160),
    "resnet152": (152, DEEP, (3, 8, 36, 3), {}, 60_192_808),
    "wide_resnet50_2": (50, DEEP, (3, 4, 6, 3), {"width_per_group": 128}, 68_883_240),
    "wide_resnet101_2": (101, DEEP, (3, 4, 23, 3), {"width_per_group": 128}, 126_886_696),
    "resnext50_32x4d": (50, DEEP, (3, 4, 6, 3), {"groups": 32, "width_per_group": 4}, 25_028_904),
    "resnext101_32x8d": (101, DEEP, (3, 4, 23, 3), {"groups": 32, "width_per_group": 8}, 88_791_336),
}
VGGS = {
    (11, False): 132_863_336,
    (13, False): 133_047_848,
    (16, False): 138_357_544,
    (19, False): 143_667_240,
    (11, True): 132_868_840,
    (13, True): 133_053_736,
    (16, True): 138_365_992,
    (19, True): 143_678_248,
}
CIFAR = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962}
LIKE_PYTORCH = {"trained": True, "eps": 1e-5}


def on_meta(make):
    with torch.device("meta"):
        return sum(part.numel() for part in make().parameters())


def of_variance_one(net):
    """Structure alone: weights are drawn at random."""
    return net.replace(sigma_w2=1.0, sigma_b2=0.0)


@pytest.mark.parametrize("name", RESNETS)
def test_torchvision_s_residual_networks_are_described_as_the_builder_s(name):
    depth, block, layers, more, parameters = RESNETS[name]
    assert on_meta(lambda: known.ResNet(block, layers, **more)) == parameters
    assert ff.resnet(depth, (3, 224, 224), **more, **LIKE_PYTORCH).parameters() == parameters
    channels = 16 if "groups" in more else 4  # each group has whole channels
    torch.manual_seed(0)
    own = known.ResNet(block, layers, 10, channels=channels, **more)
    net = ff.torch.describe(own, (3, 32, 32))
    built = ff.resnet(depth, (3, 32, 32), 10, channels, **more, **LIKE_PYTORCH)
    assert of_variance_one(net) == of_variance_one(built)
    assert net.parameters() == sum(part.numel() for part in own.parameters())
    assert ff.torch.describe(ff.torch.module(built, 1, "float32")) == built


@pytest.mark.parametrize(("depth", "batch_norm"), VGGS)
def test_torchvision_s_vgg_is_described_as_the_builder_s(depth, batch_norm):
    parameters = VGGS[depth, batch_norm]
    assert on_meta(lambda: known.VGG(depth, batch_norm)) == parameters
    assert ff.vgg(depth, (3, 224, 224), batch_norm=batch_norm, trained=True).parameters() == parameters
    torch.manual_seed(0)
    own = known.VGG(depth, batch_norm, 4, 12, 10)
    sizes = {"channels": 4, "hidden": (12, 12), "outputs": 10, "batch_norm": batch_norm}
    for size in (32, 64, 224):  # positions are repeated, averaged to 7 x 7 by none, or what they are
        if size == 64:
            with pytest.raises(ValueError, match=r"^module\.avgpool: Adaptive.* not all of one size, from \(2, 2\) to"):
                ff.torch.describe(own, (3, size, size))
            continue
        built = ff.vgg(depth, (3, size, size), **sizes, **LIKE_PYTORCH)
        net = ff.torch.describe(own, (3, size, size))
        assert of_variance_one(net) == of_variance_one(built)
        assert net.parameters() == sum(part.numel() for part in own.parameters())
    built = ff.vgg(depth, (3, 32, 32), **sizes)
    assert ff.torch.describe(ff.torch.module(built, 1, "float32")) == built


@pytest.mark.parametrize("depth", CIFAR)
def test_the_residual_networks_of_cifar_are_described_as_the_builder_s(depth):
    assert on_meta(lambda: known.CifarResNet(depth)) == CIFAR[depth]
    assert ff.resnet(depth, (3, 32, 32), 10, **LIKE_PYTORCH).parameters() == CIFAR[depth]
    torch.manual_seed(0)
    own = known.CifarResNet(depth, 4)
    net = ff.torch.describe(own, (3, 16, 16))
    built = ff.resnet(depth, (3, 16, 16), 10, 4, **LIKE_PYTORCH)
    expected = of_variance_one(built)
    *layers, _, flatten, dense = expected.layers
    assert of_variance_one(net).layers == (*layers, ff.AvgPool2d(4), flatten, dense)  # avg_pool2d of its size
    assert net.parameters() == sum(part.numel() for part in own.parameters())
    with pytest.raises(
        ValueError, match=r"^module\.layer2\[0\]\.shortcut: its zeros stand before the channels that come"
    ):
        ff.torch.sampled(own, (3, 16, 16))


def assert_own_outputs(own, shape):
    """A sampled network of a module's own numbers, Dropout apart, has its outputs."""
    for part in own.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    own = own.double()
    sampled = ff.torch.sampled(own, shape)
    x = torch.randn(5, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        outputs = own(x).numpy()
    # roundings, which fifty layers with BatchNorm of few samples enlarge
    np.testing.assert_allclose(sampled(x.numpy()), outputs, rtol=0, atol=1e-8 * np.abs(outputs).max())


OWN_OUTPUTS = {
    "resnet18": (lambda: known.ResNet(BASIC, (2, 2, 2, 2), 10, channels=4), (3, 32, 32)),
    "resnet50": (lambda: known.ResNet(DEEP, (3, 4, 6, 3), 10, channels=4), (3, 32, 32)),
    "vgg11_bn": (lambda: known.VGG(11, True, 4, 12, 10), (3, 32, 32)),
    "alexnet": (lambda: known.AlexNet(0.05, 10), (3, 64, 64)),
    "mobilenet_v2": (lambda: known.MobileNetV2(0.25, 10), (3, 32, 32)),
}


@pytest.mark.parametrize("name", OWN_OUTPUTS)
def test_a_description_computes_what_the_module_does(name):
    make, shape = OWN_OUTPUTS[name]
    torch.manual_seed(0)
    assert_own_outputs(make(), shape)


def test_alexnet_and_mobilenet_are_described_whole():
    assert on_meta(known.AlexNet) == 61_100_840
    assert on_meta(known.MobileNetV2) == 3_504_872
    torch.manual_seed(0)
    own = known.AlexNet(0.05, 10)
    net = ff.torch.describe(own, (3, 64, 64))
    assert [type(layer) for layer in net.layers].count(ff.MaxPool2d) == 3
    assert ff.Upsample(6) in net.layers
    assert net.parameters() == sum(part.numel() for part in own.parameters())
    own = known.MobileNetV2(0.25, 10)
    net = ff.torch.describe(own, (3, 32, 32))
    assert sum(isinstance(layer, ff.Residual) for layer in net.layers) == 10
    depthwise = [step.layer for step in net.steps if getattr(step.layer, "groups", 1) > 1]
    assert len(depthwise) == 17
    assert net.parameters() == sum(part.numel() for part in own.parameters())


REFUSED = {
    "DenseNet": (known.DenseNet, r"module\.features\[3\]\.denselayer1: cat\(\) .* no concatenation"),
    "Inception": (known.Inception, r"module\.Mixed_5b: cat\(\) .* no concatenation"),
    "EfficientNet": (known.EfficientNet, r"module\.features\[3\]\[3\]: mul\(\) .* no products of activations"),
    "ConvNeXt": (known.ConvNeXt, r"module\.features\[1\]: permute\(\) .* channels before positions"),
    "ViT": (known.ViT, r"module: reshape\(\) .* images from the input on"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_none_of_the_theory_s_is_refused_by_name(name):
    make, sentence = REFUSED[name]
    end = r"; ff\.torch\.measure\(module, x\) measures the model as it is$"
    with pytest.raises(ValueError, match=f"^{sentence}.*{end}"):
        ff.torch.describe(make(), (3, 32, 32))


def test_torchvision_itself_where_it_can_be_imported():
    try:
        import torchvision
    except Exception as error:  # it does not import beside every build of PyTorch
        pytest.skip(f"torchvision cannot be imported: {type(error).__name__}")
    for name, (depth, _, _, more, _) in list(RESNETS.items())[:1]:
        own = getattr(torchvision.models, name)()
        built = ff.resnet(depth, (3, 64, 64), **more, **LIKE_PYTORCH)
        assert of_variance_one(ff.torch.describe(own, (3, 64, 64))) == of_variance_one(built)
