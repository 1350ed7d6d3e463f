"""Training arguments, loaders and random numbers of an accelerator that is not there."""

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_leaves
from torch.utils.data._utils.pin_memory import pin_memory

from hf_latent import LatentTrainingArguments
from hf_latent.data.collator import LatentCollator
from hf_latent.training.evaluation import same_random_numbers
from hf_latent.training.gradient_cache import random_state, set_random_state
from tests.training.runs import AsAStream, RandomCaptions, build

GPU, MPS = torch.device("cuda", 0), torch.device("mps", 0)


def arguments(monkeypatch, device, tmp_path, **options):
    monkeypatch.setattr(LatentTrainingArguments, "device", property(lambda self: device))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: device.type != "cpu")
    return LatentTrainingArguments(str(tmp_path), global_batch_size=4, **options)


@pytest.mark.parametrize(
    "device, options, free",
    [
        (GPU, {}, True),
        (GPU, {"dataloader_pin_memory": False}, False),
        (GPU, {"accelerator_config": {"dispatch_batches": False}}, False),
        (MPS, {}, False),
        (torch.device("cpu"), {}, False),
    ],
)
def test_batches_are_copied_while_the_host_goes_on(monkeypatch, tmp_path, device, options, free):
    made = arguments(monkeypatch, device, tmp_path, **options)
    assert made.accelerator_config.non_blocking is free
    assert made.accelerator_config.dispatch_batches is False


@pytest.mark.parametrize("stream", [False, True])
def test_every_loader_does(monkeypatch, tmp_path, stream):
    trainer = build(tmp_path, clip=True, stream=stream)
    trainer.args.dataloader_pin_memory = True
    monkeypatch.setattr(type(trainer.args), "device", property(lambda self: GPU))
    trainer.accelerator.dataloader_config.non_blocking = True  # as the Trainer reads it from the arguments
    rows = AsAStream(RandomCaptions(7)) if stream else RandomCaptions(7)
    for loader in (trainer.get_train_dataloader(), trainer.get_eval_dataloader(rows)):
        assert loader._non_blocking and loader.base_dataloader.pin_memory


def test_all_of_a_batch_is_pinned(monkeypatch, tmp_path):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self, *args: pinned.append(self) or self)
    trainer = build(tmp_path, clip=True, photos=True)
    trainer.get_train_dataloader()  # from here on, crops are cut while rows are loaded
    rows = [{**trainer.train_dataset[i], "place": i, "label": i} for i in range(4)]
    for raw in (True, False):
        collate = trainer.data_collator if raw else LatentCollator(trainer.processing_class, raw=False)
        pinned.clear()
        batch = pin_memory(collate(rows))
        leaves = tree_leaves(batch) if raw else list(batch.values())
        assert len(leaves) > 3 and {id(leaf) for leaf in leaves} == {id(leaf) for leaf in pinned}


class Generator:
    """Of MPS, which is not there."""

    state = torch.zeros(1)

    def get_rng_state(self):
        return self.state.clone()

    def set_rng_state(self, state):
        self.state = state.clone()


def test_the_random_numbers_of_any_device_are_drawn_again(monkeypatch):
    generator = Generator()
    monkeypatch.setattr(torch.mps, "get_rng_state", generator.get_rng_state)
    monkeypatch.setattr(torch.mps, "set_rng_state", generator.set_rng_state)
    before = random_state(MPS)
    generator.state += 1
    set_random_state(before, MPS)
    assert generator.state == 0
    expected = torch.rand(1), np.random.rand()
    torch.set_rng_state(before[0])
    kept = np.random.get_state()
    with same_random_numbers(MPS):
        torch.rand(3), np.random.rand(3)
        generator.state += 1
    assert generator.state == 0 and torch.rand(1) == expected[0]
    assert np.array_equal(kept[1], np.random.get_state()[1])
