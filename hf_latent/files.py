"""Files and folders on the disk, where systems differ: what Windows refuses is done there in another way."""

import contextlib
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import UserError

WINDOWS = os.name == "nt"
# Seconds before another try. Virus scanners and indexers read a new file at once, for a moment.
PAUSES = (0.1, 0.4, 1.6)


def sync(path: Path) -> None:
    """Force a file or a folder to the disk.

    Windows flushes only files that are open for writing, and no folders.
    """
    if WINDOWS:
        if path.is_dir():
            return
        path.chmod(path.stat().st_mode | stat.S_IWRITE)  # copies of write-protected files are write-protected
    descriptor = os.open(path, os.O_RDWR if WINDOWS else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(source: Path, target: Path) -> None:
    """Rename a file or a folder; a file takes the place of an older one.

    Windows refuses that while a program has one of them open: it is tried again for about two seconds.

    Raises:
        UserError: If it is still open then.
    """
    for pause in (*PAUSES, None):
        try:
            os.replace(source, target)
            return
        except PermissionError as error:
            if not WINDOWS:
                raise
            if pause is None:
                raise UserError(
                    f"{target} cannot be written ({error.strerror}): if it is open in another program, close it there "
                    "and run the same command again"
                ) from error
            time.sleep(pause)


def remove(path: Path) -> None:
    """Remove a folder with all that is in it, if it is there; of a link or a file only that itself.

    What cannot be removed stays. Windows removes no write-protected file: it is made writable first.
    """
    if path.is_symlink() or path.is_file():
        path.unlink()
        return
    named: dict[str, Any] = {"onexc" if sys.version_info >= (3, 12) else "onerror": _remove_again}
    shutil.rmtree(path, **named)


def _remove_again(remove: Callable[[str], None], path: str, _: Any) -> None:
    with contextlib.suppress(OSError):
        if WINDOWS:
            os.chmod(path, stat.S_IWRITE)
            remove(path)
