"""Pickles of others are read without running them: what they may hold, and what they may not."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from hf_latent.data.published_pickle import read_arrays, read_pickle
from hf_latent.errors import UserError

HELD = {
    "float32": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big endian": np.arange(3, dtype=">i2"),
    "texts": np.array(["a", "bb"]),
    "bytes": np.array([b"a", b"bc"]),
    "truth": np.array([True, False]),
    "empty": np.zeros((0, 3)),
}
PLAIN = {"number": 3, "real": 0.5, "scalar": np.float32(1.5), "set": {1, 2}, "bytes": b"a\xff", "none": b"", "i": 1j}
FLOATS = np.array([1.5, -2.0], dtype="<f4")
# As Python 2 wrote an array: its bytes are a string, and functions lie in __builtin__ and numpy.core.
PYTHON_2 = (
    b"(dp0\nS'train'\np1\n(dp2\nS'vision'\np3\ncnumpy.core.multiarray\n_reconstruct\np4\n(cnumpy\nndarray\np5\n(I0\ntp6\n"
    b"S'b'\np7\ntp8\nRp9\n(I1\n(I2\ntp10\ncnumpy\ndtype\np11\n(S'f4'\np12\nI0\nI1\ntp13\nRp14\n(I3\nS'<'\np15\nNNNI-1\n"
    b"I-1\nI0\ntp16\nbI00\nS" + repr(FLOATS.tobytes())[1:].encode() + b"\np17\ntp18\nbss."
)


def saved(tmp_path, value, protocol=4):
    path = tmp_path / "data.pkl"
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_containers_numbers_and_arrays_are_read_of_every_protocol(tmp_path, protocol):
    mixed = np.array([np.arange(2), "x", None], dtype=object)
    found = read_pickle(saved(tmp_path, {"arrays": HELD, "plain": PLAIN, "mixed": mixed}, protocol))
    for name, wanted in HELD.items():
        assert np.array_equal(found["arrays"][name], wanted) and found["arrays"][name].dtype.kind == wanted.dtype.kind
    assert found["plain"] == PLAIN and type(found["plain"]["bytes"]) is bytes
    assert np.array_equal(found["mixed"][0], [0, 1]) and list(found["mixed"][1:]) == ["x", None]


def test_a_file_of_python_2_is_read(tmp_path):
    found = read_arrays(str(saved(tmp_path, PYTHON_2)), ["train.vision"])
    assert np.array_equal(found["train.vision"], FLOATS) and type(found["train.vision"]) is np.ndarray


class Runs:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def marks(tmp_path):
    return f"open({str(tmp_path / 'ran')!r}, 'w').close()"


def of_opcodes(module, name, argument):
    return f"c{module}\n{name}\n(V{argument}\ntR.".encode()


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda path: Runs(os.system, (f"touch {path / 'ran'}",)), r"(posix|nt)\.system"),
        (lambda path: Runs(eval, (marks(path),)), r"(builtins|__builtin__)\.eval"),
        (lambda path: Runs(exec, (marks(path),)), r"(builtins|__builtin__)\.exec"),
        (lambda path: {"train": [Runs(getattr, (Runs(__import__, ("os",)), "system"))]}, r"\.getattr"),
        (lambda path: of_opcodes("numpy.core.multiarray", "_reconstruct.__globals__", "x"), r"_reconstruct\.__glob"),
        (lambda path: of_opcodes("numpy", "load", "x"), r"numpy\.load"),
        (lambda path: of_opcodes("builtins", "open", path / "ran"), r"builtins\.open"),
        (lambda path: f"(Vtouch {path / 'ran'}\nios\nsystem\n.".encode(), r"os\.system"),
        (lambda path: Runs(subprocess.Popen, ([sys.executable, "-c", marks(path)],)), r"\.Popen"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_what_would_run_is_refused_and_does_not(tmp_path, make, named, protocol):
    path = saved(tmp_path, make(tmp_path), protocol)
    with pytest.raises(UserError, match=named) as caught:
        read_arrays(str(path), ["train.vision"])
    assert not (tmp_path / "ran").exists()
    assert "np.savez('data.npz', **{'train.vision': np.asarray(d['train']['vision'])})" in str(caught.value)


def a_state(function, state):
    """A pickle that gives a function a state, as a class with `__setstate__` has it."""
    return b"c" + function + b"\n" + pickle.dumps(state, protocol=0)[:-1] + b"b."


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04K",
        a_state(b"_codecs\nencode", {"a": 1}),
        a_state(b"numpy\nndarray", (None, {"a": 1})),
        b"cnumpy\nndarray\n((I9\nttR.",  # the class itself, called
        b"cbuiltins\nbytes\n(I1000000000000\ntR.",
        b"cbuiltins\nbytearray\n(I1000000000000\ntR.",
        b"cbuiltins\nbytes\n(I9\ntR.",  # of a size, whatever it is
        b"\x80\x04\x8e" + (10**15).to_bytes(8, "little") + b"ab.",  # bytes that are not there
        b"cnumpy\ndtype\n(VO\nI0\nI1\ntR(I3\nV|\nNN(lI8\nI8\nI63\ntb.",
        b"cnumpy\ndtype\n(Vf4,f4\nI0\nI1\ntR.",
        PYTHON_2.replace(b"(I2\ntp10", b"(I1000000000000\ntp10"),  # a shape of more than there is
        PYTHON_2.replace(b"(I2\ntp10", b"(I-2\ntp10"),
        b"(lp0\nPsomewhere\na.",  # outside of the file
    ],
)
def test_broken_pickles_are_one_sentence(tmp_path, content):
    with pytest.raises(UserError, match="data.pkl"):
        read_pickle(saved(tmp_path, content))


def test_lists_in_lists_grow_no_arrays(tmp_path):
    nested = [0.0] * 10
    for _ in range(5):
        nested = [nested] * 10  # a million numbers, in a file of 100 bytes; deeper ones would fill any memory
    with pytest.raises(UserError, match="'x' is no array of numbers"):
        read_arrays(str(saved(tmp_path, {"x": nested})), ["x"])


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(UserError, match="there is no such file"):
        read_arrays(str(tmp_path / "none.pkl"), ["x"])
    with pytest.raises(UserError, match="has no 'train.text': there are vision"):
        read_arrays(str(saved(tmp_path, PYTHON_2)), ["train.text"])


def test_arrays_of_savez_are_read_and_its_objects_are_not(tmp_path):
    np.savez(tmp_path / "a.npz", **{"train.vision": FLOATS})
    assert np.array_equal(read_arrays(str(tmp_path / "a.npz"), ["train.vision"])["train.vision"], FLOATS)
    with pytest.raises(UserError, match="no array 'x'"):
        read_arrays(str(tmp_path / "a.npz"), ["x"])
    np.savez(tmp_path / "b.npz", x=np.array([Runs(eval, (marks(tmp_path),))], dtype=object))
    with pytest.raises(UserError, match="cannot be read"):
        read_arrays(str(tmp_path / "b.npz"), ["x"])
    assert not (tmp_path / "ran").exists()
