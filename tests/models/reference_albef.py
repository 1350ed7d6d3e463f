"""The pre-training losses of LatentALBEF written out row by row, from the modules of the model alone."""

import torch
import torch.nn.functional as F

PARTS = ("pixel_values", "input_ids", "attention_mask")


def features(model, batch):
    """`{modality: (batch, dim)}`, on the unit sphere."""
    inputs = {"image": {"pixel_values": batch["pixel_values"]}, "text": {k: batch[k] for k in PARTS[1:]}}
    pooled = {name: model.encoders[name](**inputs[name]).pool() for name in inputs}
    return {name: F.normalize(model.projections[name](rows), dim=-1) for name, rows in pooled.items()}


def contrast(model, batch, alpha, queue=None, queue_ids=None):
    """Soft targets, several positives, momentum candidates of the batch and of the queue."""
    z = features(model, batch)
    with torch.no_grad():
        teacher = features(model.momentum, batch)
    rows = len(batch["pixel_values"])
    ids = batch["ids"].tolist() if "ids" in batch else None
    total = 0.0
    for one, other in (("image", "text"), ("text", "image")):
        candidates = list(teacher[other]) + ([] if queue is None else list(queue[other]))
        for i in range(rows):
            logits = torch.stack([model.scale * z[one][i] @ c for c in candidates])
            taught = torch.stack([model.scale * teacher[one][i] @ c for c in candidates]).detach().softmax(0)
            if ids is None:
                right = [j == i for j in range(len(candidates))]
            else:
                known = ids + ([] if queue is None else queue_ids.tolist())
                right = [known[j] == ids[i] for j in range(len(candidates))]
            for j in range(len(candidates)):
                target = alpha * taught[j] + (1 - alpha) * right[j] / sum(right)
                total = total - target * (logits[j] - logits.logsumexp(0)) / rows / 2
    return total


def fuse(model, image, text, mask):
    """`(length, hidden)` of one picture and one sentence, padding left out."""
    words = mask.bool()
    tokens = model.encoders["text"](input_ids=text[words][None]).tokens
    seen = model.fusion.image_tokens(model.encoders["image"](pixel_values=image[None]))
    return model.fusion(tokens, seen)[0]


def words(model, batch, alpha):
    """The mean over all masked words."""

    def guesses(one, i):
        hidden = fuse(one, batch["pixel_values"][i], batch["masked_input_ids"][i], batch["attention_mask"][i])
        return one.mlm_head(hidden, one.bert.embeddings.word_embeddings.weight).log_softmax(1)

    losses = []
    for i, labels in enumerate(batch["labels"]):
        own = guesses(model, i)
        taught = guesses(model.momentum, i).detach().exp() if alpha else torch.zeros_like(own)
        for place in (labels != -100).nonzero().flatten().tolist():
            against_teacher = -(taught[place] * own[place]).sum()
            losses.append(-(1 - alpha) * own[place, labels[place]] + alpha * against_teacher)
    return sum(losses) / len(losses)


def matching(model, batch):
    """Each pair, and its two hard negatives by the momentum features; rows of the same id are not wrong."""
    z, teacher = features(model, batch), features(model.momentum, batch)
    rows = len(batch["pixel_values"])
    ids = batch["ids"].tolist() if "ids" in batch else list(range(rows))

    def loss(image, text, answer):
        hidden = fuse(model, batch["pixel_values"][image], batch["input_ids"][text], batch["attention_mask"][text])[0]
        return -model.itm_head(hidden).log_softmax(0)[answer]

    losses = []
    for i in range(rows):
        losses.append(loss(i, i, 1))
        wrong = [j for j in range(rows) if ids[j] != ids[i]]
        if wrong:
            losses.append(loss(i, max(wrong, key=lambda j: (z["image"][i] @ teacher["text"][j]).item()), 0))
            losses.append(loss(max(wrong, key=lambda j: (z["text"][i] @ teacher["image"][j]).item()), i, 0))
    return sum(losses) / len(losses)
