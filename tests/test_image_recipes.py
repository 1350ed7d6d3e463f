"""From file to vector: a recipe, its saved processor and the checkpoint's own pipeline see one picture."""

import io
import itertools
import json
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import datasets
import numpy as np
import pytest
import torch
import transformers
from PIL import Image, ImageOps
from transformers import AutoModel, AutoProcessor, BertConfig, CLIPConfig, CLIPModel, ViTConfig

from hf_latent import experiment
from hf_latent.cli import main
from hf_latent.data.hub_data import HubData
from hf_latent.data.tokenizers import word_tokenizer
from hf_latent.recipe import load_recipe
from tests.models.test_images import BOMB, saved

WORDS = ["a red picture", "a blue photo of a dog"]
SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
RECIPE = """
model: {{type: latent_clip, {model}projection_dim: 8}}
data: {{name: dataset, path: {data}, columns: {{image: photo, text: words}}, test_split: test, {tokenizers}}}
views: {{image: {{kind: image, {view}}}, text: {{kind: none}}}}
training: {{max_steps: 1, global_batch_size: 4, output_dir: {run}, use_cpu: true, disable_tqdm: true}}
"""
PROCESSORS = {
    "clip": {"do_center_crop": True, "size": {"shortest_edge": 24}, "crop_size": {"height": 24, "width": 24}},
    "vit": {"size": {"height": 24, "width": 24}},
    "siglip": {"size": {"height": 24, "width": 24}},
    "convnext": {"size": {"shortest_edge": 24}, "crop_pct": 0.875},
    "bit": {"size": {"shortest_edge": 28}, "crop_size": {"height": 24, "width": 24}},
    "deit": {"size": {"height": 28, "width": 28}, "crop_size": {"height": 24, "width": 24}},
}
CLASSES = {"clip": "CLIP", "vit": "ViT", "siglip": "Siglip", "convnext": "ConvNext", "bit": "Bit", "deit": "DeiT"}


def oddities():
    """Pictures whose pixels depend on how they are read: name -> the bytes of a file."""
    rng = np.random.default_rng(0)
    wide, tall = (Image.fromarray(rng.integers(0, 256, (*s, 3), dtype=np.uint8)) for s in ((30, 60), (70, 31)))
    clear = wide.copy()
    clear.putalpha(Image.fromarray(rng.integers(0, 256, (30, 60), dtype=np.uint8)))
    turned = Image.Exif()
    turned[0x0112] = 6
    sixteen = Image.fromarray(rng.integers(0, 2**16, (30, 60), dtype=np.uint16))
    floats = Image.fromarray(rng.random((30, 60), dtype=np.float32))
    return {
        "wide": saved(wide, "PNG"),
        "tall": saved(tall, "BMP"),
        "transparent": saved(clear, "PNG"),
        "turned": saved(wide, "JPEG", exif=turned, quality=95),
        "sixteen bits": saved(sixteen, "PNG"),
        "floats": saved(floats, "TIFF"),
        "palette": saved(wide.quantize(16), "GIF"),
        "print": saved(wide.convert("CMYK"), "JPEG"),
    }


PICTURES = oddities()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "rows"
    table = {"photo": [{"bytes": content, "path": None} for content in PICTURES.values()]}
    table["words"] = [f"{WORDS[k % 2]} {k}" for k in range(len(PICTURES))]
    features = datasets.Features({"photo": datasets.Image(), "words": datasets.Value("string")})
    rows = datasets.Dataset.from_dict(table, features=features)
    datasets.DatasetDict(train=rows, test=rows).save_to_disk(folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    tokenizer = word_tokenizer([*WORDS, *map(str, range(9))])
    AutoModel.from_config(BertConfig(**SMALL, vocab_size=len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def upright(content):
    """What a person sees of a file, with nothing of this library."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    if image.mode.startswith("I"):
        return Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        return Image.fromarray(np.rint(np.asarray(image) * 255.0).astype(np.uint8)).convert("RGB")
    if image.mode == "RGBA":
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def embedded(run, monkeypatch):
    """What evaluation embeds of the test rows, as a function of the recipe."""
    kept = []
    embed = experiment.LatentTrainer.embed
    monkeypatch.setattr(
        experiment.LatentTrainer, "embed", lambda self, rows: kept.append(embed(self, rows)) or kept[-1]
    )
    assert main(["evaluate", str(run)]) == 0
    return kept[0].embeds["image"]


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[] if name in ("clip", "vit") else pytest.mark.slow) for name in PROCESSORS]
)
def test_a_tower_sees_pictures_as_its_checkpoint_did(family, data, bert, tmp_path, monkeypatch, capsys):
    processor = getattr(transformers, f"{CLASSES[family]}ImageProcessorPil")(**PROCESSORS[family])
    AutoModel.from_config(ViTConfig(**SMALL, image_size=24, patch_size=8)).save_pretrained(tmp_path / "vit")
    processor.save_pretrained(tmp_path / "vit")
    towers = ", ".join(
        f"{n}: {{encoder: auto, pretrained: {p}}}" for n, p in (("image", tmp_path / "vit"), ("text", bert))
    )
    text = RECIPE.format(model=f"modalities: {{{towers}}}, ", data=data, tokenizers="", view="", run=tmp_path / "run")
    (tmp_path / "recipe.yaml").write_text(text)
    assert main(["train", str(tmp_path / "recipe.yaml")]) == 0
    own = AutoProcessor.from_pretrained(tmp_path / "run")
    model = AutoModel.from_pretrained(tmp_path / "run").eval()
    pixels = processor([upright(content) for content in PICTURES.values()], return_tensors="pt")["pixel_values"]
    raw = [Image.open(io.BytesIO(content)) for content in PICTURES.values()]
    with torch.no_grad():
        wanted = model.get_image_features(pixels)
        saved_one = model.get_image_features(own(images=raw)["pixel_values"])
    torch.testing.assert_close(own(images=raw)["pixel_values"], pixels, rtol=0, atol=5e-6)
    torch.testing.assert_close(saved_one, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(embedded(tmp_path / "run", monkeypatch), wanted, rtol=1e-4, atol=1e-5)
    stored = json.loads((tmp_path / "run" / "processor_config.json").read_text())["image_processor"]
    assert stored["image_processor_type"].removesuffix("Pil") == f"{CLASSES[family]}ImageProcessor"


def test_a_clip_checkpoint_keeps_its_exact_embeddings_from_the_picture_on(data, tmp_path, monkeypatch):
    tokenizer = word_tokenizer([*WORDS, *map(str, range(9))])
    text = {**SMALL, "vocab_size": len(tokenizer), "max_position_embeddings": 20, "eos_token_id": 3}
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config={**SMALL, "image_size": 24, "patch_size": 8}))
    clip.save_pretrained(tmp_path / "clip")
    tokenizer.save_pretrained(tmp_path / "clip")
    processor = transformers.CLIPImageProcessorPil(**PROCESSORS["clip"])
    processor.save_pretrained(tmp_path / "clip")
    recipe = RECIPE.format(
        model=f"clip: {tmp_path / 'clip'}, ", data=data, tokenizers="", view="", run=tmp_path / "run"
    ).replace("projection_dim: 8", "learn_temperature: true")
    (tmp_path / "recipe.yaml").write_text(recipe.replace("use_cpu: true", "use_cpu: true, learning_rate: 0.0"))
    assert main(["train", str(tmp_path / "recipe.yaml")]) == 0
    with torch.no_grad():
        pixels = processor([upright(content) for content in PICTURES.values()], return_tensors="pt")["pixel_values"]
        wanted = clip.get_image_features(pixel_values=pixels)
    wanted = getattr(wanted, "pooler_output", wanted)
    torch.testing.assert_close(embedded(tmp_path / "run", monkeypatch), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("fit", "resample"),
    [
        ("crop", "bilinear"),
        ("squash", "bicubic"),
        *(pytest.param(fit, "bilinear", marks=pytest.mark.slow) for fit in ("squash", "pad")),
    ],
)
def test_a_tower_from_scratch_says_how_pictures_become_squares(fit, resample, data, bert, tmp_path, monkeypatch):
    towers = (
        f"modalities: {{image: {{encoder: cnn, channels: [8, 16]}}, text: {{encoder: auto, pretrained: {bert}}}}}, "
    )
    view = f"size: 24, fit: {fit}" + (", resample: bicubic" if resample == "bicubic" else "")
    (tmp_path / "recipe.yaml").write_text(
        RECIPE.format(model=towers, data=data, tokenizers="", view=view, run=tmp_path / "run")
    )
    assert main(["train", str(tmp_path / "recipe.yaml")]) == 0
    model, own = (cls.from_pretrained(tmp_path / "run") for cls in (AutoModel, AutoProcessor))
    wide = upright(PICTURES["wide"])  # 60 x 30
    shapes = {"squash": wide, "crop": wide.crop((15, 0, 45, 30)), "pad": None}
    if fit == "pad":
        shapes["pad"] = Image.new("RGB", (60, 60), tuple(round(255 * m) for m in own.image_processor.image_mean))
        shapes["pad"].paste(wide, (0, 15))
    wanted = shapes[fit].resize((24, 24), Image.Resampling[resample.upper()])
    mean, std = (torch.tensor(own.modalities["image"][key]).view(3, 1, 1) for key in ("mean", "std"))
    found = own(images=[wide])["pixel_values"][0] * std + mean
    assert own.crop_of("image") == (24, Image.Resampling[resample.upper()])
    assert (found * 255 - torch.tensor(np.array(wanted)).permute(2, 0, 1)).abs().mean() < 1.5
    with torch.no_grad():
        pictures = [upright(content) for content in PICTURES.values()]
        features = model.eval().get_image_features(own(images=pictures)["pixel_values"])
    torch.testing.assert_close(embedded(tmp_path / "run", monkeypatch), features, rtol=1e-4, atol=1e-5)


def test_another_size_than_that_of_the_checkpoint(data, bert, tmp_path):
    AutoModel.from_config(ViTConfig(**SMALL, image_size=24, patch_size=8)).save_pretrained(tmp_path / "vit")
    transformers.CLIPImageProcessorPil(**PROCESSORS["clip"]).save_pretrained(tmp_path / "vit")
    towers = ", ".join(
        f"{n}: {{encoder: auto, pretrained: {p}}}" for n, p in (("image", tmp_path / "vit"), ("text", bert))
    )
    text = RECIPE.format(model=f"modalities: {{{towers}}}, ", data=data, tokenizers="", view="", run=tmp_path / "run")
    (tmp_path / "recipe.yaml").write_text(text)
    plain, wider = (load_recipe(tmp_path / "recipe.yaml", more) for more in ([], ["views.image.size=48"]))
    assert plain.views["image"].size == 24 and wider.views["image"].size == 48
    assert wider.image_processors["image"].size["shortest_edge"] == 48
    assert plain.views["image"].mean == tuple(transformers.CLIPImageProcessorPil().image_mean)
    other = load_recipe(tmp_path / "recipe.yaml", ["views.image.mean=[0.5,0.5,0.5]", "views.image.std=[0.5,0.5,0.5]"])
    assert list(other.image_processors["image"].image_mean) == [0.5] * 3
    assert not load_recipe(tmp_path / "recipe.yaml", ["views.image.fit=pad"]).image_processors


def test_a_picture_that_cannot_be_decoded_is_named_or_skipped(tmp_path, bert, capsys):
    broken = [BOMB, b"no picture", saved(Image.new("RGB", (40, 40), "red"), "TIFF")[:90]]
    good = list(PICTURES.values())
    table = {"photo": [{"bytes": content, "path": None} for content in [*good, *broken]]}
    table["words"] = [f"{WORDS[k % 2]} {k % 9}" for k in range(len(good) + 3)]
    features = datasets.Features({"photo": datasets.Image(), "words": datasets.Value("string")})
    datasets.Dataset.from_dict(table, features=features).save_to_disk(tmp_path / "rows")
    towers = (
        f"modalities: {{image: {{encoder: cnn, channels: [8, 16]}}, text: {{encoder: auto, pretrained: {bert}}}}}, "
    )
    text = RECIPE.format(model=towers, data=tmp_path / "rows", tokenizers="", view="size: 24", run=tmp_path / "run")
    (tmp_path / "recipe.yaml").write_text(text.replace("test_split: test, ", "").replace("size: 4,", "size: 8,"))
    assert main(["train", str(tmp_path / "recipe.yaml"), "training.max_steps=3"]) == 2
    told = capsys.readouterr().err
    assert (
        "column 'photo' is not an image that can be read" in told and "Traceback" not in told.split("hf-latent:")[-1]
    )
    more = ["data.on_bad_row=skip", f"training.output_dir={tmp_path / 'skipped'}"]
    assert main(["train", str(tmp_path / "recipe.yaml"), *more]) == 0
    assert "Skipped 3 of 11 rows" in capsys.readouterr().out


@pytest.fixture
def archive(tmp_path):
    """A folder of pictures with captions as a zip file."""
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as file:
        lines = ["file_name,text"]
        for name in ("wide", "tall", "transparent", "turned"):
            file.writestr(f"{name}.png", PICTURES[name])
            lines.append(f"{name}.png,{name}")
        file.writestr("metadata.csv", "\n".join(lines) + "\n")
    return tmp_path / "pictures.zip"


@pytest.fixture
def address(archive, monkeypatch):
    """The same, fetched from a server of this machine."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *words: None)
    handler = partial(SimpleHTTPRequestHandler, directory=str(archive.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/pictures.zip"
        server.shutdown()


@pytest.mark.parametrize(("where", "streaming"), [("archive", False), ("archive", True), ("address", False)])
def test_pictures_in_an_archive_here_or_elsewhere(where, streaming, request, tmp_path):
    options = {"data_files": {"train": str(request.getfixturevalue(where))}}
    options |= {} if streaming else {"cache_dir": str(tmp_path / "cache")}
    columns = {"image": "image", "text": "text"}
    data = HubData("imagefolder", columns, streaming=streaming, shuffle_buffer=0, options=options)
    rows = list(itertools.islice(iter(data.load().train), 4))
    assert {row["text"] for row in rows} == {"wide", "tall", "transparent", "turned"}
    for row in rows:
        np.testing.assert_array_equal(np.asarray(row["image"]), np.asarray(upright(PICTURES[row["text"]])))


def test_pictures_that_are_streamed_from_elsewhere(address, archive):
    with zipfile.ZipFile(archive) as file:
        file.extractall(archive.parent)
    files = [address.replace("pictures.zip", f"{name}.png") for name in ("wide", "turned")]
    data = HubData("imagefolder", {"image": "image"}, streaming=True, shuffle_buffer=0, options={"data_files": files})
    for row, name in zip(data.load().train, ("wide", "turned"), strict=False):
        np.testing.assert_array_equal(np.asarray(row["image"]), np.asarray(upright(PICTURES[name])))
        if name == "turned":
            break
