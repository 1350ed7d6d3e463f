"""The pre-training of LatentALBEF: each loss against its plain reference, and what moves between steps."""

import pytest
import torch
import torch.nn.functional as F

from hf_latent import LatentALBEF, LatentALBEFForPreTraining
from hf_latent.models.feature_queue import FeatureQueue
from hf_latent.models.modeling_latent_albef_pretraining import pick_negatives
from tests.models.reference_albef import contrast, matching, words
from tests.models.small import small_albef, small_masked_pairs

IDS = [0, 1, 0, 2, 3, 1]


def moved(**options):
    """A model whose momentum copy is another, with a queue that is full in part."""
    model = small_albef(**options)
    other = small_albef(seed=1, **options)
    model.momentum.load_state_dict(other.momentum.state_dict())
    draw = torch.Generator().manual_seed(5)
    if model.feature_queue is not None:
        rows = {
            n: F.normalize(torch.randn(5, 8, generator=draw, dtype=torch.float64), dim=1) for n in ("image", "text")
        }
        model.feature_queue.push(rows, torch.tensor([0, 7, 3, 3, 9]))
    return model


def terms(model, batch, progress=1.0):
    """The loss and its terms in evaluation mode, whose negatives are not drawn, so that a reference can tell them."""
    output = model.eval()(**batch, return_loss=True)
    return model.objective(model.score(output), model.scale, progress=progress, queue=model.queue)


def assert_same(model, found, expected):
    """Values, and gradients of all that is trained."""
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)
    trained = [p for p in model.parameters() if p.requires_grad]
    pairs = (
        torch.autograd.grad(loss, trained, allow_unused=True, materialize_grads=True) for loss in (found, expected)
    )
    for one, other in zip(*pairs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 0.4])
@pytest.mark.parametrize("ids", [None, IDS])
@pytest.mark.parametrize("queue_size", [0, 16, 3])
def test_contrast_is_that_of_the_reference(alpha, ids, queue_size):
    model = moved(alpha=alpha, itm_weight=0, mlm_weight=0, queue_size=queue_size)
    batch = small_masked_pairs(ids=ids)
    loss, _ = terms(model, batch)
    queue = queue_ids = None
    if queue_size:
        held = model.queue
        queue, queue_ids = held.augmented, held.ids
        assert len(queue_ids) == min(queue_size, 5)
    assert_same(model, loss, contrast(model, batch, alpha, queue, queue_ids))


@pytest.mark.parametrize("ids", [None, IDS[:4], [4] * 4])
def test_matching_is_that_of_the_reference(ids):
    model, batch = moved(mlm_weight=0, itm_weight=0.7), small_masked_pairs(4, ids=ids)
    loss, found = terms(model, batch)
    itc = contrast(model, batch, 0.4, model.queue.augmented, model.queue.ids)
    itm = matching(model, batch)
    torch.testing.assert_close(found["itm"], itm, rtol=1e-9, atol=1e-10)
    assert_same(model, loss, itc + 0.7 * itm)


@pytest.mark.parametrize("alpha", [0.0, 0.4])
def test_masked_words_are_those_of_the_reference(alpha):
    model, batch = moved(itm_weight=0, mlm_weight=0.6, alpha=alpha), small_masked_pairs()
    loss, found = terms(model, batch)
    itc = contrast(model, batch, alpha, model.queue.augmented, model.queue.ids)
    mlm = words(model, batch, alpha)
    torch.testing.assert_close(found["mlm"], mlm, rtol=1e-9, atol=1e-10)
    assert_same(model, loss, itc + 0.6 * mlm)


def test_the_teacher_is_heard_little_by_little():
    model, batch = moved(itm_weight=0, mlm_weight=1, alpha_ramp=0.5), small_masked_pairs(4)
    for progress, alpha in ((0.0, 0.0), (0.25, 0.2), (0.5, 0.4), (1.0, 0.4)):
        found = terms(model, batch, progress)[1]
        queue = model.queue
        torch.testing.assert_close(found["itc"], contrast(model, batch, alpha, queue.augmented, queue.ids))
        torch.testing.assert_close(found["mlm"], words(model, batch, alpha))


def test_a_batch_without_masked_words_has_no_such_loss():
    model, batch = moved(itm_weight=0), small_masked_pairs()
    batch["labels"] = torch.full_like(batch["labels"], -100)
    loss, found = terms(model, batch)
    assert found["mlm"] == 0 and torch.isfinite(loss)
    gradient = torch.autograd.grad(loss, model.mlm_head.dense.weight)[0]
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_negatives_are_drawn_by_similarity_and_never_of_the_same_id():
    torch.manual_seed(0)
    ids = torch.tensor(IDS)
    same = ids[:, None] == ids
    logits = torch.randn(6, 6, dtype=torch.float64)
    counts = torch.zeros(6, 6)
    for _ in range(4000):
        found, there = pick_negatives(logits, same, draw=True)
        counts[torch.arange(6), found] += 1
    assert there.all() and counts[same].sum() == 0
    expected = logits.masked_fill(same, float("-inf")).softmax(dim=1)
    torch.testing.assert_close(counts / 4000, expected.float(), rtol=0, atol=0.03)


@pytest.mark.parametrize("logits", [0.0, 1e4, -1e30, float("nan")])
def test_flat_similarities_and_one_id_for_all_stop_nothing(logits):
    flat = torch.full((4, 4), logits)
    found, there = pick_negatives(flat, torch.eye(4, dtype=torch.bool), draw=True)
    assert there.all() and found.shape == (4,)
    steep = torch.eye(4).roll(1, 0) * 1e6
    assert pick_negatives(steep, torch.eye(4, dtype=torch.bool), draw=True)[0].tolist() == [3, 0, 1, 2]
    assert not pick_negatives(flat, torch.ones(4, 4, dtype=torch.bool), draw=True)[1].any()


def test_momentum_after_n_steps_is_the_closed_form():
    model = small_albef(momentum=0.9)
    start = {name: p.clone() for name, p in model.momentum.named_parameters()}
    shifts = {name: torch.full_like(p, 0.1) for name, p in start.items()}
    for _ in range(5):
        with torch.no_grad():
            for name, p in model.named_parameters():
                if name in shifts:
                    p += shifts[name]
        model.on_optimizer_step()
    own = dict(model.named_parameters())
    for name, p in model.momentum.named_parameters():
        if name == "logit_scale.weight":  # whose own is clamped
            continue
        # sum over steps s of 0.1 * 0.9^(5 - s) * (s shifts); what began as one keeps its beginning
        expected = start[name] + sum(0.1 * 0.9 ** (5 - s) * s * shifts[name] for s in range(1, 6))
        torch.testing.assert_close(p, expected, rtol=1e-12, atol=1e-12, msg=name)
        assert not torch.equal(p, own[name]) and not p.requires_grad


def test_the_queue_wraps():
    queue = FeatureQueue(5, 1, ["image"])
    pushed = torch.arange(40.0)
    at = 0
    for rows in (3, 4, 5, 2, 11, 1):
        part = pushed[at : at + rows]
        queue.push({"image": part[:, None]}, part.long())
        at += rows
        held = queue.embeddings()
        assert sorted(held.ids.tolist()) == pushed[max(0, at - 5) : at].long().tolist()
        assert torch.equal(held.augmented["image"][:, 0].long(), held.ids)
    assert queue.count == at == 26
    queue.push({"image": torch.zeros(2, 1)}, None)
    assert sorted(queue.embeddings().ids.tolist())[:2] == [-1, -1]


def test_forward_and_evaluation_change_no_state():
    model, batch = moved(), small_masked_pairs(ids=IDS)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for mode in (True, False):
        model.train(mode)
        model(**batch, return_loss=True)
        assert not model.momentum.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model._scored == []
    state = torch.get_rng_state()
    model.eval()(**batch, return_loss=True)
    assert torch.equal(state, torch.get_rng_state())
    del batch["labels"]  # with them, evaluation has a loss, too
    assert model(**batch).row_losses is None and model(**batch).augmented is None


def test_what_was_scored_is_queued_when_the_optimizer_steps():
    model, batch = small_albef().train(), small_masked_pairs(ids=IDS)
    scored = [model.score(model(**batch, return_loss=False)) for _ in range(2)]
    for one in scored:
        model.on_batch_scored(one)
    assert len(model.queue.ids) == 0
    model.on_optimizer_step()
    queue = model.queue
    assert queue.ids.tolist() == IDS * 2
    torch.testing.assert_close(queue.augmented["text"], torch.cat([one.augmented["text"] for one in scored]))
    model.on_optimizer_step()
    assert len(model.queue.ids) == 12


def test_what_is_published_has_no_momentum_copy(tmp_path):
    model = moved()
    model.save_pretrained(tmp_path / "published")
    found = LatentALBEFForPreTraining.from_pretrained(tmp_path / "published")
    from safetensors.torch import load_file

    names = set(load_file(tmp_path / "published" / "model.safetensors"))
    assert not any(name.startswith(("momentum", "feature_queue")) for name in names)
    assert all(torch.equal(own, copy) and not copy.requires_grad for own, copy in found._followed() if copy is not own)
    assert len(found.queue.ids) == 0
    model.keep_training_state = True
    model.save_pretrained(tmp_path / "checkpoint")
    found = LatentALBEFForPreTraining.from_pretrained(tmp_path / "checkpoint", dtype=torch.float64)
    for name, value in model.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name
    assert not any(p.requires_grad for p in found.momentum.parameters())
    for folder in ("published", "checkpoint"):
        plain, report = LatentALBEF.from_pretrained(tmp_path / folder, output_loading_info=True)
        assert not report["missing_keys"] and not report["unexpected_keys"]


def test_tasks_that_are_off_train_nothing():
    model = small_albef(itm_weight=0, mlm_weight=0)
    assert not any(p.requires_grad for p in [*model.fusion.parameters(), *model.itm_head.parameters()])
    model.train()(**small_masked_pairs()).loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_missing_inputs_are_named():
    model, batch = small_albef(), small_masked_pairs()
    batch.pop("labels")
    with pytest.raises(ValueError, match="needs masked_input_ids and labels"):
        model(**batch)
    with pytest.raises(ValueError, match="text i describing image i"):
        model(pixel_values=batch["pixel_values"])
    text = {"input_ids": batch["input_ids"]}
    with pytest.raises(ValueError, match="write kind: masked for the text"):
        model.pack({"text": text}, {"text": text})
