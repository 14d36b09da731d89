"""Shards, plates and index: exact, checked, the same however often the writing was cut short."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from folders import contents
from maskdepth import errors, locks
from maskdepth.datasets.build import Dataset, compose_dataset, materialise
from maskdepth.datasets.inspection import inspect_dataset, save_sheet
from maskdepth.datasets.shards.layout import Encoding
from maskdepth.datasets.shards.png import pack_png
from maskdepth.datasets.shards.reader import ShardReader
from maskdepth.datasets.shards.samples import pack_members, tar_end
from maskdepth.depth import encode_disparity
from maskdepth.errors import (
    DatasetError,
    MaskdepthError,
    StorageError,
    UsageError,
)
from maskdepth.files import write_text
from maskdepth.images import decode_jpeg, decode_png, encode_jpeg, encode_png, load_picture
from maskdepth.locks import writer_lock
from maskdepth.synthesis.recipes import sample_recipes
from maskdepth.synthesis.renderer import Composite, render
from maskdepth.synthesis.rules import PRIOR_WORK, RecipeRules
from maskdepth.synthesis.worlds import write_sample_pack

pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
pytest.importorskip("deflate", reason="deflate is not installed")

ROOT = Path(__file__).resolve().parent.parent
COUNT, SHARD_SIZE, SIZE = 20, 8, 64
Make = Callable[..., Dataset]


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six drawn cutouts and six backgrounds, half of these with a disparity label."""
    folder = tmp_path_factory.mktemp("pack")
    write_sample_pack(folder, scenes=0, cutouts=6)
    write_sample_pack(folder, scenes=6, cutouts=0)
    for label in sorted((folder / "backgrounds").glob("*_disparity.png"))[::2]:
        label.unlink()
    names = sorted(path.name for path in (folder / "cutouts").glob("*.png"))
    lines = [f"{name},made up,CC-BY-4.0\n" for name in names]
    write_text(folder / "cutouts" / "licences.csv", "file,source,licence\n" + "".join(lines))
    return folder


@pytest.fixture
def make(pack: Path, tmp_path: Path) -> Make:
    """Compose the pack as a dataset of a name, and materialise it unless ``count`` is 0."""

    def make(name: str = "data", count: int = COUNT, **options: Any) -> Dataset:
        dataset = compose_dataset(
            pack / "cutouts",
            pack / "backgrounds",
            tmp_path / name,
            rules=RecipeRules(size=SIZE, long_side_px=(10.0, 60.0)),
            small=True,
            depth_scenes=0,
        )
        if count:
            materialise(dataset, count, **{"shard_size": SHARD_SIZE, "workers": 1, **options})
        return dataset

    return make


def rendered(dataset: Dataset, count: int = COUNT) -> Iterator[Composite]:
    spec = dataset.spec
    catalogue = spec.catalogue(dataset.folder)
    for recipe in sample_recipes(spec.rules, spec.pool(), spec.seed, 0, count):
        yield render(recipe, spec.rules.size, catalogue)


def codes(composite: Composite) -> np.ndarray[Any, Any]:
    """The stored disparity: all unknown without a label."""
    if composite.disparity is None:
        return np.zeros(composite.alpha.shape, np.uint16)
    return encode_disparity(composite.disparity)


# What is stored


@pytest.mark.parametrize("picture", ["jpeg", "png"])
def test_samples_come_back_as_they_were_rendered(picture: Any, make: Make) -> None:
    dataset = make(encoding=Encoding(picture=picture, quality=95))
    reader = ShardReader(dataset.folder)

    def stored(array: Any) -> Any:
        return array if picture == "png" else decode_jpeg(encode_jpeg(array, 95))

    kinds = set()
    for sample, made in zip(reader, rendered(dataset), strict=True):
        clean = not made.recipe.perturbs_plate
        kinds.add((clean, made.disparity is None))
        np.testing.assert_array_equal(sample.image, stored(made.image))
        np.testing.assert_array_equal(sample.plate, made.plate if clean else stored(made.plate))
        np.testing.assert_array_equal(np.rint(sample.alpha * 255), np.rint(made.alpha * 255))
        np.testing.assert_array_equal(encode_disparity(sample.disparity), codes(made))
        assert sample.recipe == json.loads(json.dumps(asdict(made.recipe)))
        assert tuple(sample.about["object_depth"]) == made.object_depth
    assert len(kinds) == 4  # perturbed or not, with a label or without
    np.testing.assert_array_equal(reader[9].image, list(reader)[9].image)
    with pytest.raises(IndexError):
        reader[COUNT]


def test_shards_are_plain_tar_files_without_a_trace_of_when_and_by_whom(make: Make) -> None:
    """Keys without dots, members in order, times and owners 0; any tar program reads them."""
    dataset = make()
    numbers = []
    for shard in range(3):
        path = dataset.folder / "shards" / f"train-{shard:06d}.tar"
        assert path.stat().st_size % tarfile.RECORDSIZE == 0
        with tarfile.open(path, "r:") as tar:
            members = tar.getmembers()
        names = [member.name for member in members]
        assert names == sorted(names)
        keys = sorted({name.partition(".")[0] for name in names})
        numbers += [int(key) for key in keys]
        for member in members:
            assert (member.mtime, member.uid, member.gid, member.uname) == (0, 0, 0, "")
        for key in keys:
            kinds = {name.removeprefix(f"{key}.") for name in names if name.startswith(key)}
            assert kinds - {"background.jpg"} == {
                "image.jpg", "alpha.png", "disparity.png", "json",
            }  # fmt: skip
    assert numbers == list(range(COUNT))


def test_the_index_has_a_row_a_sample(make: Make, pack: Path) -> None:
    dataset = make()
    table = pq.read_table(dataset.folder / "index.parquet").to_pylist()
    backgrounds = {asset.id: asset for asset in dataset.spec.backgrounds}
    assert len(table) == COUNT
    for number, (row, made) in enumerate(zip(table, rendered(dataset), strict=True)):
        shard = (dataset.folder / "shards" / row["shard"]).read_bytes()
        packed = shard[row["offset"] : row["offset"] + row["bytes"]]
        assert hashlib.sha256(packed).hexdigest() == row["sha256"]
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            assert tar.getnames()[0] == f"{row['key']}.alpha.png"
        recipe = made.recipe
        assert row["key"] == f"{number:09d}"
        assert row["background"] == recipe.background
        assert row["cutouts"] == [placed.cutout for placed in recipe.objects]
        assert row["split"] == "train"
        assert row["licences"] == [*(["CC-BY-4.0"] if recipe.objects else []), "CC0-1.0"]
        labelled = backgrounds[recipe.background].disparity is not None
        assert row["label"] == ("exact" if labelled else None)
        assert row["plate_perturbed"] == recipe.perturbs_plate


# The same bytes


def test_any_number_of_workers_writes_the_same_bytes(make: Make) -> None:
    alone, many = make("alone"), make("many", workers=3)
    assert contents(alone.folder) == contents(many.folder)


def test_adding_samples_ends_where_writing_all_at_once_does(make: Make) -> None:
    """The last shard, which had fewer samples, is replaced; full ones are kept."""
    grown = make("grown", count=12)
    first = grown.folder / "shards" / "train-000000.tar"
    before = first.stat().st_mtime_ns
    materialise(grown, COUNT, shard_size=SHARD_SIZE, workers=1)
    assert first.stat().st_mtime_ns == before
    assert contents(grown.folder) == contents(make("whole").folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the soak forks")
def test_a_writer_killed_at_any_instant_is_of_no_consequence() -> None:
    """Ten instants of tests/soak_storage.py; `make soak` takes a thousand."""
    command = [sys.executable, str(ROOT / "tests" / "soak_storage.py"), "--instants", "10"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kills = Counter[str]()
    for number, kind in re.findall(r"(\d+) (operation|clock)", done.stdout):
        kills[kind] += int(number)
    assert kills["operation"] >= 4
    assert kills["clock"] >= 1


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_ctrl_c_stops_all_workers_and_leaves_nothing_unfinished(
    make: Make, pack: Path, tmp_path: Path
) -> None:
    """Exit code 130 within seconds; what is there is whole, and the next run goes on."""
    folder = tmp_path / "data"
    # Where the tests run in the background, Ctrl-C is ignored, and children inherit that.
    heed = "import signal as s; s.signal(s.SIGINT, s.default_int_handler)"
    heed += "; from maskdepth.cli import main; main()"
    arguments = [sys.executable, "-c", heed, "compose", pack / "cutouts"]
    arguments += [pack / "backgrounds", "-o", folder, "--small", "--depth-scenes", "0"]
    arguments += ["--materialise", "100000", "--shard-size", "50000", "--workers", "2"]
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not list(folder.glob("shards/.*.part")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert {name for name in names if name.startswith(".") or name.endswith(".tar")} == set()


def test_a_killed_worker_is_one_line_and_the_next_run_goes_on(make: Make) -> None:
    dataset = make(count=0)
    outcome: list[BaseException] = []

    def write() -> None:
        try:
            materialise(dataset, 20_000, shard_size=10_000, workers=2)
        except MaskdepthError as error:
            outcome.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    deadline = time.monotonic() + 60
    while not list(dataset.folder.glob("shards/.*.part")) and time.monotonic() < deadline:
        time.sleep(0.02)
    multiprocessing.active_children()[0].kill()
    thread.join(30)
    assert "killed" in str(outcome[0])
    assert {path.name for path in (dataset.folder / "shards").iterdir()} == {"manifest.json"}
    assert not (dataset.folder / ".lock").exists()


# What may be wrong


@contextlib.contextmanager
def one_line(kind: type[MaskdepthError], *words: str) -> Iterator[None]:
    """An error of that kind, in one line, with these words."""
    with pytest.raises(kind) as caught:
        yield
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text


def spoil(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_a_spoilt_sample_is_named_with_its_shard(make: Make) -> None:
    dataset = make()
    row = pq.read_table(dataset.folder / "index.parquet").to_pylist()[9]
    spoil(dataset.folder / "shards" / row["shard"], row["offset"] + row["bytes"] // 2)
    reader = ShardReader(dataset.folder)
    assert reader[8].key == "000000008"
    assert reader[10].key == "000000010"
    with one_line(DatasetError, "000000009", "train-000001.tar", "other content"):
        list(reader)
    with one_line(DatasetError, "train-000001.tar", "Remove it"):
        materialise(dataset, COUNT, shard_size=SHARD_SIZE, workers=2)


def test_shards_that_changed_places_are_told(make: Make) -> None:
    dataset = make()
    shards = dataset.folder / "shards"
    for suffix in ("tar", "json"):
        one, other = (shards / f"train-00000{number}.{suffix}" for number in (0, 1))
        first = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(first)
    with one_line(DatasetError, "train-000000.tar", "other samples"):
        ShardReader(dataset.folder)
    with one_line(DatasetError, "train-000000.tar", "Remove it"):
        materialise(dataset, COUNT, shard_size=SHARD_SIZE, workers=1)
    assert inspect_dataset(dataset).as_json()["shards"]["states"] == {"damaged": 2, "complete": 1}


def _swap(samples: list[Any]) -> None:
    samples[0], samples[1] = samples[1], samples[0]


@pytest.mark.parametrize(
    "change",
    [
        _swap,
        lambda samples: samples[0].update(offset=2**70),
        lambda samples: samples[0].update(bytes=2**62),
        lambda samples: samples[0].update(offset=100, bytes=0, sha256=hashlib.sha256().hexdigest()),
    ],
)
def test_a_record_that_points_elsewhere_is_told(
    make: Make, change: Callable[[list[Any]], None]
) -> None:
    dataset = make()
    path = dataset.folder / "shards" / "train-000000.json"
    record = json.loads(path.read_text())
    change(record["samples"])
    path.write_text(json.dumps(record))
    with one_line(DatasetError, "train-000000.tar"):
        list(ShardReader(str(dataset.folder)))


def test_a_folder_in_a_shards_place_is_damage(make: Make) -> None:
    dataset = make()
    tar = dataset.folder / "shards" / "train-000001.tar"
    tar.unlink()
    tar.mkdir()
    assert inspect_dataset(dataset).as_json()["shards"]["states"] == {"complete": 2, "damaged": 1}
    with one_line(DatasetError, "train-000001.tar"):
        materialise(dataset, COUNT, shard_size=SHARD_SIZE, workers=1)


def test_a_truncated_shard_is_named(make: Make) -> None:
    dataset = make()
    whole = contents(dataset.folder)
    shard = dataset.folder / "shards" / "train-000002.tar"
    os.truncate(shard, shard.stat().st_size // 2)
    with one_line(DatasetError, "Sample 0000000", "train-000002.tar", "ends before"):
        list(ShardReader(dataset.folder))
    with one_line(DatasetError, "train-000002.tar"):
        materialise(dataset, COUNT, shard_size=SHARD_SIZE, workers=1)
    shard.unlink()
    with one_line(DatasetError, "train-000002.tar"):
        list(ShardReader(dataset.folder))
    materialise(dataset, COUNT, shard_size=SHARD_SIZE, workers=1)
    assert contents(dataset.folder) == whole


def test_a_missing_plate_is_named_and_written_again(make: Make) -> None:
    dataset = make()
    whole = contents(dataset.folder)
    clean = (sample.about["plate"] for sample in ShardReader(dataset.folder))
    plate = dataset.folder / next(about["file"] for about in clean if "file" in about)
    plate.unlink()
    with one_line(DatasetError, plate.name):
        list(ShardReader(dataset.folder))
    materialise(dataset, COUNT, shard_size=SHARD_SIZE, workers=1)
    assert contents(dataset.folder) == whole
    spoil(plate, 100)
    with one_line(DatasetError, plate.name, "other content"):
        list(ShardReader(dataset.folder))
    with one_line(DatasetError, plate.name, "other content"):
        materialise(dataset, COUNT, shard_size=SHARD_SIZE, workers=1)


def test_other_samples_than_those_begun_are_refused(make: Make) -> None:
    dataset = make()
    before = contents(dataset.folder)
    for count, options, word in [
        (COUNT - 1, {}, "at least the 20 samples"),
        (COUNT, {"shard_size": 5}, "shard size 8"),
        (COUNT, {"encoding": Encoding(picture="png")}, "encoding"),
        (COUNT, {"encoding": Encoding(compression=6)}, "encoding"),
    ]:
        with one_line(StorageError, word):
            materialise(dataset, count, **{"shard_size": SHARD_SIZE, "workers": 1, **options})
    assert contents(dataset.folder) == before
    (dataset.folder / "shards" / "manifest.json").unlink()
    with one_line(StorageError, "without their manifest"):
        materialise(dataset, COUNT, shard_size=SHARD_SIZE, workers=1)
    with one_line(DatasetError, "--materialise"):
        ShardReader(dataset.folder)


@pytest.mark.parametrize("said", ['"opencv"', '"isal"', None])
def test_no_dataset_mixes_png_encoders(said: str | None, make: Make) -> None:
    """Shards of another encoder, or of versions that named none, are read and not gone on with."""
    dataset = make(count=12)
    path = dataset.folder / "shards" / "manifest.json"
    text = path.read_text()
    ours = '"png_encoder":"libdeflate"'
    assert ours in text
    changed = f'"png_encoder":{said}' if said else ""
    path.write_text(text.replace(ours, changed) if said else text.replace(ours + ",", ""))
    before = contents(dataset.folder)
    word = f"png encoder {(said or 'opencv').strip(chr(34))}, not"
    with one_line(StorageError, word, "libdeflate"):
        materialise(dataset, COUNT, shard_size=SHARD_SIZE, workers=1)
    assert contents(dataset.folder) == before
    assert len(list(ShardReader(dataset.folder))) == 12


@pytest.mark.parametrize("name", ["manifest.json", "train-000001.json"])
@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda text: text.replace('"version":1', '"version":2'), "version 2"),
        (lambda text: text[:50], "other content"),
        (lambda text: "[]", "other content"),
        (lambda text: "[" * 100_000, "other content"),
        (lambda text: text.replace('"format"', '"fromat"'), "fromat"),
    ],
)
def test_a_record_of_another_version_or_with_odd_values_is_refused(
    name: str, change: Callable[[str], str], word: str, make: Make
) -> None:
    dataset = make()
    path = dataset.folder / "shards" / name
    path.write_text(change(path.read_text()))
    before = contents(dataset.folder)
    with one_line(DatasetError, word, name):
        ShardReader(dataset.folder)
    with one_line(DatasetError, word, name):
        materialise(dataset, COUNT, shard_size=SHARD_SIZE, workers=1)
    assert contents(dataset.folder) == before


def test_more_samples_than_a_planned_grid_has_are_refused(pack: Path, tmp_path: Path) -> None:
    dataset = compose_dataset(
        pack / "cutouts", pack / "backgrounds", tmp_path / "data",
        rules=PRIOR_WORK.at_size(SIZE), small=True, depth_scenes=0,
    )  # fmt: skip
    assert dataset.samples is not None
    with one_line(UsageError, str(dataset.samples)):
        materialise(dataset, dataset.samples + 1, workers=1)
    assert not (dataset.folder / "shards").exists()


def test_a_second_writer_is_refused(make: Make) -> None:
    dataset = make(count=0)
    code = (
        "import sys; from pathlib import Path\n"
        "from maskdepth.locks import writer_lock\n"
        f"with writer_lock(Path({str(dataset.folder)!r})): print('held', flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with one_line(StorageError, f"process {holder.pid}"):
        materialise(dataset, COUNT, workers=1)
    assert not (dataset.folder / "shards").exists()
    holder.communicate("\n")
    materialise(dataset, COUNT, shard_size=SHARD_SIZE, workers=1)
    assert not (dataset.folder / ".lock").exists()


@pytest.mark.parametrize("text", ["", "999999999\n", "odd", "1\n"])
def test_a_lock_that_nobody_holds_is_taken_over(text: str, tmp_path: Path) -> None:
    """Whatever a dead run left in it, another program's number included."""
    (tmp_path / ".lock").write_text(text)
    with writer_lock(tmp_path):
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
    assert not (tmp_path / ".lock").exists()


def test_a_writer_that_ends_between_two_looks_is_no_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is had, but has no name any more; that its process lives on says nothing."""
    path, seen = tmp_path / ".lock", []
    path.write_text(f"{os.getppid()}\n")

    def ends_first(descriptor: int) -> bool:
        if not seen:
            path.unlink()
        seen.append(descriptor)
        return try_lock(descriptor)

    try_lock = locks._try_lock
    monkeypatch.setattr(locks, "_try_lock", ends_first)
    with writer_lock(tmp_path):
        assert path.read_text() == f"{os.getpid()}\n"
    assert len(seen) == 2


def limited(folder: Path, pack: Path, before: str, *more: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process that runs other statements first."""
    arguments = ["maskdepth", "compose", str(pack / "cutouts"), str(pack / "backgrounds"), "-o"]
    arguments += [str(folder), "--small", "--size", str(SIZE), "--depth-scenes", "0"]
    arguments += ["--materialise", str(COUNT), "--shard-size", str(SHARD_SIZE), *more]
    code = f"import sys\n{before}\nfrom maskdepth import cli\nsys.argv = {arguments!r}\ncli.main()"
    guarded = "if __name__ == '__main__':\n" + "".join(f"    {x}\n" for x in code.splitlines())
    return subprocess.run(
        [sys.executable, "-c", guarded], capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_full_disk_ends_in_one_line_and_nothing_half_written(
    workers: str, pack: Path, tmp_path: Path
) -> None:
    """A limit that plates fit under and shards do not; with room, the same command goes on."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))"
    folder = tmp_path / "data"
    done = limited(folder, pack, limit, "--workers", workers)
    assert done.returncode == 1
    errors_said = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors_said) == 1, done.stderr
    assert "File too large" in errors_said[0]
    assert "Traceback" not in done.stderr
    names = set(contents(folder))
    assert "shards/manifest.json" in names
    assert not [name for name in names if ".part" in name or name.endswith((".tar", ".lock"))]
    assert limited(folder, pack, "", "--workers", workers).returncode == 0
    assert len(list(ShardReader(folder))) == COUNT


@pytest.mark.parametrize("package", ["pyarrow", "deflate"])
def test_a_missing_package_is_one_line_with_the_install_command(
    package: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make(count=0)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(errors.DependencyError, match=r"pip install '\.\[scale\]'"):
        materialise(dataset, COUNT, workers=1)
    assert not (dataset.folder / "shards").exists()


# Looking at it


def test_inspect_counts_checks_and_draws(make: Make, tmp_path: Path) -> None:
    dataset = make()
    command = [sys.executable, "-m", "maskdepth", "inspect", str(dataset.folder)]
    done = subprocess.run(
        [*command, "--json", "-o", str(tmp_path / "sheet.png")], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    tars = list((dataset.folder / "shards").glob("*.tar"))
    assert found["shards"]["states"] == {"complete": 3}
    assert found["shards"]["bytes"] == sum(path.stat().st_size for path in tars)
    assert found["shards"]["bytes_per_sample"] == found["shards"]["bytes"] / COUNT
    assert found["splits"] == dataset.spec.split_sizes
    assert found["labels"] == {"exact": 3, "none": 3}
    assert found["licences"] == {
        "cutouts": {"CC-BY-4.0": 6},
        "backgrounds": {"CC0-1.0": 6},
    }
    assert found["faults"] == []
    assert load_picture(tmp_path / "sheet.png").shape == (6 * SIZE, 8 * SIZE, 3)
    spoil(tars[0], 700)
    tars[1].unlink()
    (dataset.folder / "index.parquet").unlink()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    for fault in (f"{tars[0].name} is damaged", f"{tars[1].name} is unfinished", "index.parquet"):
        assert f"fault: {fault}" in done.stdout


def test_inspect_finds_what_was_put_in_and_what_was_taken_out(make: Make) -> None:
    dataset = make()
    shards = dataset.folder / "shards"
    (shards / "train-000009.tar").write_bytes((shards / "train-000001.tar").read_bytes())
    (dataset.folder / "index.parquet").write_bytes(b"junk\n")
    faults = inspect_dataset(dataset).faults
    assert "train-000009.tar is none of this dataset's shards" in faults
    assert "index.parquet is damaged" in faults
    (shards / "manifest.json").unlink()
    found = inspect_dataset(dataset)
    assert found.shards is None
    assert found.faults == ("4 shards without their manifest.json",)


def test_a_dataset_without_shards_is_inspected_as_well(make: Make, tmp_path: Path) -> None:
    plain = make("plain", count=0)
    assert inspect_dataset(plain).shards is None
    save_sheet(plain, tmp_path / "rendered.png", stored=False)
    stored = make("stored", count=12, encoding=Encoding(picture="png"))
    save_sheet(stored, tmp_path / "stored.png", stored=True)
    sheets = [load_picture(tmp_path / f"{name}.png") for name in ("rendered", "stored")]
    # Stored alpha has 8 bits, which moves a colour mixed with it by as much as that.
    assert np.abs(sheets[0].astype(int) - sheets[1]).max() <= 2
    with one_line(UsageError, ".png or .jpg"):
        save_sheet(plain, tmp_path / "sheet.gif", stored=False)
    plate = next((stored.folder / "plates").iterdir())
    for path in (stored.folder / stored.spec.cutouts[0].file, plate):
        before = path.read_bytes()
        with one_line(UsageError, "one of the dataset's pictures"):
            save_sheet(stored, path, stored=False)
        assert path.read_bytes() == before


def test_a_reader_goes_to_other_processes(make: Make) -> None:
    reader = ShardReader(make().folder)
    again = pickle.loads(pickle.dumps(reader))
    np.testing.assert_array_equal(again[3].plate, reader[3].plate)


# The page


@pytest.mark.parametrize("library", ["webdataset", "datasets"])
@pytest.mark.parametrize("picture", ["jpeg", "png"])
def test_the_loaders_of_the_page_give_what_was_rendered(
    library: str, picture: Any, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(library, reason=f"{library} is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    dataset = make("DATASET", encoding=Encoding(picture=picture, quality=95))
    page = (ROOT / "docs" / "storage.md").read_text(encoding="utf-8")
    common, *loaders = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    (loader,) = [block for block in loaders if f"import {library}" in block]
    namespace: dict[str, Any] = {}
    if library == "datasets":
        import datasets

        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    exec(common + loader, namespace)
    samples = list(namespace["samples"])
    assert len(samples) == COUNT

    def stored(array: Any) -> Any:
        return array if picture == "png" else decode_jpeg(encode_jpeg(array, 95))

    for number, (sample, made) in enumerate(zip(samples, rendered(dataset), strict=True)):
        assert sample["key"] == f"{number:09d}"
        perturbed = made.recipe.perturbs_plate
        expected = {
            "image": stored(made.image),
            "plate": stored(made.plate) if perturbed else made.plate,
            "alpha": np.rint(made.alpha * 255).astype(np.uint8),
            "disparity": codes(made),
        }
        for name, array in expected.items():
            got = np.asarray(sample[name], array.dtype)
            np.testing.assert_array_equal(got, array, err_msg=f"{number} {name}")
        assert sample["disparity"].dtype == np.uint16


def test_members_have_the_same_bytes_whatever_memory_held_before() -> None:
    """An encoder that reads what it did not write would tell by now and then another match."""
    rng = np.random.default_rng(3)
    ramp = (np.arange(224 * 224, dtype=np.uint32).reshape(224, 224) // 7 * 40).astype(np.uint16)
    maps = [ramp, (rng.integers(0, 2, (224, 224)) * 255).astype(np.uint8)]
    first = [pack_png(each, 1) for each in maps]
    for _ in range(30):
        litter = [rng.bytes(size) for size in (70_000, 200_000, 600_000)]
        del litter
        assert [pack_png(each, 1) for each in maps] == first


def test_sixteen_bits_survive_the_stored_png() -> None:
    codes = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    for data in (encode_png(codes), *(pack_png(codes, level) for level in (1, 2, 9))):
        np.testing.assert_array_equal(decode_png(data), codes)
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data)), np.uint16), codes)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    channels=st.sampled_from([(), (3,)]),
    seed=st.integers(0, 99),
    compression=st.sampled_from([1, 2, 6]),
)
def test_an_independent_decoder_reads_packed_pictures_of_any_shape(
    shape: tuple[int, int], channels: tuple[int, ...], seed: int, compression: int
) -> None:
    random = np.random.default_rng(seed)
    whole = random.integers(0, 256, (12, 12, *channels), np.uint8)
    picture = whole[1 : 1 + shape[0], 2 : 2 + shape[1]]
    decoded = Image.open(io.BytesIO(pack_png(picture, compression)))
    decoded.load()  # Pillow checks lengths and checksums
    np.testing.assert_array_equal(np.asarray(decoded), picture)


@given(name=st.from_regex(r"[0-9]{9}\.[a-z.]{1,40}", fullmatch=True), size=st.integers(0, 4000))
def test_members_are_packed_as_tarfile_packs_them(name: str, size: int) -> None:
    theirs = io.BytesIO()
    header = tarfile.TarInfo(name)
    header.size = size
    with tarfile.open(fileobj=theirs, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(header, io.BytesIO(bytes(size)))
    packed = pack_members({name: bytes(size)})
    assert packed + tar_end(len(packed)) == theirs.getvalue()
