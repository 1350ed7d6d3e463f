"""Trifeature as a data set of the Hub: the pictures, and the pairs of them with their labels."""

import tempfile
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..citations import DUFUMIER_2025, HERMANN_2020
from ..data.trifeature import COLORS, SPLITS, TEXTURES, Trifeature, check_options, load_trifeature
from ..errors import UserError
from ..resources import resource_path
from .push import check_repo_id, log_in, publish_folder

TEMPLATE = "dataset_trifeature.md.jinja"
ROW_GROUP = 10_000
SIZES = ((100_000, "100K<n<1M"), (10_000, "10K<n<100K"), (1_000, "1K<n<10K"), (0, "n<1K"))


def push_trifeature(
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    max_pairs: int = 10_000,
    progress: bool = False,
    **options: Any,
) -> str:
    """Draw Trifeature and publish it in one commit, for `load_dataset(repo_id, "images" | "pairs" | "pairs_biased")`.

    Args:
        repo_id, private, revision: As of `hf_latent.hub.push.publish_folder`.
        max_pairs: At most this many pairs a split.
        progress: Show a progress bar while it is drawn.
        **options: Of `load_trifeature`: `image_size`, `renders`, `test_renders`, `seed`, `texture_period`.

    Returns:
        The URL of the data set.

    Raises:
        UserError: If an option cannot be used, or `publish_folder` raises one.
    """
    check_repo_id(repo_id)
    try:
        check_options(**options, max_pairs=max_pairs)
    except ValueError as error:
        raise UserError(str(error)) from None
    log_in()  # before minutes of work
    with tempfile.TemporaryDirectory() as temporary:
        try:
            trifeature = load_trifeature(**options, progress=progress)
            stage_trifeature(Path(temporary), repo_id, trifeature, {**options, "max_pairs": max_pairs})
        except UserError:
            raise
        except ValueError as error:
            raise UserError(str(error)) from None
        return publish_folder(
            Path(temporary),
            repo_id,
            repo_type="dataset",
            private=private,
            revision=revision,
            message="Push Trifeature with hf_latent",
        )


def stage_trifeature(folder: Path, repo_id: str, trifeature: Trifeature, options: dict[str, Any]) -> None:
    """Write the Parquet files and the card, which tells the options, into an empty folder.

    The same arguments give the same bytes.
    """

    def pairs(biased: bool) -> dict[str, Any]:
        return {split: trifeature.pairs(split, biased, options["max_pairs"]).to_dataset() for split in SPLITS}

    configs = {"images": trifeature.to_dataset(), "pairs": pairs(False), "pairs_biased": pairs(True)}
    for name, splits in configs.items():
        (folder / name).mkdir()
        for split, rows in splits.items():
            _write(rows, folder / name / f"{split}.parquet")
    rows = {name: {split: len(rows) for split, rows in splits.items()} for name, splits in configs.items()}
    (folder / "README.md").write_text(_card(repo_id, trifeature, rows, options), encoding="utf-8", newline="\n")


def _write(rows: Any, path: Path) -> None:
    """Each picture once a file, however many pairs show it: a column is a dictionary of its values."""
    import pyarrow.parquet

    table = rows.with_format("arrow")[:].cast(rows.features.arrow_schema)
    pyarrow.parquet.write_table(table, path, row_group_size=ROW_GROUP, dictionary_pagesize_limit=2**30)


def _card(repo_id: str, trifeature: Trifeature, rows: dict[str, dict[str, int]], options: dict[str, Any]) -> str:
    configs = [
        {
            "config_name": name,
            **({"default": True} if name == "images" else {}),
            "data_files": [{"split": split, "path": f"{name}/{split}.parquet"} for split in splits],
        }
        for name, splits in rows.items()
    ]
    largest = max(count for splits in rows.values() for count in splits.values())
    data = DatasetCardData(
        license="apache-2.0",
        pretty_name="Trifeature",
        size_categories=[next(size for least, size in SIZES if largest >= least)],
        task_categories=["image-classification", "image-feature-extraction"],
        tags=["multimodal", "contrastive-learning", "synthetic", "hf_latent"],
        configs=configs,
    )
    template = resource_path("model_cards", TEMPLATE)
    environment = Environment(
        loader=FileSystemLoader(template.parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    mapping = {texture: COLORS[color] for texture, color in zip(TEXTURES, trifeature.mapping, strict=True)}
    flags = "".join(f" --{name.replace('_', '-')} {value}" for name, value in options.items())
    size = trifeature.train.images.shape[1]
    body = environment.get_template(template.name).render(
        repo_id=repo_id, rows=rows, mapping=mapping, size=size, flags=flags, citations=[HERMANN_2020, DUFUMIER_2025]
    )
    return f"---\n{data.to_yaml(line_break=chr(10)).strip()}\n---\n\n{body}"
