"""Recipes: what is written is checked, and what is wrong is named."""

from pathlib import Path

import pytest
import torch
from transformers.optimization import get_scheduler

from hf_latent import LatentTrainingArguments
from hf_latent.data.tokenizers import word_tokenizer
from hf_latent.errors import UserError
from hf_latent.fit_to_data import build_processor, fit_recipe
from hf_latent.recipe import find_recipe, load_recipe
from hf_latent.resources import available_resources

BASE = """
model:
  type: comm
  modalities:
    image1: &cnn {encoder: cnn, channels: [8, 16]}
    image2: *cnn
  embed_dim: 16
data: {name: trifeature, image_size: 16}
views:
  image1: {kind: image}
  image2: {kind: image, crop_scale: [0.5, 1.0]}
training: {num_train_epochs: 1, global_batch_size: 8}
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(BASE)
    return path


STUDIES = (
    *("albef_ablation.yaml", "albef_nlvr2.yaml", "albef_snli_ve.yaml", "albef_vqa_v2.yaml", "modality_gap.yaml"),
    *("comm_ablation.yaml", "modality_gap_coco.yaml", "structure_study.yaml", "structure_study_quick.yaml"),
    *("laboratory_quick.yaml", "laboratory_alignment_quick.yaml"),
)
FITTED = ("sprites_quick.yaml",)  # the cells of its table are found in the rows
FROM_THE_HUB = ("latent_clip_finetune_lora.yaml",)  # valid only where its checkpoint can be loaded: tests/training


@pytest.mark.parametrize("name", sorted(set(available_resources("training_args")) - {*STUDIES, *FROM_THE_HUB}))
def test_every_recipe_that_ships_is_valid(name, beside_pretrained):
    recipe = load_recipe(name)
    assert recipe.output_dir.name == recipe.name == name.removesuffix(".yaml")
    config = fit_recipe(recipe, recipe.data.load()).config if name in FITTED else recipe.config
    recipe.model_class(config)


def test_the_recipe_of_albef_is_that_of_its_paper():
    recipe = load_recipe("latent_albef_4m")
    with torch.device("meta"):
        model = recipe.model_class(recipe.config)
    assert model.fusion.converter is None and model.bert.config.num_hidden_layers == len(model.fusion.layer) == 6
    assert model.encoders["text"].max_length == 25 and recipe.views["image"].randaugment == (2, 7)
    assert build_processor(model, recipe.views, {"text": word_tokenizer(["a"])}).crop_of("image") == (
        256,
        3,
    )  # bicubic
    assert recipe.config.queue_size == 65_536 and recipe.views["image"].mean[0] == pytest.approx(0.4815, abs=1e-4)
    arguments = LatentTrainingArguments(**{**recipe.training, "bf16": False, "output_dir": "unused"})
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=arguments.learning_rate)
    kind, options = arguments.lr_scheduler_type, arguments.lr_scheduler_kwargs
    rate = get_scheduler(kind, optimizer, 2000, 100_000, scheduler_specific_kwargs=options).lr_lambdas[0]
    assert [round(1e-4 * rate(step), 8) for step in (0, 2000, 100_000)] == [1e-5, 1e-4, 1e-5]


def test_defaults_and_overrides(recipe):
    plain = load_recipe(recipe)
    assert plain.output_dir == Path("outputs/tiny") and plain.seed == 42
    assert plain.views["image1"].size == 16  # of the data, where the view does not say
    assert plain.training["num_train_epochs"] == 1.0 and isinstance(plain.training["num_train_epochs"], float)
    changed = load_recipe(recipe, ["training.learning_rate=1e-4", "model.embed_dim=32", "training.seed=7"])
    assert changed.training["learning_rate"] == 1e-4 and changed.config.embed_dim == 32 and changed.seed == 7
    assert changed.values["training"]["learning_rate"] == 1e-4


def test_the_written_recipe_reads_back(recipe, tmp_path):
    first = load_recipe(recipe, ["training.seed=3"])
    (tmp_path / "again.yaml").write_text(first.to_yaml())
    assert load_recipe(tmp_path / "again.yaml").values == first.values


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.learning_rat=1", "unknown key training.learning_rat: did you mean 'learning_rate'"),
        ("training.sede=1", r"unknown key training.sede: did you mean 'seed'\?$"),  # not the hundred others
        ("trainig.seed=1", "unknown section 'trainig': did you mean 'training'"),
        ("model.embed_dims=1", "unknown key model.embed_dims: did you mean 'embed_dim'"),
        ("model.type=com", "model.type='com': did you mean 'comm'"),
        ("model.embed_dim=wide", "model.embed_dim='wide': expected int"),
        ("model.objective=croos", "did you mean 'cross'"),
        ("model.modalities=null", "model.modalities"),
        ("data.name=trifeatures", "did you mean 'trifeature'"),
        ("data.image_sizes=3", "unknown key data.image_sizes: did you mean 'image_size'"),
        ("data.biased=7", "data.biased=7: expected bool"),
        ("views.image1.kind=imag", "views.image1: .*'image'"),
        ("views.image1.crop=3", "views.image1: .*crop_scale"),
        ("views.image1.crop_scale=[0.5,2.0]", "views.image1: .*crop_scale"),
        ("views.image3.kind=image", "views.image3: no such modality"),
        ("training.global_batch_size=many", "training.global_batch_size='many': expected int"),
        ("training.bf16=1", "training.bf16=1: expected bool"),
        ("evaluation.protocol=standart", "did you mean 'standard'"),
        ("seed", "write section.key=value"),
    ],
)
def test_mistakes_are_named_with_what_to_write(recipe, override, words):
    with pytest.raises(UserError, match=words):
        load_recipe(recipe, [override])


def test_missing_parts(tmp_path, recipe):
    with pytest.raises(UserError, match="did you mean 'comm_trifeature_quick.yaml'"):
        find_recipe("comm_trifeature_quik")
    assert find_recipe("comm_trifeature_quick").is_file()
    for text, words in (
        ("recipe: x\nstructures: {a: {}}", "this is a study, of many runs: train them with hf-latent study"),
        ("model: {type: comm}\ndata: {name: trifeature}", "model.modalities is missing"),
        ("data: {name: trifeature}", "section model is missing"),
        (BASE.replace("  image2: {kind: image, crop_scale: [0.5, 1.0]}\n", ""), "views.image2 is missing"),
        (BASE.replace("data: {name: trifeature, image_size: 16}", "data: {name: dataset, path: x}"), "data.columns"),
        (
            BASE.replace("name: trifeature, image_size: 16", "name: dataset, path: x, columns: {imag1: a}"),
            "data.columns.imag1: no such modality; did you mean 'image1'",
        ),
        ("- a list", "a recipe has the sections"),
        ("model: [", "cannot be read"),
        ("model: 3", "section model: expected keys and values"),
    ):
        path = tmp_path / "broken.yaml"
        path.write_text(text)
        with pytest.raises(UserError, match=words):
            load_recipe(path)
