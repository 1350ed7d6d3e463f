"""Folders that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STAGING = ".staging"


def sync_tree(folder: Path) -> None:
    """Force the files below `folder` to the disk, so that a rename after it never names an empty file."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def publish(source: Path, target: Path) -> None:
    """Rename the finished folder `source` to `target`, replacing an older one."""
    sync_tree(source)
    if target.exists():
        outgoing = source.with_name(source.name + ".old")
        shutil.rmtree(outgoing, ignore_errors=True)
        target.rename(outgoing)
        source.rename(target)
        shutil.rmtree(outgoing)
    else:
        source.rename(target)


@contextmanager
def staged_files(folder: Path) -> Iterator[Path]:
    """A temporary folder whose files move into `folder` one by one when the block ends well, and vanish otherwise."""
    staging = folder / STAGING / "files"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        yield staging
        sync_tree(staging)
        for path in sorted(staging.rglob("*")):
            target = folder / path.relative_to(staging)
            if path.is_dir():
                target.mkdir(exist_ok=True)
            else:
                os.replace(path, target)
    finally:
        shutil.rmtree(folder / STAGING, ignore_errors=True)
