# SPDX-License-Identifier: BSD-3-Clause
"""What a store guarantees: right numbers or one sentence, whatever is damaged, gone, or writing at the same time."""

import errno
import json
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

import fisherfield as ff
from fisherfield.command_line import main
from fisherfield.scan import layout
from fisherfield.scan import lock as locks

zarr = pytest.importorskip("zarr")
xarray = pytest.importorskip("xarray")

NET = ff.mlp([30, 100, 3], trained=True)
# Points of status 0, 1 and 6; an axis of zeros alone; a chunk of NaN alone, which Zarr would leave out.
AXES = {"overlap": [0.0, 0.3, 1.0, 1.5], "momentum": [0.0], "samples": [10, None]}
ARGUMENTS = {"quantities": ("lambda_max", "q", "regime"), "chunk": 2, "theory": "exact"}
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals of Linux")


def scanned(path=None, **changed):
    return ff.scan(NET, AXES, **{**ARGUMENTS, **changed}, store=path)


def mended(path, **changed):
    """Goes on there, and gives the points that were found finished, and what it warned of."""
    heard = []
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        scan = scanned(path, progress=lambda done, total: heard.append(done), **changed)
    return scan, heard[0], [str(note.message) for note in noted]


def files(path):
    return {str(file.relative_to(path).as_posix()): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def same(one, two):
    assert (one.network, one.settings, one.dimensions) == (two.network, two.settings, two.dimensions)
    assert one.arrays.keys() == two.arrays.keys()
    for name in (*two.arrays, *two.axes, "status"):
        np.testing.assert_array_equal(np.asarray(one[name][...]), np.asarray(two[name][...]), err_msg=name)


def refused(path, what):
    """Opened and read, it says one sentence."""
    with pytest.raises(ValueError, match=f"^store {re.escape(repr(str(path)))} is damaged, {what}: [^:\n]*$"):
        read(path)


def read(path):
    """All of a scan in memory."""
    scan = ff.Scan.open(path)
    return scan, {name: np.asarray(scan[name][...]) for name in (*scan.arrays, "status")}


RIGHT = scanned()
HERE = "call the same scan again with this store, which computes what is damaged once more"


@pytest.fixture
def store(tmp_path):
    scanned(tmp_path / "s")
    return tmp_path / "s"


# damage ---------------------------------------------------------------------------------------------------------------


def damages(content, kind, dice):
    if kind == "flip":
        place = dice.randrange(8 * len(content))
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        return bytes(changed)
    if kind == "cut":
        return content[: dice.choice([0, 1, len(content) // 2, len(content) - 1])]
    if kind == "zeros":
        return bytes(len(content))
    return content + b"\0"


@pytest.mark.parametrize(("kind", "tries"), [("flip", 120), ("cut", 40), ("zeros", 20), ("longer", 20)])
def test_a_damaged_file_never_gives_other_numbers_and_is_written_anew_by_the_same_call(store, kind, tries):
    """Any bit of any file: what is opened is right or refused in one sentence, and what goes on ends with all bytes."""
    before, dice = files(store), random.Random(1)
    opened, warned = 0, 0
    for turn in range(tries):
        name = dice.choice(["zarr.json", *before]) if turn % 4 else "zarr.json"
        (store / name).write_bytes(damages(before[name], kind, dice))
        try:
            same(ff.Scan.open(store), RIGHT)
            opened += 1
        except ValueError as error:
            sentence = rf"store '[^']+' is damaged, ({re.escape(name)} [^:]*): {HERE}"
            assert re.fullmatch(sentence, str(error)), (name, str(error))
        scan, _, notes = mended(store)
        same(scan, RIGHT)
        assert files(store) == before
        warned += any(name in note for note in notes)
    # arrays' own metadata are not read where the group's are sound: some, by what this version of Zarr writes
    assert opened >= tries / 16
    assert warned >= tries / 3


def test_every_file_that_is_deleted_is_missed(store):
    before = files(store)
    grid = RIGHT.status.shape
    for name in before:
        (store / name).unlink()
        array, _, place = name.partition("/c/")
        if name == "zarr.json":
            refused(store, "zarr.json is missing")
        elif array in (*RIGHT.axes, "layer"):
            if array != "layer":
                refused(store, f"{re.escape(name)} is missing")
        elif not place:
            same(ff.Scan.open(store), RIGHT)
        else:  # of two points each along "samples"
            scan, arrays = read(store)
            gone = np.zeros(grid, bool)
            gone[tuple(map(int, place.split("/")[:2]))] = True
            np.testing.assert_array_equal(arrays["status"], np.where(gone, -1, RIGHT.status))
            assert scan.failures()[-1] == 2
            dataset = scan.to_xarray()
            np.testing.assert_array_equal(dataset.status, arrays["status"])
            for other in RIGHT.arrays:
                np.testing.assert_array_equal(arrays[other][~gone], RIGHT[other][~gone])
        scan, finished, notes = mended(store)
        same(scan, RIGHT)
        assert files(store) == before
        chunk = place and array not in (*RIGHT.axes, "layer")
        assert finished == RIGHT.points - (2 if chunk else 0)
        assert [name in note for note in notes] == ([] if array == "status" and place else [True])


def test_a_store_without_any_word_of_whose_it_is_is_left_alone(store):
    for name in ("zarr.json", "status/zarr.json", "status/scan.sha256"):
        (store / name).write_bytes(b"")
    before = files(store)
    with pytest.raises(ValueError, match=r"^store must be a new folder or that of a scan, got .*left as it is$"):
        scanned(store)
    (store / "status" / "zarr.json").write_bytes(b'{"attributes": {"long_name": "whether the numbers are there"}}')
    before = files(store)
    for call in (read, mended):
        with pytest.raises(
            ValueError, match=r"^store .* is damaged, zarr.json cannot be read: remove it, or give another"
        ):
            call(store)
    assert files(store) == before


def test_chunks_that_hold_nothing_but_nan_and_axes_of_zeros_are_files_too(store):
    assert {f"{name}/c/{row}/0/0" for name in ("lambda_max", "regime", "status") for row in range(4)} <= set(
        files(store)
    )
    assert np.isnan(RIGHT.lambda_max[3]).all()
    assert (store / "momentum" / "c" / "0").is_file()
    assert mended(store)[1:] == (RIGHT.points, [])


@pytest.mark.parametrize("chunk", [6, 8, 40])
def test_chunks_that_reach_behind_the_end_of_an_axis_are_finished_and_mended_like_others(tmp_path, chunk):
    axes = {"gamma": np.linspace(1, 2, 5), "sigma_w2": np.linspace(1, 2, 7), "momentum": [0.0, 0.5]}
    right, path, heard = ff.scan(NET, axes, chunk=chunk), tmp_path / "s", []
    ff.scan(NET, axes, chunk=chunk, store=path)
    before = files(path)
    ff.scan(NET, axes, chunk=chunk, store=path, progress=lambda done, total: heard.append(done))
    assert heard == [70]
    assert any(extent % side for extent, side in zip(right.shape, zarr.open_group(path)["status"].chunks, strict=True))
    for array in ("status", "lambda_max"):
        name = max(name for name in before if name.startswith(f"{array}/c"))  # the last chunk
        (path / name).write_bytes(before[name][:-1])
    with pytest.warns(UserWarning, match="is computed again now$"):
        same(ff.scan(NET, axes, chunk=chunk, store=path), right)
    assert files(path) == before
    # of version 0.1 too
    old = without_checksums(path, tmp_path / "old")
    ff.scan(NET, axes, chunk=chunk, store=old, progress=lambda done, total: heard.append(done))
    assert heard == [70, 70]


def test_the_sentences_name_the_file_and_the_way_out(store):
    path = store / "lambda_max" / "c" / "1" / "0" / "0"
    content = bytearray(path.read_bytes())
    content[20] ^= 4
    path.write_bytes(content)
    what = "lambda_max/c/1/0/0 does not have the checksum that it was written with"
    refused(store, what)
    scan = ff.Scan.open(store)
    np.testing.assert_array_equal(scan.lambda_max[0], RIGHT.lambda_max[0])  # what is sound is read
    with pytest.raises(ValueError, match=f"^store .* is damaged, {what}: {HERE}$"):
        scan.lambda_max[1]
    with pytest.raises(ValueError, match=what):
        scan.to_xarray().lambda_max.load()
    with pytest.raises(ValueError, match="checksum"):  # Zarr's own words: it sees it as well
        xarray.open_zarr(store).lambda_max.load()
    _, finished, notes = mended(store)
    assert finished == RIGHT.points - 2
    assert notes == [f"store {str(store)!r} was damaged in lambda_max/c/1/0/0, which is computed again now"]


def test_the_command_line_prints_the_same(store, capfd):
    pytest.importorskip("matplotlib")

    def fisherfield(*arguments):
        with pytest.raises(SystemExit) as ending:
            main(list(map(str, arguments)))
        return ending.value.code, *capfd.readouterr()

    NET.save(store.parent / "net.toml")
    command = (
        "scan",
        store.parent / "net.toml",
        "--axis",
        "gamma=1,2",
        "--chunk",
        "1",
        "--out",
        store.parent / "g.zarr",
    )
    assert fisherfield(*command)[0] == 0
    path = store.parent / "g.zarr" / "lambda_max" / "c" / "1"
    path.write_bytes(path.read_bytes()[:-1])
    code, output, error = fisherfield("plot", store.parent / "g.zarr", "--out", store.parent / "g.png")
    assert (code, output) == (2, "")
    what = "lambda_max/c/1 does not have the checksum that it was written with"
    assert error == f"fisherfield: store {str(store.parent / 'g.zarr')!r} is damaged, {what}: {HERE}\n"
    code, output, error = fisherfield(*command)
    assert (code, error) == (0, "")
    assert f"store {str(store.parent / 'g.zarr')!r} was damaged in lambda_max/c/1, which is computed again" in output
    assert fisherfield("plot", store.parent / "g.zarr", "--out", store.parent / "g.png")[0] == 0


def test_metadata_of_another_scan_are_not_taken_for_this_one_s(tmp_path):
    """Where the digest is damaged too, values computed with other axes or settings are not adopted."""
    for number, changed in enumerate(({"axes": {**AXES, "overlap": [0.0, 0.3, 1.0, 1.6]}}, {"momentum": 0.5})):
        path = tmp_path / str(number)
        axes = changed.pop("axes", {name: values for name, values in AXES.items() if name not in changed})
        ff.scan(NET, axes, **ARGUMENTS, **changed, store=path)
        root = json.loads((path / "zarr.json").read_text())
        root["attributes"][layout.MARK]["sha256"] = "0" * 64
        (path / "zarr.json").write_text(json.dumps(root))
        before = files(path)
        sentence = r"is damaged, zarr.json does not have the checksum .*: remove it, or give another one$"
        with pytest.raises(ValueError, match=sentence):
            scanned(path)
        assert files(path) == before


def test_what_others_add_to_a_store_is_no_damage(store):
    zarr.open_group(store, mode="r+").attrs["note"] = "for the thesis"
    same(ff.Scan.open(store), RIGHT)
    assert mended(store)[1:] == (RIGHT.points, [])
    assert zarr.open_group(store, mode="r").attrs["note"] == "for the thesis"


def test_others_read_and_copy_a_store_as_ever(store, tmp_path):
    assert not (store / "writer.lock").exists()
    dataset = xarray.open_zarr(store)
    assert not any("checksum" in name for name in dataset.attrs)
    xarray.testing.assert_equal(dataset.load(), RIGHT.to_xarray())
    xarray.testing.assert_equal(xarray.open_zarr(store, consolidated=False).load(), dataset)
    same(pickle.loads(pickle.dumps(ff.Scan.open(store))), RIGHT)
    part = xarray.open_zarr(store).isel(overlap=slice(1, 3)).load()  # no damage: another dataset
    part.to_zarr(tmp_path / "part", consolidated=False)
    np.testing.assert_array_equal(ff.Scan.open(tmp_path / "part").lambda_max[...], RIGHT.lambda_max[1:3])
    np.testing.assert_array_equal(ff.Scan.open(tmp_path / "part").status[...], RIGHT.status[1:3])
    part.drop_encoding().to_zarr(tmp_path / "two", zarr_format=2)
    np.testing.assert_array_equal(ff.Scan.open(tmp_path / "two").q[...], RIGHT.q[1:3])


@pytest.mark.parametrize("name", ["network", "scan_dimensions", "quantities", "loss", "overlap"])
def test_a_dataset_that_lacks_something_is_refused_in_a_sentence(name):
    dataset = RIGHT.to_xarray()
    del dataset.attrs[name]
    with pytest.raises(
        ValueError, match=f"^source must be what a scan has written, whole, got 'a Dataset': '{name}' is"
    ):
        ff.Scan.open(dataset)
    dataset = RIGHT.to_xarray()
    dataset["status"] = dataset.status.isel(overlap=0)
    with pytest.raises(ValueError, match=r"whole, got 'a Dataset': status has another shape$"):
        ff.Scan.open(dataset)


@pytest.mark.parametrize("ending", [".nc", ".zarr", ".csv", ".parquet"])
def test_save_writes_what_its_ending_says(tmp_path, ending):
    path = tmp_path / f"scan{ending}"
    RIGHT.save(path)
    if ending in (".nc", ".zarr"):
        again = ff.Scan.open(path)
        assert (again.settings, again.dimensions, again.network) == (RIGHT.settings, RIGHT.dimensions, RIGHT.network)
        for name in RIGHT:
            np.testing.assert_array_equal(np.asarray(again[name]), RIGHT[name])
    else:
        pandas = pytest.importorskip("pandas")
        whole = RIGHT.to_xarray().stack(point=list(RIGHT.dimensions))
        read = {".csv": pandas.read_csv, ".parquet": pandas.read_parquet}[ending](path).reset_index()
        for name in ("lambda_max", "status", *RIGHT.dimensions):
            np.testing.assert_array_equal(read[name], np.asarray(whole[name]).ravel())
    if ending == ".zarr":
        names = list(json.loads((path / "zarr.json").read_bytes())["consolidated_metadata"]["metadata"])
        assert names == sorted(names)  # whatever order the system lists files in
        with pytest.raises(ValueError, match=r"^path must be a new folder, got .* which is there$"):
            RIGHT.save(path)
    else:
        RIGHT.save(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("path", ["scan.txt", "scan", 3, None])
def test_save_refuses_what_is_no_path_of_a_scan(path):
    with pytest.raises(
        ValueError, match=r"^path must (end in \.zarr, \.nc, \.csv, \.parquet|be a path on a file system), got"
    ):
        RIGHT.save(path)


def test_a_scan_is_a_mapping_from_names_to_arrays():
    names = [*RIGHT.arrays, *RIGHT.axes, "status"]
    assert list(RIGHT) == list(RIGHT.keys()) == names
    assert len(RIGHT) == len(names)
    assert all(name in RIGHT for name in names)
    assert "alpha" not in RIGHT
    assert 0 not in RIGHT
    assert [] not in RIGHT
    assert {name: id(array) for name, array in dict(RIGHT).items()} == {name: id(RIGHT[name]) for name in names}
    with pytest.raises(KeyError, match="3 is none of"):
        RIGHT[3]


@pytest.mark.parametrize("engine", ["scipy", "h5netcdf"])
def test_every_writer_of_netcdf_takes_a_scan(tmp_path, engine):
    """SciPy's has attributes of its own, "dimensions" among them."""
    stored = ff.scan(RIGHT.network, RIGHT.axes, tuple(RIGHT.arrays), store=tmp_path / "scan.zarr")
    for number, scan in enumerate((RIGHT, stored)):
        scan.to_xarray().to_netcdf(tmp_path / f"{number}.nc", engine=engine)
        again = ff.Scan.open(tmp_path / f"{number}.nc")
        assert again.dimensions == RIGHT.dimensions
        for name in RIGHT:
            np.testing.assert_array_equal(again[name], RIGHT[name])


def test_datasets_that_were_cut_are_scans_of_what_is_left(tmp_path):
    whole = ff.scan(NET, {"gamma": [0.5, 1.0, 2.0], "depth": [2, 3]}, ("lambda_max", "bulk", "q"))
    dataset = whole.to_xarray()
    one = ff.Scan.open(dataset.isel(depth=1))
    assert (one.shape, one.dimensions, one.axes["depth"].tolist()) == ((3, 1), whole.dimensions, [3.0])
    for name in whole.arrays:
        np.testing.assert_array_equal(one[name], whole[name][:, 1:])
    np.testing.assert_array_equal(ff.Scan.open(dataset.transpose()).q, whole.q)
    assert ff.Scan.open(dataset.isel(gamma=slice(1, None), depth=0)).axes["gamma"].tolist() == [1.0, 2.0]
    assert list(ff.Scan.open(dataset[["bulk", "status"]]).arrays) == ["bulk"]
    dataset.isel(gamma=0).to_zarr(tmp_path / "cut.zarr", consolidated=False)
    np.testing.assert_array_equal(ff.Scan.open(tmp_path / "cut.zarr").lambda_max, whole.lambda_max[:1])
    paired = ff.scan(NET, {("gamma", "sigma_w2"): [(1, 2), (2, 3)]})
    point = ff.Scan.open(paired.to_xarray().isel(point=1))
    assert (point.shape, point.axes["gamma"].tolist(), point.axes["sigma_w2"].tolist()) == ((1,), [2.0], [3.0])


@pytest.mark.parametrize(
    ("cut", "sentence"),
    [
        (lambda dataset: dataset.mean("gamma", keep_attrs=True), "'gamma' is missing"),
        (lambda dataset: dataset[["lambda_max"]], "'status' is missing"),
        (lambda dataset: dataset.isel(layer=0), "source must have all layers of 'a Dataset' or no quantity of layers"),
        (lambda dataset: dataset.isel(layer=slice(1, None)), "or no quantity of layers, got layer"),
    ],
)
def test_a_dataset_that_has_lost_what_a_scan_needs_is_refused(cut, sentence):
    whole = ff.scan(NET, {"gamma": [0.5, 1.0, 2.0]}, ("lambda_max", "q"))
    with pytest.raises(ValueError, match=sentence):
        ff.Scan.open(cut(whole.to_xarray()))


# stores of version 0.1 ------------------------------------------------------------------------------------------------


def without_checksums(store, path):
    """The same scan as fisherfield 0.1 wrote it: Blosc alone, no digest, and no chunk that is empty."""
    there = zarr.open_group(store, mode="r")
    attributes = {name: value for name, value in there.attrs.items() if name != layout.MARK}
    group = zarr.create_group(path, attributes=attributes)
    for name, array in there.arrays():
        blosc = zarr.codecs.BloscCodec(typesize=array.dtype.itemsize, cname="lz4", clevel=5, shuffle="shuffle")
        group.create_array(
            name,
            shape=array.shape,
            chunks=array.chunks,
            dtype=array.dtype,
            fill_value=array.fill_value,
            compressors=blosc,
            dimension_names=array.metadata.dimension_names,
            attributes=dict(array.attrs),
        )[...] = array[...]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(path)
    return path


@pytest.fixture
def old(store):
    return without_checksums(store, store.parent / "old")


def test_a_store_without_checksums_opens_and_goes_on(old):
    assert not (old / "lambda_max" / "c" / "3" / "0" / "0").exists()  # NaN, at points of status 6
    assert not (old / "momentum" / "c").exists()
    before = files(old)
    same(ff.Scan.open(old), RIGHT)
    assert mended(old)[1:] == (RIGHT.points, [])
    assert files(old) == before
    for name in ("status/c/0/0/0", "q/c/1/0/0/0", "regime/c/1/0/0"):
        (old / name).unlink()
    _, arrays = read(old)
    assert (arrays["status"][:2] == -1).all()
    np.testing.assert_array_equal(arrays["status"][2:], RIGHT.status[2:])
    scan, finished, notes = mended(old)
    same(scan, RIGHT)
    assert finished == RIGHT.points - 4
    assert notes == [f"store {str(old)!r} was damaged in q/c/1/0/0/0, regime/c/1/0/0, which is computed again now"]
    assert files(old) == before


def test_damage_without_checksums_ends_in_one_sentence(old):
    """Some of it cannot be seen there; none ends in an error of Blosc's or Zarr's."""
    before, dice = files(old), random.Random(2)
    seen = 0
    for turn in range(60):
        name = dice.choice(list(before))
        (old / name).write_bytes(damages(before[name], ("flip", "cut", "zeros")[turn % 3], dice))
        for call in (read, mended):
            try:
                call(old)
            except ValueError as error:
                seen += 1
                assert re.fullmatch(r"(store|source) [^\n]*", str(error)), str(error)
        now = files(old)
        assert now.keys() <= before.keys()
        for other, content in before.items():
            if now.get(other) != content:
                (old / other).write_bytes(content)
    assert seen > 20


# one writer at a time -------------------------------------------------------------------------------------------------

WRITER = """
import os, sys
import fisherfield as ff

def tell(done, total):
    if done == 4:
        print("writing", flush=True)
        sys.stdin.readline()

net = ff.mlp([30, 100, 3], trained=True)
ff.scan(net, AXES, **ARGUMENTS, store=sys.argv[1], progress=tell)
"""


def writer(path):
    """Another process that waits in mid-scan for a line."""
    code = WRITER.replace("AXES", repr(AXES)).replace("ARGUMENTS", repr(ARGUMENTS))
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "writing\n"
    return process


def in_use(path, process):
    return (
        rf"^store {re.escape(repr(str(path)))} is being written by process {process} on \S+ since [-\d]+ [:\d]+, and "
        r"one scan at a time may write there: wait for its end, or give another one$"
    )


def test_a_second_process_is_refused_until_the_first_has_ended(tmp_path):
    path = tmp_path / "s"
    with writer(path) as process:
        before = files(path)
        with pytest.raises(BlockingIOError, match=in_use(path, process.pid)):
            scanned(path)
        with pytest.raises(ValueError, match="store must belong to the same scan"):
            scanned(path, chunk=1)
        assert files(path) == before
        assert np.count_nonzero(ff.Scan.open(path).status[...] == -1) == 4  # reading is free
        assert np.count_nonzero(xarray.open_zarr(path).status == -1) == 4
        process.communicate("\n")
    assert process.returncode == 0
    assert not (path / "writer.lock").exists()
    same(scanned(path), RIGHT)


def test_a_second_thread_is_refused(tmp_path):
    path, refusals = tmp_path / "s", []

    def second():
        try:
            scanned(path)
        except BlockingIOError as error:
            refusals.append(str(error))

    def tell(done, total):
        if done == 4:
            thread = threading.Thread(target=second)
            thread.start()
            thread.join()

    same(scanned(path, progress=tell), RIGHT)
    assert len(refusals) == 1
    assert re.match(in_use(path, os.getpid()), refusals[0])


def test_a_finished_scan_opens_while_somebody_has_the_lock(store):
    lock = locks.Lock(store / "writer.lock")
    lock.acquire("the store")
    try:
        same(scanned(store), RIGHT)
        (store / "status" / "c" / "0" / "0" / "0").unlink()
        with pytest.raises(BlockingIOError):
            scanned(store)
    finally:
        lock.release()
    same(scanned(store), RIGHT)


@linux
def test_a_killed_writer_leaves_no_lock_that_counts(tmp_path):
    path = tmp_path / "s"
    with writer(path) as process:
        process.send_signal(signal.SIGKILL)
    assert (path / "writer.lock").exists()
    scan, finished, notes = mended(path)
    assert (finished, notes) == (4, [])
    same(scan, RIGHT)
    scanned(tmp_path / "whole")
    assert files(path) == files(tmp_path / "whole")


@linux
def test_forked_workers_do_not_keep_the_lock_of_a_process_that_was_killed(tmp_path):
    lock = locks.Lock(tmp_path / "lock")
    lock.acquire("it")
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forks beside threads, which is what is looked at
        assert pool.submit(os.getpid).result() != os.getpid()
        again = locks.Lock(tmp_path / "lock")
        with pytest.raises(BlockingIOError):
            again.acquire("it")
        os.close(lock._file)  # as the end of the process does
        again.acquire("it")
    again.release()
    locks._open.discard(lock._file)


def test_a_lock_that_was_taken_away_in_between_is_no_lock(tmp_path, monkeypatch):
    """The last holder removes the file between another's opening and locking it."""
    path, take, turns = tmp_path / "lock", locks._take, []

    def late(file):
        if not turns:
            path.unlink()
        turns.append(file)
        return take(file)

    monkeypatch.setattr(locks, "_take", late)
    lock = locks.Lock(path)
    lock.acquire("it")
    assert len(turns) == 2
    with pytest.raises(BlockingIOError):
        locks.Lock(path).acquire("it")
    lock.release()
    assert not path.exists()


def test_where_there_are_no_locks_there_is_a_warning(tmp_path, monkeypatch):
    def refuse(file):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(locks, "_take", refuse)
    sentence = "lies where files cannot be locked: see that nobody else writes there$"
    with pytest.warns(UserWarning, match=f"^store {re.escape(repr(str(tmp_path / 's')))} {sentence}"):
        same(scanned(tmp_path / "s"), RIGHT)


def test_what_fails_gives_the_lock_back(tmp_path):
    def fail(done, total):
        if done == 4:
            raise RuntimeError("a caller's own")

    with pytest.raises(RuntimeError, match="a caller's own"):
        scanned(tmp_path / "s", progress=fail)
    assert not Path(tmp_path / "s" / "writer.lock").exists()
    assert not locks._open
    assert mended(tmp_path / "s")[1] == 4
