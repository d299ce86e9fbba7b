# SPDX-License-Identifier: BSD-3-Clause
"""Data sets from files that are as they should be, and from files that are not."""

from __future__ import annotations

import gzip
import io
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import fisherfield as ff
from fisherfield.data import images, sources

LABELS = {"train": np.arange(12) % 3, "test": np.arange(5) % 3}
IMAGES = {
    split: np.random.default_rng(3).integers(0, 256, (len(y), 4, 3)).astype(np.uint8) for split, y in LABELS.items()
}
NAMES = {"train": "train", "test": "t10k"}


def idx(array, kind=8):
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, kind, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def write_idx(folder, compress=False, dotted=False):
    folder.mkdir(parents=True, exist_ok=True)
    for split, name in NAMES.items():
        for kind, array in (("images-idx3", IMAGES[split]), ("labels-idx1", LABELS[split])):
            path = (
                folder / f"{name}-{kind.replace('-idx', '.idx') if dotted else kind}-ubyte{'.gz' if compress else ''}"
            )
            path.write_bytes(gzip.compress(idx(array)) if compress else idx(array))
    return folder


@pytest.fixture
def two_records(monkeypatch):
    """In place of CIFAR-10's 10000 a file."""
    assert images._RECORDS == 10000
    monkeypatch.setattr(images, "_RECORDS", 2)


def write_cifar(folder):
    """Two records a file; the first byte of each image is the number of its file."""
    folder.mkdir()
    for number, name in enumerate([*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"], start=1):
        records = np.random.default_rng(number).integers(0, 256, (2, 3073)).astype(np.uint8)
        records[:, 0], records[:, 1] = (number, 9), number
        (folder / name).write_bytes(records.tobytes())
    return folder


def refused(error, words, source, **arguments):
    with pytest.raises(error) as refusal:
        ff.data.load(source, **arguments)
    assert words in str(refusal.value)


# Gaussian inputs, overlap and length


def test_gaussian_inputs_are_what_the_theory_assumes_by_default():
    x = ff.data.gaussian(300, 2000, seed=2)
    assert x.shape == (2000, 300)
    assert x.dtype == np.float64
    overlap, length = ff.data.overlap_and_length(x)
    # sums of 6e5 squares and of 2e6 products of 300 terms: three standard deviations of each
    assert length == pytest.approx(1, abs=3 * np.sqrt(2 / 6e5))
    assert overlap == pytest.approx(0, abs=3 * np.sqrt(1 / (300 * 2e6)))
    assert np.array_equal(ff.data.gaussian((300,), 5, seed=2), x[:5])
    assert not np.array_equal(ff.data.gaussian(300, 5), x[:5])
    assert ff.data.gaussian(ff.convnet((1, 8, 6), [3], 2), 7).shape == (7, 1, 8, 6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (((), 3), "shape must be a Network, a whole number or a sequence of them, got ()"),
        (((3, 0), 3), "shape must be a whole number >= 1, got 0"),
        ((3, 0), "samples must be a whole number >= 1, got 0"),
        ((3, 3, -1), "seed must be a whole number >= 0, got -1"),
    ],
)
def test_gaussian_refuses_in_a_sentence(arguments, words):
    with pytest.raises(ValueError) as refusal:  # noqa: PT011
        ff.data.gaussian(*arguments)
    assert str(refusal.value) == words


def test_overlap_and_length_are_means_over_pairs_and_samples():
    x = np.random.default_rng(0).standard_normal((7, 2, 3, 1)) + 0.5
    rows = x.reshape(7, 6)
    pairs = [rows[i] @ rows[j] / 6 for i in range(7) for j in range(7) if i != j]
    expected = (np.mean(pairs), np.mean(np.sum(rows**2, axis=1)) / 6)
    assert ff.data.overlap_and_length(x) == pytest.approx(expected, rel=1e-14)
    assert ff.data.overlap_and_length(ff.data.load(x, None)) == ff.data.overlap_and_length(x)
    assert ff.data.overlap_and_length([[1, 2], [3, 4]]) == (5.5, 7.5)


@pytest.mark.parametrize("standardize", ["global", "feature"])
def test_the_theory_takes_the_overlap_and_length_of_any_data(standardize):
    """Also at both ends of what is allowed: samples that sum to zero, and samples that are all the same."""
    net = ff.mlp([5, 300, 1])
    for seed in range(20):
        x = ff.data.load(np.random.default_rng(seed).standard_normal((9, 5)) + 3, standardize).x
        overlap, length = ff.data.overlap_and_length(x)
        assert ff.fisher(net, samples=9, overlap=overlap, length=length).lambda_max > 0
        overlap, length = ff.data.overlap_and_length(np.tile(x[0], (9, 1)))
        ff.fisher(net.replace(batch_norm=False), samples=9, overlap=overlap, length=length)


def test_one_sample_has_no_overlap():
    with pytest.raises(ValueError, match="x must hold at least 2 samples, whose overlap is asked for, got 1"):
        ff.data.overlap_and_length(np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"x must be finite and at most 1e\+100 in size, got nan"):
        ff.data.overlap_and_length([[1.0], [np.nan]])


# Standardising, subsets, shapes


def test_global_standardisation_gives_mean_0_and_variance_1():
    x = 5 + 3 * np.random.default_rng(0).standard_normal((5000, 4))  # more than a block
    data = ff.data.load(x)
    assert np.mean(data.x) == pytest.approx(0, abs=1e-14)
    assert np.var(data.x) == pytest.approx(1, rel=1e-14)
    assert data.x == pytest.approx((x - np.mean(x)) / np.std(x), abs=1e-13)
    assert (data.mean, data.scale) == pytest.approx((np.mean(x), np.std(x)), rel=1e-13)
    assert ff.data.overlap_and_length(data)[1] == pytest.approx(1, rel=1e-14)


def test_feature_standardisation_makes_a_constant_feature_0():
    x = np.random.default_rng(0).uniform(size=(50, 3)) + np.array([0.0, 10.0, 0.0])
    x[:, 2] = 0.1
    data = ff.data.load(x, "feature")
    assert np.mean(data.x, axis=0) == pytest.approx(0, abs=1e-13)
    assert np.var(data.x, axis=0) == pytest.approx([1, 1, 0], rel=1e-13)
    assert np.all(data.x[:, 2] == 0)


def test_unstandardised_data_are_left_as_they_are():
    data = ff.data.load(IMAGES["train"], None)
    assert data.x.dtype == np.float64
    assert np.array_equal(data.x[:, 0], IMAGES["train"])
    assert (data.mean, data.scale) == (0, 1)


def test_statistics_are_those_of_the_samples_returned(tmp_path):
    data = ff.data.load(write_idx(tmp_path), samples=6)
    assert np.mean(data.x) == pytest.approx(0, abs=1e-15)
    assert np.var(data.x) == pytest.approx(1, rel=1e-14)


def test_the_test_split_is_standardised_as_the_training_split(tmp_path):
    folder, train, test = write_idx(tmp_path), IMAGES["train"].astype(float), IMAGES["test"].astype(float)
    expected = (test - np.mean(train)) / np.std(train)
    assert ff.data.load(folder, split="test").x[:, 0] == pytest.approx(expected, rel=1e-13)
    expected = (test - np.mean(train, axis=0)) / np.std(train, axis=0)
    data = ff.data.load(folder, "feature", split="test", shape=12)
    assert data.x.reshape(test.shape) == pytest.approx(expected, rel=1e-13)


def test_samples_are_a_random_subset_and_larger_ones_hold_it():
    x, y = np.arange(100.0).reshape(50, 2), np.arange(50)
    few, many = (ff.data.load((x, y), None, samples=count, seed=1) for count in (10, 20))
    assert np.array_equal(few.y, many.y[:10])
    assert len(set(many.y)) == 20
    assert np.array_equal(many.x, x[many.y])
    assert np.array_equal(ff.data.load((x, y), None, samples=10, seed=1).x, few.x)
    assert not np.array_equal(ff.data.load((x, y), None, samples=10, seed=2).x, few.x)
    assert sorted(ff.data.load((x, y), samples=50).y) == list(range(50))


def test_samples_take_the_shape_that_a_network_wants():
    x = np.arange(48.0).reshape(2, 24)
    assert np.array_equal(ff.data.load(x, None, shape=(2, 3, 4)).x, x.reshape(2, 2, 3, 4))
    assert ff.data.load(x, shape=ff.convnet((6, 2, 2), [3], 2)).x.shape == (2, 6, 2, 2)
    assert ff.data.load(x.reshape(2, 2, 3, 4), shape=24).x.shape == (2, 24)
    assert ff.data.load(x.reshape(2, 2, 3, 4)).x.shape == (2, 2, 3, 4)
    assert ff.data.load(x.reshape(2, 6, 4)).x.shape == (2, 1, 6, 4)
    refused(ValueError, "shape must have 24 features, those of samples of shape (24,), got (5,)", x, shape=5)


def test_data_come_apart_print_and_give_one_hot_labels():
    data = ff.data.load((np.arange(8.0).reshape(2, 4), [2, 0]))
    x, y = data
    assert x is data.x
    assert y.dtype == np.int64
    assert data.one_hot().tolist() == [[0, 0, 1], [1, 0, 0]]
    assert data.one_hot(classes=4).tolist() == [[0, 0, 1, 0], [1, 0, 0, 0]]
    with pytest.raises(ValueError, match="classes must be a whole number >= 3, got 2"):
        data.one_hot(classes=2)
    assert repr(data) == "Data arrays: 2 samples of 4, standardised as a whole, 3 classes"
    assert len(data) == 2
    bare = ff.data.load(IMAGES["train"], "feature")
    assert bare.y is None
    assert bare.flat.shape == (12, 12)
    assert repr(bare) == "Data arrays: 12 samples of 1 x 4 x 3, standardised feature by feature, no labels"
    with pytest.raises(ValueError, match="one_hot needs labels, and arrays has none"):
        bare.one_hot()


@pytest.mark.parametrize(
    ("source", "arguments", "error", "words"),
    [
        (np.ones(3), {}, ValueError, "x must have shape (n, ...) with a feature and a sample or more, got (3,)"),
        (np.ones((0, 3)), {}, ValueError, "x must have shape (n, ...) with a feature and a sample or more, got (0, 3)"),
        (np.ones((2, 3)), {}, ValueError, "standardize must be None for numbers that are all the same"),
        ([[1e-200], [2e-200]], {}, ValueError, "standardize must be None for numbers that are all the same"),
        ([[1.0], [np.inf]], {}, ValueError, "x must be finite and at most 1e+100 in size, got inf"),
        ([["a"], ["b"]], {}, TypeError, "x must be an array of real numbers, got [['a'], ['b']]"),
        (None, {}, TypeError, "x must be an array of real numbers, got None"),
        ((np.eye(3), [0, 1]), {}, ValueError, "y must have shape (3,), a label for each sample, got (2,)"),
        ((np.eye(3), [0, 1, 0.5]), {}, ValueError, "y must be whole numbers >= 0, got 0.5"),
        ((np.eye(3), [0, 1, -1]), {}, ValueError, "y must be whole numbers >= 0, got -1"),
        ((np.eye(3), [0, 1, np.nan]), {}, ValueError, "y must be whole numbers >= 0, got nan"),
        (np.eye(3), {"samples": 4}, ValueError, "samples must be at most 3, the number of arrays's train split, got 4"),
        (np.eye(3), {"samples": 0}, ValueError, "samples must be a whole number >= 1, got 0"),
        (np.eye(3), {"split": "test"}, ValueError, "split must be 'train' for arrays, which have no other, got 'test'"),
        (np.eye(3), {"split": "dev"}, ValueError, "split must be one of train, test, got 'dev'"),
        (np.eye(3), {"standardize": "z"}, ValueError, "standardize must be one of global, feature, got 'z'"),
        (np.eye(3), {"seed": -1}, ValueError, "seed must be a whole number >= 0, got -1"),
        ("digit", {}, FileNotFoundError, "got 'digit', which is not there (did you mean 'digits'?)"),
        ("https://data.set/x", {}, ValueError, "source must be a path on a file system, got 'https://data.set/x'"),
        (__file__, {}, ValueError, "source must be digits, fashion-mnist, a folder, a file .npy or .npz, or arrays"),
    ],
)
def test_arguments_are_refused_in_a_sentence(source, arguments, error, words):
    refused(error, words, source, **arguments)


# Named data sets


def test_the_digits_of_scikit_learn():
    pytest.importorskip("sklearn")
    train, test = (ff.data.load("digits", None, split=split) for split in ("train", "test"))
    assert train.x.shape == (1437, 1, 8, 8)
    assert test.x.shape == (360, 1, 8, 8)
    assert train.classes == test.classes == 10
    assert train.x.max() == 16
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    every = np.concatenate([train.flat, test.flat])
    assert np.array_equal(every[np.lexsort(every.T)], x[np.lexsort(x.T)])
    assert np.bincount(np.concatenate([train.y, test.y])).tolist() == np.bincount(y).tolist()
    assert test.y[:8].tolist() == [6, 0, 1, 7, 8, 5, 0, 1]  # for ever


def test_without_scikit_learn_the_digits_say_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"the digits need scikit-learn: pip install 'fisherfield\[data\]'"):
        ff.data.load("digits")


@pytest.mark.parametrize("inside", ["", "fashion-mnist"])
def test_fashion_mnist_lies_where_the_environment_says(tmp_path, monkeypatch, inside):
    write_idx(tmp_path / inside, compress=True)
    monkeypatch.setenv("FISHERFIELD_DATA", str(tmp_path))
    data = ff.data.load("fashion-mnist", None)
    assert data.name == "fashion-mnist"
    assert np.array_equal(data.x[:, 0], IMAGES["train"])
    assert np.array_equal(ff.data.load("fashion-mnist", split="test").y, LABELS["test"])


def test_without_fashion_mnist_a_sentence_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("FISHERFIELD_DATA", str(tmp_path))
    refused(FileNotFoundError, "'apt-get install dataset-fashion-mnist' puts it", "fashion-mnist")


@pytest.mark.skipif(not Path("/usr/share/datasets/fashion-mnist").is_dir(), reason="the package is not installed")
def test_fashion_mnist_as_debian_installs_it(monkeypatch):
    monkeypatch.delenv("FISHERFIELD_DATA", raising=False)
    data = ff.data.load("fashion-mnist", samples=1000)
    assert data.x.shape == (1000, 1, 28, 28)
    assert data.classes == 10


# Files


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dotted", [False, True])
def test_folders_of_idx_files(tmp_path, compress, dotted):
    folder = write_idx(tmp_path / "letters", compress, dotted)
    for split in ("train", "test"):
        data = ff.data.load(str(folder), None, split=split)
        assert (data.name, data.classes) == ("letters", 3)
        assert np.array_equal(data.x, IMAGES[split][:, None])
        assert np.array_equal(data.y, LABELS[split])


TRAIN = idx(IMAGES["train"])


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (idx(LABELS["train"]), ValueError, "must begin with 0x00000803, as IDX files of bytes in 3 dimensions do, got"),
        (idx(IMAGES["train"], 13), ValueError, "do, got 0x00000d03"),
        (b"", ValueError, "do, got 0x"),
        (b"PK\x03\x04 something else", ValueError, "do, got 0x504b0304"),
        (TRAIN[:10], ValueError, "must have a header of 16 bytes, got 10"),
        (TRAIN[:-1], ValueError, "must hold 144 bytes after its header (12 x 4 x 3), got 143"),
        (TRAIN + b"\0", ValueError, "must hold 144 bytes after its header (12 x 4 x 3), got more"),
        (
            TRAIN[:4] + b"\xff" * 12 + TRAIN[16:],
            ValueError,
            "bytes after its header (4294967295 x 4294967295 x 4294967295), got 144",
        ),
        (TRAIN[:4] + bytes(12) + b"x", ValueError, "must hold 0 bytes after its header (0 x 0 x 0), got more"),
        (gzip.compress(TRAIN, mtime=0)[:-12], ValueError, "must be a whole gzip file, got a damaged one"),
        (gzip.compress(TRAIN, mtime=0)[:40] + bytes(30), ValueError, "must be a whole gzip file, got a damaged one"),
        (idx(IMAGES["train"][:9]), ValueError, "must hold a label for each of 9 images, got 12"),
        (idx(IMAGES["train"][:0]), ValueError, "must hold at least one sample, got 0 x 4 x 3"),
        (None, FileNotFoundError, "train-images-idx3-ubyte (or the same with .gz) must be there for the train split"),
    ],
)
def test_idx_files_that_are_none_are_refused_in_a_sentence(tmp_path, content, error, words):
    path = write_idx(tmp_path) / "train-images-idx3-ubyte"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    refused(error, words, tmp_path)
    assert ff.data.load(tmp_path, None, split="test").x.shape == (5, 1, 4, 3)  # which needs none of it


def test_cifar_in_its_binary_version(tmp_path, two_records):
    folder = write_cifar(tmp_path / "cifar")
    train, test = (ff.data.load(folder, None, split=split) for split in ("train", "test"))
    assert train.x.shape == (10, 3, 32, 32)
    assert train.y.tolist() == [1, 9, 2, 9, 3, 9, 4, 9, 5, 9]
    assert train.x[:, 0, 0, 0].tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert test.y.tolist() == [6, 9]
    raw = np.fromfile(folder / "test_batch.bin", np.uint8).reshape(2, 3073)
    assert test.x[1, 2, 31, 30] == raw[1, 1 + 2 * 1024 + 31 * 32 + 30]  # by channel, row and column


def test_cifar_that_is_none_is_refused_in_a_sentence(tmp_path, two_records):
    folder = write_cifar(tmp_path / "cifar")
    whole = (folder / "data_batch_4.bin").read_bytes()
    for content, words in (
        (whole[:-1], "must hold 6146 bytes, CIFAR-10's 2 records of 3073, got 6145"),
        (whole[:3073], "must hold 6146 bytes, CIFAR-10's 2 records of 3073, got 3073"),
        (b"", "must hold 6146 bytes, CIFAR-10's 2 records of 3073, got 0"),
        (b"\x0a" + whole[1:], "must have labels from 0 to 9, as CIFAR-10 has, got 10"),
    ):
        (folder / "data_batch_4.bin").write_bytes(content)
        refused(ValueError, words, folder)
    (folder / "data_batch_4.bin").unlink()
    refused(FileNotFoundError, "data_batch_4.bin must be there for the train split", folder)


def test_pickles_are_not_read(tmp_path):
    (tmp_path / "data_batch_1").write_bytes(b"\x80\x04.")
    refused(ValueError, "with pickles, which run whatever they hold and are not read", tmp_path)
    np.save(tmp_path / "x.npy", np.array([[{}]]), allow_pickle=True)
    np.savez(tmp_path / "x.npz", x=np.array([[{}]]))
    for name in ("x.npy", "x.npz"):
        refused(ValueError, f"{name} must be a whole {name[1:]} file of numbers, got one that is not", tmp_path / name)


def test_folders_of_something_else_are_refused(tmp_path):
    refused(FileNotFoundError, "source must be a folder with train-images-idx3-ubyte", tmp_path)


def test_arrays_on_disk(tmp_path):
    x, y = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32), np.arange(6) % 2
    np.save(tmp_path / "only.npy", x)
    np.savez(tmp_path / "both.npz", x=x, y=y)
    np.savez_compressed(tmp_path / "splits.npz", x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
    only, both = (ff.data.load(tmp_path / name, None) for name in ("only.npy", "both.npz"))
    assert only.y is None
    assert (only.name, both.name) == ("only", "both")
    assert np.array_equal(only.x, x)
    assert np.array_equal(both.y, y)
    assert len(ff.data.load(tmp_path / "splits.npz")) == 6
    assert np.array_equal(ff.data.load(tmp_path / "splits.npz", None, split="test").x, x[:2])
    for name in ("only.npy", "both.npz"):
        refused(ValueError, "split must be 'train' for arrays named x", tmp_path / name, split="test")


def test_arrays_on_disk_that_are_none_are_refused_in_a_sentence(tmp_path):
    np.savez(tmp_path / "named.npz", inputs=np.eye(3), z=1)
    refused(ValueError, "must hold an array x, or x_train and x_test, got inputs, z", tmp_path / "named.npz")
    np.save(tmp_path / "short.npy", np.eye(3))
    whole = (tmp_path / "short.npy").read_bytes()
    for content in (whole[:-1], whole[:20], b"", b"PK\x03\x04", b"something else"):
        (tmp_path / "short.npy").write_bytes(content)
        refused(
            ValueError, "short.npy must be a whole .npy file of numbers, got one that is not", tmp_path / "short.npy"
        )
    np.savez(tmp_path / "damaged.npz", x=np.eye(30))
    whole = bytearray((tmp_path / "damaged.npz").read_bytes())
    whole[1000] ^= 255
    (tmp_path / "damaged.npz").write_bytes(whole)
    refused(ValueError, "damaged.npz must be a whole .npz file of numbers", tmp_path / "damaged.npz")
    np.savez(tmp_path / "text.npz", x=np.array([["a"]]))
    refused(TypeError, "text.npz must be an array of real numbers", tmp_path / "text.npz")
    refused(FileNotFoundError, "absent.npz must be there", tmp_path / "absent.npz")


# Damaged arrays


def npy(shape, data=b"", kind="'<f8'", fortran=False, version=(1, 0)):
    """A file with whatever header."""
    header = f"{{'descr': {kind}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()
    length = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + length + header + data


def npz(path, method=zipfile.ZIP_STORED, **members):
    """An archive of members as they are."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


EYE = np.eye(3).tobytes()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (npy("(51539607552,)", bytes(600)), "shape (51539607552,) of float64, is of 412316860416 bytes, and 600 are"),
        (npy("(2**70, 3)", EYE), "malformed node"),
        (npy(f"({2**70}, 3)", EYE), "bytes, and 72 are there"),
        (npy("(3, 3)", EYE[:-1]), "its header, shape (3, 3) of float64, is of 72 bytes, and 71 are there"),
        (npy("(2, 3)", EYE), "its header, shape (2, 3) of float64, is of 48 bytes, and 72 are there"),
        (npy("(3, 4)", EYE, fortran=True), "is of 96 bytes, and 72 are there"),
        (npy("(-1, 3)", EYE), "its header has shape (-1, 3)"),
        (npy("(True, 9)", EYE), "its header has shape (True, 9)"),
        (npy("(3, 3)", EYE, "'|O'"), "its objects are pickles, which run whatever they hold and are not read"),
        (npy(f"({10**15}, 10)", b"", "'|V0'"), "its header is of |V0, which is no number"),
        (npy(f"({10**15}, 10)", b"", "'|S0'"), "its header is of |S0, which is no number"),
        (npy("(3, 3)", EYE, "'<f7'"), "got one that is not ("),
        (npy("(3, 3)", EYE, "()"), "got one that is not ("),
        (npy("(3, 3", EYE), "got one that is not ("),
        (npy("(3, 3", EYE, version=(2, 0)), "got one that is not ("),
        (npy("((3, 3)\n'", EYE), "got one that is not ("),
        (npy("{[]: 1}", EYE), "got one that is not ("),
        (npy("(" * 2000, EYE), "got one that is not ("),
        (npy("(3, 3)", EYE, "'" + "x" * 3000), "got one that is not ("),
        (npy("(3, 3)", EYE, version=(9, 9)), "version 9.9 of the format is unknown"),
        (npy("(3, 3)", EYE, "\xff", version=(3, 0)), "got one that is not ("),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_arrays_that_are_not_what_their_header_says_are_refused_in_a_sentence(tmp_path, content, words, packed):
    path = tmp_path / ("x.npz" if packed else "x.npy")
    if packed:
        npz(path, x=content)
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError) as refusal:  # noqa: PT011
        ff.data.load(path)
    sentence = str(refusal.value)
    assert sentence.startswith(f"{path} must be a whole {path.suffix} file of numbers, got one that is not (")
    assert words in sentence
    assert len(sentence) < 350 + len(str(path))


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_every_version_and_order_are_what_was_written(tmp_path, version, packed, order):
    x = np.asarray(np.arange(24, dtype=">i2").reshape(2, 3, 4), order=order)
    content = io.BytesIO()
    np.lib.format.write_array(content, x, version)
    path = tmp_path / ("x.npz" if packed else "x.npy")
    if packed:
        npz(path, zipfile.ZIP_LZMA, x=content.getvalue())
    else:
        path.write_bytes(content.getvalue())
    assert np.array_equal(ff.data.load(path, None).x[:, 0], x)


def test_a_flipped_bit_anywhere_in_an_archive_changes_no_number_and_loses_no_label(tmp_path):
    x, y = np.random.default_rng(1).standard_normal((4, 2)), np.arange(4) % 2
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "x.npz", x=x, y=y)
        whole, path = (tmp_path / "x.npz").read_bytes(), tmp_path / "flipped.npz"
        refusals = 0
        for place in range(len(whole)):
            content = bytearray(whole)
            content[place] ^= 1 << place % 8
            path.write_bytes(content)
            try:
                data = ff.data.load(path, None)
            except ValueError as refusal:
                refusals += 1
                assert str(refusal).startswith(f"{path} must be a whole .npz file of numbers, got one that is not (")
            else:
                assert np.array_equal(data.x, x)
                assert np.array_equal(data.y, y)
        assert refusals > len(whole) // 4  # the rest are dates, attributes and headers that the directory repeats


@pytest.mark.parametrize("bit", range(8))
def test_a_renamed_member_of_an_archive_is_damage(tmp_path, bit):
    """The directory, which has no checksum, against the name before a member's bytes."""
    np.savez(tmp_path / "x.npz", x_train=np.eye(3), y_train=np.arange(3), x_test=np.eye(3), y_test=np.arange(3))
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[content.rindex(b"y_test.npy")] ^= 1 << bit
    (tmp_path / "x.npz").write_bytes(content)
    for split in ("train", "test"):
        refused(
            ValueError, "must be a whole .npz file of numbers, got one that is not", tmp_path / "x.npz", split=split
        )
    with pytest.raises(ValueError, match=r"must be a whole \.npz file"):
        sources.has_test(str(tmp_path / "x.npz"))


def test_a_member_that_the_directory_lost_is_damage(tmp_path):
    """An entry's comment swallows the next entry; and what follows the end is none of the archive's."""
    np.savez(tmp_path / "x.npz", x=np.eye(3), y=np.arange(3))
    whole = bytearray((tmp_path / "x.npz").read_bytes())
    first, second = (place for place in range(len(whole)) if whole[place : place + 4] == b"PK\x01\x02")
    end = whole.rindex(b"PK\x05\x06")
    content = bytearray(whole)
    content[first + 32 : first + 34] = (end - second).to_bytes(2, "little")
    (tmp_path / "x.npz").write_bytes(content)
    refused(ValueError, "its end counts 2 members, and its directory 1", tmp_path / "x.npz")
    (tmp_path / "x.npz").write_bytes(whole + b"more")
    refused(ValueError, "there are bytes behind its end", tmp_path / "x.npz")


def test_what_zip_files_can_and_numpy_does_not_is_refused_in_a_sentence(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.eye(3))
    whole = (tmp_path / "x.npz").read_bytes()
    entry = whole.rindex(b"PK\x01\x02")
    for place, value, words in (
        (entry + 10, 77, "That compression method is not supported"),
        (entry + 8, 1, "encrypted"),
    ):
        content = bytearray(whole)
        content[place] = value
        (tmp_path / "x.npz").write_bytes(content)
        refused(ValueError, words, tmp_path / "x.npz")


def test_files_beyond_the_memory_are_refused_before_they_are_read(tmp_path, monkeypatch):
    """Numbers that compress to nothing, and files with holes."""
    monkeypatch.setattr(ff._memory, "available_memory", lambda: 10**8)
    zeros = npy("(2000, 10000)", bytes(160_000_000))
    npz(tmp_path / "x.npz", zipfile.ZIP_DEFLATED, x=zeros)
    words = f"{tmp_path / 'x.npz'} must fit into memory, and takes up to 320 MB, more than the 100 MB there are"
    refused(ValueError, words, tmp_path / "x.npz")
    with open(tmp_path / "x.npy", "wb") as file:
        header = npy("(2000, 10000)")
        file.write(header)
        file.truncate(len(header) + 160_000_000)
    refused(ValueError, "x.npy must fit into memory, and takes up to 320 MB", tmp_path / "x.npy")
    folder = write_idx(tmp_path / "idx")
    with gzip.open(folder / "train-images-idx3-ubyte.gz", "wb", compresslevel=1) as packed:
        packed.write(TRAIN[:4] + b"".join(size.to_bytes(4, "big") for size in (80, 1000, 1000)))
        packed.write(bytes(80_000_000))
    (folder / "train-images-idx3-ubyte").unlink()
    refused(ValueError, "train-images-idx3-ubyte.gz must fit into memory, and takes up to 160 MB", folder)
