"""Data of many layouts, as people have it, of a few rows each."""

import csv
import io
import json
import tarfile
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

COLORS = {"red": (200, 30, 30), "green": (30, 160, 30), "blue": (30, 30, 200)}
SHAPES = ("small", "wide", "tall", "round")
ROWS = 24


def picture(row):
    rng = np.random.default_rng(row)
    pixels = rng.integers(0, 40, (20, 24, 3)) + np.array(list(COLORS.values())[row % 3])
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def encoded(row, format="PNG"):
    file = io.BytesIO()
    picture(row).save(file, format)
    return file.getvalue()


def caption(row):
    return f"a {SHAPES[row % 4]} thing in {list(COLORS)[row % 3]}, number {row} of all"


def color(row):
    return list(COLORS)[row % 3]


def write_csv(path, rows, delimiter=","):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def pictures(folder, rows=range(ROWS)):
    folder.mkdir(parents=True, exist_ok=True)
    for row in rows:
        picture(row).save(folder / f"{row:03d}.png")


def imagefolder(folder: Path):
    for split, rows in (("train", range(16)), ("test", range(16, ROWS))):
        pictures(folder / split, rows)
        lines = [
            json.dumps({"file_name": f"{row:03d}.png", "caption": caption(row), "color": color(row)}) for row in rows
        ]
        (folder / split / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8", newline="\n")


def class_folders(folder: Path):
    for place, name in enumerate(COLORS):
        pictures(folder / name, range(place, ROWS, 3))


def csv_of_paths(folder: Path):
    pictures(folder / "images")
    rows = [
        {"image_path": f"images/{row // 2:03d}.png", "caption": caption(row), "color": color(row // 2), "row": row}
        for row in range(ROWS)
    ]
    write_csv(folder / "captions.csv", rows)


def parquet_of_records(folder: Path):
    folder.mkdir(parents=True)
    for split, numbers in (("train", range(16)), ("val", range(16, ROWS))):
        rows = [
            {"image": {"bytes": encoded(row), "path": f"{row}.png"}, "sentence": caption(row), "year": 2000 + row % 4}
            for row in numbers
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}-00000-of-00001.parquet")


def saved(folder: Path):
    rows = [
        {"img": picture(row), "txt": caption(row), "image_id": row // 2, "label": row % 3, "score": row / 7}
        for row in range(ROWS)
    ]
    whole = datasets.Dataset.from_list(rows).cast_column("label", datasets.ClassLabel(names=list(COLORS)))
    parts = {"train": range(12), "dev": range(12, 18), "test": range(18, 24)}
    datasets.DatasetDict({name: whole.select(own) for name, own in parts.items()}).save_to_disk(folder)


def webdataset(folder: Path):
    folder.mkdir(parents=True)
    for shard, rows in enumerate((range(12), range(12, ROWS))):
        with tarfile.open(folder / f"shard-{shard:05d}.tar", "w") as tar:
            for row in rows:
                parts = {"jpg": encoded(row, "JPEG"), "txt": caption(row).encode(), "cls": str(row % 3).encode()}
                for suffix, content in parts.items():
                    info = tarfile.TarInfo(f"{row:05d}.{suffix}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))


def several_captions(folder: Path):
    rows = [
        {
            "image": picture(row),
            "captions": [caption(row), f"something {color(row)}"][: 1 + row % 2],
            "tags": [color(row)],
        }
        for row in range(ROWS)
    ]
    datasets.Dataset.from_list(rows).save_to_disk(folder)


def own_labels(folder: Path):
    pictures(folder)
    rows = [
        {"file_name": f"{row:03d}.png", "text": caption(row), "Shop name": SHAPES[row % 4], "in stock": row % 5 > 2}
        for row in range(ROWS)
    ]
    write_csv(folder / "metadata.csv", rows)


def audio_folder(folder: Path):
    import soundfile

    (folder / "clips").mkdir(parents=True)
    rows = []
    for row in range(ROWS):
        tone = np.sin(np.arange(1600) * (0.05 + 0.1 * (row % 3))) * 0.5
        soundfile.write(folder / "clips" / f"{row}.wav", tone, 8000)
        rows.append({"file_name": f"clips/{row}.wav", "text": f"a tone of pitch {row % 3}", "pitch": row % 3})
    write_csv(folder / "metadata.csv", rows)


def table_only(folder: Path):
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    rows = [
        {"age": 20 + row, "income": round(float(rng.normal()), 3), "city": SHAPES[row % 4], "label": color(row)}
        for row in range(ROWS)
    ]
    write_csv(folder / "people.csv", rows, ";")


def three_modalities(folder: Path):
    rng = np.random.default_rng(0)
    rows = [
        {"photo": picture(row), "note": caption(row), "force": rng.normal(size=(8, 3)).tolist()}
        | {"vector": rng.normal(size=16).tolist(), "kind": color(row)}
        for row in range(ROWS)
    ]
    datasets.DatasetDict({"train": datasets.Dataset.from_list(rows)}).save_to_disk(folder)


def nonsense(folder: Path):
    folder.mkdir(parents=True)
    write_csv(folder / "rows.csv", [{"a": 1, "b": "x"} for _ in range(ROWS)])


LAYOUTS = {
    "pictures": imagefolder,
    "classes": class_folders,
    "paths": csv_of_paths,
    "records": parquet_of_records,
    "saved": saved,
    "shards": webdataset,
    "captions": several_captions,
    "shop": own_labels,
    "tones": audio_folder,
    "people": table_only,
    "three": three_modalities,
    "nonsense": nonsense,
}
