"""A training step does not wait for the device: nothing that it computes there decides what the host does next."""

import traceback

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

from tests.training.runs import REGULARIZERS, build

WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount"}
BRIDGED = {**REGULARIZERS, "brownian_bridge": {**REGULARIZERS["brownian_bridge"], "bridged": ["image1"]}}


class Waits(TorchDispatchMode):
    """Notes where an operation whose result has to be known on the host was called by hf_latent itself."""

    def __init__(self):
        super().__init__()
        self.places = set()

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        name = function.__name__.split(".")[0]
        by_mask = name.startswith("index") and any(
            str(getattr(index, "dtype", "")) == "torch.bool"
            for index in (arguments[1] if isinstance(arguments[1], list) else ())
        )
        if name in WAITS or by_mask:
            frames = [frame for frame in traceback.extract_stack()[:-1] if "/torch/" not in frame.filename]
            if "/hf_latent/" in frames[-1].filename:  # a tower of transformers looks whether anything is padded
                self.places.add(f"{name} in {frames[-1].filename}:{frames[-1].lineno}")
        return function(*arguments, **(options or {}))


def waits(trainer, monkeypatch):
    monkeypatch.setattr(trainer._finite, "note", lambda *args: None)  # it reads what was copied a step before
    inputs = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    with Waits() as found:
        trainer.compute_loss(trainer.model.train(), inputs).backward()
    return found.places


@pytest.mark.parametrize(
    "case",
    [
        {"clip": True},
        {"objective": "comm", "regularizers": BRIDGED},
        {"objective": "cross_self", "regularizers": BRIDGED},
    ],
    ids=["clip", "comm", "cross_self"],
)
def test_a_step_waits_nowhere(tmp_path, monkeypatch, case):
    assert waits(build(tmp_path, **case), monkeypatch) == set()


def test_a_wait_would_be_seen(tmp_path, monkeypatch):
    trainer = build(tmp_path, albef=True)  # words are masked: how many is known only on the device
    assert any("albef_layers.py" in place for place in waits(trainer, monkeypatch))
