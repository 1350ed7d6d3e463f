"""A training step on an accelerator: the host does not wait for it, and nothing that it needs is elsewhere."""

from collections import Counter
from functools import partial

import pytest
import torch

from hf_latent.training.gradient_cache import rows_of
from tests.fake_device import FakeDevice, OnDevice, put, put_model
from tests.training.runs import REGULARIZERS, build

BRIDGED = {**REGULARIZERS, "brownian_bridge": {**REGULARIZERS["brownian_bridge"], "bridged": ["image1"]}}
# How many words are masked, or are those of answers, decides the shapes of what follows.
MASKED = {"_to_copy in albef_layers.py": 1}
# Seeds are drawn on the CPU; the device of the arguments, to which a trainer brings them, is the CPU here.
SEEDS = {"_to_copy in modeling_comm.py": 1}
# Wrong labels are an error that names them; on the device, they would end the process.
CLASSES = {"_local_scalar_dense in modeling_latent_albef_classification.py": 1}
ANSWERS = {f"{name} in modeling_latent_albef_question_answering.py": 1 for name in ("nonzero", "_to_copy")}
PARTNERS = {f"{name} in two_passes.py" for name in ("index", "_unique2")} | {"_to_copy in trainer.py"}
CASES = {
    "clip": ({"clip": True}, {}),
    "photos": ({"clip": True, "photos": True}, {}),
    "comm": ({"objective": "comm", "regularizers": BRIDGED}, {}),
    "cross": ({"objective": "cross", "regularizers": BRIDGED}, {}),
    "cross_self": ({"objective": "cross_self", "regularizers": BRIDGED}, {}),
    "cross_self, clean": ({"objective": "cross_self", "options": {"objective_options": {"clean": True}}}, {}),
    "infmasking": ({"objective": "infmasking"}, SEEDS),
    "coral": ({"objective": "coral"}, SEEDS),
    "factorcl_linear": ({"objective": "factorcl_linear"}, {}),
    "albef": ({"albef": True, "model": {"itm_weight": 1.0}}, MASKED),
    "albef without words": ({"albef": True, "model": {"itm_weight": 1.0, "mlm_weight": 0}}, {}),
    "answers": ({"head": "answers"}, ANSWERS),
    "classes": ({"head": "classes"}, CLASSES),
    "statements": ({"head": "statements"}, CLASSES),
}


def on_device(folder, monkeypatch, **case):
    """A trainer whose model is on the device, and a batch, which is not."""
    trainer = build(folder, **case)
    monkeypatch.setattr(trainer._finite, "note", lambda *args: None)  # it reads what was copied a step before
    monkeypatch.setattr(trainer, "_on_device", put)
    batch = next(iter(trainer.get_train_dataloader()))
    put_model(trainer.model.train())
    if getattr(trainer.model, "queue", None) is not None:
        trainer.model.queue.ids  # noqa: B018  # how many it holds is read once, after it was loaded
    return trainer, batch


def files(places):
    """How often in each file, whatever the line."""
    found = Counter()
    for place, count in places.items():
        found[place.rsplit(":", 1)[0]] += count
    return found


@pytest.mark.parametrize("case, known", CASES.values(), ids=CASES)
def test_a_step_stays_on_the_device(tmp_path, monkeypatch, case, known):
    trainer, batch = on_device(tmp_path, monkeypatch, **case)
    with FakeDevice() as found:
        for _ in range(2):  # steps
            loss = trainer.compute_loss(trainer.model, trainer._prepare_inputs(batch))
            loss.backward()
            getattr(trainer.model, "on_optimizer_step", lambda: None)()
    assert isinstance(loss, OnDevice)
    assert not found.mixed and not found.wide
    assert files(found.waits) == {place: 2 * count for place, count in known.items()}


@pytest.mark.parametrize("name", ["clip", "comm", "albef"])
def test_the_gradient_cache_stays_there(tmp_path, monkeypatch, name):
    case, known = CASES[name]
    trainer, batch = on_device(tmp_path, monkeypatch, gradient_cache_chunk_size=5, **case)
    trainer.current_gradient_accumulation_steps = 1
    with FakeDevice() as found:
        loss = trainer.training_step(trainer.model, batch)
    assert isinstance(loss, OnDevice)
    assert not found.mixed and not found.wide
    waits = files(found.waits)
    if name == "albef":
        assert set(waits) == set(known) | PARTNERS
    assert all(
        waits[place] == 3 * count for place, count in known.items()
    )  # once for each chunk, in one of its passes
    assert known or not waits


@pytest.mark.parametrize("name", ["clip", "comm", "albef", "answers", "classes", "statements"])
def test_what_is_predicted_stays_there(tmp_path, monkeypatch, name):
    trainer, batch = on_device(tmp_path, monkeypatch, **CASES[name][0])
    trainer.model.eval()
    with FakeDevice() as found, torch.no_grad():
        _, predicted, _ = trainer.prediction_step(trainer.model, rows_of(batch, slice(5)), False)
    assert all(isinstance(rows, OnDevice) for rows in torch.utils._pytree.tree_leaves(predicted))
    assert not found.mixed and not found.wide and not found.waits


def on_the_cpu(x):
    return x + torch.arange(2)


@pytest.mark.parametrize(
    "function, kind",
    [
        (on_the_cpu, "mixed"),
        (lambda x: x.sum().item(), "waits"),
        (lambda x: x[x > 0], "waits"),
        (lambda x: x.cpu(), "waits"),
        (lambda x: x + torch.tensor([1.0, 2.0], device=x.device), "waits"),
        (lambda x: x.new_tensor([1.0, 2.0]), "waits"),
        (lambda x: x + torch.ones(2, device=x.device, dtype=torch.float64), "wide"),
        (lambda x: x.to("cpu", torch.float64), "wide"),
    ],
)
def test_what_is_wrong_is_seen(monkeypatch, function, kind):
    monkeypatch.setattr("tests.fake_device.OURS", __file__)
    with FakeDevice() as found:
        function(put(torch.ones(2)))
        assert getattr(found, kind)
        right = partial(torch.add, alpha=2)(put(torch.ones(2)), torch.tensor(1.0).to(put(torch.ones(2))))
    assert isinstance(right, OnDevice) and right.data_on_cpu.tolist() == [3, 3]
