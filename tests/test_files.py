"""Files appear complete or not at all, and a pipe is not waited for."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from maskdepth import files
from maskdepth.errors import StorageError


@pytest.mark.parametrize("read", [files.open_file, files.read_bytes, files.read_text])
def test_a_pipe_that_nobody_writes_is_not_waited_for(read: Any, tmp_path: Path) -> None:
    """Opening one would never return; a folder is named as well."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        read(tmp_path / "pipe")
    with pytest.raises(OSError, match="a folder"):
        read(tmp_path)


def test_files_are_replaced_and_keep_ordinary_permissions(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    files.write_text(path, "grün")
    files.write_text(path, "blau\n")
    plain = tmp_path / "plain"
    plain.touch()
    assert path.read_bytes() == b"blau\n"
    assert path.stat().st_mode == plain.stat().st_mode
    assert sorted(p.name for p in tmp_path.iterdir()) == ["note.txt", "plain"]


def test_a_symbolic_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "target.txt"
    link = tmp_path / "link.txt"
    link.symlink_to(target)
    files.write_text(link, "text")
    assert link.is_symlink()
    assert target.read_text() == "text"


def test_places_that_cannot_be_written_raise_storage_errors(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("file/a", "folder", "pipe"):
        with pytest.raises(StorageError) as caught:
            files.write_bytes(tmp_path / name, b"data")
        assert str(tmp_path / name.partition("/")[0]) in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder", "pipe"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_missing_folders_are_made(tmp_path: Path) -> None:
    files.write_text(tmp_path / "new" / "er" / "file.txt", "text")
    assert (tmp_path / "new" / "er" / "file.txt").read_text() == "text"


@pytest.mark.parametrize("size", [200_000, 20_000_000])
def test_a_full_disk_leaves_the_old_file_as_it_was(size: int, tmp_path: Path) -> None:
    (tmp_path / "old.bin").write_bytes(b"old")
    script = f"""
        import pathlib, resource, signal, sys
        from maskdepth import files
        from maskdepth.errors import StorageError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        for name in ("old.bin", "new.bin"):
            try:
                files.write_bytes(pathlib.Path(sys.argv[1]) / name, bytes({size}))
            except StorageError as error:
                print(error)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.count("File too large") == 2
    assert (tmp_path / "old.bin").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["old.bin"]


def test_an_interrupt_while_writing_leaves_nothing_behind(tmp_path: Path, monkeypatch: Any) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write_bytes(tmp_path / "file", b"data")
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_killed_writers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = ["picture.png", ".part", ".0123.part", ".0123456789abcdef.partial", "a.part"]
    for name in [*kept, ".0123456789abcdef.part"]:
        (tmp_path / name).write_bytes(b"x")
    files.remove_parts(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(kept)


def test_a_file_takes_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with files.open_atomic(path, durable=True) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
        assert len(list(tmp_path.iterdir())) == 2
        part = next(found for found in tmp_path.iterdir() if found != path)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]
    part.write_bytes(b"n")
    files.remove_parts(tmp_path)
    assert list(tmp_path.iterdir()) == [path]
