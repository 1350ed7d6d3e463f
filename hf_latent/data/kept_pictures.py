"""Pictures that take a while to draw are kept in the user's cache, and read from there."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from huggingface_hub import constants

Pictures = npt.NDArray[np.uint8]


def kept(name: str, shape: tuple[int, ...], draw: Callable[[], Pictures]) -> Pictures:
    """The pictures of a name, drawn if they are not there yet.

    Args:
        name: Of a file, which says all that the pictures depend on.
        shape: Of the pictures.
        draw: Gives them.
    """
    path = Path(constants.HF_HOME) / "hf_latent" / "pictures" / f"{name}.npy"
    found = _read(path, shape)
    if found is not None:
        return found
    found = draw()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            np.save(file, found)
        os.replace(file.name, path)
    except OSError:
        pass  # a full disk costs time, and no run
    return found


def _read(path: Path, shape: tuple[int, ...]) -> Pictures | None:
    """What lies there, if it is pictures of that shape."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.dtype == np.uint8 and found.shape == shape else None
