"""Small models and batches of every kind of modality."""

import torch

from hf_latent import CoMMConfig, CoMMModel

ENCODERS = {
    "image": {"encoder": "cnn", "channels": [8, 16]},
    "series": {
        "encoder": "sequence",
        "input_dim": 3,
        "hidden_size": 10,
        "num_layers": 1,
        "num_heads": 2,
        "feedforward_dim": 16,
        "dropout": 0.0,
    },
    "table": {"encoder": "table", "input_dim": 4, "hidden_dims": [6], "token_dim": 8},
    "features": {"encoder": "features", "input_dim": 5},
}


def small_model(names=("image", "series"), seed=0, dtype=torch.float64, **options):
    torch.manual_seed(seed)
    defaults = {"embed_dim": 16, "fusion_heads": 4, "projection_hidden_dim": 12, "projection_dim": 8}
    config = CoMMConfig(modalities={name: ENCODERS[name] for name in names}, **{**defaults, **options})
    return CoMMModel(config).to(dtype)


def small_batch(names=("image", "series"), rows=6, seed=0, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=draw, dtype=dtype)  # noqa: E731
    lengths = torch.randint(2, 6, (rows, 1), generator=draw)
    mask = (torch.arange(5) < lengths).long()
    batch = {
        "image": {"pixel_values": normal(rows, 3, 16, 16)},
        "series": {"values": normal(rows, 5, 3), "attention_mask": mask},
        "table": {"values": normal(rows, 4)},
        "features": {"values": normal(rows, 2, 5)},
    }
    return {name: batch[name] for name in names}
