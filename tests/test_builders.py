# SPDX-License-Identifier: BSD-3-Clause
"""The papers' families: their layers, parameters and refusals; PyTorch's own stand in test_architectures.py."""

import pytest

import fisherfield as ff

PHI, NORM = ff.Activation("relu"), ff.BatchNorm()


def conv(channels, kernel=3, stride=1, bias=False):
    return ff.Conv2d(channels, kernel, stride, kernel // 2, 2.0, 0.0, bias=bias)


def test_a_residual_network_for_small_images_layer_by_layer():
    def block(channels, stride=1, skip=()):
        return [ff.Residual([conv(channels, 3, stride), NORM, PHI, conv(channels), NORM], skip), PHI]

    assert ff.resnet(8, (3, 8, 8), 10).layers == (
        *(conv(16), NORM, PHI, *block(16)),
        *(*block(32, 2, [ff.Subsample(32)]), *block(64, 2, [ff.Subsample(64)])),
        *(ff.GlobalAvgPool2d(), ff.Flatten(), ff.Dense(10, 2.0, 0.0)),
    )
    projected = ff.resnet(8, (3, 8, 8), 10, skips="projection")
    assert projected.layers[5] == block(32, 2, [conv(32, 1, 2), NORM])[0]
    assert ff.resnet(20, (3, 8, 8), 10, 4).depth == 1 + 18 + 1


def test_pre_activation_networks_share_what_stands_before_a_projection():
    def branch(channels, stride=1):
        return [conv(channels, 3, stride), NORM, PHI, conv(channels)]

    assert ff.resnet(8, (3, 8, 8), 10, preactivation=True).layers == (
        *(conv(16), ff.Residual([NORM, PHI, *branch(16)])),
        *(NORM, PHI, ff.Residual(branch(32, 2), [conv(32, 1, 2)])),
        *(NORM, PHI, ff.Residual(branch(64, 2), [conv(64, 1, 2)])),
        *(NORM, PHI, ff.GlobalAvgPool2d(), ff.Flatten(), ff.Dense(10, 2.0, 0.0)),
    )
    zeros = ff.resnet(8, (3, 8, 8), 10, preactivation=True, skips="zeros")
    assert zeros.layers[2] == ff.Residual([NORM, PHI, *branch(32, 2)], [ff.Subsample(32)])
    assert ff.resnet(8, (3, 8, 8), 10, preactivation=True, norm=None).layers[1] == ff.Residual(
        [PHI, conv(16), PHI, conv(16)]
    )


def test_networks_for_large_images_begin_with_a_pooling():
    net = ff.resnet(50, (3, 64, 64), 10, 8, pool="average")
    assert net.layers[:4] == (conv(8, 7, 2), NORM, PHI, ff.AvgPool2d(3, 2, 1))
    first = [conv(8, 1), NORM, PHI, conv(8), NORM, PHI, conv(32, 1), NORM]
    assert net.layers[4] == ff.Residual(first, [conv(32, 1), NORM])
    assert net.depth == 1 + 3 * 16 + 4 + 1  # projections count
    assert ff.resnet(18, (3, 64, 64), 10, 8, preactivation=True).layers[:2] == (conv(8, 7, 2), ff.MaxPool2d(3, 2, 1))
    assert ff.resnet(50, (3, 8, 8), 10, 8, family="cifar").depth == 50


def test_a_vgg_layer_by_layer():
    def stage(channels, *more):
        return [conv(channels, bias=True), *more, PHI]

    pool = ff.MaxPool2d(2)
    five = [*stage(4), pool, *stage(8), pool, *stage(16) * 2, pool, *stage(32) * 2, pool, *stage(32) * 2, pool]
    head = [ff.Dense(9, 2.0, 0.0), PHI, ff.Dropout(0.5)]
    net = ff.vgg(11, (3, 32, 32), 10, 4, hidden=[9, 9])
    assert net.layers == (*five, ff.Upsample(7), ff.Flatten(), *head, *head, ff.Dense(10, 2.0, 0.0))
    plain = ff.vgg(11, (3, 32, 32), 10, 4, hidden=(), grid=1, batch_norm=True, pool="average")
    assert plain.layers[:4] == (*stage(4, NORM), ff.AvgPool2d(2))
    assert plain.layers[-2:] == (ff.Flatten(), ff.Dense(10, 2.0, 0.0))
    assert ff.vgg(11, (3, 64, 64), 10, 4, hidden=(), grid=1).layers[-3] == ff.GlobalAvgPool2d()
    assert ff.vgg(11, (3, 128, 128), 10, 4, hidden=(), grid=2).layers[-3] == ff.AvgPool2d(2)
    assert ff.vgg(11, (3, 32, 32), 10, 4, hidden=[9], dropout=0).layers[-3:] == (*head[:2], ff.Dense(10, 2.0, 0.0))


def test_numbers_hold_for_all_layers():
    net = ff.resnet(
        8, (3, 8, 8), 10, gamma=0.7, beta=0.1, eps=1e-5, trained=True, activation="tanh", sigma_w2=1.5, sigma_b2=0.3
    )
    assert set(net.batch_norms) == {ff.BatchNorm(0.7, 0.1, 1e-5, True)}
    assert set(net.activations) == {ff.Activation("tanh")}
    assert {layer.sigma_w2 for layer in net.affine_layers} == {1.5}
    assert [layer.sigma_b2 for layer in net.affine_layers] == [0.0] * 7 + [0.3]
    net = ff.vgg(13, (3, 32, 32), 10, 4, batch_norm=True, gamma=0.7, sigma_b2=0.3)
    assert {norm.gamma for norm in net.batch_norms} == {0.7}
    assert {layer.sigma_b2 for layer in net.affine_layers} == {0.3}
    layered = ff.resnet(8, (3, 8, 8), 10, norm="layer")
    assert layered.layers[1] == ff.LayerNorm()


@pytest.mark.parametrize(
    "net",
    [
        ff.resnet(8, (3, 8, 8), 10, 4, preactivation=True),
        ff.resnet(8, (3, 8, 8), 10, 4, preactivation=True, norm=None),
    ],
)
def test_networks_of_gaussian_streams_have_a_theory(net):
    fisher = ff.fisher(net, theory="frozen", samples=16)
    assert fisher.lambda_max > 0
    assert fisher.lambda_max == pytest.approx(
        ff.reference.fisher(net, theory="frozen", samples=16).lambda_max, rel=1e-9
    )


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda: ff.resnet(19, (3, 8, 8)), r"^depth must be one of 18, 34, 50, 101, 152, or 6 n \+ 2 .*, got 19$"),
        (lambda: ff.resnet(18, (3, 8, 8), family="cifar"), r"^depth must be 6 n \+ 2 .* of family 'cifar', got 18$"),
        (lambda: ff.resnet(20, (3, 8, 8), family="imagenet"), "^depth must be one of 18, 34, 50, 101, 152, got 20$"),
        (
            lambda: ff.resnet(20, (3, 8, 8), family="cifra"),
            "^family must be one of imagenet, cifar, got 'cifra' .*'cifar'",
        ),
        (lambda: ff.resnet(20, 784), r"^input_shape must be \(channels, height, width\), got 784$"),
        (lambda: ff.resnet(20, (3, 8, 8), skips="none"), "^skips must be one of projection, zeros, got 'none'"),
        (lambda: ff.resnet(18, (3, 64, 64), pool="mean"), "^pool must be one of max, average, got 'mean'"),
        (
            lambda: ff.resnet(18, (3, 64, 64), groups=32),
            "^groups and width_per_group must be 1 and 64 .*, as of depth 18$",
        ),
        (lambda: ff.resnet(20, (3, 8, 8), norm="group"), "^norm must be one of .*, or None, got 'group'$"),
        (lambda: ff.resnet(20, (3, 8, 8), channels=0), r"^channels must be .*>= 1.*got 0"),
        (lambda: ff.vgg(12, (3, 32, 32)), "^depth must be one of 11, 13, 16, 19, got 12$"),
        (
            lambda: ff.vgg(11, (3, 16, 16)),
            r"^input_shape must be at least 32 x 32 for five poolings, got \(3, 16, 16\)$",
        ),
        (
            lambda: ff.vgg(11, (3, 64, 64)),
            r"^grid must divide the image's size \(2, 2\) .*, or be a multiple of it, got 7$",
        ),
        (lambda: ff.vgg(11, (3, 32, 32), dropout=1.0), r"^rate must be in \[0, 1\), got 1.0$"),
        (lambda: ff.vgg(11, (3, 32, 32), hidden=[0]), r"^units must be .*>= 1.*got 0"),
    ],
)
def test_what_is_no_such_network_is_refused_in_a_sentence(ask, sentence):
    with pytest.raises(ValueError, match=sentence):
        ask()
