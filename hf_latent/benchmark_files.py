"""Measuring a finished model on other data than its own, which benchmark files name."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from .data.loaded import EvaluationData
from .data.source import Source
from .errors import UserError, blamed_on, suggest
from .evaluation import Measurement, choose, flat, measured
from .evaluation.chosen import build_benchmarks
from .evaluation.model_encode import ModelEncode
from .finished import find_run, load_finished
from .hub.card import write_card
from .reading import reader_of
from .recipe import Evaluation, parse_data, parse_evaluation
from .recipe_file import in_file, read_values
from .resources import available_resources, resource_path
from .results import renewed, written
from .runs import METRICS, RECIPE, read_metrics
from .training.checkpoints import staged_files
from .training.run_lock import locked
from .trust import is_own, use_plugins

SECTIONS = ("data", "evaluation")


@dataclass(frozen=True)
class BenchmarkFile:
    """What a benchmark file says.

    Attributes:
        name: Of the file; keys of what it measures begin with it.
        source: The data.
        evaluation: What is measured.
    """

    name: str
    source: Source
    evaluation: Evaluation

    @property
    def reads_train(self) -> bool:
        """Whether a benchmark reads training rows."""
        return any(benchmark.reads_train for benchmark in build_benchmarks(self.evaluation.benchmarks or {}).values())

    @property
    def local_reads(self) -> dict[str, Any]:
        """What it makes this machine read but for data sets of the Hub."""
        found = dict(self.source.local_reads())
        for name, benchmark in build_benchmarks(self.evaluation.benchmarks or {}).items():
            own = benchmark.local_reads()
            found |= {f"evaluation.benchmarks.{name}.{key}": value for key, value in own.items()}
        return found


def load_benchmark(named: str | Path) -> BenchmarkFile:
    """A benchmark file, checked.

    Args:
        named: A YAML file, or the name of one that ships with the package.

    Raises:
        UserError: If there is none, or it is not the `data` and `evaluation` sections of a recipe.
    """
    path, known = Path(named), available_resources("training_args/benchmarks")
    if not path.is_file():
        name = path.name if path.suffix == ".yaml" else f"{path.name}.yaml"
        if name not in known or str(path.parent) not in (".", "training_args/benchmarks"):
            raise UserError(f"no benchmark file at {named}: {suggest(name, known)}")
        path = resource_path("training_args/benchmarks", name)
    values = read_values(path)
    with in_file(path):
        for section, content in values.items():
            if section not in SECTIONS:
                raise UserError(
                    f"section {section!r}: a benchmark file has the sections {' and '.join(SECTIONS)} alone"
                )
            if not isinstance(content, Mapping):
                raise UserError(f"section {section}: expected keys and values, found {content!r}")
        if "data" not in values:
            raise UserError("section data is missing")
        evaluation = parse_evaluation(values.get("evaluation", {}))
        if not evaluation.benchmarks:
            raise UserError("evaluation.benchmarks is missing: write what is measured, such as zero_shot: {}")
        if evaluation.also:
            raise UserError("evaluation.also: a benchmark file names no others: leave it out")
        if evaluation.start:
            raise UserError("evaluation.start: a benchmark file measures a model that is trained: leave it out")
        if not path.stem.isidentifier():
            raise UserError(
                "keys of metrics.json begin with the name of the file: give it letters, digits and _ alone"
            )
        return BenchmarkFile(path.stem, parse_data(values["data"]), evaluation)


def check_names(files: Sequence[BenchmarkFile]) -> None:
    """A UserError where two files have one name."""
    names = [file.name for file in files]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"two benchmark files are called {twice}: their keys would be the same, so rename one")


def measure_on(
    run: str,
    names: Sequence[str | Path],
    trust_recipe: bool = False,
    progress: bool = True,
    batch_size: int | None = None,
) -> dict[str, Any]:
    """Measure a model on the data of benchmark files.

    What a run folder with a `metrics.json` was measured with before is kept there, what these files measured before is
    replaced, and the card is written anew.

    Args:
        run: The folder of a finished run, or the id of a model on the Hub, of which nothing is written.
        names: Of benchmark files, as of [`load_benchmark`].
        trust_recipe: Import the plug-ins that a recipe of somebody else lists.
        progress: Show progress bars.
        batch_size: Rows that are embedded at a time; by default what the files say.

    Returns:
        What `metrics.json` then holds; of a model without one what was measured alone, in the same form.

    Raises:
        UserError: If a file, its data and the model do not fit; nothing is written then.
    """
    folder = find_run(run)
    use_plugins(folder, trust_recipe)
    files = [load_benchmark(name) for name in names]
    check_names(files)
    model, processor = load_finished(run, folder)
    found = measure_files(files, model, processor, progress, batch_size)
    if not Path(run).is_dir() or not (folder / METRICS).is_file():
        return written(found)
    with locked(folder):
        return keep(folder, found)


def measure_files(
    files: Sequence[BenchmarkFile], model: Any, processor: Any, progress: bool = True, batch_size: int | None = None
) -> list[Measurement]:
    """What files measure of a model, under keys that begin with the name of each.

    Args:
        files: Of other names each.
        model, processor: Of a finished run; the model goes to the accelerator, where there is one.
        progress, batch_size: As of [`measure_on`].

    Raises:
        UserError: If data and model do not fit; it names the file.
    """
    model.to(torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu")
    found = []
    for file in files:
        print(f"Measuring {file.name} ...")
        with in_file(Path(f"{file.name}.yaml")):
            found += _measured(file, model, processor, progress, batch_size)
    return found


def _measured(
    file: BenchmarkFile, model: Any, processor: Any, progress: bool, batch_size: int | None
) -> list[Measurement]:
    data = _data_for(file, model, progress)
    encode = ModelEncode(model, processor, data, batch_size or file.evaluation.batch_size, progress=progress)
    defaults = {"protocol": file.evaluation.protocol, "rerank": file.evaluation.rerank}
    chosen = choose(file.evaluation.benchmarks, encode, data, defaults)
    return [
        replace(
            measurement,
            key=f"{file.name}_{measurement.key}",
            short=f"{file.name} {measurement.short}" if measurement.short else "",
            data=file.name,
            outcomes=None,
        )
        for measurement in flat(chosen, measured(chosen, encode, data))
    ]


def _data_for(file: BenchmarkFile, model: Any, progress: bool) -> EvaluationData:
    """The rows of a file with the names that the model has for its modalities."""
    modalities, source = model.config.modalities, file.source
    reader = reader_of(type(model), model.config)
    written: Mapping[str, Any] | None = getattr(source, "columns", None)
    if written is not None:
        named = {own: _named(own, model.config.kinds) for own in written}
        columns = {named[own]: column for own, column in written.items() if named[own] is not None}
        if not columns:
            raise UserError(f"the data hold {', '.join(written)}, and the model reads {', '.join(modalities)}")
        source = replace(cast(Any, source), columns=columns, tokenizers={})
        target = getattr(source, "target", None)
        if reader.labels == "classes" and target is not None:
            source = replace(cast(Any, source), target=_with_classes(target, model.config.id2label))
    data = source.evaluation_for(reader, file.reads_train, progress)
    if other := [name for name in data.columns if name not in modalities]:
        raise UserError(f"the data hold {', '.join(other)}, and the model reads {', '.join(modalities)}")
    return data


def _with_classes(target: Any, classes: Mapping[int, str]) -> Any:
    """`data.target` with the classes of the model where it lists none: data sets number the same classes otherwise."""
    written = {"column": target} if isinstance(target, str) else target
    if not isinstance(written, Mapping) or "names" in written:
        return target
    return {**written, "names": [classes[number] for number in sorted(classes)]}


def _named(own: str, kinds: Mapping[str, str]) -> str | None:
    """The modality of a model for one of a file: that of its name, or the only one of that kind; None of none."""
    if own in kinds:
        return own
    fitting = [name for name, kind in kinds.items() if kind == own]
    return fitting[0] if len(fitting) == 1 else None


def keep(folder: Path, found: Sequence[Measurement]) -> dict[str, Any]:
    """Add measurements on other data to the metrics and the card of a run; those of the same files are replaced.

    Returns:
        The content of `metrics.json`.
    """
    metrics = renewed(read_metrics(folder), found, {measurement.data for measurement in found})
    with staged_files(folder) as staging:
        (staging / METRICS).write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8", newline="\n")
    write_card(folder)
    return metrics


def files_of(evaluation: Evaluation, run: Path | None = None, trust: bool = False) -> list[BenchmarkFile]:
    """The benchmark files that `evaluation.also` of a recipe names.

    Args:
        evaluation: Of the recipe.
        run: The folder that the recipe lies in, where it may be that of somebody else: it may then name files of the
            package, and none of this machine.
        trust: Read what a recipe of somebody else names.

    Raises:
        UserError: If one cannot be read, or may not be.
    """
    strange = run is not None and not trust and not is_own(run)
    for name in evaluation.also if strange else ():
        if Path(name).is_file() or f"{Path(name).stem}.yaml" not in available_resources("training_args/benchmarks"):
            raise UserError(
                f"{cast(Path, run) / RECIPE} was not written by a training on this machine, and would make it read "
                f"evaluation.also={name!r}: --trust-recipe allows that"
            )
    with blamed_on("evaluation.also"):
        found = [load_benchmark(name) for name in evaluation.also]
        check_names(found)
    return found
