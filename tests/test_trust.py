"""What came with somebody's model is data: it makes this machine read no file of its own, and fetch nothing."""

import json
import shutil
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import yaml
from PIL import Image

from hf_latent import LatentCLIP, LatentCLIPConfig
from hf_latent.cli import main
from hf_latent.data.hub_data import HubData
from hf_latent.data.rows import ModalityRows
from hf_latent.errors import UserError
from hf_latent.hub.card import render_card
from hf_latent.recipe import load_recipe
from hf_latent.trust import check_folder, is_own, permitted, remember
from tests.space.runs import CAPTIONED, VIEWS, captions_run
from tests.test_recipe import BASE

from explorer import Explorer  # isort: skip  (tests.space.runs makes the modules of the Space importable)

WATCHED: dict[str, list[str]] = {}


def _watch(event, args):
    if event in ("open", "socket.connect", "socket.getaddrinfo", "os.listdir", "os.scandir"):
        for place, seen in WATCHED.items():
            if any(place in str(arg) for arg in args[:2]):
                seen.append(f"{event} {args[:2]}")


sys.addaudithook(_watch)


@pytest.fixture
def secret(tmp_path):
    """A folder of this machine that nobody may read; every attempt is recorded in `secret.read`."""

    class Secret(type(tmp_path)):
        read: list[str]

    folder = Secret(tmp_path / "secret_folder")
    folder.mkdir()
    (folder / "token").write_text("hf_secret\n" * 8)
    (folder / "rows.csv").write_text("a,b\n" + "hf_secret,hf_secret\n" * 8)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 8}))
    Image.new("RGB", (8, 8)).save(folder / "photo.png")
    folder.read = WATCHED["secret_folder"] = []
    yield folder
    del WATCHED["secret_folder"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return captions_run(tmp_path_factory.mktemp("saved") / "clip")


def recipe_of(data):
    model = {"type": "latent_clip", "modalities": {}, "in_modal": True}
    training = {"global_batch_size": 4, "max_steps": 1, "use_cpu": True}
    return {"model": model, "data": data, "views": VIEWS, "training": training}


@pytest.fixture
def strange(saved, tmp_path):
    """A run folder that was not trained here, whose recipe names some data."""

    def make(data, name="strange"):
        folder = Path(shutil.copytree(saved, tmp_path / name))
        # One more key than those of other tests, whose recipes are known.
        (folder / "recipe.yaml").write_text(yaml.safe_dump({**recipe_of(data), "evaluation": {"batch_size": 255}}))
        assert not is_own(folder)
        return folder

    return make


def named(path, **options):
    return {"name": "dataset", "path": path, "columns": {"image": "text", "text": "text"}, "options": options}


def source(path, **more):
    return {"path": path, "columns": {"image": "text", "text": "text"}, **more}


def cases(secret):
    return {
        "a text file": named("text", data_files={"train": [str(secret / "token")]}),
        "a glob": named("text", data_files=f"{secret}/*"),
        "a table": named("csv", data_files=str(secret / "rows.csv")),
        "a folder of pictures": named("imagefolder", data_dir=str(secret)),
        "a folder": named(str(secret)),
        "a relative folder": named("secret_folder"),
        "a folder with the name of a data set": named("./secret_folder"),
        "an address": named("csv", data_files="http://127.0.0.1:9/secret_folder/rows.csv"),
        "files beside a data set": named("user/name", data_files=str(secret / "rows.csv")),
        "a cache": named("user/name", cache_dir=str(secret)),
        "a folder of a data set": named("user/name", data_dir=str(secret)),
        "an archive": named("webdataset", data_files=f"file://{secret}/token"),
        "a configuration that is none": named("user/name", name={"a": str(secret)}),
        "another file system": named(f"file://{secret}"),
        "a source of a mixture": {"name": "mixture", "sources": [source("user/name"), source(str(secret))]},
        "files of a source": {
            "name": "mixture",
            "sources": [source("csv", options={"data_files": f"{secret}/*.csv"})],
        },
        "a bucket": named("hf://buckets/user/secret_folder"),
    }


NAMES = tuple(cases(Path("/")))


@pytest.mark.parametrize("case", NAMES)
def test_the_space_reads_nothing_that_a_strange_recipe_names(strange, secret, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    explorer = Explorer(str(strange(cases(secret)[case])))
    assert "was not written by a training on this machine" in explorer.note
    assert explorer.rows is None and explorer.source is None
    assert not secret.read


@pytest.mark.parametrize("case", NAMES)
def test_evaluate_reads_nothing_that_a_strange_recipe_names(strange, secret, tmp_path, monkeypatch, capsys, case):
    monkeypatch.chdir(tmp_path)
    folder = strange(cases(secret)[case])
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main(["evaluate", str(folder)]) == 2
    told = capsys.readouterr().err
    assert "--trust-recipe allows that" in told and "Traceback" not in told and "hf_secret" not in told
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert not secret.read


def test_a_folder_of_this_machine_is_not_taken_for_a_data_set_of_the_hub(strange, secret, tmp_path, monkeypatch):
    (tmp_path / "user").mkdir()
    secret.rename(tmp_path / "user" / "secret_folder")
    monkeypatch.chdir(tmp_path)
    assert "data.path='user/secret_folder'" in Explorer(str(strange(named("user/secret_folder")))).note
    assert not secret.read


def test_a_card_reads_nothing_that_a_folder_names(strange, secret):
    folder = strange({**named(str(secret)), "tokenizers": {"text": str(secret)}})
    config = json.loads((folder / "config.json").read_text())
    config["clip"] = config["modalities"]["text"]["pretrained"] = str(secret)
    (folder / "config.json").write_text(json.dumps(config))
    assert str(secret) not in render_card(folder)
    assert not secret.read


def test_the_tokenizers_of_training_are_not_loaded_to_measure(strange, secret):
    folder = strange({**CAPTIONED, "tokenizers": {"text": str(secret)}})
    assert permitted(load_recipe_data(folder), folder).tokenizers == {}
    explorer = Explorer(str(folder))
    assert not explorer.note and not secret.read


def load_recipe_data(folder):
    from sample import source_of

    from hf_latent.data.source import Reader

    return source_of(yaml.safe_load((folder / "recipe.yaml").read_text()), {}, Reader())


def test_a_recipe_that_is_trusted_is_read_and_told(saved, tmp_path, capsys, monkeypatch):
    rows = {"photo": [Image.new("RGB", (9, 9), (k, 0, 0)) for k in range(6)], "words": [f"red {k}" for k in range(6)]}
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "rows")
    data = {"name": "dataset", "path": str(tmp_path / "rows"), "columns": {"image": "photo", "text": "words"}}
    folder = Path(shutil.copytree(saved, tmp_path / "sent"))
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe_of(data)))
    assert "cannot be read here" in Explorer(str(folder)).note
    capsys.readouterr()
    explorer = Explorer(str(folder), trust_recipe=True)
    assert not explorer.note and len(explorer.sample) == 6
    assert f"recipe.yaml is trusted: reading data.path='{tmp_path}/rows'" in capsys.readouterr().err


def test_a_run_is_own_by_its_recipe_wherever_it_is_moved(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.yaml").write_text(f"{BASE}\n# {tmp_path}")
    assert not is_own(run)
    remember(run)
    assert is_own(run)
    run.rename(tmp_path / "moved")
    assert is_own(tmp_path / "moved")
    (tmp_path / "moved" / "recipe.yaml").write_text(f"{BASE}\n# {tmp_path}\n")
    assert not is_own(tmp_path / "moved")
    (tmp_path / "moved" / "trainer_state.json").write_text("{}")  # a run that looks finished is not own for that
    assert not is_own(tmp_path / "moved")
    (tmp_path / "moved" / "recipe.yaml").unlink()
    assert not is_own(tmp_path / "moved")


def test_a_cache_that_cannot_be_written_is_told(tmp_path, monkeypatch, capsys):
    (tmp_path / "recipe.yaml").write_text("{}")
    (tmp_path / "home").write_text("a file")
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    remember(tmp_path)
    assert "may need --trust-recipe" in capsys.readouterr().err and not is_own(tmp_path)


# Configurations


@pytest.mark.parametrize("key", ["pretrained", "clip"])
def test_a_config_makes_loading_read_no_checkpoint(saved, tmp_path, secret, key):
    folder = Path(shutil.copytree(saved, tmp_path / "run"))
    config = json.loads((folder / "config.json").read_text())
    del config["modalities"]["text"]["config"]
    if key == "clip":
        config["clip"] = str(secret)
    else:
        config["modalities"]["text"]["pretrained"] = str(secret)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="without the config of that checkpoint: build it by LatentCLIPConfig.from_"):
        LatentCLIP.from_pretrained(folder)
    with pytest.raises(UserError, match="holds no model that can be loaded"):
        Explorer(str(folder))
    assert not secret.read


def test_a_config_is_built_from_checkpoints_on_request(secret):
    towers = {"image": {"encoder": "cnn"}, "text": {"encoder": "auto", "pretrained": str(secret)}}
    with pytest.raises(ValueError, match="text.*without the config of that checkpoint"):
        LatentCLIPConfig(modalities=towers)
    assert not secret.read
    config = LatentCLIPConfig.from_checkpoints(modalities=towers)
    assert config.modalities["text"]["config"]["hidden_size"] == 8 and "config" not in towers["text"] and secret.read
    assert LatentCLIPConfig.from_dict(config.to_dict()).modalities == config.modalities


def test_a_model_that_training_begins_with_names_no_checkpoint_to_read(tmp_path, secret):
    """The user names the model; what its config names is somebody else's."""
    from tests.downstream import save_albef
    from tests.test_pretrained import write

    save_albef(tmp_path / "first")
    config = json.loads((tmp_path / "first" / "config.json").read_text())
    config["modalities"]["image"] = {"encoder": "auto", "pretrained": str(secret)}
    (tmp_path / "first" / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="image.*without the config of that checkpoint"):
        load_recipe(write(tmp_path, tmp_path / "first"))
    assert not secret.read


# The files of a folder


@pytest.mark.parametrize("name", ["metrics.json", "model.safetensors", "recipe.yaml", "tokenizer.json", "figures"])
def test_links_out_of_a_strange_folder_are_refused(strange, secret, capsys, name):
    folder = strange(CAPTIONED)
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(secret if name == "figures" else secret / "token")
    with pytest.raises(UserError, match=f"{name} is a link to .*secret_folder"):
        Explorer(str(folder))
    assert main(["evaluate", str(folder)]) == 2
    told = capsys.readouterr().err
    assert "secret_folder" in told and "hf_secret" not in told and "Traceback" not in told


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer_config.json", {"vocab": "{secret}/token"}),
        ("tokenizer_config.json", {"init_inputs": ["{secret}/token"]}),
        ("processor_config.json", {"image_processor": {"extra": {"path": "file://{secret}/token"}}}),
        ("adapter_config.json", {"base_model_name_or_path": "{secret}"}),
        ("adapter_config.json", {"peft_type": "LORA", "megatron_core": "antigravity", "megatron_config": {"a": 1}}),
        ("model.safetensors.index.json", {"weight_map": {"a": "{secret}/token"}}),
        ("model.safetensors.index.json", {"weight_map": {"a": "../secret_folder/token"}}),
    ],
)
def test_settings_that_name_files_of_this_machine_are_refused(strange, secret, file, content):
    folder = strange(CAPTIONED)
    (folder / file).write_text(json.dumps(content).replace("{secret}", str(secret)))
    with pytest.raises(UserError, match=file if "adapter" not in file else "holds adapters beside its model"):
        Explorer(str(folder))
    assert not [seen for seen in secret.read if "token" in seen]


def test_places_where_a_model_of_somebody_began_are_no_harm(strange, secret):
    folder = strange(CAPTIONED)
    config = json.loads((folder / "config.json").read_text())
    config |= {"_name_or_path": str(secret), "clip": None}
    config["modalities"]["text"]["pretrained"] = str(secret)
    (folder / "config.json").write_text(json.dumps(config))
    check_folder(folder)
    assert not Explorer(str(folder)).note and not secret.read


# Data sets of the Hub


class Builder:
    """As `datasets.load_dataset_builder` gives, with the files that the card of a data set lists."""

    def __init__(self, files):
        self.config = type("Config", (), {"data_files": {"train": files}})


@pytest.mark.parametrize("file", ["/etc/passwd", "http://127.0.0.1:9/rows.csv", "hf://datasets/user/other@1/rows.csv"])
def test_a_data_set_of_the_hub_that_lists_other_files_is_refused(monkeypatch, file):
    asked = []
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda path, **o: asked.append(path) or Builder([file]))
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **o: pytest.fail("it was read"))
    with pytest.raises(UserError, match="this data set lists .*, which is not one of its files"):
        HubData("user/name", {"image": "a", "text": "b"}, options={"num_proc": 2, "name": "small"}).load()
    assert asked == ["hf://datasets/user/name"]


def test_a_data_set_of_the_hub_is_asked_for_as_such(monkeypatch):
    """Not as a folder that may appear here under that name."""
    rows = datasets.Dataset.from_dict({"a": [[1.0]], "b": ["x"]})
    monkeypatch.setattr(
        datasets, "load_dataset_builder", lambda path, **options: Builder(["hf://datasets/user/name@1/a.csv"])
    )
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda path, **options: asked.append((path, options)) or rows)
    data = HubData("user/name", {"table": "a", "text": "b"}, options={"revision": "v1"})
    assert data.is_on_hub and data.local_reads() == {} and len(data.load().train) == 1
    assert asked == [("hf://datasets/user/name", {"split": "train", "streaming": False, "revision": "v1"})]


def test_rows_of_the_hub_name_no_file_of_this_machine(secret, tmp_path):
    path = str(secret / "photo.png")
    features = datasets.Features({"image": datasets.Image(decode=False)})
    rows = datasets.Dataset.from_dict({"image": [{"bytes": None, "path": path}]}, features=features)
    rows = rows.cast_column("image", datasets.Image())
    assert np.asarray(ModalityRows(rows, ["image"])[0]["image"]).shape == (8, 8, 3)
    secret.read.clear()
    with pytest.raises(UserError, match=r"row 0, column 'image' names .*photo.png, which is no image of the data set"):
        ModalityRows(rows, ["image"], from_hub=True)[0]
    assert not secret.read
    cached = Path(datasets.config.HF_DATASETS_CACHE) / "downloads" / "photo.png"
    cached.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, cached)
    rows = datasets.Dataset.from_dict({"image": [{"bytes": None, "path": str(cached)}]}, features=features)
    rows = rows.cast_column("image", datasets.Image())
    assert np.asarray(ModalityRows(rows, ["image"], from_hub=True)[0]["image"]).shape == (8, 8, 3)


# Recipes and the environment


@pytest.mark.parametrize(
    "value",
    [
        "${oc.env:AWS_SECRET_ACCESS_KEY}",
        "x${oc.env:HOME}",
        "${oc.env:HOME,default}",
        "${oc.decode:${oc.env:HOME}}",
        "${${data.name}:HOME}",
        "${oc.select:training.x,${oc.env:HOME}}",
        "'${ oc.env : HOME }'",
        "\\${oc.env:HOME}",
    ],
)
@pytest.mark.parametrize("key", ["training.run_name", "data.options.token", "model.modalities.image1.encoder"])
def test_a_recipe_takes_nothing_of_the_environment(tmp_path, monkeypatch, value, key):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hf_secret")
    monkeypatch.setenv("HOME", "hf_secret")
    (tmp_path / "tiny.yaml").write_text(BASE)
    with pytest.raises(UserError) as told:
        load_recipe(tmp_path / "tiny.yaml", [f"{key}={value}"])
    assert f"{key}=" in str(told.value) and "write the value itself" in str(told.value)
    assert "hf_secret" not in str(told.value)


def test_nor_do_a_study_and_a_list(tmp_path, capsys):
    (tmp_path / "study.yaml").write_text("recipe: comm_trifeature_quick\nstructures: {a: {}}\nthen: ${oc.env:HOME}\n")
    assert main(["study", str(tmp_path / "study.yaml")]) == 2
    assert "then='${oc.env:HOME}'" in capsys.readouterr().err
    (tmp_path / "tiny.yaml").write_text(BASE + "evaluation: {batch_size: ['${oc.env:HOME}']}")
    assert main(["train", str(tmp_path / "tiny.yaml")]) == 2
    assert "evaluation.batch_size.0='${oc.env:HOME}'" in capsys.readouterr().err


def test_a_key_of_the_recipe_may_stand_for_its_value(tmp_path):
    (tmp_path / "tiny.yaml").write_text(BASE)
    recipe = load_recipe(tmp_path / "tiny.yaml", ["training.seed=7", "training.output_dir=out/${training.seed}"])
    assert recipe.output_dir == Path("out/7") and "${" not in recipe.to_yaml()
    with pytest.raises(UserError, match="training.seed: Interpolation key 'training.nothing' not found"):
        load_recipe(tmp_path / "tiny.yaml", ["training.seed=${training.nothing}"])
