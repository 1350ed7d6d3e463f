"""LatentALBEF that answers questions: its loss, its decoder, generation and ranking."""

import pytest
import torch
from transformers import AutoModelForVisualQuestionAnswering, BertConfig, BertForMaskedLM, ViTConfig, ViTModel

from hf_latent import LatentALBEF, LatentALBEFForPreTraining, LatentALBEFForQuestionAnswering
from hf_latent.models import modeling_latent_albef_question_answering as module
from tests.models.reference_heads import (
    ANSWER_MASK,
    ANSWERS,
    CLS,
    SEP,
    answered,
    moved,
    plain_answer_logits,
    questions,
)
from tests.models.small import small_albef, small_bert, small_pairs

QA = LatentALBEFForQuestionAnswering


@pytest.fixture(scope="module")
def model():
    return moved(QA, alpha=0.3).eval()


def fused(model, batch):
    text = {name: batch[name] for name in ("input_ids", "attention_mask")}
    return model.fuse(batch["pixel_values"], text)


def answer_ids(batch):
    return batch["labels"].clamp(min=0)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_the_loss_is_that_of_a_plain_reference(alpha):
    model, batch = moved(QA, alpha=alpha).train(), answered()
    assert (model.momentum is None) == (alpha == 0)
    labels, mask = batch["labels"], batch["attention_mask"]
    logits = plain_answer_logits(model, fused(model, batch), mask, answer_ids(batch))
    log_p = logits.log_softmax(-1)
    expected = torch.zeros(6, 3, dtype=torch.float64)
    if alpha:
        with torch.no_grad():
            taught = plain_answer_logits(model.momentum, fused(model.momentum, batch), mask, answer_ids(batch))
    for row in range(6):
        for place in range(3):
            token = labels[row, place + 1].item()
            if token == -100:
                continue
            hard = -log_p[row, place, token]
            soft = -(taught[row, place].softmax(-1) * log_p[row, place]).sum() if alpha else hard
            expected[row] += torch.stack([hard, soft, torch.ones_like(hard)])
    loss = ((1 - alpha) * expected[:, 0].sum() + alpha * expected[:, 1].sum()) / expected[:, 2].sum()
    output = model(**batch)
    torch.testing.assert_close(output.row_losses["answer"], expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(output.loss, loss, rtol=1e-12, atol=0)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    ours, theirs = (torch.autograd.grad(value, list(trained.values())) for value in (output.loss, loss))
    for name, one, other in zip(trained, ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-11, msg=name)
    assert not any(name.startswith(("momentum", "projections", "logit_scale")) for name in trained)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_the_answers_of_annotators_have_equal_shares(alpha):
    """Row losses and gradients are those of the mean over the annotators of each question, one by one."""
    model, batch = moved(QA, alpha=alpha).train(), questions()
    given = [[0], [1, 1, 3], [4, 2], [], [3, 3, 3, 3], [2, 1, 0]]
    tokens = [ANSWERS[n][ANSWER_MASK[n] == 1].tolist() for n in range(5)]
    rows = [[token for number in numbers for token in tokens[number]] for numbers in given]
    length = max(map(len, rows))
    labels = torch.tensor([row + [-100] * (length - len(row)) for row in rows])
    expected = []
    for row, numbers in enumerate(given):
        one = {name: values[row : row + 1] for name, values in batch.items()}
        each = [model(**one, labels=torch.tensor([tokens[n]])).row_losses["answer"][0] for n in numbers]
        expected.append(torch.stack(each).mean(0) if each else torch.zeros(3, dtype=torch.float64))
    expected = torch.stack(expected)
    found = model(**batch, labels=labels).row_losses["answer"]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    trained = [p for p in model.parameters() if p.requires_grad]
    weights = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours, theirs = (torch.autograd.grad((value * weights).sum(), trained) for value in (found, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-11)


def test_the_loss_in_evaluation_is_there_when_asked_for(model):
    batch = answered()
    assert model(**batch).loss is not None
    silent = model(**batch, return_loss=False)
    assert silent.loss is None and silent.row_losses is None and silent.fused.shape == (6, 16)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(**batch)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_later_words_change_nothing_earlier(model):
    batch = answered()
    question, ids = fused(model, batch), answer_ids(batch)
    whole = model.guess(model.answer_states(question, batch["attention_mask"], ids))
    for place in range(1, 4):
        changed = ids.clone()
        changed[:, place] = 30
        other = model.guess(model.answer_states(question, batch["attention_mask"], changed))
        torch.testing.assert_close(other[:, :place], whole[:, :place], rtol=1e-12, atol=1e-12)
        assert ((other - whole)[:, place:].abs().amax((1, 2)) > 1e-6).all()


def test_padding_changes_nothing(model):
    batch = answered()
    pad = torch.nn.functional.pad
    longer = {**batch, "input_ids": pad(batch["input_ids"], (0, 2), value=9)}
    longer |= {
        "attention_mask": pad(batch["attention_mask"], (0, 2)),
        "labels": pad(batch["labels"], (0, 3), value=-100),
    }
    torch.testing.assert_close(model(**longer).row_losses["answer"], model(**batch).row_losses["answer"])
    ranked = model.rank_answers(**questions(), answer_ids=ANSWERS, answer_mask=ANSWER_MASK)
    wide = pad(ANSWERS, (0, 2), value=5), pad(ANSWER_MASK, (0, 2))
    longer.pop("labels")
    torch.testing.assert_close(model.rank_answers(**longer, answer_ids=wide[0], answer_mask=wide[1]), ranked)
    for row, length in enumerate(batch["attention_mask"].sum(1)):
        alone = batch["pixel_values"][[row]], batch["input_ids"][[row], :length]
        one = model.rank_answers(*alone, answer_ids=ANSWERS, answer_mask=ANSWER_MASK)
        torch.testing.assert_close(one[0], ranked[row])


def test_ranking_is_the_likelihood_of_each_answer(model):
    batch = questions()
    scores = model.rank_answers(**batch, answer_ids=ANSWERS, answer_mask=ANSWER_MASK, k=5, batch_size=4)
    assert scores.shape == (6, 5) and scores.dtype == torch.float32
    firsts = torch.empty(6, 5, dtype=torch.float64)
    for number, answer in enumerate(ANSWERS):
        labels = answer.masked_fill(ANSWER_MASK[number] == 0, -100).expand(6, -1)
        taught = model(**batch, labels=labels).row_losses["answer"][:, 0]
        torch.testing.assert_close(scores[:, number], -taught.float())
        states = model.answer_states(fused(model, batch), batch["attention_mask"], answer[:1].expand(6, 1))
        firsts[:, number] = model.guess(states)[:, 0].log_softmax(-1)[:, answer[1]]
    for k in (1, 3):
        some = model.rank_answers(**batch, answer_ids=ANSWERS, answer_mask=ANSWER_MASK, k=k)
        assert (some.isfinite().sum(1) == k).all()
        torch.testing.assert_close(some[some.isfinite()], scores[some.isfinite()])
        # Only the first words decide who is kept.
        left = firsts.masked_fill(some.isfinite(), float("-inf")).amax(1)
        assert (firsts.masked_fill(~some.isfinite(), float("inf")).amin(1) >= left).all()


def plain_greedy(model, batch, most):
    question, ids = fused(model, batch), torch.full((6, 1), CLS)
    ended = torch.zeros(6, dtype=torch.bool)
    for _ in range(most):
        states = model.answer_states(question, batch["attention_mask"], ids)
        token = model.guess(states)[:, -1].argmax(-1).masked_fill(ended, 0)
        ids = torch.cat([ids, token[:, None]], dim=1)
        ended |= token == SEP
        if ended.all():
            break
    return ids


@pytest.mark.parametrize("use_cache", [True, False])
def test_greedy_generation_is_a_plain_loop(model, use_cache):
    batch = questions()
    with torch.no_grad():
        # So that answers end, and at different places.
        before = model.mlm_head.bias[SEP].item()
        for bias in (0.0, 2.0):
            model.mlm_head.bias[SEP] = bias
            options = {"use_cache": use_cache, "return_dict_in_generate": True, "output_logits": True}
            written = model.generate(**batch, max_new_tokens=5, **options)
            ids = written.sequences
            assert torch.equal(ids, plain_greedy(model, batch, 5))
            states = model.answer_states(fused(model, batch), batch["attention_mask"], ids[:, :-1])
            going = (ids[:, :-1] != 0) & (ids[:, :-1] != SEP)
            logits = torch.stack(written.logits, dim=1)
            torch.testing.assert_close(logits[going].float(), model.guess(states)[going].float())
        model.mlm_head.bias[SEP] = before


def test_beams_find_the_likeliest_answer(model):
    """Of two words; with as many beams as words, the search is exhaustive."""
    batch, words = questions(), model.decoder.config.vocab_size
    options = {"max_new_tokens": 2, "return_dict_in_generate": True, "output_scores": True, "length_penalty": 0.0}
    found = model.generate(**batch, num_beams=words, num_return_sequences=1, **options)
    pairs = torch.cartesian_prod(torch.tensor([CLS]), torch.arange(words), torch.arange(words))
    alone = pairs[:, 1] == SEP
    ends = torch.cat([torch.ones(len(pairs), 2), ~alone[:, None]], dim=1).long()
    scores = model.rank_answers(**batch, answer_ids=pairs, answer_mask=ends, k=len(pairs), batch_size=5000)
    best, number = scores.max(1)
    torch.testing.assert_close(found.sequences_scores.float(), best, rtol=1e-5, atol=1e-6)
    for sequence, likeliest, whole in zip(found.sequences, pairs[number], ends[number], strict=True):
        assert sequence[: whole.sum()].tolist() == likeliest[: whole.sum()].tolist()
    greedy = model.generate(**batch, max_new_tokens=2, return_dict_in_generate=True, output_scores=True)
    steps = module.AnswerWriter(model).compute_transition_scores(
        greedy.sequences, greedy.scores, normalize_logits=True
    )
    for row, sequence in enumerate(greedy.sequences):
        at = (pairs == sequence).all(1).nonzero()[0, 0] if sequence[1] != SEP else alone.nonzero()[0, 0]
        torch.testing.assert_close(steps[row].nan_to_num(neginf=0.0).sum().float(), scores[row, at])


def test_the_question_is_read_once(model, monkeypatch):
    calls = []
    fuse = model.fusion.forward
    monkeypatch.setattr(model.fusion, "forward", lambda *args: calls.append(1) or fuse(*args))
    model.generate(**questions(), max_new_tokens=4, num_beams=2)
    model.rank_answers(**questions(), answer_ids=ANSWERS, answer_mask=ANSWER_MASK, batch_size=2)
    assert len(calls) == 2


def test_what_does_not_fit_is_said(model):
    batch = questions()
    empty = torch.zeros(0, 4, dtype=torch.long)
    for answers in (empty, None):
        with pytest.raises(ValueError, match="the list of answers is empty"):
            model.rank_answers(**batch, answer_ids=answers)
    with pytest.raises(ValueError, match="k=0: give 1 or more"):
        model.rank_answers(**batch, answer_ids=ANSWERS, k=0)
    with pytest.raises(ValueError, match=r"the same \[CLS\]"):
        model.rank_answers(**batch, answer_ids=ANSWERS[:, 1:])
    with pytest.raises(ValueError, match="questions end in different tokens"):
        model.generate(**small_pairs())
    with pytest.raises(ValueError, match="the loss needs labels"):
        model(**batch, return_loss=True)
    with pytest.raises(ValueError, match=r"labels \(6,\): answers are tokens"):
        model(**batch, labels=torch.zeros(6, dtype=torch.long))
    with pytest.raises(ValueError, match="give pixel_values and input_ids"):
        model(input_ids=batch["input_ids"])
    with pytest.raises(ValueError, match="reads one image a text"):
        model(**{**batch, "pixel_values": batch["pixel_values"][:, None].expand(-1, 2, -1, -1, -1)})
    with pytest.raises(ValueError, match="has no space of contrast"):
        small_albef(cls=QA, objective="answer", regularizers={"alignment": {}})


def test_it_begins_as_a_pre_trained_model(tmp_path):
    source = small_albef(dtype=torch.float32, regularizers={"feature_separation": {}}, alpha=0.3)
    with torch.no_grad():
        for parameter in source.parameters():
            parameter += 0.1
    source.save_pretrained(tmp_path)
    model, report = QA.from_pretrained(tmp_path, output_loading_info=True)
    assert {key.split(".")[0] for key in report["missing_keys"]} == {"decoder"} and not report["unexpected_keys"]
    assert model.config.objective == "answer" and not model.config.regularizers and not model.config.extra_heads
    own, theirs = model.state_dict(), source.state_dict()
    for name in own:
        part = name.removeprefix("momentum.")
        begun = part.replace("decoder.encoder.layer", "fusion.layer")
        begun = begun.replace("decoder.embeddings", "encoders.text.model.embeddings")
        assert torch.equal(own[name], theirs[begun]), name
    # And on to pre-training again.
    model.save_pretrained(tmp_path / "answers")
    again = LatentALBEFForPreTraining.from_pretrained(tmp_path / "answers")
    assert again.config.objective == "albef" and torch.equal(again.mlm_head.bias, source.mlm_head.bias)


def test_it_begins_as_a_vit_and_a_bert(tmp_path):
    vit = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    ViTModel(ViTConfig(**vit, image_size=16, patch_size=8)).save_pretrained(tmp_path / "vit")
    bert = BertForMaskedLM(BertConfig(**small_bert(layers=4)))
    bert.save_pretrained(tmp_path / "bert")
    options = {"fusion_layers": 2, "projection_dim": 8}
    model = QA.from_vision_text_pretrained(str(tmp_path / "vit"), str(tmp_path / "bert"), **options)
    for one, other in zip(model.decoder.encoder.layer, bert.bert.encoder.layer[2:], strict=True):
        assert torch.equal(one.attention.self.query.weight, other.attention.self.query.weight)
    assert torch.equal(model.mlm_head.dense.weight, bert.cls.predictions.transform.dense.weight)
    assert all(torch.equal(own, copy) for own, copy in model._followed())


def test_it_is_saved_and_found_again(tmp_path):
    model = moved(QA).eval().float()
    model.save_pretrained(tmp_path)
    found = AutoModelForVisualQuestionAnswering.from_pretrained(tmp_path).eval()
    assert type(found) is QA
    for name, value in model.state_dict().items():
        assert name.startswith("momentum") or torch.equal(value, found.state_dict()[name]), name
    plain, report = LatentALBEF.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    batch = {**questions(), "pixel_values": questions()["pixel_values"].float()}
    assert torch.equal(plain.eval()(**batch).fused, found(**batch).fused)


def test_attention_and_checkpointing_and_half_precision(tmp_path):
    small_albef(cls=QA, dtype=torch.float32).save_pretrained(tmp_path)
    batch = answered()
    batch["pixel_values"] = batch["pixel_values"].float()
    found = {}
    for kind in ("eager", "sdpa", "checkpointed"):
        attention = "eager" if kind == "eager" else "sdpa"
        model = QA.from_pretrained(tmp_path, attn_implementation=attention).train()
        assert model.decoder.config._attn_implementation == attention
        if kind == "checkpointed":
            model.activation_checkpointing_enable()
            assert model.decoder.encoder.layer[0].gradient_checkpointing
        trained = [p for p in model.parameters() if p.requires_grad]
        found[kind] = torch.cat([g.flatten() for g in torch.autograd.grad(model(**batch).loss, trained)])
    torch.testing.assert_close(found["eager"], found["sdpa"], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found["checkpointed"], found["sdpa"], rtol=1e-4, atol=1e-6)
    half = QA.from_pretrained(tmp_path, dtype=torch.bfloat16).train()
    loss = half(**{**batch, "pixel_values": batch["pixel_values"].bfloat16()}).loss
    loss.backward()
    assert loss.dtype == torch.float32 and torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in half.parameters() if p.grad is not None)
    asked = {**questions(), "pixel_values": batch["pixel_values"].bfloat16()}
    assert half.eval().rank_answers(**asked, answer_ids=ANSWERS, answer_mask=ANSWER_MASK).isfinite().all()
    half.generate(**asked, max_new_tokens=3, num_beams=2)


@pytest.mark.parametrize(
    ("place", "token", "words"),
    [(1, 40, "labels 40: the tokens of this model are 0 to 39"), (1, -5, "labels -5"), (0, -100, "not before or in")],
)
def test_labels_that_are_no_answer_are_said(model, place, token, words):
    batch = answered()
    batch["labels"][1, place] = token
    with pytest.raises(ValueError, match=words):
        model(**batch)


def test_masks_that_do_not_fit_are_said(model):
    batch = questions()
    with pytest.raises(ValueError, match=r"answer_ids \(5, 4\): each answer"):
        model.rank_answers(**batch, answer_ids=ANSWERS, answer_mask=ANSWER_MASK[:2])
    batch["attention_mask"][1] = 0
    with pytest.raises(ValueError, match="a question is all padding"):
        model.generate(**batch)
