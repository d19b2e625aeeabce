from __future__ import annotations

import pytest

from skecgattn import _files


def test_written_file_replaces_the_old_one(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("old")
    _files.write_text(path, "µV")
    assert path.read_bytes() == "µV".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_interrupted_write_leaves_the_old_file(monkeypatch, tmp_path):
    def fail(*args):
        raise KeyboardInterrupt

    def write_half():
        with _files.written_whole(path) as file:
            file.write(b"new")
            fail()

    path = tmp_path / "page.html"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_half()
    monkeypatch.setattr(_files.os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        _files.write_bytes(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
