"""Between two models: the weights of a model and those of its fine-tuned copy, mixed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from .benchmark_files import BenchmarkFile, check_names, load_benchmark, measure_files
from .errors import UserError
from .evaluation import Measurement
from .finished import find_run, load_finished
from .plots import Mixed, plot_mixing
from .recipe import parse_data, parse_evaluation
from .recipe_file import in_file, read_values
from .results import as_data, columns, markdown, table
from .runs import RECIPE
from .training.checkpoints import staged_files
from .trust import permitted, use_plugins

WEIGHTS = tuple(number / 10 for number in range(11))
ROLES = ("source", "target")
TABLE, FIGURE, DATA = "interpolation.md", "interpolation.png", "interpolation.json"


def interpolate(
    first: str,
    second: str,
    output: Path,
    names: Sequence[str] = (),
    weights: Sequence[float] = WEIGHTS,
    save: float | None = None,
    trust_recipe: bool = False,
    progress: bool = True,
) -> dict[str, dict[str, Measurement]]:
    r"""Measure the models between two, \(\theta = (1 - \alpha) \theta_1 + \alpha \theta_2\), as WiSE-FT does.

    Fine-tuning makes a model better at its target and worse at what it could before; a mixture is often nearly as good
    at both. Every tensor of floats is mixed, the logarithm of the temperature among them; others are those of the
    second model. Of a model with merged low-rank adapters this scales them.

    Args:
        first: The model that fine-tuning began with: a run folder, or the id of a model on the Hub.
        second: The fine-tuned one.
        output: A folder for `interpolation.md`, `.png` and `.json`; with `save` that of a model, too.
        names: Benchmark files to measure on; by default the data of both recipes, as `source` and `target`.
        weights: \(\alpha\), from 0 to 1.
        save: Keep the model of this weight in `output`.
        trust_recipe: Read what recipes that were not written here name.
        progress: Show progress bars.

    Returns:
        What was measured at each weight.

    Raises:
        UserError: If the models are not of one shape, or cannot be measured there; nothing is written then.

    Source: Wortsman et al., "Robust Fine-tuning of Zero-Shot Models", CVPR 2022.
    """
    chosen = _checked(weights, save)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"--output {output}: it is there already: remove it, or write another folder")
    folders = [find_run(run) for run in (first, second)]
    for folder in folders:
        use_plugins(folder, trust_recipe)
    files = [load_benchmark(name) for name in names] if names else _of_recipes(folders, trust_recipe)
    check_names(files)
    (start, _), (model, processor) = (load_finished(*pair) for pair in zip((first, second), folders, strict=True))
    for run, own in ((first, start), (second, model)):
        if getattr(own, "calibration", None) is not None and own.drop_calibration():
            print(f"{run} is calibrated, by statistics of its weights that do not hold between models: left out")
    ends = _weights_of(start, first), _weights_of(model, second)
    _check_shapes(ends, first, second)
    del start
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        print("The model has BatchNorm: its running statistics are mixed, too, and are not those of the mixed weights")
    found: dict[str, dict[str, Measurement]] = {}
    for weight in chosen:
        print(f"Weight {weight:g} of {second}:")
        _mix(model, ends, weight)
        found[f"{weight:g}"] = {m.key: m for m in measure_files(files, model, processor, progress)}
    print("\n" + table(found))
    output.mkdir(parents=True, exist_ok=True)
    with staged_files(output) as staging:
        (staging / TABLE).write_text(_page(found, first, second, files), encoding="utf-8", newline="\n")
        told = {"first": first, "second": second, "weights": as_data(found)}
        (staging / DATA).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8", newline="\n")
        plot_mixing(_drawn(found), [float(weight) for weight in found], staging / FIGURE)
    if save is not None:
        _mix(model, ends, save)
        model.cpu().save_pretrained(output)
        processor.save_pretrained(output)
        print(f"Model of weight {save:g}: {output}")
    print(f"\nTable: {output / TABLE}   picture: {output / FIGURE}")
    return found


def _checked(weights: Sequence[float], save: float | None) -> list[float]:
    for weight in (*weights, *([] if save is None else [save])):
        if not 0 <= weight <= 1:
            raise UserError(f"weight {weight:g}: write numbers from 0, the first model, to 1, the second")
    if not weights:
        raise UserError("--weights: write one or more numbers from 0 to 1")
    return sorted(set(weights))


def _of_recipes(folders: Sequence[Path], trust: bool) -> list[BenchmarkFile]:
    """What the recipes of both runs were measured on; once where it is the same."""
    found: list[BenchmarkFile] = []
    for role, folder in zip(ROLES, folders, strict=True):
        if not (folder / RECIPE).is_file():
            raise UserError(f"{folder} holds no {RECIPE}: say what to measure on by --on")
        values = read_values(folder / RECIPE)
        with in_file(folder / RECIPE):
            source, evaluation = parse_data(values["data"]), parse_evaluation(values.get("evaluation") or {})
        source, evaluation = permitted(source, folder, trust), replace(evaluation, also=[])
        if not found or source != found[0].source:
            found.append(BenchmarkFile(role, source, evaluation))
    return found


def _weights_of(model: nn.Module, run: str) -> dict[str, Tensor]:
    found = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    for name, tensor in found.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise UserError(f"{run}: the weight {name} is not finite")
    return found


def _check_shapes(ends: tuple[Mapping[str, Tensor], Mapping[str, Tensor]], first: str, second: str) -> None:
    shapes = [{name: tuple(tensor.shape) for name, tensor in end.items()} for end in ends]
    different = sorted(set(shapes[0].items()) ^ set(shapes[1].items()))
    if different:
        name = different[0][0]
        told = [str(own.get(name, "missing")) for own in shapes]
        raise UserError(
            f"{first} and {second} are no models of one shape, so nothing lies between them: {name} is {told[0]} and "
            f"{told[1]}"
        )


@torch.no_grad()
def _mix(model: nn.Module, ends: tuple[Mapping[str, Tensor], Mapping[str, Tensor]], weight: float) -> None:
    first, second = ends
    mixed = {
        name: torch.lerp(first[name].to(tensor), tensor, weight)
        if tensor.is_floating_point() and weight < 1
        else tensor
        for name, tensor in second.items()
    }
    model.load_state_dict(mixed)


def _page(
    found: Mapping[str, Mapping[str, Measurement]], first: str, second: str, files: Sequence[BenchmarkFile]
) -> str:
    head = [
        f"# Between {first} and {second}",
        f"Weight 0 is {first}, weight 1 is {second}, and every weight between is a mixture of both.",
        f"Measured on {', '.join(file.name for file in files)}.",
        _markdown(found),
        f"![What each weight reaches]({FIGURE})",
    ]
    return "\n\n".join(head) + "\n"


def _markdown(found: Mapping[str, Mapping[str, Measurement]]) -> str:
    rows = {
        name: {key: {"mean": m.value, "std": 0.0, "runs": 1} for key, m in row.items()} for name, row in found.items()
    }
    return markdown(rows, next(iter(found.values())), "weight")


def _drawn(found: Mapping[str, Mapping[str, Measurement]]) -> list[Mixed]:
    """The measurements that tables show, in percent."""
    heads = {key: m for key, m in columns(found).items() if m.unit == "%"}
    if not heads:
        heads = {key: m for row in found.values() for key, m in row.items() if m.unit == "%"}
    rows = list(found.values())
    return [
        Mixed(m.short or key, [row[key].value for row in rows], m.chance)
        for key, m in heads.items()
        if all(key in row for row in rows)
    ]
