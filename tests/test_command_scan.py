# SPDX-License-Identifier: BSD-3-Clause
"""`fisherfield scan` and `fisherfield plot`: what is typed, what is written, and what is left when it is stopped."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from test_command_line import assert_refused

import fisherfield as ff
from fisherfield import _memory
from fisherfield.command_line import scan as command
from fisherfield.network.layer import axes
from fisherfield.scan import axis_words, files

for part in ("xarray", "zarr", "pandas", "h5netcdf", "pyarrow"):
    pytest.importorskip(part)

NET = ff.mlp([30, 100, 100, 3])
GRID = ("--axis", "gamma=0.1:5:30", "--axis", "sigma_b2=0:1:20")
AXES = {"gamma": np.linspace(0.1, 5.0, 30), "sigma_b2": np.linspace(0.0, 1.0, 20)}
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder of its own with a network in it."""
    NET.save(tmp_path / "net.toml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def same(one, two):
    assert one.arrays.keys() == two.arrays.keys()
    assert one.settings == two.settings
    for name in (*two.arrays, *two.axes, "status"):
        np.testing.assert_array_equal(np.asarray(one[name]), np.asarray(two[name]), err_msg=name)


# axes -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("gamma=0.1:5:200", "gamma", np.linspace(0.1, 5, 200)),
        ("beta=-1:1:5", "beta", [-1, -0.5, 0, 0.5, 1]),
        ("gamma=5:1:5", "gamma", [5, 4, 3, 2, 1]),
        ("sigma_w2=0.5:4:100:log", "sigma_w2", np.geomspace(0.5, 4, 100)),
        ("samples=16,64,inf", "samples", [16, 64, math.inf]),
        ("depth=7", "depth", [7]),
        (" layers[1].gamma = 1e-1 , 2 ", "layers[1].gamma", [0.1, 2]),
        # whole numbers are rounded, and each is taken once
        ("width=10:13:7", "width", [10, 11, 12, 13]),
        ("samples=16:128:4:log", "samples", [16, 32, 64, 128]),
    ],
)
def test_an_axis_is_what_is_typed(text, name, values):
    axes = axis_words.axes_of(NET, [text], None, None, 0)
    assert list(axes) == [name]
    np.testing.assert_array_equal(axes[name], values)


def test_random_points_are_those_of_python_beside_a_grid_of_the_other_axes():
    texts = ["gamma=0.1:5", "depth=2,4", "sigma_w2=0.5:4:log"]
    axes = axis_words.axes_of(NET, texts, None, 20, 3)
    expected = ff.random_points(20, 3, gamma=(0.1, 5), sigma_w2=(0.5, 4, "log"))
    assert list(axes) == [("gamma", "sigma_w2"), "depth"]
    np.testing.assert_array_equal(axes["gamma", "sigma_w2"], expected["gamma", "sigma_w2"])


def test_points_are_read_from_csv_and_parquet(folder):
    import pandas

    (folder / "points.csv").write_text('\ufeffgamma, "samples"\n0.5,10\n\n1e-1,inf\n', encoding="utf-8")
    frame = pandas.DataFrame({"gamma": [0.5, 0.1], "samples": [10, math.inf]})
    frame.to_parquet(folder / "points.parquet")
    frame.set_index("gamma").to_parquet(folder / "indexed.parquet")
    for file in ("points.csv", "points.parquet", "indexed.parquet"):
        [(names, values)] = axis_words.axes_of(NET, [], file, None, 0).items()
        assert names == ("gamma", "samples")
        np.testing.assert_array_equal(values, [[0.5, 10], [0.1, math.inf]])


GRAMMAR = "--axis must be NAME=START:STOP:COUNT, NAME=START:STOP:COUNT:log or NAME=VALUE,VALUE,..., got "
NAMES = (
    f"axes must be named {', '.join(axes())}, width, depth, blocks, activation, momentum, samples, length, overlap or"
)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        *(
            (["--axis", text], GRAMMAR + repr(text))
            for text in ("gamma", "=1", "gamma=", "gamma=1,,2", "gamma=1:2:x", "gamma=1:2:3:lg", "gamma=1:inf:3")
        ),
        ([], "--axis must be given at least once, as NAME=START:STOP:COUNT"),
        (["--axis", "gamma=1:2"], "axis gamma must have a COUNT where no --random says how many"),
        (["--axis", "gamma=1:2:1"], "COUNT of axis gamma must be a whole number >= 2, got 1"),
        (["--axis", "gamma=1:2:1e12"], "COUNT of axis gamma must be a whole number from 2 to 134217728, got 1000"),
        (["--axis", "gamma=0:2:5:log"], "axis gamma must have START and STOP > 0 where it is spaced in logarithm"),
        (["--axis", "gamma=1", "--axis", "gamma=2"], "axis gamma must be given once, got it twice"),
        (["--random", "5", "--axis", "gamma=1,2"], "--random needs an axis without COUNT to draw from"),
        (["--random", "0", "--axis", "gamma=1:2"], "--random must be a whole number >= 1, got 0"),
        (["--random", "5", "--axis", "seed=1:2"], NAMES),
        (["--points", "none.csv"], "none.csv: No such file or directory"),
        (["--points", "none.parquet"], "none.parquet: No such file or directory"),
        (["--points", "net.toml"], "--points must end in .csv or .parquet, got 'net.toml'"),
        (["--points", "words.csv"], "--points must be a table whose columns have the names of axes"),
        (["--points", "ragged.csv"], "--points must be a table whose columns have the names of axes"),
        (["--points", "empty.csv"], "--points must be a table whose columns have the names of axes"),
        (["--points", "twice.csv"], "--points must have each column once, got gamma, gamma in 'twice.csv'"),
        (["--axis", "gamma=1,2", "--out", "scan.txt"], "--out must end in .zarr, .nc, .csv, .parquet, got 'scan.txt'"),
        (["--axis", "gamma=1,2", "--out", "no/scan.nc"], f"--out must lie in an existing folder, got {'no/scan.nc'!r}"),
        (["--axis", "gamma=1,2", "--out", "folder.nc"], "--out must be a file, got the folder 'folder.nc'"),
        (["--axis", "gamma=1,2", "--force"], "--force is for files"),
        (["--axis", "gamma=1,2", "--threads", "0"], "threads must be a whole number >= 1, got 0"),
        (["--axis", "gamma=1,2", "--backend", "gpu"], "backend must be one of cpu, cuda, got 'gpu'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(fisherfield, folder, arguments, sentence):
    (folder / "words.csv").write_text("gamma,eps\n1,one\n", encoding="utf-8")
    (folder / "ragged.csv").write_text("gamma,eps\n1,2\n1\n", encoding="utf-8")
    (folder / "empty.csv").write_text("gamma,eps\n", encoding="utf-8")
    (folder / "twice.csv").write_text("gamma,gamma\n1,2\n", encoding="utf-8")
    (folder / "folder.nc").mkdir()
    before = sorted(folder.iterdir())
    result = fisherfield("scan", "net.toml", *arguments)
    assert_refused(result, sentence)
    assert result[2].startswith(f"fisherfield: {sentence}")
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "axes", "options"),
    [
        (["--axis", "gama=1"], {"gama": [1.0]}, {}),
        (["--axis", "gamma=nan"], {"gamma": [math.nan]}, {}),
        (["--axis", "depth=2.5"], {"depth": [2.5]}, {}),
        (["--axis", "layers[2].gamma=1"], {"layers[2].gamma": [1.0]}, {}),
        (["--axis", "momentum=0.5", "--momentum", "0.5"], {"momentum": [0.5]}, {"momentum": 0.5}),
        (["--axis", "gamma=1", "--quantity", "lambda"], {"gamma": [1.0]}, {"quantities": ("lambda",)}),
        (["--axis", "gamma=1", "--theory", "mine"], {"gamma": [1.0]}, {"theory": "mine"}),
        (["--axis", "gamma=1", "--backend", "cuda"], {"gamma": [1.0]}, {"backend": "cuda"}),
    ],
)
def test_names_and_ranges_are_refused_in_the_words_of_python(fisherfield, arguments, axes, options):
    with pytest.raises((ValueError, TypeError, RuntimeError)) as refused:
        ff.scan(NET, axes, **options)
    assert_refused(fisherfield("scan", "net.toml", *arguments), str(refused.value))


# what is written ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".zarr", ".nc"])
def test_a_store_and_netcdf_are_the_scan_of_python(fisherfield, ending):
    options = ("--theory", "frozen", "--samples", 50, "--loss", "mse", "--no-biases", "--chunk", 100)
    code, _, errors = fisherfield("scan", "net.toml", *GRID, *options, "--quantity", "q", "--out", f"scan{ending}")
    assert (code, errors) == (0, "")
    expected = ff.scan(NET, AXES, "q", theory="frozen", samples=50, loss="mse", biases=False)
    same(ff.Scan.open(f"scan{ending}"), expected)


def test_csv_and_parquet_are_the_table_of_python(fisherfield):
    import pandas

    axes = {"gamma": [0.0, 0.5, 1.0], "samples": [10, math.inf]}
    for ending in (".csv", ".parquet"):
        typed = ("--axis", "gamma=0:1:3", "--axis", "samples=10,inf", "--quantity", "lambda_max", "--quantity", "q")
        assert fisherfield("scan", "net.toml", *typed, "--out", f"scan{ending}")[0] == 0
    expected = ff.scan(NET, axes, ("lambda_max", "q")).to_pandas()
    written = pandas.read_parquet("scan.parquet")
    pandas.testing.assert_frame_equal(written, expected, check_exact=True)
    assert written.attrs["theory"] == "exact"
    read = np.genfromtxt("scan.csv", delimiter=",", names=True, deletechars="")
    assert read.dtype.names == ("gamma", "samples", *expected.columns)
    for name, column in expected.reset_index().items():
        np.testing.assert_array_equal(read[name], column)  # 17 digits: the same numbers


def test_the_table_says_what_was_scanned_its_extremes_what_failed_and_where_it_lies(fisherfield):
    arguments = ("--axis", "gamma=0:5:11", "--axis", "samples=10,100", "--quantity", "regime", "--quantity", "q")
    code, output, _ = fisherfield("scan", "net.toml", *arguments, "--quantity", "max_learning_rate")
    assert code == 0
    assert max(map(len, output.splitlines())) <= 100
    assert "\x1b" not in output
    for line in (
        r"net\.toml: 30 -> 2 x Dense 100 -> Dense 3",
        r"11 x 2 = 22 points",
        r"gamma +11 +0 +5 +a normalisation's scale",
        r"samples +2 +10 +100 +number of samples",
        r"regime +none 2, (bulk|outlier) \d+",
        r"max_learning_rate +\S+ +gamma=\S+ samples=\d+ +\S+ +gamma=\S+ samples=\d+",
        r"ok +20 of 22 points",
        r"not ok +2 points: zero variance before a normalisation with eps = 0",
        r"22 points in \S+ ms, \S+ points/s",
        r"written to +net\.zarr",
        r"xarray\.open_zarr\('net\.zarr'\)",
        r"fisherfield plot net\.zarr",
    ):
        assert re.search(line, output), line
    rates = ff.Scan.open("net.zarr").to_pandas()["max_learning_rate"]
    for value, (gamma, samples) in ((rates.min(), rates.idxmin()), (rates.max(), rates.idxmax())):
        assert f"{value:.6g}   gamma={gamma:.4g}, samples={samples:.4g}" in output
    assert "layer=" in output


def test_a_file_is_overwritten_by_force_alone(fisherfield, folder):
    (folder / "scan.csv").write_text("years of work")
    assert_refused(fisherfield("scan", "net.toml", *GRID, "--out", "scan.csv"), "--out must be a new file", "scan.csv")
    assert (folder / "scan.csv").read_text() == "years of work"
    assert fisherfield("scan", "net.toml", *GRID, "--out", "scan.csv", "--force")[0] == 0
    assert len((folder / "scan.csv").read_text().splitlines()) == 601


@pytest.mark.parametrize("ending", [".nc", ".csv", ".parquet"])
def test_a_file_that_cannot_be_written_whole_is_not_there(fisherfield, folder, monkeypatch, ending):
    def fail(partial, path):
        assert Path(partial).stat().st_size > 0
        raise OSError(28, "No space left on device", str(path))

    before = sorted(folder.iterdir())
    monkeypatch.setattr(files.os, "replace", fail)
    assert_refused(fisherfield("scan", "net.toml", *GRID, "--out", f"scan{ending}"), "No space left on device")
    assert sorted(folder.iterdir()) == before


def test_a_grid_that_memory_does_not_hold_is_sent_to_a_store(fisherfield, monkeypatch):
    there = _memory.available_memory()
    monkeypatch.setattr(_memory, "available_memory", lambda: 20000)
    sentence = (
        "--out scan.nc needs 10.2 kB of memory for 600 points, more than half of the 20 kB there are: "
        "give --out scan.zarr, written as the scan goes"
    )
    assert_refused(fisherfield("scan", "net.toml", *GRID, "--out", "scan.nc"), sentence)
    assert fisherfield("scan", "net.toml", *GRID, "--out", "scan.zarr")[0] == 0
    assert there is None or there > 2**20


@pytest.mark.parametrize(
    ("part", "ending"), [("zarr", "zarr"), ("h5netcdf", "nc"), ("pandas", "csv"), ("pyarrow", "parquet")]
)
def test_a_missing_package_is_told_before_anything_is_computed(fisherfield, monkeypatch, part, ending):
    monkeypatch.setitem(sys.modules, part, None)
    result = fisherfield("scan", "net.toml", *GRID, "--out", f"scan.{ending}")
    assert_refused(result, f"--out scan.{ending} needs {part}: pip install 'fisherfield[scan]'")


def test_the_bar_is_shown_on_a_terminal_alone(fisherfield, monkeypatch):
    assert "left" not in fisherfield("scan", "net.toml", *GRID, "--out", "one.zarr")[1]
    monkeypatch.setattr(command, "console", lambda: Console(force_terminal=True, width=100, highlight=False))
    output = fisherfield("scan", "net.toml", *GRID, "--chunk", 50, "--out", "two.zarr")[1]
    assert "600 of 600 points" in output
    assert "left" in output


# stopped --------------------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("sent", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_scan_that_is_stopped_goes_on_by_the_same_command(fisherfield, folder, sent):
    command = ("scan", "net.toml", *GRID, "--chunk", "3", "--out", "scan.zarr")
    running = subprocess.Popen(
        [sys.executable, "-m", "fisherfield", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while len([file for file in (folder / "scan.zarr" / "status").rglob("c/*/*") if "partial" not in file.name]) < 5:
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(getattr(signal, sent))
    output, errors = running.communicate(timeout=60)
    assert output == ""
    if sent == "SIGKILL":
        assert running.returncode == -signal.SIGKILL
    else:
        assert running.returncode == 130
        message = r"fisherfield: stopped with (\d+) of 210 chunks finished, which stay in scan\.zarr: "
        finished = re.fullmatch(message + r"the same command goes on from there\n", errors)
        assert finished, errors
        assert 4 <= int(finished[1]) < 210
    code, output, _ = fisherfield(*command)
    assert code == 0
    assert re.match(r"scan\.zarr has \d+ of 600 points: the scan goes on\n", output)
    same(ff.Scan.open("scan.zarr"), ff.scan(NET, AXES))
    code, output, _ = fisherfield(*command)
    assert output.startswith("scan.zarr has all 600 points already\n")
    assert "points/s" not in output


def test_one_sentence_is_all_that_is_said_of_a_store_that_was_cut_short():
    program = """
from types import SimpleNamespace
import fisherfield as ff
from fisherfield import command_line
from fisherfield.command_line import scan as command

async def read(): ...

def scan(*given, progress, **options):
    progress(3, 600)
    command_line.cut_short = read()  # as Zarr leaves it: Python warns of it when it ends
    raise KeyboardInterrupt("scan stopped with 1 of 200 chunks finished, which stay: the same call goes on from there")

command.ff = SimpleNamespace(scan=scan, load=ff.load)
command_line.main()
"""
    command = ("scan", "net.toml", *GRID, "--chunk", "3", "--out", "scan.zarr")
    ended = subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 130
    message = "stopped with 1 of 200 chunks finished, which stay in scan.zarr: the same command goes on from there"
    assert ended.stderr == f"fisherfield: {message}\n"


@posix
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_file_of_a_scan_that_is_stopped_is_not_written(fisherfield, folder, monkeypatch, sent):
    def scan(*arguments, progress, **options):
        def stop(done, total):
            progress(done, total)
            if done == 200:
                os.kill(os.getpid(), sent)

        return ff.scan(*arguments, progress=stop, **options)

    monkeypatch.setattr(command, "ff", SimpleNamespace(scan=scan, load=ff.load))
    code, output, errors = fisherfield("scan", "net.toml", *GRID, "--chunk", 20, "--out", "scan.csv")
    assert (code, output) == (130, "")
    message = "9 of 30 chunks finished, scan.csv was not written: --out scan.zarr would keep them, and go on"
    assert errors == f"fisherfield: stopped with {message}\n" or "10 of 30" in errors
    assert [file.name for file in folder.iterdir()] == ["net.toml"]


# figures --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def drawn(fisherfield):
    pytest.importorskip("matplotlib")
    for name, axis in (("three", "samples=8,64,512"), ("four", "samples=8,16,32,64,128,256,512"), ("two", "samples=8")):
        fisherfield("scan", "net.toml", *GRID, "--axis", axis, "--out", f"{name}.{'nc' if name == 'two' else 'zarr'}")
    return fisherfield


def test_plot_draws_a_scan_into_a_file_named_like_it(drawn, folder):
    assert drawn("plot", "two.nc") == (0, "two.png written\n", "")
    assert (folder / "two.png").read_bytes().startswith(b"\x89PNG")
    code, output, errors = drawn("plot", "three.zarr", "--select", "samples=50", "--quantity", "max_learning_rate")
    assert (code, output, errors) == (0, "samples = 64 is the nearest to 50\nthree.png written\n", "")
    for ending, signature in ((".pdf", b"%PDF-"), (".svg", b"<?xml")):
        arguments = ("--select", "sigma_b2=0", "--select", "samples=8", "--quantity", "status", "--out", f"a{ending}")
        assert drawn("plot", "four.zarr/", *arguments) == (0, f"a{ending} written\n", "")
        assert (folder / f"a{ending}").read_bytes().startswith(signature)


def test_plot_says_how_much_of_a_scan_is_still_to_come(fisherfield):
    pytest.importorskip("matplotlib")

    def stop(done, total):
        if done >= 300:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ff.scan(NET, AXES, store="scan.zarr", chunk=20, progress=stop)
    assert fisherfield("plot", "scan.zarr") == (
        0,
        "300 of 600 points are not computed yet\nscan.png written\n",
        "",
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["four.zarr"], "plot draws one axis or two, got gamma, sigma_b2, samples: select a value of the others, as "),
        (["four.zarr", "--select", "samples"], "--select must be NAME=VALUE, got 'samples'"),
        (["four.zarr", "--select", "samples=many"], "--select must be NAME=VALUE, got 'samples=many'"),
        (["four.zarr", "--select", "n=1", "--select", "n=2"], "--select must name n once, got it twice"),
        (["four.zarr", "--select", "eps=0"], "select must name one of gamma, sigma_b2, samples, got 'eps'"),
        (["two.nc", "--quantity", "bulk"], "quantity must be one of lambda_max, max_learning_rate, status, got 'bulk'"),
        (["two.nc", "--out", "two.gif"], "--out must end in .png, .pdf, .svg, got 'two.gif'"),
        (["two.nc", "--out", "no/two.png"], "--out must lie in an existing folder, got "),
        (["scan.csv"], "a scan must be a .zarr store or an .nc file to be drawn, got 'scan.csv'"),
        (["none.zarr"], "none.zarr is not there"),
        (["net.toml"], "source must be what a scan has written, got 'net.toml'"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(drawn, folder, arguments, sentence):
    assert_refused(drawn("plot", *arguments), sentence)
    assert not list(folder.glob("*.png"))
