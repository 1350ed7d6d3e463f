"""Folders that appear whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..files import remove_tree, replace, sync

STAGING = ".staging"


def sync_tree(folder: Path) -> None:
    """Force the files below `folder` to the disk, so that a rename after it never names an empty file."""
    for path in [*folder.rglob("*"), folder]:
        sync(path)


def publish(source: Path, target: Path) -> None:
    """Rename the finished folder `source` to `target`, replacing an older one."""
    sync_tree(source)
    if target.exists():
        outgoing = source.with_name(source.name + ".old")
        remove_tree(outgoing)
        replace(target, outgoing)
        replace(source, target)
        remove_tree(outgoing)
    else:
        replace(source, target)


@contextmanager
def staged_files(folder: Path) -> Iterator[Path]:
    """A temporary folder whose files move into `folder` one by one when the block ends well, and vanish otherwise."""
    staging = folder / STAGING / "files"
    remove_tree(staging)
    staging.mkdir(parents=True)
    try:
        yield staging
        sync_tree(staging)
        for path in sorted(staging.rglob("*")):
            target = folder / path.relative_to(staging)
            if path.is_dir():
                target.mkdir(exist_ok=True)
            else:
                replace(path, target)
    finally:
        remove_tree(folder / STAGING)
