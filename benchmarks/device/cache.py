"""The gradient cache at 16 times the batch that is embedded at once: rows a second and memory."""

from collections.abc import Iterator

import torch

from hf_latent.models.embeddings import Embeddings
from hf_latent.training.gradient_cache import cached_backward

from .common import Options, Row, half, peak_mib, seconds_a_step
from .towers import WORDS, latent_clip

TIMES = 16


def run(options: Options) -> Iterator[Row]:
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    shape, size, fits = (small, 32, 4) if options.toy else ({}, 224, 256)
    vit = {"model_type": "vit", "image_size": size, "patch_size": 16, **shape}
    model = latent_clip({"image": vit, "text": {"model_type": "bert", "vocab_size": 30_522, **shape}})
    model = model.to(options.device).train()
    device = torch.device(options.device)

    def rows(count: int) -> dict[str, torch.Tensor]:
        return {
            "pixel_values": torch.randn(count, 3, size, size, device=device),
            "input_ids": torch.randint(1000, 30_000, (count, WORDS), device=device),
        }

    def score(embeddings: Embeddings) -> torch.Tensor:
        return model.objective(model.score(embeddings), model.scale)[0]

    def plain(batch: dict[str, torch.Tensor]) -> None:
        with half(options.device):
            embeddings = model(**batch, return_loss=False)
        score(embeddings).backward()

    def cached(batch: dict[str, torch.Tensor]) -> None:
        def embed(start: int) -> Embeddings:
            part = {name: values[start : start + fits] for name, values in batch.items()}
            with half(options.device):
                return model(**part, return_loss=False)

        chunks = [lambda start=start: embed(start) for start in range(0, fits * TIMES, fits)]
        cached_backward(chunks, score, lambda loss: loss.backward(), device)

    for name, step, count in (("whole", plain, fits), (f"in chunks of {fits}", cached, fits * TIMES)):
        batch = rows(count)

        def once(step=step, batch=batch) -> None:
            model.zero_grad()
            step(batch)

        memory = peak_mib(once, options.device)
        seconds = seconds_a_step(once, options.device, 0.02 if options.toy else 4.0, warm_up=1)
        yield "ViT-B/16 + BERT in bf16", {"batch": count, "": name, "rows/s": count / seconds, "MiB": memory}
