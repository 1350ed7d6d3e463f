"""What the downstream recipes begin with, and tiny runs of them."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hf_latent import LatentALBEFForNaturalLanguageVisualReasoning, LatentALBEFForPreTraining, LatentALBEFProcessor
from hf_latent.cli import main
from hf_latent.data import trifeature_task_data
from hf_latent.data.tokenizers import load_tokenizer
from hf_latent.data.trifeature import load_trifeature, render
from tests.models.small import small_albef

TINY = ("training.max_steps=2", "training.global_batch_size=32", "training.disable_tqdm=true", "data.image_size=16")
TINY = (*TINY, "data.renders=1", "data.test_renders=1", "data.per_picture=1")
drawn_once = cache(load_trifeature)  # one drawing for all
_rendered = {}
# Each recipe with what it begins with.
BEGINS = {
    "questions": "pretrained",
    "entailment": "pretrained",
    "text_assignment": "pretrained",
    "statements": "text_assignment",
}


def rendered_once(combinations, *options):
    """The pictures of some combinations, rendered once."""
    key = (combinations.tobytes(), *options)
    if key not in _rendered:
        _rendered[key] = render(combinations, *options)
    return _rendered[key]


def chance(labels):
    """Percent of the rows that are right where all are given the commonest label."""
    return 100 * np.bincount(labels).max() / len(labels)


def task_of(loaded):
    """What is right of the test rows of a task: their labels, their kinds in words, and the classes."""
    data = loaded.evaluation
    name, kinds = data.target.label, data.labels[data.target.groups].names
    groups = np.array(kinds)[data.test.labels[data.target.groups]]
    return SimpleNamespace(
        test=data.test.rows,
        labels=data.test.labels[name],
        groups=groups,
        classes=list(data.labels[name].names),
        kind=data.target.kind,
    )


def group_chances(task):
    return {str(group): chance(task.labels[task.groups == group]) for group in np.unique(task.groups)}


def save_albef(folder, **options):
    """A beginner's weights with the tokenizer of the quick recipes."""
    tokenizer = load_tokenizer("trifeature", [])
    small_albef(vocab_size=len(tokenizer), dtype=torch.float32, **options).save_pretrained(folder)
    LatentALBEFProcessor.for_size(16, tokenizer).save_pretrained(folder)


def save_pretrained(folder):
    """The models that the recipes which ship, and those of the examples, name under `outputs/`; returns the folder."""
    for name, cls in (
        ("latent_albef_quick", LatentALBEFForPreTraining),
        ("latent_albef_4m", LatentALBEFForPreTraining),
        ("latent_albef_text_assignment", LatentALBEFForNaturalLanguageVisualReasoning),
        ("emoji_albef", LatentALBEFForPreTraining),
        ("latent_albef_text_assignment_quick", LatentALBEFForNaturalLanguageVisualReasoning),
    ):
        save_albef(folder / "outputs" / name, cls=cls)
    return folder


def train(folder, name, *overrides):
    own = (f"training.output_dir={folder / name}", f"model.pretrained={folder / BEGINS[name]}")
    return main(["train", f"latent_albef_{name}_quick", *own, *TINY, *overrides])


def train_all(folder):
    """`folder`, with a run under the name of each task."""
    save_albef(folder / "pretrained", alpha=0.4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trifeature_task_data, "load_trifeature", drawn_once)
        for name in BEGINS:
            assert train(folder, name) == 0
    return folder
