"""The emoji example on two small packages that are made here: its splits, its recipe and its errors."""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hf_latent import experiment, measuring
from hf_latent.recipe import load_recipe
from hf_latent.study import load_study

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "emoji"
GROUPS = ["smileys & emotion", "component", "flags", "animals & nature"]
COUNT = 60  # emoji that both vendors have
COLORS = ["red", "green", "blue", "white", "black"]


def picture(number, vendor):
    noise = np.random.default_rng(number).integers(0, 200, (8, 8, 4), dtype=np.uint8)
    noise[..., 3] = 255 if vendor == "google" else 128
    file = io.BytesIO()
    Image.fromarray(noise).resize((64, 64)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A packed package with pictures of one vendor, an unpacked one of the other, and a packed one with the names."""
    folder = tmp_path_factory.mktemp("packages")
    codes = [f"{0x1F400 + number:x}" for number in range(COUNT)]
    codes[0] += "-fe0f"  # which is not in the other package
    google = {f"package/img/google/64/{code}.png": picture(i, "google") for i, code in enumerate([*codes, "1f999"])}
    google["package/img/google/sheets/64.png"] = b"no picture of an emoji"
    skin = [f"{codes[1]}-1f3fb", "1f3fb"]
    twitter = {code.removesuffix("-fe0f"): picture(i, "twitter") for i, code in enumerate([*codes, *skin])}
    records = [
        {"hexcode": code.upper(), "label": f"{COLORS[i % 5]} thing {i}", "group": (0, 2, 3)[i % 3]}
        for i, code in enumerate(codes)
    ]
    records[1]["skins"] = [{"hexcode": skin[0].upper(), "label": "light thing", "group": 2}]
    records += [
        {"hexcode": "1F999", "label": "only one vendor has it", "group": 3},
        {"hexcode": "1F3FB", "label": "light skin tone", "group": 1},
        {"hexcode": "1F1E6", "label": "regional indicator A"},
    ]
    groups = [{"key": name.split()[0], "message": name, "order": order} for order, name in enumerate(GROUPS)]
    tables = {"data": records, "messages": {"groups": groups}}
    records[0]["tags"] = ["thing", "red"]
    names = {f"package/en/{name}.json": json.dumps(table).encode() for name, table in tables.items()}
    german = [{"hexcode": record["hexcode"], "label": f"Ding {i}"} for i, record in enumerate(records[2:], 2)]
    names["package/de/data.json"] = json.dumps(german).encode()
    for name, files in (("google.tgz", google), ("emojibase.tgz", names)):
        with tarfile.open(folder / name, "w:gz") as archive:
            for path, content in files.items():
                member = tarfile.TarInfo(path)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    (folder / "twitter" / "img" / "twitter" / "64").mkdir(parents=True)
    for code, content in twitter.items():
        (folder / "twitter" / "img" / "twitter" / "64" / f"{code}.png").write_bytes(content)
    return folder


def prepare(*arguments, cwd):
    command = [sys.executable, str(EXAMPLE / "prepare.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, encoding="utf-8", errors="replace")


@pytest.fixture(scope="module")
def emoji(packages):
    done = prepare("google.tgz", "twitter", "emojibase.tgz", "--output", "emoji", cwd=packages)
    assert done.returncode == 0, done.stderr
    return packages / "emoji"


def rows_of(folder, split):
    text = (folder / split / "metadata.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_an_emoji_is_in_one_split_with_the_pictures_of_both_vendors(emoji, packages):
    rows = {split: rows_of(emoji, split) for split in ("train", "validation", "test")}
    owners = {split: {row["emoji"] for row in own} for split, own in rows.items()}
    assert all(owners.values()) and sum(map(len, owners.values())) == COUNT == len(set.union(*owners.values()))
    for split, own in rows.items():
        assert len(own) == 2 * len(owners[split])
        assert {row["vendor"] for row in own} == {"google", "twitter"}
        assert all((emoji / split / row["file_name"]).is_file() for row in own)
    found = {row["emoji"]: row for own in rows.values() for row in own if row["vendor"] == "google"}
    expected = {"caption": "red thing 0", "description": "red thing 0, one of smileys & emotion"}
    expected |= {"tags": "thing, red", "german": "", "french": ""}  # empty is missing
    assert found["1f400"] == found["1f400"] | expected | {"group": "smileys & emotion"}
    assert found["1f402"]["german"] == "Ding 2" and found["1f402"]["tags"] == ""
    again = prepare("emojibase.tgz", "twitter", "google.tgz", "--output", "again", cwd=packages)
    assert again.returncode == 0 and rows_of(packages / "again", "test") == rows["test"]  # in any order of packages


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*lbfgs.*", "ignore:.*onverge.*")
def test_the_recipe_measures_shared_and_private_labels(emoji, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        measuring, "plot_evaluations", lambda history, found, path: drawn.update({m.key: m.chance for m in found})
    )
    changes = ["training.max_steps=2", "training.global_batch_size=8", "training.logging_steps=1"]
    changes += ["training.eval_strategy=steps", "training.eval_steps=1"]
    changes += [f"training.output_dir={tmp_path / 'run'}", f"data.options.data_dir={emoji}"]
    experiment.train(load_recipe(EXAMPLE / "recipe.yaml", changes))
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert {"zero_shot_top1", "probe_group", "probe_group_text", "probe_vendor", "text_to_image_r1", "cka"} <= set(
        metrics
    )
    told = metrics["measurements"]
    assert metrics["probe_vendor_text"] == told["probe_vendor_text"]["chance"] == 50  # a caption is of both pictures
    assert told["probe_vendor"]["information"] == "unique" and told["probe_group"]["information"] == "redundant"
    assert "information" not in told["probe_vendor_text"]  # and no study draws it as what the image has alone
    for split, chance in (("test", told["zero_shot_top1"]["chance"]), ("validation", drawn["zero_shot_top1"])):
        groups = [row["group"] for row in rows_of(emoji, split)]
        assert chance == pytest.approx(100 * max(map(groups.count, groups)) / len(groups))


def test_the_study_is_of_the_recipe(monkeypatch):
    monkeypatch.chdir(EXAMPLE.parents[1])
    study = load_study(EXAMPLE / "study.yaml")
    assert len(study.structures) == 6 and len(study.runs) == 18


@pytest.mark.parametrize(
    "names, message",
    [
        (["google.tgz", "nowhere.tgz"], "nowhere.tgz does not exist"),
        (["google.tgz", "emojibase.tgz"], "pictures of two vendors are needed; found: google"),
        (["google.tgz", "twitter"], "no package holds en/data.json and en/messages.json, which are in emojibase-data"),
        (["google.tgz", "text.tgz"], "text.tgz is no packed npm package"),
        (["google.tgz", "cut.tgz"], "cut.tgz is no packed npm package"),
        (["google.tgz", "empty"], "empty holds neither pictures (img/VENDOR/64) nor names (en/data.json)"),
        (["google.tgz", "twitter", "other"], "en/data.json or en/messages.json is not as in emojibase-data"),
    ],
)
def test_a_wrong_package_is_named_with_what_to_run(packages, names, message):
    (packages / "text.tgz").write_text("no archive", encoding="utf-8")
    whole = (packages / "google.tgz").read_bytes()
    (packages / "cut.tgz").write_bytes(whole[: len(whole) // 2])
    (packages / "empty").mkdir(exist_ok=True)
    (packages / "other" / "en").mkdir(parents=True, exist_ok=True)
    (packages / "other" / "en" / "data.json").write_text('{"1F600": "grinning face"}', encoding="utf-8")
    (packages / "other" / "en" / "messages.json").write_text('{"groups": [{"order": 0}]}', encoding="utf-8")
    done = prepare(*names, "--output", "wrong", cwd=packages)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert message in done.stderr and "npm pack emoji-datasource-google" in done.stderr
    assert not list(packages.glob("wrong*"))


def test_a_folder_that_exists_is_kept(packages, emoji):
    done = prepare("google.tgz", "twitter", "emojibase.tgz", "--output", "emoji", cwd=packages)
    assert done.returncode == 2 and "emoji exists: remove it, or write another --output" in done.stderr
