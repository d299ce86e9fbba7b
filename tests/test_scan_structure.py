# SPDX-License-Identifier: BSD-3-Clause
"""Scans of networks with sums of branches: what an axis names is what varies, and blocks are counted."""

import dataclasses
import re

import numpy as np
import pytest

import fisherfield as ff

QUANTITIES = ("lambda_max", "bulk", "a", "b", "parameters", "max_learning_rate", "q", "theta", "contributions")
# Two recursions of some twenty roundings; b may be what two larger numbers leave, so it is held beside a.
ROUNDING = 1e-13


def net_of(norm="layer", widths=(30, 20, 20, 10, 10, 5), phi="relu", scales=(0.5, 2.0, 1.0)):
    return ff.mlp(widths, phi, norm=norm, residual=[*scales], sigma_b2=0.3)


def agree(scan, change, **settings):
    """A scan's numbers beside those of the network of each point."""
    for index in np.ndindex(scan.shape):
        point = {name: values[at] for at, (name, values) in zip(index, scan.axes.items(), strict=True)}
        net = change(**point)
        fisher = ff.fisher(net, edge=False, **settings)
        rows = ff.order_parameters(net, **settings)
        expected = {name: getattr(fisher, name) for name in ("lambda_max", "bulk", "a", "b", "parameters")}
        expected |= {
            "max_learning_rate": ff.max_learning_rate(net, edge=False, **settings),
            "q": rows.q,
            "theta": rows.theta,
        }
        expected |= {"part_a": fisher.layers.a, "part_b": fisher.layers.b}
        for name, values in expected.items():
            computed = scan[name][index]
            size = fisher.a if name in ("b", "part_b") else np.abs(values)
            some = computed[: np.size(values)] if np.ndim(values) else computed
            assert np.all(np.abs(some - values) <= ROUNDING * size), (point, name)
            assert np.ndim(values) == 0 or np.isnan(computed[np.size(values) :]).all()


def with_one(net, where, name, value):
    """The network with one number changed in the layer that stands at `layers[1].branch[0]`, say."""
    places = re.findall(r"\.?(\w+)\[(\d+)\]", where)

    def changed(holder, places):
        (field, at), *rest = places
        layers = list(getattr(holder, field))
        layers[int(at)] = changed(layers[int(at)], rest) if rest else layers[int(at)].replaced(name, value)
        return dataclasses.replace(holder, **{field: tuple(layers)})

    return changed(net, places)


@pytest.mark.parametrize("norm", ["layer", "batch"])
@pytest.mark.parametrize("phi", ["relu", "tanh"])
def test_an_axis_of_one_layer_varies_that_layer_alone(norm, phi):
    """Norms stand before their affine layers, and two of them may follow one layer."""
    net, seen = net_of(norm, phi=phi), set()
    for step in net.steps:
        for name in step.layer.axes():
            scan = ff.scan(net, {f"{step.where}.{name}": [0.3, 0.7]}, QUANTITIES, samples=9)
            agree(
                scan,
                lambda where=step.where, name=name, **point: with_one(net, where, name, *point.values()),
                samples=9,
            )
            seen.add((step.where, name))
    assert {("layers[1]", "scale"), ("layers[2].branch[0]", "gamma"), ("layers[2].skip[0]", "sigma_w2")} <= seen
    assert len(seen) > 25


@pytest.mark.parametrize("phi", ["relu", "tanh"])
def test_scale_varies_all_branches(phi):
    net = net_of(phi=phi)
    scan = ff.scan(net, {"scale": [-0.5, 0.0, 1.0], "gamma": [0.5, 2.0]}, QUANTITIES)
    agree(scan, lambda scale, gamma: net.replace(scale=scale, gamma=gamma))


@pytest.mark.parametrize("norm", ["layer", "batch", None])
def test_blocks_are_counted(norm):
    def net(blocks, scale=0.5):
        return ff.mlp([30, *[20] * (int(blocks) + 1), 5], norm=norm, residual=float(scale))

    for described in (1, 3):
        scan = ff.scan(net(described), {"blocks": [4, 1, 2], "scale": [0.1, 2.0]}, QUANTITIES)
        assert scan["q"].shape == (3, 2, 6)
        agree(scan, net)


def test_what_stands_between_blocks_is_repeated_with_them():
    block = ff.Residual([ff.Dense(20), ff.Activation("relu"), ff.Dense(20)], [ff.Dense(20)], 0.5)
    phi = ff.Activation("relu")

    def net(blocks):
        return ff.Network(30, [ff.Dense(20), phi, *[block, phi] * int(blocks), ff.Dense(5)])

    agree(ff.scan(net(2), {"blocks": [1, 2, 5]}, QUANTITIES), net)


def test_width_varies_layers_in_branches():
    def net(width):
        return ff.mlp([30, *[int(width)] * 3, 5], norm="layer", residual=0.5, trained=True)

    agree(ff.scan(net(20), {"width": [7, 9]}, QUANTITIES), net)


def test_tables_serve_phi_of_a_sum():
    net = ff.mlp([30, 20, 20, 20, 5], "tanh", norm=None, residual=0.5)
    axes = {"sigma_w2": np.linspace(0.5, 2, 9)}
    tabulated = ff.scan(net, axes, tables=True)
    assert tabulated.settings["tables"]
    # 1e-11 a layer of what is interpolated (docs/theory.md, section 3), and what layers make of it
    np.testing.assert_allclose(tabulated.lambda_max, ff.scan(net, axes).lambda_max, rtol=1e-10)


def test_axes_have_words_and_symbols(tmp_path):
    xarray = pytest.importorskip("xarray")
    net = ff.mlp([30, 20, 20, 20, 5], norm="layer", residual=0.5)
    scan = ff.scan(net, {"scale": [0.5, 1.0], "layers[1].branch[0].gamma": [1.0, 2.0]})
    words = {name: values.attrs["long_name"] for name, values in scan.to_xarray().coords.items()}
    assert words == {
        "scale": "a branch's factor in its sum",
        "layers[1].branch[0].gamma": "a normalisation's scale, of layers[1].branch[0] alone",
    }
    scan.to_xarray().to_netcdf(tmp_path / "scan.nc")
    with xarray.open_dataset(tmp_path / "scan.nc") as saved:
        assert saved["scale"].attrs["long_name"] == words["scale"]
    assert ff.Scan.open(tmp_path / "scan.nc").network == net
    blocks = ff.scan(net, {"blocks": [1, 2]}).to_xarray()
    assert blocks.blocks.attrs["long_name"] == "number of residual blocks"


@pytest.mark.parametrize(
    "axes",
    [
        {"blocks": [1, 3], "scale": [0.5, 2.0]},
        {"width": [7, 9], "gamma": [0.5, 2.0], "layers[1].branch[0].gamma": [1.5]},
        {("layers[1].scale", "sigma_b2", "layers[2].branch[2].sigma_b2"): [(0.5, 0.1, 0.2), (2.0, 0.2, 0.1)]},
    ],
)
@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_the_reference_varies_the_same(axes, norm):
    net = ff.mlp([30, 20, 20, 20, 5], norm=norm, residual=0.5)
    quantities = ("lambda_max", "bulk", "q", "contributions")
    fast, slow = (module.scan(net, axes, quantities, samples=50) for module in (ff, ff.reference))
    for name in ("lambda_max", "bulk", "q", "part_a"):
        np.testing.assert_allclose(fast[name], slow[name], rtol=1e-11)  # the reference's subtractions


GROUPED = ff.Network(
    (4, 6, 6), [ff.Conv2d(8, groups=2), ff.GroupNorm(4), ff.Activation("relu"), ff.Flatten(), ff.Dense(3)]
)
OWN = ff.Network(3, [ff.Dense(3), ff.BatchNorm([1.0, 2.0, 3.0]), ff.Activation("relu"), ff.Dense(2)])
BIASLESS = ff.Network(3, [ff.Dense(3, bias=False), ff.Activation("relu"), ff.Dense(2)])


@pytest.mark.parametrize(
    ("net", "axes", "sentence"),
    [
        (
            net_of(),
            {"depth": [2]},
            "axis depth needs hidden layers one behind another, got a network with sums of branches, of which the axis "
            "blocks counts alike ones",
        ),
        (
            net_of(widths=(30, 20, 20, 20, 20, 5)),
            {"blocks": [2]},
            "axis blocks needs blocks that are alike, got layers[1].scale = 0.5 and layers[2].scale = 2.0",
        ),
        (
            net_of(scales=(1.0, 1.0, 1.0)),
            {"blocks": [2]},
            "axis blocks needs blocks that are alike, got layers[1].branch[2] = Dense(units=20, sigma_w2=2.0, "
            "sigma_b2=0.3) and layers[2].branch[2] = Dense(units=10, sigma_w2=2.0, sigma_b2=0.3)",
        ),
        (
            net_of(widths=(30, 20, 10, 5), scales=(1.0,)),
            {"blocks": [2]},
            "axis blocks needs blocks that keep the shape, got layers[1] from (20,) to (10,)",
        ),
        (ff.mlp([3, 4, 5]), {"blocks": [2]}, "axis blocks needs a Residual, and the network has none"),
        (
            ff.mlp([3, 4, 4, 5], residual=True),
            {"blocks": [0]},
            "axis blocks must be a whole number >= 1, got 0.0",
        ),
        (
            ff.mlp([3, 4, 4, 5], residual=True),
            {"blocks": [2], "layers[0].sigma_w2": [1]},
            "axis blocks must stand without axes of single layers, got layers[0].sigma_w2",
        ),
        (ff.mlp([3, 4, 5]), {"scale": [2]}, "axis scale needs a Residual, and the network has none"),
        (
            net_of(),
            {"layers[1].gamma": [2]},
            "axis layers[1].gamma must name a layer that has gamma, got Residual(.*; it holds "
            "layers[1].branch[0].gamma",
        ),
        (
            net_of(),
            {"layers[1].branch[5].gamma": [2]},
            "axis layers[1].branch[5].gamma must name a layer that the network has, got layers[1].branch[5] (did you "
            "mean 'layers[1].branch[2]'?)",
        ),
        (
            net_of(),
            {"width": [2]},
            "axis width needs hidden layers that are alike, got layers[0] = Dense(units=20, sigma_w2=2.0, "
            "sigma_b2=0.3) and layers[2].branch[2] = Dense(units=10, sigma_w2=2.0, sigma_b2=0.3)",
        ),
        (GROUPED, {"width": [8, 6]}, "axis width must be a multiple of 4, for groups of channels, got 6"),
        (GROUPED, {"width": [8, 4]}, "axis width must fit every layer, got 4: layers[1]: groups must hold two .*"),
        (
            OWN,
            {"gamma": [1]},
            "axis gamma needs one number for all units of a layer (or vary gamma_scale), got layers[1] = BatchNorm(.*",
        ),
        (
            OWN,
            {"layers[1].beta": [1]},
            "axis layers[1].beta needs one number for all units of a layer, got layers[1] = BatchNorm(gamma=(1.0, .*",
        ),
        (
            BIASLESS,
            {"layers[0].sigma_b2": [1]},
            "axis layers[0].sigma_b2 must name a layer that has sigma_b2, got Dense(units=3, sigma_w2=2.0, "
            "sigma_b2=0.0, bias=False)",
        ),
        (
            ff.Network(3, [ff.Dense(3, bias=False)]),
            {"sigma_b2": [1]},
            "axis sigma_b2 needs a layer that has sigma_b2, got Dense(units=3, sigma_w2=2.0, sigma_b2=0.0, bias=False)",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(net, axes, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$".replace(r"\.\*", ".*")):
        ff.scan(net, axes)


@pytest.mark.parametrize("norm", [ff.BatchNorm([1.0, -2.0, 3.0], 0.1), ff.LayerNorm(0.5)])
def test_gamma_scale_multiplies_what_units_have(norm):
    net = OWN.replace(batch_norm=False)
    net = ff.Network(3, [net.layers[0], norm, *net.layers[1:]])
    axes = {"gamma_scale": [-1.0, 0.0, 2.5], "sigma_w2": [1.0, 3.0]}
    agree(
        ff.scan(net, axes, QUANTITIES),
        lambda gamma_scale, sigma_w2: net.replace(gamma_scale=gamma_scale, sigma_w2=sigma_w2),
    )


def test_eps_varies_where_units_have_their_own_gamma():
    agree(ff.scan(OWN, {"eps": [0.1, 2.0]}, QUANTITIES), lambda eps: OWN.replace(eps=eps))


def test_sigma_b2_varies_the_biases_that_there_are():
    agree(ff.scan(BIASLESS, {"sigma_b2": [0.0, 2.0]}, QUANTITIES), lambda sigma_b2: BIASLESS.replace(sigma_b2=sigma_b2))


# ------------------------------------------------------------------------------------------------------- activations

PHIS = ["relu", "tanh", "leaky_relu(0.3)", "gelu"]


@pytest.mark.parametrize(
    ("net", "axes"),
    [
        (ff.mlp([12, 20, 20, 3], sigma_b2=0.2), {"gamma": [0.5, 2.0], "activation": PHIS}),
        (ff.mlp([12, 20, 20, 3], batch_norm=False), {"activation": PHIS, "sigma_w2": [1.0, 2.0]}),
        (ff.mlp([12, 20, 20, 3]), {"depth": [2, 4], "activation": PHIS}),
        (net_of(widths=(8, 8, 8, 3), scales=(0.5,)), {"activation": PHIS[:2], "layers[0].sigma_w2": [1.0, 3.0]}),
        (ff.convnet((2, 5, 5), [3, 4], 2), {"activation": PHIS[:2], "gamma": [0.5, 1.0]}),
    ],
)
def test_an_axis_of_activations_is_the_network_with_each(net, axes):
    scan = ff.scan(net, axes, ("lambda_max", "q"), samples=50)
    assert scan.axes["activation"].tolist() == [str(ff.Activation(phi)) for phi in axes["activation"]]
    for index in np.ndindex(scan.shape):
        point = {name: scan.axes[name][at].item() for at, name in zip(index, scan.axes, strict=True)}
        phi = point.pop("activation")
        others = {name: [value] for name, value in point.items()}
        one = ff.scan(net.replace(activation=phi), others, ("lambda_max", "q"), samples=50)
        assert scan.lambda_max[index] == one.lambda_max.ravel()[0]
        rows = one.q.shape[-1]
        np.testing.assert_array_equal(scan.q[index][:rows], one.q.reshape(-1, rows)[0])
        assert np.isnan(scan.q[index][rows:]).all()
    if net.batch_norms and "layers[0].sigma_w2" not in axes:
        slow = ff.reference.scan(net, {**axes, "activation": PHIS[:2]}, ("lambda_max",), samples=50)
        fast = ff.scan(net, {**axes, "activation": PHIS[:2]}, ("lambda_max",), samples=50)
        assert np.abs(fast.lambda_max / slow["lambda_max"] - 1).max() < ROUNDING


def test_activations_are_words_in_memory_and_in_every_file(tmp_path):
    pytest.importorskip("xarray")
    pytest.importorskip("zarr")
    net = ff.mlp([12, 20, 20, 3])
    axes = {"activation": PHIS, "gamma": [0.5, 1.0, 2.0]}
    scan = ff.scan(net, axes)
    stored = ff.scan(net, axes, store=tmp_path / "store.zarr", chunk=2)
    again = ff.scan(net, axes, store=tmp_path / "store.zarr", chunk=2)
    for ending in (".nc", ".zarr"):
        scan.save(tmp_path / f"scan{ending}")
    stored.save(tmp_path / "copy.zarr")
    scan.to_xarray().to_netcdf(tmp_path / "scipy.nc", engine="scipy")
    files = [ff.Scan.open(tmp_path / name) for name in ("scan.nc", "scan.zarr", "copy.zarr", "scipy.nc", "store.zarr")]
    for each in (stored, again, *files, ff.Scan.open(scan.to_xarray()), ff.Scan.open(stored.to_xarray())):
        assert each.axes["activation"].tolist() == scan.axes["activation"].tolist()
        assert each.axes["activation"].dtype.kind == "U"
        np.testing.assert_array_equal(np.asarray(each.lambda_max), scan.lambda_max)
    cut = ff.Scan.open(stored.to_xarray().sel(activation="tanh"))
    assert (cut.shape, cut.axes["activation"].tolist()) == ((1, 3), ["tanh"])
    with pytest.raises(ValueError, match=r"differs in activations \(\['relu', .* there, \['relu', 'erf'"):
        ff.scan(net, {**axes, "activation": ["relu", "erf", "silu", "mish"]}, store=tmp_path / "store.zarr", chunk=2)
    assert scan.to_pandas().index.get_level_values("activation")[0] == "relu"
    assert "relu, tanh, leaky_relu(0.3), gelu, 4 values" in repr(scan)


@pytest.mark.parametrize(
    ("net", "axes"),
    [
        (ff.mlp([12, 20, 20, 3], "erf"), {"layers[2].activation": PHIS}),
        (ff.mlp([12, 20, 20, 3], batch_norm=False), {"layers[3].activation": PHIS, "layers[1].activation": PHIS[:2]}),
        (ff.mlp([12, 20, 20, 3]), {"activation": ["erf", "relu"], "layers[2].activation": PHIS, "gamma": [0.5, 2.0]}),
        (net_of(widths=(8, 8, 8, 3), scales=(0.5,)), {"layers[1].branch[1].activation": PHIS, "scale": [0.2, 1.0]}),
    ],
)
def test_an_axis_of_one_layers_activation_is_the_network_with_each_there(net, axes):
    def changed(**point):
        own = net
        for name in sorted(point, key=lambda name: "." in name):
            where, _, field = name.rpartition(".")
            own = with_one(own, where, field, point[name]) if where else own.replace(**{field: point[name]})
        return own

    scan = ff.scan(net, axes, QUANTITIES, samples=50)
    agree(scan, changed, samples=50)
    slow = ff.reference.scan(net, axes, ("lambda_max",), samples=50)
    assert np.abs(scan.lambda_max / slow["lambda_max"] - 1).max() < ROUNDING


def test_one_layers_activations_are_words_in_memory_and_in_every_file(tmp_path):
    pytest.importorskip("xarray")
    pytest.importorskip("zarr")
    net = ff.mlp([12, 20, 20, 3], batch_norm=False)
    axes = {
        "layers[1].activation": ["tanh", "erf"],
        ("layers[3].activation", "sigma_w2"): [("relu", 1.0), ("erf", 2.0)],
    }
    scan = ff.scan(net, axes)
    grid = ff.scan(net, {"layers[1].activation": ["tanh", "erf"], "layers[3].activation": ["relu", "erf"]})
    np.testing.assert_array_equal(scan.lambda_max[:, 1], grid.lambda_max[:, 1])  # sigma_w2 is 2 there, too
    stored = ff.scan(net, axes, store=tmp_path / "store.zarr", chunk=1)
    scan.to_xarray().to_netcdf(tmp_path / "scan.nc", engine="scipy")
    scan.save(tmp_path / "scan.zarr")
    files = [ff.Scan.open(tmp_path / name) for name in ("scan.nc", "scan.zarr", "store.zarr")]
    for each in (scan, stored, *files, ff.Scan.open(stored.to_xarray())):
        assert each.axes["layers[1].activation"].tolist() == ["tanh", "erf"]
        assert each.axes["layers[3].activation"].tolist() == ["relu", "erf"]
        np.testing.assert_array_equal(np.asarray(each.lambda_max), scan.lambda_max)


def test_activations_are_paired_with_other_axes_and_sent_to_workers():
    from concurrent.futures import ThreadPoolExecutor

    net = ff.mlp([12, 20, 20, 3])
    paired = ff.scan(net, {("activation", "gamma"): [("tanh", 1.0), ("relu", 2.0), ("tanh", 2.0)]})
    grid = ff.scan(net, {"activation": ["tanh", "relu"], "gamma": [1.0, 2.0]})
    assert paired.lambda_max.tolist() == [grid.lambda_max[0, 0], grid.lambda_max[1, 1], grid.lambda_max[0, 1]]
    with ThreadPoolExecutor(2) as client:
        sent = ff.scan(net, {"activation": ["tanh", "relu"], "gamma": [1.0, 2.0]}, client=client, chunk=1)
    np.testing.assert_array_equal(sent.lambda_max, grid.lambda_max)


def test_tables_are_made_of_every_activation():
    net = ff.mlp([12, 20, 20, 3], "relu", batch_norm=False)
    scan = ff.scan(net, {"activation": ["relu", "tanh", "gelu"]}, ("lambda_max",), tables=True)
    assert [text.split()[0] for text in scan.settings["tables"].split(", ")] == ["tanh", "gelu"]
    exact = ff.scan(net, {"activation": ["relu", "tanh", "gelu"]}, ("lambda_max",))
    assert np.abs(scan.lambda_max / exact.lambda_max - 1).max() < 1e-9  # what the documentation says of tables


def test_tables_are_made_of_the_activations_that_a_layer_has_at_some_point():
    net = ff.mlp([12, 20, 20, 3], "erf", batch_norm=False)
    scan = ff.scan(net, {"layers[1].activation": ["tanh", "gelu"]}, ("lambda_max",), tables=True)
    assert sorted(text.split()[0] for text in scan.settings["tables"].split(", ")) == ["erf", "gelu", "tanh"]
    scan = ff.scan(net, {f"layers[{at}].activation": ["tanh", "relu"] for at in (1, 3)}, ("lambda_max",), tables=True)
    assert [text.split()[0] for text in scan.settings["tables"].split(", ")] == ["tanh"]


@pytest.mark.parametrize(
    ("phis", "words"),
    [
        ("relu", "axis activation must be the names of one activation or more, got 'relu'"),
        ([], "axis activation must be the names of one activation or more, got []"),
        (["rellu"], "did you mean 'relu'?"),
        ([1.0], "activation must be a name"),
        ([abs], "axis activation must be names of activations, got"),
    ],
)
def test_what_is_no_axis_of_activations_is_refused(phis, words):
    with pytest.raises((ValueError, TypeError), match=re.escape(words)):
        ff.scan(ff.mlp([12, 20, 3]), {"activation": phis})


def test_a_network_without_activations_has_no_axis_of_them():
    with pytest.raises(ValueError, match=r"^axis activation needs an Activation, and the network has none$"):
        ff.scan(ff.Network(4, [ff.Dense(3)]), {"activation": ["relu"]})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("layers[0].activation", "axis layers[0].activation must name a layer that has activation, got Dense(units=20"),
        ("layers[9].activation", "axis layers[9].activation must name a layer from 0 to 6, got 9"),
        ("layers[2].trained", "sigma_b2, rate, scale, activation, got"),
    ],
)
def test_a_layer_without_an_activation_has_no_axis_of_it(name, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        ff.scan(ff.mlp([12, 20, 20, 3]), {name: ["relu"]})


def test_activations_are_drawn_by_name_and_selected_by_it():
    pytest.importorskip("matplotlib")
    net = ff.mlp([12, 20, 20, 3])
    alone = ff.scan(net, {"activation": PHIS}).plot().axes[0]
    assert [tick.get_text() for tick in alone.get_xticklabels()] == ["relu", "tanh", "leaky_relu(0.3)", "gelu"]
    assert (alone.get_xlabel(), alone.lines[0].get_linestyle()) == ("activation", "None")
    scan = ff.scan(net, {"gamma": np.linspace(0.5, 2, 10), "activation": PHIS})
    lines = scan.plot().axes[0].get_legend_handles_labels()[1]
    assert lines == ["relu", "tanh", "leaky_relu(0.3)", "gelu"]
    of_one = ff.scan(net, {"layers[2].activation": PHIS, "gamma": np.linspace(0.5, 2, 10)})
    assert of_one.plot().axes[0].get_legend_handles_labels()[1] == lines
    assert ff.scan(net, {"layers[2].activation": PHIS}).plot().axes[0].get_xlabel() == "activation, of layers[2] alone"
    assert of_one.plot(select={"layers[2].activation": "tanh"}).axes[0].get_title().endswith("layers[2] = tanh")
    one = scan.plot(select={"activation": "tanh"}).axes[0]
    assert one.get_title().endswith("activation = tanh")
    np.testing.assert_array_equal(one.lines[0].get_ydata(), scan.lambda_max[:, 1])
    with pytest.raises(ValueError, match=r"^select activation must be one of relu, tanh, leaky_relu\(0.3\), gelu, got"):
        scan.plot(select={"activation": "erf"})


def test_the_command_line_takes_activations(fisherfield, tmp_path, monkeypatch):
    pytest.importorskip("xarray")
    monkeypatch.setenv("COLUMNS", "300")  # names of folders may be long
    ff.mlp([12, 20, 20, 3]).save(tmp_path / "net.toml")
    axis = "activation=relu, polynomial(0, 1, 0.2),tanh"
    code, output, error = fisherfield(
        "scan", tmp_path / "net.toml", "--axis", axis, "--axis", "gamma=1,2", "--out", tmp_path / "scan.nc"
    )
    assert (code, error) == (0, "")
    assert "activation=tanh, gamma=1" in output
    phis = ff.Scan.open(tmp_path / "scan.nc").axes["activation"].tolist()
    assert phis == ["relu", "polynomial(0.0, 1.0, 0.2)", "tanh"]
    code, output, error = fisherfield(
        "scan", tmp_path / "net.toml", "--axis", "layers[2].activation=relu,tanh", "--out", tmp_path / "one.nc"
    )
    assert (code, error) == (0, "")
    assert ff.Scan.open(tmp_path / "one.nc").axes["layers[2].activation"].tolist() == ["relu", "tanh"]
