"""LatentCLIP and CoMM on sound, cells of a table, series and clips, of several lengths, of which rows lack some."""

import numpy as np
from torch.utils.data import Dataset
from transformers import set_seed

from hf_latent import (
    CoMMConfig,
    CoMMModel,
    CoMMProcessor,
    LatentCLIPConfig,
    LatentCLIPModel,
    LatentTrainer,
    Views,
    build_view,
)
from hf_latent.models.tables import find_cells
from tests.models.small import ENCODERS

RATE = 800


class RandomRecordings(Dataset):
    """Sounds of 60 to 300 samples, three cells of which some are missing, series of 2 to 12 steps, clips of 2 to 4
    frames. Processes have other longest ones, and so other padding."""

    def __len__(self):
        return 52

    def __getitem__(self, i):
        draw = np.random.default_rng(i)
        color = None if i % 6 == 2 else ("red", "green", "blue")[i % 3]
        return {
            "audio": {"array": draw.normal(size=60 + 20 * (i % 13)).astype("float32"), "sampling_rate": RATE},
            "table": [float(draw.normal()), color, None if i % 7 == 3 else i / 10],
            "series": draw.normal(size=(2 + i % 11, 3)).astype("float32"),
            "video": draw.integers(0, 256, (2 + i % 3, 12, 12, 3)).astype("uint8"),
            "ids": i,
        }


def build_trainer(model, rows_and_collator, arguments, double=True):
    """
    Args:
        model: `clip` or `comm`.
        rows_and_collator: Of the rows, the processor, the views and the names of the modalities.
        arguments: Of the Trainer.
    """
    set_seed(0)
    rows = RandomRecordings()
    cells = find_cells([rows[i]["table"] for i in range(len(rows))])
    audio = {"channels": [8, 8], "sampling_rate": RATE, "max_seconds": 0.5, "bins": 8, "window": 40, "hop": 16}
    towers = {
        "audio": {"encoder": "audio_cnn", **audio},
        "table": {"encoder": "table", "cells": cells, "hidden_dims": [6], "token_dim": 8},
        "series": ENCODERS["series"],
        "video": {"encoder": "cnn", "channels": [8], "frames": 2},
    }
    if model == "clip":
        made = LatentCLIPModel(LatentCLIPConfig(modalities=towers, projection_dim=8, in_modal=True))
    else:
        heads = {"embed_dim": 16, "fusion_heads": 4, "projection_hidden_dim": 16, "projection_dim": 8}
        made = CoMMModel(CoMMConfig(modalities=towers, **heads))
    kinds = {name: {"kind": name, **made.encoders[name].processor_options} for name in towers}
    kinds["video"]["size"] = 16
    views = {name: build_view(name) for name in ("audio", "series")}
    views |= {"table": build_view("cells").for_modality(kinds["table"]), "video": build_view("video", size=16)}
    processor, made_views = CoMMProcessor(kinds), Views(views, seed=0)
    return LatentTrainer(
        model=made.double() if double else made,
        args=arguments,
        views=made_views,
        **rows_and_collator(rows, processor, made_views, tuple(towers), True),
        processing_class=processor,
    )
