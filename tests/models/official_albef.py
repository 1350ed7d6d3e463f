"""Checkpoints in the layout of the official ALBEF code, with random weights, and what such weights compute."""

import torch
import torch.nn.functional as F

SIZES = {"width": 128, "depth": 2, "inner": 160, "patch": 8, "image": 24, "vocab": 30, "dim": 8, "queue": 6}


def vision(draw, name):
    width, inner, patch = SIZES["width"], SIZES["inner"], SIZES["patch"]
    places = (SIZES["image"] // patch) ** 2
    shapes = {"cls_token": (1, 1, width), "pos_embed": (1, places + 1, width)}
    shapes |= {"patch_embed.proj.weight": (width, 3, patch, patch), "patch_embed.proj.bias": (width,)}
    for i in range(SIZES["depth"]):
        layers = {"norm1": (width,), "norm2": (width,), "attn.qkv": (3 * width, width), "attn.proj": (width, width)}
        layers |= {"mlp.fc1": (inner, width), "mlp.fc2": (width, inner)}
        for layer, shape in layers.items():
            shapes |= {f"blocks.{i}.{layer}.weight": shape, f"blocks.{i}.{layer}.bias": shape[:1]}
    shapes |= {"norm.weight": (width,), "norm.bias": (width,)}
    return {f"{name}.{key}": draw(*shape) for key, shape in shapes.items()}


def bert(draw, name, layers=4, fusion=2, head=True):
    width, inner, vocab = SIZES["width"], SIZES["inner"], SIZES["vocab"]
    base = f"{name}.bert" if head else name
    shapes = {"embeddings.word_embeddings.weight": (vocab, width), "embeddings.LayerNorm.weight": (width,)}
    shapes |= {"embeddings.position_embeddings.weight": (20, width), "embeddings.LayerNorm.bias": (width,)}
    shapes |= {"embeddings.token_type_embeddings.weight": (2, width)}
    for i in range(layers):
        parts = {"intermediate.dense": (inner, width), "output.dense": (width, inner), "output.LayerNorm": (width,)}
        for attention in ["attention", "crossattention"][: 1 + (i >= layers - fusion)]:
            parts |= {f"{attention}.self.{part}": (width, width) for part in ("query", "key", "value")}
            parts |= {f"{attention}.output.dense": (width, width), f"{attention}.output.LayerNorm": (width,)}
        for part, shape in parts.items():
            shapes |= {f"encoder.layer.{i}.{part}.weight": shape, f"encoder.layer.{i}.{part}.bias": shape[:1]}
    weights = {f"{base}.{key}": draw(*shape) for key, shape in shapes.items()}
    weights[f"{base}.embeddings.position_ids"] = torch.arange(20)[None]
    if head:
        cls = f"{name}.cls.predictions"
        weights |= {f"{cls}.bias": draw(vocab), f"{cls}.transform.dense.weight": draw(width, width)}
        for part in ("dense.bias", "LayerNorm.weight", "LayerNorm.bias"):
            weights[f"{cls}.transform.{part}"] = draw(width)
        weights[f"{cls}.decoder.weight"] = weights[f"{base}.embeddings.word_embeddings.weight"]
        weights[f"{cls}.decoder.bias"] = weights[f"{cls}.bias"]
    return weights


def checkpoint(kind="pretraining"):
    """All names and, in small, the shapes of `ALBEF.pth` or of a retrieval checkpoint."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return 0.2 * torch.randn(*shape, generator=generator, dtype=torch.float64)

    head, width, dim, queue = kind == "pretraining", SIZES["width"], SIZES["dim"], SIZES["queue"]
    weights = {"temp": torch.tensor(0.05, dtype=torch.float64)}
    for end in ("", "_m"):
        weights |= vision(draw, f"visual_encoder{end}") | bert(draw, f"text_encoder{end}", head=head)
        for name in ("vision_proj", "text_proj"):
            weights |= {f"{name}{end}.weight": draw(dim, width), f"{name}{end}.bias": draw(dim)}
    weights |= {"itm_head.weight": draw(2, width), "itm_head.bias": draw(2)}
    for name in ("image_queue", "text_queue"):
        weights[name] = F.normalize(draw(dim, queue), dim=0)
    weights["queue_ptr"] = torch.tensor([2])
    if kind == "retrieval":
        weights["idx_queue"] = torch.arange(queue)[None]
    return weights


def run_vision(weights, pixels, name="visual_encoder", heads=2):
    """The tokens of images, `(batch, 1 + places, width)`."""
    w = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
    x = F.conv2d(pixels, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=SIZES["patch"])
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([w["cls_token"].expand(len(x), -1, -1), x], dim=1) + w["pos_embed"]
    width = x.shape[-1]

    def norm(x, key):
        return F.layer_norm(x, (width,), w[f"{key}.weight"], w[f"{key}.bias"], eps=1e-6)

    def linear(x, key):
        return F.linear(x, w[f"{key}.weight"], w[f"{key}.bias"])

    for i in range(SIZES["depth"]):
        q, k, v = linear(norm(x, f"blocks.{i}.norm1"), f"blocks.{i}.attn.qkv").chunk(3, dim=-1)
        x = x + linear(attend(q, k, v, heads), f"blocks.{i}.attn.proj")
        x = x + linear(F.gelu(linear(norm(x, f"blocks.{i}.norm2"), f"blocks.{i}.mlp.fc1")), f"blocks.{i}.mlp.fc2")
    return norm(x, "norm")


def run_bert(weights, ids=None, hidden=None, image=None, base="text_encoder.bert", layers=(), heads=2):
    """Some layers of BERT on whole sentences; those with cross-attention look at the image."""

    def norm(x, key):
        return F.layer_norm(
            x, (x.shape[-1],), weights[f"{base}.{key}.weight"], weights[f"{base}.{key}.bias"], eps=1e-12
        )

    def linear(x, key):
        return F.linear(x, weights[f"{base}.{key}.weight"], weights[f"{base}.{key}.bias"])

    def attention(x, seen, key):
        q, k, v = (linear(s, f"{key}.self.{part}") for s, part in ((x, "query"), (seen, "key"), (seen, "value")))
        return norm(linear(attend(q, k, v, heads), f"{key}.output.dense") + x, f"{key}.output.LayerNorm")

    if hidden is None:
        table = {k: weights[f"{base}.embeddings.{k}_embeddings.weight"] for k in ("word", "position", "token_type")}
        hidden = table["word"][ids] + table["position"][: ids.shape[1]] + table["token_type"][0]
        hidden = norm(hidden, "embeddings.LayerNorm")
    for i in layers:
        key = f"encoder.layer.{i}"
        hidden = attention(hidden, hidden, f"{key}.attention")
        if f"{base}.{key}.crossattention.self.query.weight" in weights:
            hidden = attention(hidden, image, f"{key}.crossattention")
        inner = F.gelu(linear(hidden, f"{key}.intermediate.dense"))
        hidden = norm(linear(inner, f"{key}.output.dense") + hidden, f"{key}.output.LayerNorm")
    return hidden


def attend(query, key, value, heads):
    """Attention of every head alone."""
    found = []
    for q, k, v in zip(*(x.chunk(heads, dim=-1) for x in (query, key, value)), strict=True):
        found.append((q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(-1) @ v)
    return torch.cat(found, dim=-1)
