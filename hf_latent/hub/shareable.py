"""What others may see of a run: the files of an allow-list, without the paths and names of the machine it ran on."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import yaml
from huggingface_hub import get_token
from safetensors import safe_open
from safetensors.torch import save_file
from transformers.dynamic_module_utils import get_relative_import_files
from transformers.trainer import TRAINER_STATE_NAME

from ..errors import UserError, blamed_on
from ..files import replace
from ..models.embeddings import TRAINING_STATE
from ..runs import CONFIG, METRICS, RECIPE, read_json, read_metrics, refuse_links, run_file
from .card import ADAPTER, CARD, render_card
from .card_fields import one_line, shareable
from .contents import (
    SAVE_AGAIN,
    auto_maps,
    check_adapter,
    check_index,
    check_tokenizer_file,
    check_weights_file,
    finite,
    modules_of,
    published_metrics,
    published_settings,
    write_picture,
)

WEIGHTS, INDEX = ("model.safetensors", "adapter_model.safetensors"), "model.safetensors.index.json"
FILES = (
    *WEIGHTS,
    INDEX,
    "model-*-of-*.safetensors",
    "adapter/adapter_model.safetensors",
    "tokenizer.json",
    "tokenizer_*/tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)
FIGURES = ("figures/*.png",)
# JSON that is written by libraries, and may name folders of this machine.
SETTINGS = (
    CONFIG,
    ADAPTER,
    f"adapter/{ADAPTER}",
    "processor_config.json",
    "preprocessor_config.json",
    "tokenizer_config.json",
    "tokenizer_*/tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
CHECKPOINT_KEYS = ("clip", "pretrained", "name_or_path", "_name_or_path", "base_model_name_or_path")
PATH = re.compile(r"(/|~[\\/]|\.\.?[\\/]|\\\\|[A-Za-z]:[\\/]|file:)\S")


def stage_run(run: Path, folder: Path, repository: str, card: str | None = None) -> None:
    """Put what may be published of a run into a folder: model, recipe, measurements, figures and card.

    What is left behind: checkpoints, the state of the optimizer and of the Trainer, its arguments, and every file that
    is not of a run.

    Args:
        run: A folder with a model in it.
        folder: Where to put it.
        repository: The name that it will have on the Hub.
        card: The text of the card. By default the run's own if somebody has edited it, else one that is written from
            what is published.

    Raises:
        UserError: If a file is missing, is a link to one outside of the run, holds what does not belong there (see
            `contents.py`), or tells a path of this machine or the token.
    """
    refuse_links(run, (RECIPE, METRICS, CARD, "figures", *FIGURES))
    stage_model(run, folder)
    for path in _found(run, FIGURES):
        write_picture(path, folder / path.relative_to(run))
    stage_recipe(run, folder)
    if (run / METRICS).is_file():
        _write(folder / METRICS, json.dumps(published_metrics(read_metrics(run)), indent=2) + "\n")
    _write(folder / CARD, card or _card(run, folder, repository))
    _refuse_private(folder, run)


def stage_model(run: Path, folder: Path, whole: bool = False) -> None:
    """All that `from_pretrained` reads: weights or adapters, config, processor, and the code for `trust_remote_code`.

    What only training needs of the weights of a checkpoint, momentum copy and queue, is left behind unless `whole`.

    Raises:
        UserError: If the folder holds no whole model.
    """
    check_weights(run)
    refuse_links(run, (*FILES, *SETTINGS, "adapter", "tokenizer_*"))
    if (run / INDEX).is_file():
        index = read_json(run / INDEX, SAVE_AGAIN)
        check_index(INDEX, index)
        for name in set(index["weight_map"].values()):
            run_file(run, name)
    for path in _found(run, FILES):
        if path.suffix == ".safetensors":
            check_weights_file(path)
        elif path.name == "tokenizer.json":
            check_tokenizer_file(path)
    stage_files(run, folder, FILES)
    if not whole:
        _leave_training_state(folder)
    stage_settings(run, folder, SETTINGS)
    for path in _code(run):
        shutil.copyfile(path, folder / path.name)
    _name_the_base(run, folder)


def check_weights(run: Path) -> None:
    """A UserError where there is no folder of that name, or no model in it."""
    if not any((run / name).is_file() for name in (*WEIGHTS, INDEX)):
        raise UserError(f"{run} holds no {WEIGHTS[0]}: name the folder of a finished run")


def _leave_training_state(folder: Path) -> None:
    """Write weights that hold it anew, without it; never through a link, into the run."""
    for path in _found(folder, ("model*.safetensors",)):
        with safe_open(path, "pt") as weights:
            names, metadata = list(weights.keys()), weights.metadata()
            kept = [name for name in names if not name.startswith(TRAINING_STATE)]
            tensors = {name: weights.get_tensor(name) for name in kept} if len(kept) < len(names) else {}
        if len(kept) < len(names):
            partial = path.with_name(f"{path.name}.partial")
            save_file(tensors, partial, metadata)
            tensors.clear()  # they are the old file, which Windows does not let go before
            replace(partial, path)
    if (folder / INDEX).is_file():
        index = read_json(folder / INDEX, "save the model again")
        index["weight_map"] = {k: v for k, v in index["weight_map"].items() if not k.startswith(TRAINING_STATE)}
        _write(folder / INDEX, json.dumps(index, indent=2) + "\n")


def stage_files(run: Path, folder: Path, patterns: tuple[str, ...]) -> None:
    """Link files, or copy them into another file system."""
    refuse_links(run, patterns)
    for path in _found(run, patterns):
        _link(path, folder / path.relative_to(run))


def stage_settings(run: Path, folder: Path, patterns: tuple[str, ...]) -> None:
    """JSON files, without the places on this machine that they name and without free text; it is said what is left."""
    refuse_links(run, patterns)
    left_out: list[str] = []
    for path in _found(run, patterns):
        before = read_json(path, SAVE_AGAIN)
        if path.name == ADAPTER:
            check_adapter(path.name, before)
        after = published_settings(path, without_paths(before), left_out)
        _write_json(folder / path.relative_to(run), after, unless=before, link=path)
    if left_out:
        print(f"Not published, as it is text that no reader of the file knows: {one_line(', '.join(left_out))}")


def stage_trainer_state(checkpoint: Path, folder: Path) -> None:
    """The state of the Trainer, without places on this machine; a measurement that is not finite becomes null."""
    refuse_links(checkpoint, (TRAINER_STATE_NAME,))
    path = run_file(checkpoint, TRAINER_STATE_NAME)
    before = read_json(path, "go on from another checkpoint")
    _write_json(folder / path.name, finite(without_paths(before)), unless=before, link=path)


def _write_json(target: Path, content: Any, *, unless: Any, link: Path) -> None:
    """Write JSON, or link the file that holds the same already."""
    if content == unless:
        _link(link, target)
    else:
        _write(target, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def stage_recipe(run: Path, folder: Path) -> None:
    """The recipe of a run without its private parts, if it has one."""
    if (run / RECIPE).is_file():
        with blamed_on(f"{run / RECIPE} cannot be read"):
            recipe = shareable(yaml.safe_load((run / RECIPE).read_text(encoding="utf-8")))
        _write(folder / RECIPE, yaml.safe_dump(recipe, sort_keys=False))


def without_paths(value: Any, key: str = "") -> Any:
    """A copy of nested settings in which no text names a place on this machine."""
    if isinstance(value, Mapping):
        return {k: without_paths(v, str(k)) for k, v in value.items() if not _is_local(v, str(k))}
    if isinstance(value, list | tuple):
        return [without_paths(v, key) for v in value if not _is_local(v, key)]
    return value


def _is_local(value: Any, key: str) -> bool:
    if not isinstance(value, str):
        return False
    # A name without a slash is a folder only where a checkpoint is expected, and transformers would take the folder.
    names_one = key in CHECKPOINT_KEYS or re.search(r"\w[\\/]\w", value)
    return bool(PATH.match(value)) or bool(value and names_one and len(value) < 4096 and os.path.exists(value))


def _found(run: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted({path for pattern in patterns for path in run.glob(pattern) if path.is_file()})


def _write(target: Path, text: str) -> None:
    """Never through a link, into the run."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.write_text(text, encoding="utf-8", newline="\n")


def _link(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(path.resolve(), target)
    except (AttributeError, OSError):  # another file system, or one without hard links
        shutil.copyfile(path, target)


def _code(run: Path) -> set[Path]:
    """The modules of this library that the settings name for `trust_remote_code`, and what these import of each other.

    They are those of the installed library, whatever lies in the run under their names; it is said where that differs.
    """
    found: set[Path] = set()
    for path in _found(run, SETTINGS):
        for auto_map in auto_maps(read_json(path, SAVE_AGAIN)):
            found |= modules_of(path.name, auto_map)
    found |= {Path(path) for module in found for path in get_relative_import_files(module)}
    other = [path.name for path in found if (run / path.name).is_file() and not _same(path, run / path.name)]
    if other:
        print(f"Published as the installed hf_latent has it, not as it lies in {run}: {', '.join(sorted(other))}")
    return found


def _same(one: Path, other: Path) -> bool:
    """Whether two source files hold the same lines."""
    return (
        one.read_text(encoding="utf-8").splitlines()
        == other.read_text(encoding="utf-8", errors="replace").splitlines()
    )


def _name_the_base(run: Path, folder: Path) -> None:
    """Adapters say what they adapt; PEFT knows it only where the model came from one checkpoint.

    Those of a checkpoint that is on this machine alone are of no use to others.
    """
    adapters = _found(folder, (ADAPTER, f"adapter/{ADAPTER}"))
    if not adapters or not (folder / CONFIG).is_file():
        return
    bases = _bases(folder)
    alone = sorted(_bases(run) - bases)
    for path in adapters:
        if alone and path.parent == folder:
            raise UserError(
                f"{run} holds adapters of {alone[0]}, which is on this machine alone: push that model, and train from "
                "its name on the Hub"
            )
        adapter = json.loads(path.read_text(encoding="utf-8"))
        if alone:
            shutil.rmtree(path.parent)  # what stays would be published
        elif len(bases) == 1 and not adapter.get("base_model_name_or_path"):
            _write(path, json.dumps({**adapter, "base_model_name_or_path": min(bases)}, indent=2) + "\n")


def _bases(folder: Path) -> set[str]:
    """The checkpoints that a config names as what training started from."""
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    with blamed_on(f"{CONFIG}: modalities"):
        towers = (config.get("modalities") or {}).values()
        return {config.get("clip"), *(spec.get("pretrained") for spec in towers)} - {None}


def _card(run: Path, folder: Path, repository: str) -> str:
    with blamed_on(f"{run / CARD} cannot be read"):
        own = (run / CARD).read_text(encoding="utf-8") if (run / CARD).is_file() else None
    if own is None or own == render_card(run):
        if own is not None:
            _write(folder / CARD, own)  # its license is kept
        return render_card(folder, repository=repository)
    return own


def _refuse_private(folder: Path, run: Path) -> None:
    """The last look: a card or code that somebody wrote by hand may tell what the allow-list cannot know."""
    home, token = Path.home(), get_token()
    private = {
        "your home folder": _spellings(home, "/") if len(home.parts) > 1 else set(),
        "the folder of the run": _spellings(run.resolve()),
        "your token": {token} if token else set(),
    }
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".md", ".json", ".py", ".txt", ".yaml"):
            text = path.read_text(encoding="utf-8", errors="replace")
            for what, spellings in private.items():
                if any(spelling in text for spelling in spellings):
                    raise UserError(f"{run / path.relative_to(folder)} tells {what}: take it out and push again")


def _spellings(path: PurePath, end: str = "") -> set[str]:
    """How a path may stand in a text: with the separators of Windows or of others, and as JSON and YAML escape it."""
    posix = f"{path.as_posix()}{end}"
    plain = {posix, posix.replace("/", "\\")}
    escaped = {json.dumps(text)[1:-1] for text in plain}
    return plain | escaped | {yaml.safe_dump(text, default_style='"', width=10_000).strip()[1:-1] for text in plain}
