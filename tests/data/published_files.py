"""Tiny files in the formats of the benchmarks of CoMM, written by what is known of the formats alone."""

import json
import pickle
from pathlib import Path

import numpy as np
from PIL import Image

DIMENSIONS = {"mosi": (20, 5), "ur_funny": (371, 81), "mustard": (371, 81)}  # of vision and audio
FILES = {"mosi": "mosi_data.pkl", "ur_funny": "humor.pkl", "mustard": "sarcasm.pkl"}
GENRES = ["Action", "Drama", "War", "News"]  # the last is none of the 23
TWO_PLOTS = "0000001"


def affect(name="mosi", rows=(32, 12, 12), steps=6, seed=0):
    """Utterances as MultiBench has them, padded in front, with labels (rows, 1, 1)."""
    rng = np.random.default_rng(seed)
    found = {}
    for split, count in zip(("train", "valid", "test"), rows, strict=True):
        vision, audio = DIMENSIONS[name]
        arrays = {"vision": vision, "audio": audio, "text": 300}
        own = {key: rng.normal(size=(count, steps, width)).astype(np.float32) for key, width in arrays.items()}
        for row in range(count):
            own["text"][row, : row % 3] = 0
        own["labels"] = np.where(np.arange(count) % 2, 1.5, -1.0).reshape(-1, 1, 1).astype(np.float32)
        own["text"][:, -1, 0] += 3 * own["labels"][:, 0, 0]
        own["id"] = np.array([[f"{split}{row}"] for row in range(count)], dtype=object)
        found[split] = own
    return found


def write_affect(folder, name="mosi", protocol=4, **options):
    path = Path(folder) / FILES[name]
    path.write_bytes(pickle.dumps(affect(name, **options), protocol=protocol))
    return path


def mimic(rows=60, seed=0):
    rng = np.random.default_rng(seed)
    series, static = rng.normal(5, 3, size=(rows, 24, 12)), rng.normal(-2, 4, size=(rows, 5))
    groups = rng.integers(2, size=(rows, 20))
    groups[:, 7] = np.arange(rows) % 2
    series[3, 5, 2], series[8, 0, 0], static[4, 1] = np.nan, np.inf, np.nan
    static[:, 4] = 7  # a column that never varies
    return {"ep_tdata": series, "adm_features_all": static, "adm_labels_all": groups[:, :6], "y_icd9": groups}


def write_mimic(folder, **options):
    path = Path(folder) / "im.pk"
    path.write_bytes(pickle.dumps(mimic(**options), protocol=2))
    return path


def write_vision_touch(folder, files=10, steps=50, size=16):
    import h5py

    folder = Path(folder) / "triangle_real_data"
    folder.mkdir()
    for number in range(files):
        rng = np.random.default_rng(number)
        with h5py.File(folder / f"triangle_real_{number}_1000.h5", "w") as file:
            file["image"] = rng.integers(256, size=(steps, size, size, 3), dtype=np.uint8)
            file["depth_data"] = rng.random((steps, size, size, 1), dtype=np.float32)
            file["optical_flow"] = rng.random((steps, size, size, 2), dtype=np.float32)
            file["proprio"] = rng.normal(size=(steps, 10)).astype(np.float32)
            file["ee_forces_continuous"] = rng.normal(size=(steps, 50, 6)).astype(np.float32)
            file["action"] = rng.normal(size=(steps, 4)).astype(np.float32)
            file["contact"] = (np.arange(steps * 50).reshape(steps, 50) // 50 % 2 * (np.arange(50) > 40)).astype(int)
    return folder


def write_mm_imdb(folder, films=(24, 8, 8), size=16):
    folder = Path(folder) / "mmimdb"
    (folder / "dataset").mkdir(parents=True)
    names = [f"{number:07}" for number in range(sum(films))]
    bounds = np.cumsum((0, *films))
    splits = {s: names[bounds[n] : bounds[n + 1]] for n, s in enumerate(("train", "dev", "test"))}
    (folder / "split.json").write_text(json.dumps(splits), encoding="utf-8", newline="\n")
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(256, size=(size + 8, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "dataset" / f"{name}.jpeg")
        plots = [f"the first plot of film {number}", *(["the second plot"] if name == TWO_PLOTS else [])]
        own = [genre for place, genre in enumerate(GENRES) if number >> place & 1] or ["Drama"]
        film = {"plot": plots, "genres": own, "title": name}
        (folder / "dataset" / f"{name}.json").write_text(json.dumps(film), encoding="utf-8", newline="\n")
    return folder


def write_mm_imdb_features(folder, rows=40):
    import h5py

    rng, path = np.random.default_rng(0), Path(folder) / "multimodal_imdb.hdf5"
    with h5py.File(path, "w") as file:
        file["features"] = rng.normal(size=(rows, 300)).astype(np.float32)
        file["vgg_features"] = rng.normal(size=(rows, 4096)).astype(np.float32)
        file["genres"] = rng.integers(2, size=(rows, 23))
    return path
