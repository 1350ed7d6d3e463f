"""The published files of dSprites, 3D Shapes and MPI3D, as the tests write them in the published form."""

import numpy as np
import pytest

from hf_latent.data import world_files
from hf_latent.data.worlds import World, drawn_rows
from hf_latent.errors import UserError

TINY = World("things", {"shape": ("a", "b", "c"), "scale": ("1", "2"), "x": tuple("0123456")}, "shape", "thing")
SIDE = 4


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """The same sources of 42 pictures of 4 px."""
    for cls in (world_files.DSpritesFile, world_files.Shapes3DFile, world_files.MPI3DFile):
        monkeypatch.setattr(cls, "WORLD", TINY)
    monkeypatch.setattr(world_files, "SIDE", SIDE)
    monkeypatch.setattr(world_files, "BLOCK", 5)


def pictures(channels=(3,), count=42):
    draw = np.random.default_rng(0)
    return draw.integers(0, 256 if channels else 2, (count, SIDE, SIDE, *channels), dtype=np.uint8)


def classes():
    return TINY.classes(np.arange(len(TINY)))


def save_dsprites(path, images=None, order=None, pickled=False):
    told = np.concatenate([np.zeros((len(TINY), 1), dtype=np.int64), classes()], axis=1)
    images = pictures(()) if images is None else images
    metadata = {"metadata": np.array({"title": "x"}, dtype=object)} if pickled else {}
    np.savez_compressed(path, imgs=images, latents_classes=told if order is None else told[order], **metadata)
    return images


def save_shapes3d(path, images=None, labels=None):
    h5py = pytest.importorskip("h5py")
    values = classes() * np.array([1.0, 0.5, 0.1]) - 0.3
    with h5py.File(path, "w") as file:
        file["images"] = images = pictures() if images is None else images
        file["labels"] = values if labels is None else labels
    return images


def save_mpi3d(path, images=None):
    np.savez_compressed(path, images=(images := pictures() if images is None else images))
    return images


CASES = {
    "dsprites": (world_files.DSpritesFile, save_dsprites, "d.npz"),
    "shapes3d": (world_files.Shapes3DFile, save_shapes3d, "s.h5"),
    "mpi3d": (world_files.MPI3DFile, save_mpi3d, "m.npz"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_chosen_rows_are_read(tmp_path, name):
    source, save, file = CASES[name]
    images = save(tmp_path / file)
    data = source(path=str(tmp_path / file), rows=20, seed=1).load()
    numbers = drawn_rows(TINY, 20, 1)
    for place in range(15):
        expected = images[numbers[place]]
        expected = expected if expected.ndim == 3 else np.repeat(255 * expected[..., None], 3, axis=2)
        assert np.array_equal(data.train[place]["image"], expected)
        assert data.train[place]["factors"] == TINY.record(classes()[numbers[place]], TINY.factors)
    unseen = source(path=str(tmp_path / file), rows=20, seed=1, unseen=["scale"], withheld=["x"]).load()
    shown = classes()[numbers[0]].copy()
    shown[1] = 1
    expected = images[TINY.numbers(shown[None])[0]]
    assert np.array_equal(unseen.train[0]["image"], expected if expected.ndim == 3 else unseen.train[0]["image"])


def test_objects_in_the_file_are_not_unpickled(tmp_path):
    save_dsprites(tmp_path / "d.npz", pickled=True)  # as the published file has its metadata
    assert len(world_files.DSpritesFile(path=str(tmp_path / "d.npz"), rows=20).load().train) == 15


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("mpi3d", {"images": pictures(count=30)}, r"\(30, 4, 4, 3\), and MPI3D has 42 of 4 px: it is another release"),
        ("mpi3d", {"images": pictures(())}, r"\(42, 4, 4\): write a file of \(pictures, 64, 64, 3\)"),
        ("mpi3d", {"images": pictures().astype(np.float32)}, "float32, not bytes: it is another release"),
        ("dsprites", {"images": pictures((), 41)}, r"\(41, 4, 4\), and dSprites has 42"),
        ("dsprites", {"order": np.arange(42)[::-1]}, "latents_classes are in another order"),
        ("shapes3d", {"labels": classes()[::-1].astype(float)}, "labels are in another order"),
        ("shapes3d", {"labels": np.zeros((42, 2))}, r"labels are \(42, 2\): it is another release"),
        ("shapes3d", {"images": pictures(count=12)}, "and 3D Shapes has 42"),
    ],
)
def test_another_release_is_refused(tmp_path, name, change, words):
    source, save, file = CASES[name]
    save(tmp_path / file, **change)
    with pytest.raises(UserError, match=words) as error:
        source(path=str(tmp_path / file), rows=20).load()
    assert f"data.path='{tmp_path / file}'" in str(error.value)


@pytest.mark.parametrize("name", CASES)
def test_what_is_no_such_file_is_told(tmp_path, name):
    source, save, file = CASES[name]
    for path, words in (("", "data.path is missing"), (str(tmp_path / "none"), "there is no such file")):
        with pytest.raises(UserError, match=words):
            source(path=path, rows=20).load()
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(UserError, match="cannot be read as a file of"):
        source(path=str(tmp_path / "text.npz"), rows=20).load()
    save(tmp_path / file)
    content = (tmp_path / file).read_bytes()
    (tmp_path / "cut").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="cannot be read as a file of|it ends too soon"):
        source(path=str(tmp_path / "cut"), rows=20).load()


def test_a_strangers_recipe_may_not_name_such_a_file():
    assert world_files.MPI3DFile(path="/some/file").local_reads() == {"data.path": "/some/file"}
