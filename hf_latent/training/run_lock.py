"""The lock of a run folder: one run at a time writes into it."""

import errno
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import UserError
from .distributed import from_first_process

LOCK = ".lock"
# File systems that cannot lock, such as some network mounts.
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


@contextmanager
def locked(run: Path, remedy: str = "write another training.output_dir") -> Iterator[None]:
    """Hold the lock of a run folder, which is made if it does not exist.

    Of several processes of one run, the first holds it for all. The operating system releases it when that process
    ends, however it ends. The same thread may take it twice. The empty file `.lock` stays in the folder; a folder that
    was made here and holds nothing else in the end is removed.

    Args:
        run: The folder.
        remedy: What an error says to do.

    Raises:
        UserError: On all processes, if another run holds the lock or the folder cannot be written into.
    """
    held: list[FileLock] = []
    made = not run.exists()
    from_first_process(lambda: _take(run, held, remedy))
    try:
        yield
    finally:
        for lock in held:
            _release(run, lock, made)


def _take(run: Path, held: list[FileLock], remedy: str) -> None:
    path = run.absolute() / LOCK
    try:
        run.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.resolve(), blocking=False, is_singleton=True)
        again = lock.is_locked
        holder = _read(path)  # before it is tried: older versions of filelock empty the file that they open
        lock.acquire()
    except Timeout:
        holder = holder or _read(path) or "another process"
        raise UserError(f"{run} is in use by {holder}: wait until that has ended, or {remedy}") from None
    except OSError as error:
        if error.errno in NO_LOCKS:
            warnings.warn(f"{run} cannot be locked ({error.strerror}): start no second run in it", stacklevel=4)
            return
        raise UserError(f"{run} cannot be written into ({error.strerror or error}): {remedy}") from None
    held.append(lock)
    if not again:
        with suppress(OSError):  # Windows lets nobody write into a locked file; the lock holds without it
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8", newline="\n")


def _read(path: Path) -> str:
    """Who holds the lock, if that is known."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")[:200].strip()
    except OSError:
        return ""


def _release(run: Path, lock: FileLock, made: bool) -> None:
    path = Path(lock.lock_file)
    with suppress(OSError):
        if lock.lock_counter == 1:
            path.write_text("", encoding="utf-8", newline="\n")
            if made and [entry.name for entry in path.parent.iterdir()] == [LOCK]:
                path.unlink()
                run.rmdir()
    lock.release()
