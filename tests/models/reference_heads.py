"""The layers of the heads again, written plainly from their weights, and small batches with labels."""

import math

import torch
import torch.nn.functional as F

from tests.models.small import small_albef, small_pairs

CLS, SEP = 2, 3
ANSWERS = torch.tensor([[2, 7, 3, 0], [2, 8, 9, 3], [2, 7, 9, 3], [2, 12, 3, 0], [2, 3, 0, 0]])
ANSWER_MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]])


def moved(cls, **options):
    """A head in float64 whose every part has weights of its own, the momentum copy too."""
    model = small_albef(cls=cls, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model


def questions(rows=6):
    """`small_pairs` that begin with [CLS] and end with [SEP]."""
    batch = small_pairs(rows)
    batch["input_ids"][:, 0] = CLS
    batch["input_ids"].scatter_(1, batch["attention_mask"].sum(1, keepdim=True) - 1, SEP)
    return batch


def answered(rows=6):
    """`questions` with answers of different lengths."""
    number = torch.arange(rows) % len(ANSWERS)
    return {**questions(rows), "labels": ANSWERS[number].masked_fill(ANSWER_MASK[number] == 0, -100)}


def classified(rows=6, images=1, classes=3):
    batch = {**questions(rows), "labels": torch.arange(rows) % classes}
    if images > 1:
        batch["pixel_values"] = torch.stack([batch["pixel_values"].roll(i, 0) for i in range(images)], dim=1)
    return batch


def plain_attention(part, x, y, seen, keys=None):
    """Attention of `x` to `y` and its residual; `seen` is `(batch, x, y)` bool, `keys` the part with the keys."""
    keys, heads = keys or part, part.self.num_attention_heads
    query, key, value = part.self.query(x), keys.self.key(y), keys.self.value(y)
    width, found = query.shape[-1] // heads, []
    for head in range(heads):
        own = slice(head * width, (head + 1) * width)
        scores = query[..., own] @ key[..., own].transpose(1, 2) / math.sqrt(width)
        found.append(scores.masked_fill(~seen, -1e30).softmax(-1) @ value[..., own])
    return part.output.LayerNorm(x + part.output.dense(torch.cat(found, dim=-1)))


def plain_layer(layer, x, y, seen, other_seen, keys=None):
    """A layer that attends to `x`, then to `y`, then thinks."""
    x = plain_attention(layer.attention, x, x, seen)
    x = plain_attention(layer.crossattention, x, y, other_seen, keys)
    return layer.output.LayerNorm(x + layer.output.dense(F.gelu(layer.intermediate.dense(x))))


def plain_answer_logits(model, question, question_mask, answer_ids):
    """`(batch, length, vocabulary)`; place t has seen the tokens up to t."""
    parts, length = model.decoder.embeddings, answer_ids.shape[1]
    x = parts.word_embeddings(answer_ids) + parts.position_embeddings.weight[:length]
    x = parts.LayerNorm(x + parts.token_type_embeddings.weight[0])
    causal = torch.ones(length, length).tril().bool().expand(len(x), -1, -1)
    for layer in model.decoder.encoder.layer:
        x = plain_layer(layer, x, question, causal, question_mask.bool()[:, None].expand(-1, length, -1))
    head = model.mlm_head
    return head.LayerNorm(F.gelu(head.dense(x))) @ parts.word_embeddings.weight.T + head.bias
