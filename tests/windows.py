"""What Windows refuses to do with files, done to this process: `refuse_as_windows(monkeypatch)`.

It sees the files that this process has open or mapped in `/proc`, so it needs Linux.
"""

import errno
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from hf_latent import files

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="open files are looked up in /proc")


def refuse_as_windows(monkeypatch):
    """From here to the end of the test:

    - a folder cannot be opened, and a file that is open for reading alone cannot be flushed;
    - a file that is open or mapped can be neither renamed, replaced nor removed, nor a folder that holds one renamed;
    - a write-protected file can be neither replaced, removed, nor opened for writing;
    - nothing is renamed over a folder, and `os.rename` replaces nothing;
    - there are no symbolic links, and no hard links.
    """
    import fcntl  # is not there on Windows

    real = {name: getattr(os, name) for name in ("open", "fsync", "rename", "replace", "unlink")}

    def open_(path, flags, *arguments, **named):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "a folder cannot be opened", str(path))
        if flags & (os.O_WRONLY | os.O_RDWR) and os.path.exists(path):
            check_writable(path)
        return real["open"](path, flags, *arguments, **named)

    def fsync(descriptor):
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        real["fsync"](descriptor)

    def rename(source, target, **named):
        if os.path.exists(target):
            raise FileExistsError(errno.EEXIST, "the target exists", str(source), None, str(target))
        check_free(source)
        real["rename"](source, target, **named)

    def replace(source, target, **named):
        if os.path.isdir(target):
            raise PermissionError(errno.EACCES, "the target is a folder", str(source), None, str(target))
        check_free(source)
        if os.path.exists(target):
            check_free(target)
            check_writable(target)
        real["replace"](source, target, **named)

    def unlink(path, **named):
        check_free(path)
        check_writable(path)
        real["unlink"](path, **named)

    def symlink(source, target, *arguments, **named):
        raise OSError(errno.EPERM, "a required privilege is not held by the client", str(source), 1314, str(target))

    for name, function in (("open", open_), ("fsync", fsync), ("rename", rename), ("replace", replace)):
        monkeypatch.setattr(os, name, function)
    monkeypatch.setattr(os, "unlink", unlink)
    monkeypatch.setattr(os, "remove", unlink)
    monkeypatch.setattr(os, "symlink", symlink)
    monkeypatch.delattr(os, "link")
    monkeypatch.setattr(shutil, "_use_fd_functions", False)  # what `rmtree` does where folders cannot be opened
    monkeypatch.setattr(files, "WINDOWS", True)


def check_writable(path):
    if os.path.isfile(path) and not os.stat(path).st_mode & stat.S_IWRITE:
        raise PermissionError(errno.EACCES, "the file is write-protected", str(path))


def check_free(path):
    """A PermissionError if this process has the file, or one in the folder, open."""
    busy = open_files()
    below = [path, *Path(path).rglob("*")] if os.path.isdir(path) else [path]
    for one in below:
        if os.path.isfile(one) and (os.stat(one).st_dev, os.stat(one).st_ino) in busy:
            raise PermissionError(errno.EACCES, "the file is used by a process", str(one))


def open_files():
    """`(device, inode)` of the files that this process has open or mapped."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            status = os.stat(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue  # that of the listing itself
        found.add((status.st_dev, status.st_ino))
    for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
        mapped = line.split(maxsplit=5)[5:]
        if mapped and os.path.isfile(mapped[0]):
            found.add((os.stat(mapped[0]).st_dev, os.stat(mapped[0]).st_ino))
    return found
