# SPDX-License-Identifier: BSD-3-Clause
"""The command line, the figures and the examples: what a stranger types, and what they see."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fisherfield as ff
from fisherfield.command_line import comparisons
from fisherfield.plots import figures

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = ("dense", "vanilla", "convnet", "convnet_cifar")


def row(output: str, theory: str, vanilla: bool = False) -> str:
    """The table's line of one theory, with or without BatchNorm."""
    block = output.partition("vanilla (BatchNorm taken out)")[2 if vanilla else 0]
    (line,) = [line for line in block.splitlines() if line.startswith(f"{theory}  ")]
    return line


# ---------------------------------------------------------------------------------------------------------------- lr


def test_lr_prints_the_dense_network_by_every_theory_with_and_without_batch_norm(fisherfield):
    code, output, errors = fisherfield("lr", EXAMPLES / "dense.toml")
    assert (code, errors) == (0, "")
    assert "160.2" in row(output, "exact")
    assert "counted" in row(output, "exact")
    assert ">=" not in row(output, "exact")
    assert "363.9" in row(output, "frozen")
    assert "229.9" in row(output, "wei2019")
    assert "left out" in row(output, "wei2019")
    assert "2236.7" in row(output, "exact", vanilla=True)
    assert "2234.2" in row(output, "wei2019", vanilla=True)
    assert "784 -> 3 x Dense 1000 -> Dense 10" in " ".join(output.split())  # wherever the file's path has it wrapped
    assert max(map(len, output.splitlines())) <= 100
    assert "\x1b" not in output


def test_lr_leaves_the_biases_out_when_asked(fisherfield):
    _, output, _ = fisherfield("lr", EXAMPLES / "dense.toml", "--no-biases")
    assert "159.2" in row(output, "exact")
    for theory in ("exact", "frozen", "wei2019"):
        assert "2234.2" in row(output, theory, vanilla=True)
    _, output, _ = fisherfield("lr", EXAMPLES / "vanilla.toml", "--no-biases", "--theory", "exact")
    assert "2234.2" in row(output, "exact")
    assert "with BatchNorm" not in output


def test_lr_prints_all_theories_for_every_example(fisherfield):
    for name in NAMES:
        code, output, _ = fisherfield("lr", EXAMPLES / f"{name}.toml", "--momentum", 0.9, "--samples", 60000)
        assert code == 0
        for theory in ("exact", "frozen", "wei2019"):
            assert row(output.partition("vanilla (BatchNorm")[0], theory)


def test_lr_marks_bounds_and_gives_each_reason_once(fisherfield):
    _, output, _ = fisherfield("lr", EXAMPLES / "vanilla.toml", "--theory", "exact", "--theory", "frozen")
    assert re.search(r"~ 2236\.7\s+~ 0\.0008942", row(output, "exact"))  # single vanilla networks lie on either side
    reason = ff.max_learning_rate(ff.load(EXAMPLES / "vanilla.toml")).reason
    flat = " ".join(output.split())
    assert reason
    for sentence in reason.split("; "):
        assert flat.count(sentence) == 1
    assert "exact, frozen:" in output


def test_lr_prints_a_bound_where_every_sampled_network_lay_on_one_side(fisherfield, tmp_path):
    ff.mlp([64, *[256] * 32, 10], "tanh").save(tmp_path / "deep.toml")  # deeper than the edge is solved
    _, output, _ = fisherfield("lr", tmp_path / "deep.toml", "--momentum", 0.9, "--theory", "exact")
    assert re.search(r">= 1 +<= 3\.8 ", row(output.partition("vanilla (BatchNorm")[0], "exact"))
    assert "the bulk's edge, of order (a - b)/N = " in " ".join(output.split())


def test_lr_prints_the_edge_where_it_rules(fisherfield, tmp_path):
    ff.mlp([64, 256, 256, 256, 10], "tanh").save(tmp_path / "tanh.toml")
    _, output, _ = fisherfield("lr", tmp_path / "tanh.toml", "--momentum", 0.9, "--theory", "exact")
    # 2 x 1.9/11.33
    assert re.search(r" 11\.33 +0\.3354 .* bulk", row(output.partition("vanilla (BatchNorm")[0], "exact"))


def test_lr_refuses_an_image_that_no_memory_holds(fisherfield, tmp_path, monkeypatch):
    monkeypatch.setattr(ff._memory, "available_memory", lambda: 16e9)
    ff.convnet((3, 224, 224), [64, 128], 10, stride=1).save(tmp_path / "large.toml")
    code, output, error = fisherfield("lr", tmp_path / "large.toml", "--theory", "exact")
    assert code != 0
    assert "net must fit into memory" in " ".join((output + error).split())


def test_lr_shows_a_theory_that_refuses_the_network_beside_those_that_do_not(fisherfield, tmp_path):
    net = ff.Network(
        (1, 8, 8),
        (ff.Conv2d(30), ff.BatchNorm(), ff.Activation("relu"), ff.GlobalAvgPool2d(), ff.Flatten(), ff.Dense(10)),
    )
    net.save(tmp_path / "pool.toml")
    code, output, _ = fisherfield("lr", tmp_path / "pool.toml")
    assert code == 0
    assert "refused" in row(output, "wei2019")
    assert "wei2019 (with BatchNorm)" in output
    assert_refused(fisherfield("lr", tmp_path / "pool.toml", "--theory", "wei2019"), "pool")


def test_lr_json_is_strict_complete_and_in_full_precision(fisherfield):
    _, output, _ = fisherfield("lr", EXAMPLES / "dense.toml", "--momentum", 0.9, "--samples", 500, "--json")
    content = json.loads(output, parse_constant=pytest.fail)
    assert content["fisherfield"] == ff.__version__
    assert content["network"]["parameters"] == 2797010
    net = ff.load(EXAMPLES / "dense.toml")
    assert len(content["rows"]) == 6
    for entry in content["rows"]:
        variant = net if entry["batch_norm"] else net.replace(batch_norm=False)
        rate = ff.max_learning_rate(variant, 0.9, entry["theory"], samples=500)
        assert entry["max_learning_rate"] == float(rate)
        assert entry["lambda_max"] == rate.fisher.lambda_max
        assert (entry["holds"], entry["reason"]) == (rate.holds, rate.reason)
        assert entry["max_learning_rate_bound"] == rate.bound


def test_lr_json_writes_infinity_as_a_string(fisherfield, tmp_path):
    # relu is 0 at 0: without biases and gamma no gradient reaches any parameter.
    ff.mlp([20, 30, 1], gamma=0.0).save(tmp_path / "nothing.toml")
    _, output, _ = fisherfield("lr", tmp_path / "nothing.toml", "--theory", "exact", "--no-biases", "--json")
    first = json.loads(output, parse_constant=pytest.fail)["rows"][0]
    assert first["max_learning_rate"] == "inf"
    assert first["reason"]


@pytest.mark.parametrize("loss", ["sum", "mean", "mse", "cross_entropy"])
def test_lr_names_the_loss(fisherfield, loss):
    code, output, _ = fisherfield("lr", EXAMPLES / "dense.toml", "--loss", loss)
    assert code == 0
    assert f"{loss}: " in output


def test_lr_takes_overlap_length_and_number_of_samples_from_data(fisherfield, tmp_path):
    pytest.importorskip("sklearn")
    net = ff.mlp([64, 256, 256, 10], batch_norm=False)
    net.save(tmp_path / "net.toml")
    digits = ff.data.load("digits")
    overlap, length = ff.data.overlap_and_length(digits)
    code, output, errors = fisherfield("lr", tmp_path / "net.toml", "--data", "digits", "--theory", "exact", "--json")
    assert (code, errors) == (0, "")
    content = json.loads(output, parse_constant=pytest.fail)
    rate = ff.max_learning_rate(net, samples=1437, overlap=overlap, length=length)
    assert content["rows"][0]["max_learning_rate"] == float(rate)
    assert (content["arguments"]["overlap"], content["arguments"]["length"]) == (overlap, length)
    assert content["arguments"]["samples"] == 1437
    assert content["data"] == {"name": "digits", "standardize": "global", "samples": 1437}
    assert ff.max_learning_rate(net) / rate == pytest.approx(1.43, abs=0.01)  # what overlap 0 would promise too much
    _, output, _ = fisherfield("lr", tmp_path / "net.toml", "--data", "digits", "--samples", 64)
    flat = " ".join(output.split())  # a long path makes all columns narrow
    assert "digits, standardised as a whole: 64 samples of 1437; inputs of length 1, overlap 0.4809" in flat
    assert "overlap_and_length" not in output  # it has been done
    assert max(map(len, output.splitlines())) <= 100
    _, output, _ = fisherfield("lr", tmp_path / "net.toml", "--data", "digits", "--standardize", "feature")
    flat = " ".join(output.split())
    assert "digits, standardised feature by feature: 1437 samples" in flat
    assert "inputs of length 0.9531, overlap -0.0006637" in flat
    _, output, _ = fisherfield("lr", tmp_path / "net.toml")
    flat = " ".join(output.split())
    assert "infinitely many samples; inputs of length 1, overlap 0 loss" in flat
    assert "ff.data.overlap_and_length(x)" in flat


def test_lr_takes_files_of_inputs_and_refuses_what_does_not_go_with_them(fisherfield, tmp_path):
    net = tmp_path / "net.toml"
    ff.mlp([6, 200, 200, 3]).save(net)
    x = np.random.default_rng(0).standard_normal((20, 2, 3)) + 1.0
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x=x)
    for name in ("x.npy", "x.npz"):
        _, output, _ = fisherfield("lr", net, "--data", tmp_path / name, "--standardize", "none", "--json")
        content = json.loads(output)
        assert (content["arguments"]["overlap"], content["arguments"]["length"]) == ff.data.overlap_and_length(x)
        assert content["arguments"]["samples"] == 20
        assert content["data"]["standardize"] is None
    data = ["--data", tmp_path / "x.npy"]
    for options, words in (
        ([*data, "--overlap", 0.3], ["--overlap must be left out with --data", "0.3"]),
        ([*data, "--length", 1], ["--length must be left out with --data", "got 1"]),
        ([*data, "--samples", 21], ["--samples must be a whole number from 1 to 20", "21"]),
        ([*data, "--samples", 1], ["samples must be at least 2 under BatchNorm"]),
        ([*data, "--standardize", "all"], ["--standardize must be one of global, feature, none", "'all'"]),
        (["--standardize", "none"], ["--standardize needs --data"]),
        (["--data", tmp_path / "y.npy"], ["y.npy must be there"]),
        (["--data", "digit"], ["did you mean 'digits'"]),
    ):
        assert_refused(fisherfield("lr", net, *options), *words)
    ff.mlp([7, 200, 3]).save(net)
    assert_refused(fisherfield("lr", net, *data), "shape must have 6 features", "(7,)")


def test_lr_and_scan_know_the_optimisers(fisherfield, tmp_path, monkeypatch):
    dense = EXAMPLES / "dense.toml"
    descent = ["--momentum", 0.9, "--nesterov", "--weight-decay", 0.5, "--loss", "mse"]
    _, output, _ = fisherfield("lr", dense, *descent, "--theory", "exact", "--json")
    content = json.loads(output)
    rate = ff.max_learning_rate(ff.load(dense), 0.9, loss="mse", nesterov=True, weight_decay=0.5)
    assert content["rows"][0]["max_learning_rate"] == float(rate)
    assert (content["arguments"]["nesterov"], content["arguments"]["weight_decay"]) == (True, 0.5)
    _, output, _ = fisherfield("lr", dense, *descent)
    assert "SGD, momentum 0.9, Nesterov, weight decay 0.5" in output
    pytest.importorskip("zarr")
    monkeypatch.chdir(tmp_path)
    code, output, _ = fisherfield("scan", dense, "--axis", "gamma=1,2", *descent)
    assert code == 0
    assert "loss mse, momentum 0.9, Nesterov, weight decay 0.5" in output
    assert ff.Scan.open("dense.zarr").max_learning_rate[0] == pytest.approx(float(rate), rel=1e-14)  # two roundings


def test_numbers_are_taken_as_people_write_them(fisherfield):
    dense = EXAMPLES / "dense.toml"
    assert fisherfield("lr", dense, "--samples", "1e5") == fisherfield("lr", dense, "--samples", "100000")
    assert fisherfield("verify", dense, "--vectors", "1e0")[2].endswith("vectors must be a whole number >= 2, got 1\n")


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--momentum", "0,9", "it must be a number, got '0,9': write 0.9"),
        ("--length", "1,5", "it must be a number, got '1,5': write 1.5"),
        ("--weight-decay", "much", "it must be a number, got 'much'"),
        ("--samples", "50,000", "it must be a whole number, got '50,000': write 50000"),
        ("--samples", "1.5", "it must be a whole number, got '1.5'"),
        ("--samples", "1e400", "it must be a whole number, got '1e400'"),
        ("--samples", "nan", "it must be a whole number, got 'nan'"),
    ],
)
def test_a_number_that_is_none_is_refused_with_how_it_is_written(fisherfield, option, value, sentence):
    code, output, errors = fisherfield("lr", EXAMPLES / "dense.toml", option, value)
    assert (code, output) == (2, "")
    assert errors == f"fisherfield: Invalid value for '{option}': {sentence}\n"


# ---------------------------------------------------------------------------------------------------------- refusals


def assert_refused(result: tuple[int, str, str], *words: str) -> None:
    """Exit code 2, nothing on standard output, one line on standard error that has the words."""
    code, output, errors = result
    assert code == 2
    assert output == ""
    assert errors.startswith("fisherfield: ")
    assert errors.endswith("\n")
    assert errors.count("\n") == 1
    for word in words:
        assert word in errors


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("gamma = 1.0", "gama = 1.0", ["layers[1]", "'gama'", "did you mean 'gamma'"]),
        ("units = 10\n", "units = -10\n", ["layers[9]", "units", ">= 1", "-10"]),
        ("units = 10\n", "units = 'ten'\n", ["layers[9]", "units", "'ten'"]),
        ("sigma_b2 = 0.5", "sigma_b2 = -0.5", ["layers[0]", "sigma_b2", ">= 0", "-0.5"]),
        ("input_shape = 784", "input_shape = [1, 28, 28]", ["layers[0]", "Flatten()"]),
        ("input_shape = 784", "", ["input_shape is missing"]),
        ("input_shape = 784", "input_shape = = 784", ["not TOML"]),
        ('function = "relu"', 'function = "relo"', ["layers[2]", "did you mean 'relu'"]),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(fisherfield, tmp_path, old, new, words):
    path = tmp_path / "net.toml"
    path.write_text((EXAMPLES / "dense.toml").read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    assert_refused(fisherfield("lr", path), "net.toml", *words)


def test_a_layer_that_does_not_fit_is_refused_in_one_line(fisherfield, tmp_path):
    text = (EXAMPLES / "convnet.toml").read_text(encoding="utf-8")
    (tmp_path / "net.toml").write_text(text.replace('[[layers]]\ntype = "Flatten"\n', ""), encoding="utf-8")
    assert_refused(fisherfield("lr", tmp_path / "net.toml"), "layers[9]", "Dense needs a flat input", "(90, 4, 4)")


def test_a_missing_file_and_a_folder_are_refused_in_one_line(fisherfield, tmp_path):
    assert_refused(fisherfield("lr", tmp_path / "none.toml"), "none.toml", "No such file")
    assert_refused(fisherfield("lr", tmp_path))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--theory", "wei"], ["theory must be one of exact, frozen, wei2019", "'wei'"]),
        (["--loss", "hinge"], ["loss must be one of sum, mean, mse, cross_entropy", "'hinge'"]),
        (["--momentum", "1"], ["momentum", "1"]),
        (["--samples", "1"], ["samples must be at least 2 under BatchNorm", "1"]),
        (["--momentum", "nan"], ["momentum", "nan"]),
        (["--samples", "0"], ["samples must be a whole number >= 1", "0"]),
        (["--samples", "many"], ["--samples"]),
        (["--overlap", "2"], ["overlap", "length", "2"]),
        (["--length", "-1"], ["length", "-1"]),
        (["--gama", "2"], ["--gama"]),
        (["another.toml"], ["another.toml"]),
    ],
)
def test_a_bad_option_is_refused_in_one_line(fisherfield, arguments, words):
    assert_refused(fisherfield("lr", EXAMPLES / "dense.toml", *arguments), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lr"], ["NET.toml"]),
        (["learn"], ["learn"]),
        (["--verbose"], ["--verbose"]),
        (["figure", "wei2019-7"], ["figure must be one of wei2019-1", "'wei2019-7'"]),
        (["figure", "wei2019-1", "--out", "figure.gif"], [".png, .pdf, .svg", "figure.gif"]),
        (["figure", "wei2019-1", "--out", "no/such/folder/figure.png"], ["existing folder", "figure.png"]),
        (["selftest", "--networks", "0"], ["networks", ">= 1", "0"]),
        (["selftest", "--seed", "-1"], ["seed", ">= 0", "-1"]),
        (["init", "mlp"], ["network", "dense, vanilla, convnet", "mlp"]),
    ],
)
def test_bad_usage_is_refused_in_one_line(fisherfield, arguments, words):
    assert_refused(fisherfield(*arguments), *words)


def test_a_figure_without_matplotlib_is_refused_with_the_command_that_installs_it(fisherfield, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out = tmp_path / "figure1.png"
    assert_refused(fisherfield("figure", "wei2019-1", "--out", out), "pip install 'fisherfield[plot]'")
    assert not out.exists()


# -------------------------------------------------------------------------------------------------- help and version


@pytest.mark.parametrize(
    ("arguments", "example"),
    [
        ([], "fisherfield lr examples/dense.toml"),
        (["init", "--help"], "fisherfield init dense > net.toml"),
        (["--help"], "fisherfield lr examples/dense.toml"),
        (["scan", "--help"], "fisherfield scan net.toml --axis gamma=0.1:5:200"),
        (["plot", "--help"], "fisherfield plot dense.zarr"),
        (["lr", "--help"], "fisherfield lr examples/dense.toml"),
        (["figure", "--help"], "fisherfield figure wei2019-1 --out figure1.png"),
        (["selftest", "--help"], "fisherfield selftest --networks"),
    ],
)
def test_help_shows_an_example(fisherfield, arguments, example):
    code, output, errors = fisherfield(*arguments)
    assert (code, errors) == (0, "")
    assert any(line.strip().startswith(example) for line in output.splitlines())


def test_version(fisherfield):
    assert fisherfield("--version") == (0, f"fisherfield {ff.__version__}\n", "")


def test_python_m_fisherfield_runs_the_command_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "fisherfield", "lr", "none.toml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert_refused((done.returncode, done.stdout, done.stderr), "none.toml")


# ---------------------------------------------------------------------------------------- terminals, full and closed


def shell(line: str, **environment: str) -> tuple[int, str, str]:
    """What a line of the shell gives, where `fisherfield` is the command line."""
    line = line.replace("fisherfield", f"'{sys.executable}' -m fisherfield")
    done = subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is always full")
@pytest.mark.parametrize("arguments", ["lr {}", "lr {} --json", "--help", "init dense", "selftest --networks 1"])
def test_output_that_cannot_be_written_is_told_in_one_line(arguments):
    code, _, error = shell(f"fisherfield {arguments.format(EXAMPLES / 'dense.toml')} > /dev/full")
    assert (code, error) == (2, "fisherfield: standard output: No space left on device\n")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell of Unix")
@pytest.mark.parametrize("line", ["2>&-", ">&- 2>&-", "2>/dev/full"])
def test_a_refusal_that_nobody_can_read_has_its_exit_code(line):
    if "full" in line and not os.path.exists("/dev/full"):
        pytest.skip("there is no device that is always full")
    assert shell(f"fisherfield lr none.toml {line}") == (2, "", "")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell of Unix")
def test_nothing_that_is_written_lands_in_a_file_where_output_is_closed(tmp_path):
    line = f"fisherfield scan {EXAMPLES / 'dense.toml'} --axis gamma=1,2 --out {tmp_path / 'scan.csv'} >&- 2>&-"
    assert shell(line) == (0, "", "")
    assert (tmp_path / "scan.csv").read_text().startswith("gamma,lambda_max")


@pytest.mark.parametrize("columns", ["0", "-5", "wide", "1", "40", "80"])
def test_no_width_of_a_terminal_takes_digits_away(fisherfield, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    code, output, errors = fisherfield("lr", EXAMPLES / "dense.toml")
    assert (code, errors) == (0, "")
    assert re.search(r"2236\.7 +~ 0\.0008942", row(output, "exact", vanilla=True))
    assert "…" not in output


INTERRUPT = """
import os, signal, sys
class Finder:  # Ctrl-C in the middle of an import
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from fisherfield.command_line import main
main(['--version'])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of Unix")
@pytest.mark.parametrize("module", ["numpy", "typer", "fisherfield.command_line.lr", "rich.console"])
def test_ctrl_c_during_imports_is_one_line(module):
    command = [sys.executable, "-c", INTERRUPT.format(module=module)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "fisherfield: stopped\n")


@pytest.mark.parametrize(
    ("owner", "name", "arguments"),
    [
        (ff, "max_learning_rate", ["lr", EXAMPLES / "dense.toml"]),
        (figures, "wei2019_figure_1", ["figure", "wei2019-1", "--out", "figure1.png"]),
        (comparisons, "selftest", ["selftest"]),
    ],
)
def test_a_command_that_is_stopped_says_so_and_leaves_nothing(
    fisherfield, monkeypatch, tmp_path, owner, name, arguments
):
    import signal

    def stopped(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    class Drawn:
        def savefig(self, path: Any, **_: Any) -> None:
            Path(path).write_bytes(b"half")
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.chdir(tmp_path)
    getattr(owner, name)  # ff's names come when they are used
    monkeypatch.setattr(owner, name, Drawn if arguments[0] == "figure" else stopped)
    assert fisherfield(*arguments) == (130, "", "fisherfield: stopped\n")
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is before


# ------------------------------------------------------------------------------------------------ what helps to begin


@pytest.mark.parametrize("name", NAMES)
def test_init_prints_the_example(fisherfield, tmp_path, name):
    code, output, errors = fisherfield("init", name)
    assert (code, errors) == (0, "")
    (tmp_path / "net.toml").write_text(output)
    assert ff.load(tmp_path / "net.toml") == ff.load(EXAMPLES / f"{name}.toml")
    assert max(map(len, output.splitlines())) <= 120


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("fisherfield in", {"init"}),
        ("fisherfield init ", set(NAMES)),
        ("fisherfield lr net.toml --loss m", {"mean", "mse"}),
        ("fisherfield figure wei", {"wei2019-1"}),
    ],
)
def test_the_shell_completes_commands_and_names(fisherfield, monkeypatch, typed, expected):
    monkeypatch.setenv("_FISHERFIELD_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split(" ")) - 1))
    code, output, _ = fisherfield()
    assert (code, set(output.split())) == (0, expected)


# ---------------------------------------------------------------------------------------------------------- selftest


def test_selftest_passes(fisherfield):
    code, output, errors = fisherfield("selftest", "--networks", 6, "--seed", 3)
    assert (code, errors) == (0, "")
    assert "FAILED" not in output
    assert "ok: " in output


def test_selftest_fails_when_the_core_is_off_by_little(fisherfield, monkeypatch):
    real = comparisons.reference.fisher

    class Shifted:
        def __init__(self, result: Any) -> None:
            self.a, self.b, self.lambda_max = result.a, result.b, result.lambda_max * (1 + 1e-8)

    monkeypatch.setattr(comparisons.reference, "fisher", lambda *arguments, **named: Shifted(real(*arguments, **named)))
    code, output, _ = fisherfield("selftest", "--networks", 2)
    assert code == 1
    assert "FAILED" in output
    assert "Network(" in output


def test_selftest_draws_the_same_networks_from_the_same_seed():
    import numpy as np

    for seed in range(50):
        case = comparisons.random_case(np.random.default_rng(seed))
        assert case == comparisons.random_case(np.random.default_rng(seed))
        assert case.arguments["overlap"] <= 0.9 * case.arguments["length"]


# ---------------------------------------------------------------------------------------------- figures and examples


@pytest.mark.parametrize(
    ("suffix", "signature"), [(".png", b"\x89PNG\r\n\x1a\n"), (".pdf", b"%PDF-"), (".svg", b"<?xml")]
)
def test_figure_writes_the_format_of_its_suffix(fisherfield, monkeypatch, tmp_path, suffix, signature):
    pytest.importorskip("matplotlib")
    real = figures.wei2019_figure_1
    monkeypatch.setattr(figures, "wei2019_figure_1", lambda: real(gammas=[0.5, 1, 2, 3, 4, 5]))
    out = tmp_path / f"figure1{suffix}"
    code, output, errors = fisherfield("figure", "wei2019-1", "--out", out)
    assert (code, output, errors) == (0, f"{out} written\n", "")
    assert out.read_bytes().startswith(signature)


def test_figure_1_has_four_panels_with_every_curve_and_leaves_matplotlib_as_it_was():
    matplotlib = pytest.importorskip("matplotlib")
    before = dict(matplotlib.rcParams)
    figure = figures.wei2019_figure_1(gammas=[0.5, 1, 3, 5])
    assert dict(matplotlib.rcParams) == before
    assert len(figure.axes) == 4
    for panel in figure.axes:
        assert panel.get_yscale() == "log"
        curves = {line.get_label(): line.get_ydata() for line in panel.lines}
        assert {"exact", "frozen", "wei2019", "vanilla"} <= curves.keys()
    dense = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    assert dense["wei2019"][1] == pytest.approx(229.89, abs=0.005)  # printed digits
    assert dense["vanilla"][0] == pytest.approx(2234.17, abs=0.005)  # printed digits
    rates = {line.get_label(): line.get_ydata() for line in figure.axes[2].lines}
    assert rates["exact"] * dense["exact"] == pytest.approx([2 * 1.9] * 4, rel=1e-14)


@pytest.mark.parametrize("gammas", [[1.0], [0.0, 1.0], [-1.0, 1.0], [1.0, math.inf], [1.0, math.nan]])
def test_figure_1_refuses_gammas_it_cannot_draw(gammas):
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match="gammas must hold at least two numbers, all finite and > 0"):
        figures.wei2019_figure_1(gammas)


def test_batch_norm_crosses_the_vanilla_value_near_gamma_3():
    networks = figures.wei2019_networks()
    dense = figures.crossing(networks["dense"])
    assert dense == pytest.approx(2.879, abs=5e-4)  # printed digits
    assert figures.crossing(networks["convnet"]) == pytest.approx(2.86, abs=5e-3)  # printed digits
    # Exact theory is (lambda_max - biases) ~ gamma^2: its crossing is known in closed form.
    exact = ff.fisher(networks["dense"], biases=False).lambda_max
    vanilla = ff.fisher(networks["vanilla"], biases=False).lambda_max
    assert figures.crossing(networks["dense"], "exact") == pytest.approx(math.sqrt(vanilla / exact), rel=1e-9)
    assert figures.crossing(networks["dense"], high=2.0) is None


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_the_networks_built_in_code_and_round_trip(name, tmp_path):
    net = ff.load(EXAMPLES / f"{name}.toml")
    assert net == figures.wei2019_networks()[name]
    net.save(tmp_path / "again.toml")
    assert ff.load(tmp_path / "again.toml") == net


def test_every_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.toml")} == set(NAMES)


def test_lr_says_what_a_residual_network_is_made_of(fisherfield, tmp_path):
    path = tmp_path / "net.toml"
    ff.mlp([784, *[1000] * 5, 10], norm="layer", residual=0.5).save(path)
    _, output, _ = fisherfield("lr", path, "--samples", 300)
    assert "refused" in row(output, "wei2019")
    words = " ".join(output.split())
    assert "784 -> Dense 1000 -> 4 x Residual 1000 -> Dense 10" in words
    assert (
        "LayerNorm 5 of them; gamma 1, beta 0, eps 0; gamma and beta not trained Residual 4 of them; scale 0.5" in words
    )
    assert "BatchNorm" not in words
    assert "vanilla" not in words
    ff.mlp([784, *[1000] * 5, 1], residual=[0.5, 1, 0.5, 1]).save(path)
    _, output, _ = fisherfield("lr", path, "--samples", 300)
    assert re.search(r"^without BatchNorm *$", output, re.MULTILINE)
    words = " ".join(output.split())
    assert (
        "BatchNorm 5 of them; gamma 1, beta 0, eps 0; gamma and beta not trained Residual 4 of them; scale 0.5, 1"
        in words
    )
    assert "learning rate with BatchNorm / without BatchNorm: exact" in words
    assert "vanilla" not in words


def test_lr_prints_units_of_their_own_in_short(fisherfield, tmp_path):
    path = tmp_path / "net.toml"
    norm = ff.BatchNorm(gamma=np.linspace(0.1, 0.5, 200), trained=True)
    ff.Network(30, [ff.Dense(200), norm, ff.Activation("relu"), ff.Dense(3)]).save(path)
    _, output, _ = fisherfield("lr", path, "--theory", "exact")
    numbers = "gamma 0.1 to 0.5 (200 units), beta 0, eps 0; gamma and beta trained"
    assert f"BatchNorm after 1 of 2 affine layers; {numbers}" in " ".join(output.split())


def test_lr_counts_layers_by_kind_in_json(fisherfield, tmp_path):
    path = tmp_path / "net.toml"
    ff.mlp([30, 200, 200, 3], norm="layer", residual=True).save(path)
    _, output, _ = fisherfield("lr", path, "--json")
    assert json.loads(output)["network"]["layers"] == {"Dense": 3, "LayerNorm": 2, "Activation": 2, "Residual": 1}
