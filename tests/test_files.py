"""Files and folders on the disk, where the system is as Windows is about them."""

import os
import stat

import pytest

from hf_latent.training.checkpoints import publish, staged_files
from tests.windows import needs_linux, refuse_as_windows


@pytest.fixture
def windows(monkeypatch):
    refuse_as_windows(monkeypatch)


@needs_linux
def test_staged_files_where_folders_and_read_only_handles_cannot_be_flushed(tmp_path, windows):
    for content in ("old", "new"):
        with staged_files(tmp_path) as staging:
            (staging / "figures").mkdir()
            (staging / "figures" / "a.png").write_text(content, encoding="utf-8")
    assert (tmp_path / "figures" / "a.png").read_text(encoding="utf-8") == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["figures"]
