# SPDX-License-Identifier: BSD-3-Clause
"""Notebooks show figures, which are pyplot's unless axes are given, and results as tables."""

import itertools
import os
import pickle
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

import fisherfield as ff

pytest.importorskip("matplotlib")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

NET = ff.mlp([16, 20, 20, 3])
GAMMAS = {"gamma": np.linspace(0.5, 2, 15)}


def figures_of():
    """All that draw, and each by a small example."""
    paired = ff.scan(NET, ff.random_points(9, gamma=(0.5, 2), sigma_w2=(1, 2), sigma_b2=(0, 1)))
    verification = ff.verify(NET, widths=[8], seeds=2, samples=4)
    return {
        "lines": ff.scan(NET, GAMMAS).plot,
        "map": ff.scan(NET, {**GAMMAS, "depth": range(2, 12)}).plot,
        "panels": paired.plot,
        "verification": verification.plot,
        "figure 1": lambda: ff.figures.wei2019_figure_1([0.5, 1.0, 2.0]),
    }


@pytest.fixture(scope="module")
def draw():
    return figures_of()


@pytest.mark.parametrize("name", ["lines", "map", "panels", "verification", "figure 1"])
def test_a_figure_is_pyplots_current_one(draw, name):
    figure = draw[name]()
    assert isinstance(figure, Figure)
    assert [plt.figure(number) for number in plt.get_fignums()] == [figure]
    assert plt.gcf() is figure
    again = pickle.loads(pickle.dumps(figure))
    assert [len(ax.lines) for ax in again.axes] == [len(ax.lines) for ax in figure.axes]


@pytest.mark.parametrize("name", ["lines", "map", "verification"])
def test_no_figure_is_made_where_axes_are_given(draw, name):
    own = Figure()
    assert draw[name](ax=own.subplots()) is own
    assert plt.get_fignums() == []


def test_a_notebook_shows_a_figure_once(monkeypatch):
    """What a cell shows as its value it does not show again at its end; other backends keep the figure."""
    figure = ff.scan(NET, GAMMAS).plot()
    with pytest.raises(NotImplementedError):
        figure._ipython_display_()
    assert plt.get_fignums() == [figure.number]
    monkeypatch.setattr("matplotlib.get_backend", lambda: "module://matplotlib_inline.backend_inline")
    with pytest.raises(NotImplementedError):
        figure._ipython_display_()
    assert plt.get_fignums() == []
    assert len(figure.axes[0].lines) == 1


def test_the_command_line_draws_without_windows(fisherfield, tmp_path, monkeypatch):
    import matplotlib

    used = []
    monkeypatch.setattr(matplotlib, "use", used.append)
    ff.scan(NET, GAMMAS).save(tmp_path / "scan.nc")
    assert fisherfield("plot", tmp_path / "scan.nc")[0] == 0
    assert used == ["Agg"]


def test_what_the_first_figure_sets_up_lasts(tmp_path):
    """A notebook's backend turns pyplot interactive as it is imported, and shows what is drawn from then on."""
    (tmp_path / "lasting.py").write_text(
        "from matplotlib.backends.backend_agg import *\nimport matplotlib\nmatplotlib.interactive(True)\n"
    )
    code = (
        "import fisherfield as ff, matplotlib\n"
        "ff.scan(ff.mlp([16, 20, 20, 3]), {'gamma': [0.5, 1, 2]}).plot()\n"
        "print(matplotlib.is_interactive(), matplotlib.get_backend())"
    )
    path = os.pathsep.join((str(tmp_path), *filter(None, (os.environ.get("PYTHONPATH"),))))
    environment = {**os.environ, "MPLBACKEND": "module://lasting", "PYTHONPATH": path}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert out.stdout.split() == ["True", "module://lasting"]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_scans_on_the_same_axes_are_told_apart_by_what_they_differ_in():
    ax = Figure().subplots()
    ff.scan(NET, GAMMAS).plot(ax=ax)
    assert ax.get_legend() is None
    assert ax.get_title() == "theory exact, infinite data"
    ff.scan(NET, GAMMAS, theory="frozen").plot(ax=ax)
    assert (legend(ax), ax.get_title()) == (["theory exact", "theory frozen"], "infinite data")
    ff.scan(NET, GAMMAS, theory="frozen", samples=50).plot(ax=ax, label="of mine")
    assert legend(ax) == ["theory exact, infinite data", "theory frozen, infinite data", "of mine"]
    assert ax.get_title() == ""
    ax.clear()
    ff.scan(NET, GAMMAS, samples=50).plot(ax=ax)
    assert (ax.get_legend(), ax.get_title()) == (None, "theory exact, 50 samples")


def test_scans_that_differ_in_the_network_alone_are_numbered_or_named():
    ax = Figure().subplots()
    for net in (NET, NET.replace(sigma_w2=1.5)):
        ff.scan(net, GAMMAS).plot(ax=ax)
    assert legend(ax) == ["scan 1", "scan 2"]
    ax = Figure().subplots()
    ff.scan(NET, GAMMAS).plot(ax=ax, label="wide")
    assert legend(ax) == ["wide"]


def test_quantities_and_families_on_the_same_axes_are_named():
    ax = Figure().subplots()
    scan = ff.scan(NET, {**GAMMAS, "depth": [2, 3]})
    scan.plot("lambda_max", ax)
    assert [line.get_linestyle() for line in ax.lines] == ["-", "-"]
    scan.plot("max_learning_rate", ax)
    assert legend(ax)[0].startswith("largest eigenvalue of the Fisher information, $L$ = 2")
    assert legend(ax)[3] == "largest stable learning rate, loss sum, momentum 0, $L$ = 3"
    assert [line.get_linestyle() for line in ax.lines] == ["-", "-", "--", "--"]
    assert ax.get_ylabel() == ""


def test_a_label_that_is_none_is_refused():
    with pytest.raises(TypeError, match=r"^label must be a string, got 3$"):
        ff.scan(NET, GAMMAS).plot(label=3)
    assert plt.get_fignums() == []


class Tags(HTMLParser):
    """The cells of all tables, row by row, and what stands outside of them; tags that do not close are refused."""

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.outside = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag != "br":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "table" in self.open:
            self.rows[-1][-1] += data
        else:
            self.outside.append(data)


def x():
    return ff.data.gaussian(NET, samples=4)


RESULTS = {
    "Fisher": lambda: ff.fisher(NET),
    "BulkDensity": lambda: ff.spectral_density(NET, 60, points=20),
    "Layers": lambda: ff.fisher(NET).layers,
    "LearningRate": lambda: ff.max_learning_rate(NET, momentum=0.9),
    "OrderParameters": lambda: ff.order_parameters(NET),
    "Scan": lambda: ff.scan(NET, {**GAMMAS, "depth": [2, 3]}, ("lambda_max", "regime")),
    "FisherSpectrum": lambda: ff.sampled_fisher(NET, x()),
    "FisherMoments": lambda: ff.sampled_moments(NET, x()),
    "SpectralDensity": lambda: ff.sampled_density(NET, x()),
    "Verification": lambda: ff.verify(NET, widths=[8, 16], seeds=2, samples=4),
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_notebook_shows_all_that_a_result_says(name):
    result = RESULTS[name]()
    assert type(result).__name__ == name
    page = Tags(result._repr_html_())
    told = " ".join([*page.outside, *itertools.chain.from_iterable(page.rows)]).split()
    assert sorted(told) == sorted(repr(result).split())  # every word of it, and "<=" as such


def test_columns_of_a_verification_stay_below_their_heads():
    rows = Tags(ff.verify(NET, widths=[8, 16], seeds=2, samples=4)._repr_html_()).rows
    assert {len(row) for row in rows} == {5}
    assert rows[0] == ["width", "", "sampled", "theory", "sampled/theory"]
    assert [row[0] for row in rows if row[0]] == ["width", "8", "16"]
    layers = Tags(ff.order_parameters(NET)._repr_html_()).rows
    assert {len(row) for row in layers} == {11}
    assert (layers[0][:2], layers[1][:2]) == (["layer", "fan_in"], ["1", "16"])
