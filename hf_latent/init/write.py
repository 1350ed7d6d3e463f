"""The recipe as a commented file, checked before it is written."""

import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ..errors import UserError, printable
from ..files import replace
from ..recipe import load_recipe
from .fit import fitted, values_of
from .guess import Guess, guess
from .look import look

STEPS = 1000  # of training, about
EPOCHS, BATCH = 50, 128  # at most
LEAST = 8  # rows of a batch
UNKNOWN_EPOCHS = 10
WIDTH = 100  # of a line, about

CLIP = """\
  # To begin with a pretrained CLIP: write clip: openai/clip-vit-base-patch32 in place of modalities and
  # projection_dim, leave data.tokenizers out, and write views: {image: {kind: image}, text: {kind: none}} and a
  # training.learning_rate of 1.0e-5.
"""
COMM = """\
  # comm would fuse all modalities into one vector: write type: comm, and embed_dim: 64 in place of projection_dim.
"""


def init(
    data: str,
    output: Path | None = None,
    columns: Mapping[str, str | list[str]] | None = None,
    config: str | None = None,
    force: bool = False,
) -> Path:
    """Write a recipe for data, and say line by line what was guessed.

    Args:
        data: A file, a folder, or the id of a data set of the Hub.
        output: The recipe; by default a file in the current folder with the name of the data.
        columns: The columns of the modalities, where they are not to be guessed.
        config: The configuration of a data set of the Hub.
        force: Write over a file that is there.

    Returns:
        The recipe.

    Raises:
        UserError: If no recipe can be written that trains, or the file is there already; nothing is written then.
    """
    target = Path(f"{_name(data)}.yaml") if output is None else output
    if target.is_dir() or not target.parent.is_dir():
        raise UserError(f"--output {target}: write the name of a file, in a folder that is there")
    if target.exists() and not force:
        raise UserError(f"{target} is there already: write another --output, or --force to write over it")
    found = look(data, config)
    chosen, rows = fitted(guess(found, columns))
    values = {**values_of(chosen), "training": _training(chosen, rows)}
    reasons = _reasons(chosen, values["training"], rows)
    text = _text(chosen, values, reasons, target)
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "recipe.yaml"
        trial.write_text(text, encoding="utf-8", newline="\n")
        try:
            whole = load_recipe(trial).values == values
        except UserError as error:
            raise UserError(f"{data}: {str(error).removeprefix(f'{trial}: ')}") from error
        if not whole:
            raise UserError(f"{data}: a name of a column or of a file cannot stand in a recipe: rename it")
    for line in _told(chosen, values, reasons):
        print(printable(line))
    beside = target.with_name(f".{target.name}.writing")
    beside.write_text(text, encoding="utf-8", newline="\n")
    replace(beside, target)
    print(f"\nRecipe: {target}   train it: hf-latent train {target}")
    return target


def _name(data: str) -> str:
    path = Path(data)
    name = (path.resolve() if path.exists() else path).name
    name = Path(name).stem if path.is_file() else name
    return re.sub(r"[^\w.-]+", "_", name).strip("._-") or "recipe"


def _training(guess: Guess, rows: int | None) -> dict[str, Any]:
    batch = BATCH
    if rows is not None:
        while batch > LEAST and batch > rows // 4:
            batch //= 2
        batch = min(batch, rows)
    epochs = UNKNOWN_EPOCHS if rows is None else max(1, min(EPOCHS, STEPS * batch // rows))
    training: dict[str, Any] = {
        "num_train_epochs": epochs,
        "global_batch_size": batch,
        "learning_rate": 1.0e-3,
        "weight_decay": 1.0e-4,
    }
    if guess.validation_share is not None or "validation" in guess.splits:
        training |= {"eval_strategy": "epoch"}
    return {**training, "save_strategy": "epoch", "save_total_limit": 1}


def _reasons(guess: Guess, training: Mapping[str, Any], rows: int | None) -> dict[str, str]:
    """Why, by the dotted key."""
    place, number = guess.found.place, "an unknown number of" if rows is None else f"{rows:,}"
    found = {"model.type": guess.model.why, "data.path": place.what}
    if not place.is_on_hub and place.options:
        found["data.options"] = "seen from the folder in which the command runs"
    for name, own in guess.modalities.items():
        found[f"data.columns.{name}"] = own.why
        found[f"model.modalities.{name}"] = own.suggestion.about
    if guess.model.value == "comm":
        found["views"] = "how the two views of a row are augmented"
    else:
        found["views"] = "sizes, and augmentations of second views, which only in_modal and regularizers use"
    if guess.ids is not None:
        found["data.ids"] = guess.ids.why
    found |= {f"data.labels.{name}": choice.why for name, choice in guess.labels.items()}
    if guess.found.split_column is not None:
        found["data.split_column"] = f"names the split of each row: {', '.join(guess.found.splits)}"
    found |= {f"data.splits.{role}": choice.why for role, choice in guess.splits.items()}
    found |= {f"data.{key}": choice.why for key, choice in guess.reading.items()}
    found["data.tokenizers"] = "made of the words of the training rows"
    if guess.validation_share is not None:
        found["data.validation_share"] = guess.validation_share.why
    found["training.global_batch_size"] = f"rows that are contrasted with each other, of {number} to train on"
    batch, epochs = training["global_batch_size"], training["num_train_epochs"]
    steps = None if rows is None else epochs * (rows // batch)
    found["training.num_train_epochs"] = "the rows are not known" if steps is None else f"{steps:,} steps"
    found["training.eval_strategy"] = "the validation rows are measured after each"
    return {key: " ".join(printable(why).split()) for key, why in found.items() if why}


def _text(guess: Guess, values: Mapping[str, Any], reasons: Mapping[str, str], target: Path) -> str:
    place = guess.found.place
    head = [f"What hf-latent init guessed of {place.data}, {place.what}. Train it: hf-latent train {target}"]
    head += [guess.found.note[:1].upper() + guess.found.note[1:] + "."] if guess.found.note else []
    if place.is_on_hub:
        head.append("Labels and ids are by types and names alone, and nothing was tried.")
    head += [f"{note}." for note in guess.notes]
    head.append("Without a section evaluation, all benchmarks are run that columns, labels and the model allow.")
    parts = ["".join(f"# {' '.join(printable(line).split())}\n" for line in head)]
    for section, content in values.items():
        parts.append("".join(_lines(section, content, reasons)))
        if section == "model" and guess.model.value == "latent_clip":
            kinds = [own.kind for own in guess.modalities.values()]
            parts[-1] += CLIP if sorted(guess.modalities) == ["image", "text"] == sorted(kinds) else ""
            parts[-1] += COMM if len(kinds) > 2 else ""
    parts[1] = parts[0] + parts[1]
    return "\n".join(parts[1:])


def _lines(key: str, value: Any, reasons: Mapping[str, str], depth: int = 0) -> Iterator[str]:
    """A key and its value as YAML, with the reason behind."""
    name, why = key.rpartition(".")[2], reasons.get(key, "")
    pad, comment = "  " * depth, f" # {why}" if why else ""
    said = any(reason.startswith(f"{key}.") for reason in reasons)
    flow = _flow(value)
    if isinstance(value, Mapping) and value and (said or not depth or len(pad) + len(name) + len(flow) > WIDTH):
        yield f"{pad}{_flow(name)}:{comment}\n"
        for own, part in value.items():
            yield from _lines(f"{key}.{own}", part, reasons, depth + 1)
    else:
        yield f"{pad}{_flow(name)}: {flow}{comment}\n"


def _flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, float):
        return f"{value:.1e}".replace("e-0", "e-") if 0 < value < 0.01 else repr(value)
    said = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True, sort_keys=False)
    return said.removesuffix("\n").removesuffix("\n...")


def _told(guess: Guess, values: Mapping[str, Any], reasons: Mapping[str, str]) -> Iterator[str]:
    """What was guessed, a line each."""
    yield f"{guess.found.place.data}: {guess.found.place.what}"
    if guess.found.note:
        yield guess.found.note
    for key, why in reasons.items():
        if key.startswith(("model.modalities", "views", "data.path")):
            continue
        value: Any = values
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            yield f"  {key}: {value if isinstance(value, str) else _flow(value)} ({why})"
    yield from (f"  {note}" for note in guess.notes)
