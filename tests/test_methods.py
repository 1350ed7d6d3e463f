"""Every objective and every regularizer trains a small model on Trifeature, and the space does not collapse."""

import datasets
import numpy as np
import pytest
from PIL import Image

from hf_latent import experiment
from hf_latent.data.trifeature import COLORS, SHAPES, load_trifeature
from hf_latent.objectives import OBJECTIVES
from hf_latent.recipe import parse_recipe
from hf_latent.regularizers import REGULARIZERS, regularizer_class

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:information_bottleneck with a temperature")]
SIZE = 32
BERT = {
    **{"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2},
    **{"intermediate_size": 64, "max_position_embeddings": 16},
    **{"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
}
TOWERS = {
    "image": {"encoder": "cnn", "channels": [16, 32, 64], "norm": "batch"},
    "text": {"encoder": "auto", "pooling": "mean", "config": BERT},
    "table": {"encoder": "table", "input_dim": len(SHAPES) + len(COLORS), "hidden_dims": [32]},
}
MODELS = {
    "latent_clip": {"modalities": TOWERS, "projection_dim": 32},
    "comm": {"modalities": TOWERS, "embed_dim": 64, "projection_hidden_dim": 64, "projection_dim": 32},
}
SIGN_BLIND = ("gram", "pmrl")  # opposite vectors are as good as equal ones, so cosines may rank from the wrong end
OPTIONS = {"distillation": {"scale": 10.0}, "information_bottleneck": {"mode": "kl"}}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Pictures with a sentence and a noisy table of their shape and color."""
    folder = tmp_path_factory.mktemp("trifeature")
    pictures = load_trifeature(image_size=SIZE, renders=1, texture_period=35.0)
    noise, splits = np.random.default_rng(0), {}
    for name, own in (("train", pictures.train), ("test", pictures.test)):
        told = np.concatenate([np.eye(len(SHAPES))[own.shape], np.eye(len(COLORS))[own.color]], axis=1)
        columns = {"image": list(map(Image.fromarray, own.images)), "text": own.captions}
        columns |= {"table": (told + noise.normal(scale=0.3, size=told.shape)).astype("float32").tolist()}
        splits[name] = datasets.Dataset.from_dict({**columns, "shape": [SHAPES[i] for i in own.shape]})
    datasets.DatasetDict(splits).save_to_disk(folder)
    return folder


def trained(rows, output, family, objective, regularizers=None, options=None):
    """What a run of 100 steps measures."""
    modalities = ["image", "text"] if family == "comm" else list(TOWERS)
    own = MODELS[family]
    recipe = {
        "model": {
            **own,
            "type": family,
            "modalities": {name: own["modalities"][name] for name in modalities},
            "objective": objective,
            "objective_options": options or {},
            "regularizers": regularizers or {},
        },
        "data": {
            "name": "dataset",
            "path": str(rows),
            "columns": {name: name for name in modalities},
            "tokenizers": {"text": "words"},
            "labels": {"shape": "shape"},
        },
        "views": {
            "image": {"kind": "image", "size": SIZE, "crop_scale": [0.6, 1.0], "blur": 0.0, "jitter": [0, 0, 0, 0]},
            "text": {"kind": "words"},
            "table": {"kind": "table"},
        },
        "evaluation": {"benchmarks": {"probes": {"labels": ["shape"]}, "geometry": {}, "retrieval": {"k": [10]}}},
        "training": {
            **{"max_steps": 100, "global_batch_size": 64, "learning_rate": 2e-3, "logging_steps": 10},
            **{"save_strategy": "no", "disable_tqdm": True, "use_cpu": True, "output_dir": str(output)},
        },
    }
    recipe["views"] = {name: recipe["views"][name] for name in modalities}
    if objective == "supcon":
        recipe["data"]["target"] = "shape"
    return experiment.train(parse_recipe(recipe, name="run"))


def check_space(metrics, family, objective="clip"):
    """No modality that is trained has its rows in one place, on a line or on a plane."""
    ranks = {key: value for key, value in metrics.items() if key.startswith("effective_rank_")}
    assert ranks and all(value > 3 for value in ranks.values()), ranks
    if objective in SIGN_BLIND:
        assert metrics["probe_shape_table"] > 3 * metrics["measurements"]["probe_shape_table"]["chance"]
    elif family == "latent_clip":
        assert metrics["image_to_text_r10"] > 2 * metrics["measurements"]["image_to_text_r10"]["chance"]
        assert metrics["text_to_image_r10"] > 2 * metrics["measurements"]["text_to_image_r10"]["chance"]
    else:
        assert metrics["probe_shape_fused"] > 3 * metrics["measurements"]["probe_shape_fused"]["chance"]


@pytest.mark.parametrize("objective", sorted(set(OBJECTIVES["comm"]) - {"labels"}))
def test_objectives_of_fused_models_learn(rows, tmp_path, objective):
    check_space(trained(rows, tmp_path, "comm", objective), "comm", objective)


@pytest.mark.parametrize("objective", sorted(OBJECTIVES["latent_clip"]))
def test_objectives_of_towers_learn(rows, tmp_path, objective):
    check_space(trained(rows, tmp_path, "latent_clip", objective), "latent_clip", objective)


@pytest.mark.parametrize("objective", SIGN_BLIND)
def test_cosines_put_the_signs_right(rows, tmp_path, objective):
    check_space(trained(rows, tmp_path, "latent_clip", objective, options={"cosine_weight": 1.0}), "latent_clip")


@pytest.mark.parametrize("regularizer", sorted(REGULARIZERS))
def test_regularizers_leave_the_space_whole(rows, tmp_path, regularizer):
    options = OPTIONS.get(regularizer, {})
    if "bridged" in regularizer_class(regularizer).__dataclass_fields__:
        options = {**options, "bridged": ["image", "table"]}
    metrics = trained(rows, tmp_path, "latent_clip", "clip", {regularizer: {"weight": 0.1, **options}})
    check_space(metrics, "latent_clip")
