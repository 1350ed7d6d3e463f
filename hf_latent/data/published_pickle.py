"""Arrays of a pickle that others made, read without running it.

A pickle is a program: it may name any function of any module, which reading it calls. Here it may make numbers, texts,
lists, tuples, sets, dictionaries and arrays of numpy, whose functions are those of this module; whatever else it names
is refused, and nothing is imported or called for it.
"""

import math
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..errors import UserError

KINDS = "biufcSUO"  # of arrays: truth values, numbers, texts, and lists of anything that a pickle may hold


def read_arrays(path: str, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of a pickle or of a file of `numpy.savez`.

    Args:
        path: The file; one that ends in `.npz` is of `numpy.savez`.
        names: Of the arrays, such as `train.vision`: of a pickle the keys of nested dictionaries, with dots between.

    Raises:
        UserError: If the file cannot be read, names what is no array, or lacks one.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(f"data.path={path!r}: there is no such file")
    if file.suffix == ".npz":
        return _read_npz(file, names)
    whole = read_pickle(file, names)
    found = {}
    for name in names:
        value = whole
        for key in name.split("."):
            if not isinstance(value, Mapping) or key not in value:
                known = f"there are {', '.join(map(str, value))}" if isinstance(value, Mapping) else "no dictionary"
                raise UserError(f"data.path={path!r} has no {name!r}: {known}")
            value = value[key]
        found[name] = _as_array(path, name, value)
    return found


def read_pickle(path: Path, names: Sequence[str] = ()) -> Any:
    """What a pickle holds, of Python 2 or 3, any protocol.

    Args:
        path: The file.
        names: What is wanted of it, for the command that an error names.

    Raises:
        UserError: If it is no pickle, or names anything but containers, numbers, texts and arrays.
    """
    try:
        with path.open("rb") as file:
            return _Reader(file).load()
    except _RefusedError as error:
        raise UserError(
            f"{path}: the pickle names {error}, which is no number, text, list, dictionary or array of numpy. Reading "
            "it could run code of whoever made the file, so it is not read. Where you trust them, write the arrays to "
            f"a file that holds no code, and name that as data.path:\n{conversion(path, names)}"
        ) from None
    except Exception as error:  # a broken pickle raises what it likes
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} cannot be read as a pickle ({reason})") from None


def conversion(path: Path, names: Sequence[str]) -> str:
    """A command that runs a pickle and writes arrays of it to a file of `numpy.savez`."""
    places = {name: "".join(f"[{key!r}]" for key in name.split(".")) for name in names}
    arrays = ", ".join(f"{name!r}: np.asarray(d{place})" for name, place in places.items())
    new = path.with_suffix(".npz").name
    return (
        f'python -c "import pickle, numpy as np; d = pickle.load(open({path.name!r}, {"rb"!r}), '
        f'encoding={"latin1"!r}); np.savez({new!r}, **{{{arrays}}})"'
    )


def _read_npz(file: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    try:
        with np.load(file, allow_pickle=False) as stored:
            lacking = [name for name in names if name not in stored]
            found = {name: stored[name] for name in names if name in stored}
    except Exception as error:
        raise UserError(f"{file} cannot be read as a file of numpy.savez ({error})") from None
    if lacking:
        raise UserError(f"{file} has no array {lacking[0]!r}")
    return found


def _as_array(path: str, name: str, value: Any) -> np.ndarray:
    """An array, or a list of numbers or of arrays. Lists in lists could be small in a file and without end here."""
    nested = isinstance(value, list) and any(isinstance(item, list | tuple | dict) for item in value)
    try:
        found = None if nested else np.asarray(value)
    except ValueError:
        found = None
    if found is None or found.dtype.kind not in "biuf" or not found.ndim:
        raise UserError(f"data.path={path!r}: {name!r} is no array of numbers")
    return found.view(np.ndarray)


class _RefusedError(Exception):
    """The name of what a pickle may not name."""


class _Allowed:
    """A function that a pickle may call; it cannot change it."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *values: Any) -> Any:
        return self._make(*values)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a function is given a state")


class _Type:
    """The type of an array as a pickle writes it, of which the byte order comes last."""

    def __init__(self, name: Any, *options: Any) -> None:
        self.dtype = np.dtype(_text(name))
        if self.dtype.kind not in KINDS or self.dtype.fields is not None or self.dtype.subdtype is not None:
            raise pickle.UnpicklingError(f"arrays of {self.dtype} are not read")

    def __setstate__(self, state: Any) -> None:
        order, *others = [_text(part) if isinstance(part, bytes) else part for part in state[1:5]]
        if any(part is not None for part in others):
            raise pickle.UnpicklingError("arrays of records are not read")
        self.dtype = self.dtype.newbyteorder(cast(Any, order))


class _Array(np.ndarray):
    """An array that is filled only by as many bytes as its shape needs."""

    def __setstate__(self, state: Any) -> None:
        shape, dtype, is_fortran, values = state[-4:]
        shape, kind = _checked(shape, dtype, values)
        filled: Any = (1, shape, kind, bool(is_fortran), values if _is_list(dtype) else _bytes(values))
        super().__setstate__(filled)


def _checked(shape: Any, dtype: Any, values: Any) -> tuple[tuple[int, ...], np.dtype]:
    """A shape and a type that fit the values."""
    if not isinstance(dtype, _Type) or not isinstance(shape, tuple):
        raise pickle.UnpicklingError("an array without a type or a shape")
    if any(type(side) is not int or side < 0 for side in shape):
        raise pickle.UnpicklingError(f"an array of shape {shape}")
    if _is_list(dtype) and not isinstance(values, list):
        raise pickle.UnpicklingError("an array of objects that is no list")
    needed = math.prod(shape) * (1 if _is_list(dtype) else dtype.dtype.itemsize)
    found = len(values) if _is_list(dtype) else len(_bytes(values))
    if needed != found:
        raise pickle.UnpicklingError(f"an array of shape {shape} needs {needed} bytes and has {found}")
    return shape, dtype.dtype


def _is_list(dtype: _Type) -> bool:
    return dtype.dtype.kind == "O"


def _text(value: Any) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else str(value)


def _bytes(value: Any) -> bytes:
    """Bytes; those of Python 2 are read as text, a character a byte."""
    return value.encode("latin1") if isinstance(value, str) else bytes(memoryview(value))


def _empty_array(kind: Any, *shape_and_type: Any) -> _Array:
    """`_reconstruct` of numpy, which makes an array that its state fills."""
    if kind is not NDARRAY:
        raise pickle.UnpicklingError("an array of a class of its own")
    return np.empty(0, dtype=np.uint8).view(_Array)


def _from_buffer(buffer: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    """`_frombuffer` of numpy, which protocol 5 calls."""
    shape, kind = _checked(tuple(shape), dtype, buffer)
    if _text(order) not in ("C", "F"):
        raise pickle.UnpicklingError(f"an array in the order {order!r}")
    flat = np.frombuffer(_bytes(buffer), dtype=kind)
    return (flat.reshape(shape[::-1]).T if _text(order) == "F" else flat.reshape(shape)).copy().view(_Array)


def _scalar(dtype: Any, value: Any) -> Any:
    _, kind = _checked((), dtype, _bytes(value))
    if kind.kind == "O":
        raise pickle.UnpicklingError("a scalar that is an object")
    return np.frombuffer(_bytes(value), dtype=kind)[0].item()


def _encoded(text: Any, codec: Any) -> bytes:
    """`_codecs.encode`, by which Python 3 writes bytes so that Python 2 can read them."""
    if _text(codec) not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"bytes written by {codec!r}")
    return text.encode("latin1")


def _made_of(kind: type) -> Callable[..., Any]:
    """A container or a number of what it is made of: `bytes(10**12)` would take a terabyte."""

    def make(*values: Any) -> Any:
        if any(isinstance(value, int) for value in values[:1]):
            raise pickle.UnpicklingError(f"{kind.__name__} of a size")
        return kind(*values)

    return make


NDARRAY = object()  # is handed to `_reconstruct` and cannot be called
_ARRAYS = {"_reconstruct": _Allowed(_empty_array), "scalar": _Allowed(_scalar)}
_BUILT_IN = {kind.__name__: _Allowed(_made_of(kind)) for kind in (bytearray, bytes, frozenset, list, set, tuple)}
ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): NDARRAY,
    ("numpy", "dtype"): _Allowed(_Type),
    ("_codecs", "encode"): _Allowed(_encoded),
    **{(f"numpy.{core}.multiarray", name): make for core in ("core", "_core") for name, make in _ARRAYS.items()},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Allowed(_from_buffer) for core in ("core", "_core")},
    **{(module, name): make for module in ("builtins", "__builtin__") for name, make in _BUILT_IN.items()},
    **{(module, "complex"): _Allowed(complex) for module in ("builtins", "__builtin__")},
}


class _Reader(pickle.Unpickler):
    """Reads what `ALLOWED` names alone; its own bytes of Python 2 are texts."""

    def __init__(self, file: Any) -> None:
        super().__init__(file, fix_imports=False, encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise _RefusedError(f"{module}.{name}")
        return ALLOWED[module, name]

    def persistent_load(self, number: Any) -> Any:
        raise _RefusedError("something outside of the file")
