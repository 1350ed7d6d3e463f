"""Several runs: put them side by side, or train one data set with many structures."""

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from . import experiment
from .data.loaded import TargetKind
from .errors import UserError, blamed_on, suggest
from .evaluation import Measurement
from .metrics.correlation import partial_rank_correlation, rank_correlation
from .options import checked
from .plots import MAX_RUNS, PERCENT, Axis, Bars, plot_comparison, plot_rows, plot_trade_offs
from .recipe import Recipe, find_recipe, load_recipe, without_progress
from .recipe_file import read_values
from .results import columns, group_of, markdown, read, table
from .runs import read_metrics
from .training.checkpoints import staged_files

SPACE = "The structure of the space"
FEWEST = 3  # runs that a correlation is of
MOST_PRIVATE = 2  # labels that a figure of a study draws
KEYS = ("recipe", "seeds", "changes", "structures", "then", "against")


def compare(runs: Sequence[Path], output: Path | None = None) -> Path:
    """Print the metrics of runs side by side, and draw them as bars: a panel for each kind of measure that one has.

    Args:
        runs: Run folders; each is called by its folder's name, or by its path where two have the same name.
        output: The picture, which is overwritten; by default `comparison.png` beside the first run, or, where that
            exists, `comparison_2.png`, `comparison_3.png` ...

    Returns:
        The path of the picture.

    Raises:
        UserError: If there are too many runs, or nothing that can be drawn was measured of any.
    """
    found = read_runs(runs)
    print(table(found))
    if len(found) > MAX_RUNS:
        raise UserError(f"the picture holds at most {MAX_RUNS} runs, not {len(found)}: compare fewer at a time")
    panels = _panels(found)
    if not panels:
        raise UserError(
            f"{', '.join(found)}: nothing that can be drawn was measured: see metrics.json of each run, or "
            "write those of an earlier version anew with hf-latent evaluate RUN"
        )
    path = output or _free(runs[0].resolve().parent / "comparison.png")
    with blamed_on("the picture cannot be drawn"):
        plot_comparison(panels, list(found), path)
    print(f"\nPicture: {path}")
    return path


def read_runs(runs: Sequence[Path]) -> dict[str, dict[str, Measurement]]:
    """What was measured of runs, each by its folder's name, or by its path where two have the same name."""
    return {name: read(read_metrics(run)) for name, run in _named(runs).items()}


def _named(runs: Sequence[Path]) -> dict[str, Path]:
    """Each run once, by its folder's name, or by its path where two have the same name."""
    folders: dict[Path, Path] = {}
    for run in runs:
        folders.setdefault(run.resolve(), run)
    names = [folder.name for folder in folders]
    return {str(run) if names.count(folder.name) > 1 else folder.name: run for folder, run in folders.items()}


def _free(path: Path) -> Path:
    """A path, or the same with a number where there is such a file."""
    numbered = (path.with_stem(f"{path.stem}_{number}") for number in itertools.count(2))
    return next(found for found in itertools.chain([path], numbered) if not found.exists())


def _panels(found: Mapping[str, Mapping[str, Measurement]]) -> dict[str, Bars]:
    """What runs reach, by group of measurements, on axes that do not depend on the runs.

    What describes the space is one panel: its measures are 0 to 1, and the modality gap 2 at most. A group whose
    numbers have no common axis, such as those of a file without descriptions, has none.
    """
    shown: dict[str, dict[str, Measurement]] = {}
    order: dict[str, int] = {}
    for row in found.values():
        for key, measurement in row.items():
            structure = group_of(measurement).structure
            if _is_drawn(measurement) and (structure or measurement.unit == "%"):
                title = SPACE if structure else group_of(measurement).title
                shown.setdefault(title, {}).setdefault(key, measurement)
                order[title] = min(group_of(measurement).order, order.get(title, 100))
    panels = {}
    for title in sorted(shown, key=order.__getitem__):
        runs = {
            name: {_label(row[key]): (row[key].value, _chance(row[key])) for key in shown[title] if key in row}
            for name, row in found.items()
        }
        values = [value for cells in runs.values() for value, _ in cells.values()]
        top, unit = (1.0 if max(values) <= 1 else 2.0, "") if title == SPACE else (PERCENT, "%")
        panels[title] = Bars(unit, runs, top)
    return panels


KINDS = get_args(TargetKind)  # a group each


def _is_drawn(measurement: Measurement) -> bool:
    return measurement.headline or bool(measurement.short)


def _chance(measurement: Measurement) -> float:
    return float("nan") if measurement.chance is None else measurement.chance


def _label(measurement: Measurement) -> str:
    """What a measure is called below its bars."""
    if measurement.group in KINDS and measurement.headline and not measurement.data:
        return f"all {measurement.group}"
    return (measurement.short or measurement.key).replace("yes_no", "yes/no").replace("_", " ")


def _accuracies(found: Mapping[str, Measurement]) -> dict[str, Measurement]:
    """What a downstream run reaches, over all and by kind of question, by what it is called in a figure."""
    return {
        _label(measurement): measurement
        for measurement in found.values()
        if measurement.group in KINDS and measurement.unit == "%" and _is_drawn(measurement)
    }


def _information(found: Mapping[str, Measurement]) -> dict[str, Measurement]:
    """What a run keeps of redundant, unique and synergistic information, where synergy was measured, by what it is
    called in a figure."""
    told = {_label(m): m for m in columns({"": found}).values() if m.information and m.unit == "%"}
    return told if any(m.information == "synergistic" for m in told.values()) else {}


@dataclass(frozen=True)
class Against:
    """Two measurements that a study draws against each other, with their rank correlation over its runs.

    Args:
        x, y: Their keys in `metrics.json`.
        given: A third one, which is also held constant.
    """

    x: str
    y: str
    given: str | None = None


@dataclass(frozen=True)
class Study:
    """One recipe, trained with several structures and seeds.

    Attributes:
        name: Of the file.
        runs: The recipe of each `(structure, seed)`.
        then: Recipes that each run is fine-tuned with, one after the other.
        against: What is drawn against each other; by default what is shared against what one modality has alone.
    """

    name: str
    runs: dict[tuple[str, int], Recipe]
    then: tuple[str, ...] = ()
    against: tuple[Against, ...] = ()

    @property
    def structures(self) -> list[str]:
        return list(dict.fromkeys(structure for structure, _ in self.runs))

    @property
    def output_dir(self) -> Path:
        return next(iter(self.runs.values())).output_dir.parent


def load_study(source: str | Path, output_dir: Path | None = None) -> Study:
    """Read a study and check all of its recipes.

    Args:
        source: A YAML file, or the name of a study that ships with the package. Its keys are `recipe`, the recipe that
            all runs share; `changes`, what all change in it; `structures`, `{name: changes}`; `seeds`; and `then`, a
            recipe that each finished run is fine-tuned with (as its `model.pretrained`), whose results join the run's;
            of a list of recipes each begins with what the one before it trained, and the results of the last join;
            and `against`, a list of `{x, y, given}`, see [`Against`].
        output_dir: The folder of the runs; `outputs/<name>` by default.

    Raises:
        UserError: With the file, the key and what to write instead.
    """
    path = find_recipe(source)
    values = read_values(path)
    if not values.get("structures") or not values.get("recipe"):
        raise UserError(f"{path}: a study has the keys {', '.join(KEYS)}; a recipe is run with hf-latent train")
    for key in values:
        if key not in KEYS:
            raise UserError(f"{path}: unknown key {key!r}: {suggest(str(key), KEYS)}")
    seeds, structures = values.get("seeds", [42]), values["structures"]
    whole = isinstance(seeds, list) and all(isinstance(seed, int) and seed >= 0 for seed in seeds)
    if not whole or not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"{path}: seeds={seeds!r}: write a list of different whole numbers, 0 or more")
    if not isinstance(structures, dict) or not isinstance(values["recipe"], str):
        raise UserError(f"{path}: recipe is a name or a file, and structures are {{name: changes}}")
    for name, changes in (("changes", values.get("changes")), *structures.items()):
        if not isinstance(changes, dict | None):
            raise UserError(f"{path}: {name}: {changes!r}: write the sections and keys that change")
    folder = output_dir or Path("outputs") / path.stem
    runs = {}
    for structure, changes in cast(Mapping[str, Any], structures).items():
        if not re.fullmatch(r"[\w.+-]+", str(structure)):
            raise UserError(f"{path}: structure {structure!r} names a folder: use letters, digits and . _ + -")
        for seed in seeds:
            own = {"training": {"seed": seed, "output_dir": str(folder / f"{structure}_{seed}")}}
            try:
                recipe = load_recipe(values["recipe"], changes=[values.get("changes") or {}, changes or {}, own])
            except UserError as error:
                raise UserError(f"{path}: structure {structure!r}: {error}") from None
            runs[str(structure), seed] = recipe
    return Study(path.stem, runs, _chain(path, values.get("then")), _against(path, values.get("against")))


def _against(path: Path, written: Any) -> tuple[Against, ...]:
    """The measurements that `against` names."""
    own = [] if written is None else written
    if not isinstance(own, list) or not all(isinstance(each, dict) for each in own):
        raise UserError(f"{path}: against={written!r}: write a list of {{x: key, y: key}}, keys of metrics.json")
    with blamed_on(str(path)):
        return tuple(Against(**checked("against", each, Against)) for each in own)


def _chain(path: Path, then: Any) -> tuple[str, ...]:
    """The recipes of `then`, each of which there is."""
    names = [] if then is None else [then] if isinstance(then, str) else then
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path}: then={then!r}: write the name of a recipe, or a file, or a list of them")
    try:
        stems = [find_recipe(name).stem for name in names]
    except UserError as error:
        raise UserError(f"{path}: then: {error}") from None
    if len(set(stems)) < len(stems):
        raise UserError(f"{path}: then={then!r}: two recipes have one name, and so would their runs: rename one")
    return tuple(names)


def run_study(study: Study, progress: bool = True) -> dict[str, dict[str, Any]]:
    """Train what is not trained yet, and draw the table and the pictures of all runs.

    Runs that are finished are used as they are, one that was cut off goes on from its last checkpoint. The folder of
    the study gets `study.json`, `study.md` and, of two towers, `trade_offs.png`, anew after each run; where synergy is
    measured, `information.png` tells it beside redundancy and uniqueness, a row for each structure. What is fine-tuned
    lies beside its run, as `<structure>_<seed>_<recipe>`, and its accuracies are drawn in `fine_tuned.png`, those of
    the last recipe where there are several.

    Args:
        study: From `load_study`.
        progress: Show progress bars, unless the recipes say otherwise.

    Returns:
        `{structure: {metric: {"mean": ..., "std": ..., "runs": ...}}}`; the spread is that of a sample.
    """
    summary: dict[str, dict[str, Any]] = {}
    pictures: list[Path] = []
    found: dict[str, list[dict[str, Measurement]]] = {}
    known: dict[str, Measurement] = {}
    for place, ((structure, seed), recipe) in enumerate(study.runs.items(), start=1):
        print(f"[{place}/{len(study.runs)}] {structure}, seed {seed}")
        measured = _trained(recipe, progress)
        begun = recipe.output_dir
        tuned: dict[str, Measurement] = {}
        for then in study.then:
            following = _fine_tuning(then, recipe, begun)
            tuned, begun = _trained(following, progress), following.output_dir
        measured = tuned | measured
        found.setdefault(structure, []).append(measured)
        known = measured | known
        summary = {name: _summary(runs) for name, runs in found.items()}
        pictures = _write(study, summary, known, found)
    for key in (key for each in study.against for key in (each.x, each.y, each.given) if key is not None):
        if key not in known:
            raise UserError(f"against: no run has measured {key!r}: {suggest(key, known)}")
    means = {
        name: {key: replace(known[key], value=cell["mean"]) for key, cell in row.items()}
        for name, row in summary.items()
    }
    print("\n" + table(means))
    drawn = " ".join(map(str, pictures))
    print(f"\nStudy: {study.output_dir / 'study.md'}" + (f"   pictures: {drawn}" if drawn else ""))
    return summary


def _trained(recipe: Recipe, progress: bool) -> dict[str, Measurement]:
    return read(experiment.train(recipe if progress else without_progress(recipe), resume=True))


def _fine_tuning(then: str, recipe: Recipe, begun: Path) -> Recipe:
    """The run of a recipe that begins with the run in the folder `begun`, beside the run of `recipe`."""
    run = recipe.output_dir
    folder = run.with_name(f"{run.name}_{find_recipe(then).stem}")
    own = {"model": {"pretrained": str(begun)}, "training": {"seed": recipe.seed, "output_dir": str(folder)}}
    return load_recipe(then, changes=[own])


def _summary(runs: Sequence[Mapping[str, Measurement]]) -> dict[str, dict[str, float | int]]:
    """The mean and the spread over seeds of each measurement that all runs have."""
    shared = [key for key in runs[0] if all(key in run for run in runs)]
    return {key: _cell([run[key].value for run in runs]) for key in shared}


def _with_chance(runs: Sequence[Mapping[str, Measurement]]) -> dict[str, dict[str, float | int]]:
    """The mean, the spread over seeds and the mean chance of each measurement that all runs have."""
    shared = [measure for measure in runs[0] if all(measure in run for run in runs)]
    return {
        measure: _cell([run[measure].value for run in runs])
        | {"chance": float(np.mean([_chance(run[measure]) for run in runs]))}
        for measure in shared
    }


def _cell(values: Sequence[float]) -> dict[str, float | int]:
    """The spread is the standard deviation of a sample; 0 of a single run."""
    std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(np.mean(values)), "std": std, "runs": len(values)}


def _write(
    study: Study,
    summary: dict[str, dict[str, Any]],
    known: Mapping[str, Measurement],
    found: Mapping[str, Sequence[Mapping[str, Measurement]]],
) -> list[Path]:
    """The files of the study; returns the pictures."""
    drawn = []

    def of_rows(name: str, title: str, axis: str, chosen: Callable[[Mapping[str, Measurement]], Any]) -> None:
        rows = {structure: _with_chance([chosen(run) for run in runs]) for structure, runs in found.items()}
        if any(rows.values()):
            drawn.append(plot_rows(rows, title, staging / name, axis).name)

    with staged_files(study.output_dir) as staging:
        (staging / "study.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8", newline="\n")
        (staging / "study.md").write_text(markdown(summary, known), encoding="utf-8", newline="\n")
        _tell_correlations(study, found, known, staging / "study.md")
        if axes := _axes(study, known):
            drawn.append(plot_trade_offs(summary, axes, staging / "trade_offs.png").name)
        of_rows("information.png", "What is kept of each kind of information", "by a probe (%)", _information)
        if study.then:
            of_rows("fine_tuned.png", "After fine-tuning: accuracy on held-out data", "accuracy (%)", _accuracies)
    return [study.output_dir / name for name in drawn]


def _axes(study: Study, known: Mapping[str, Measurement]) -> list[tuple[Axis, Axis]]:
    """What is drawn against each other."""
    if not study.against:
        return trade_offs(known)
    measured = [each for each in study.against if {each.x, each.y} <= set(known)]
    return [(_axis(known[each.x], known), _axis(known[each.y], known)) for each in measured]


def _tell_correlations(
    study: Study,
    found: Mapping[str, Sequence[Mapping[str, Measurement]]],
    known: Mapping[str, Measurement],
    page: Path,
) -> None:
    """Add the rank correlations over all runs to the page of a study; of three runs at least."""
    lines = []
    for each in study.against:
        keys = [each.x, each.y, *([each.given] if each.given else [])]
        runs = [run for runs in found.values() for run in runs if all(key in run for key in keys)]
        if len(runs) < FEWEST:
            continue
        values = [[run[key].value for run in runs] for key in keys]
        told = f"Rank correlation of `{each.x}` and `{each.y}` over {len(runs)} runs: "
        told += f"{rank_correlation(*values[:2]):.2f}"
        if each.given:
            told += f"; with `{each.given}` held constant: {partial_rank_correlation(*values):.2f}"
        lines.append(f"- {told}.")
    if lines:
        with page.open("a", encoding="utf-8", newline="\n") as file:
            file.write("\n" + "\n".join(lines) + "\n")


def trade_offs(known: Mapping[str, Measurement]) -> list[tuple[Axis, Axis]]:
    """Which measurements a study draws against each other: what the modalities share against what one of them has
    alone, where synergy is not measured, and the two headlines of the space."""
    heads = columns({"": known})
    shared = [m for m in heads.values() if m.information == "redundant" and m.unit == "%"]
    unique = [
        m
        for key, m in known.items()
        if m.information == "unique" and m.unit == "%" and m.headline and not key.endswith("_full")
    ]
    space = [m for m in heads.values() if group_of(m).structure]
    pairs = [(shared[0], private) for private in unique[:MOST_PRIVATE]] if shared and not _information(known) else []
    pairs += [(space[0], space[1])] if len(space) > 1 else []
    return [(_axis(x, known), _axis(y, known)) for x, y in pairs]


def _axis(measurement: Measurement, known: Mapping[str, Measurement]) -> Axis:
    full = f"{measurement.key}_full"
    return Axis(
        measurement.key, measurement.title, measurement.unit, measurement.chance, full if full in known else None
    )
