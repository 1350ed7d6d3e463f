"""Which benchmarks a run is measured with."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ..data.loaded import EvaluationData
from ..errors import UserError, blamed_on, suggest
from ..models.plugins import failures
from ..options import checked
from .benchmark import BENCHMARKS, Benchmark, Encode, fits, renamed
from .latent_map import draw_latent_map
from .measurement import Measurement

Chosen = dict[str, Benchmark]
Found = Mapping[str, list[Measurement]]


def build_benchmarks(written: Mapping[str, Any]) -> Chosen:
    """The benchmarks that `evaluation.benchmarks` of a recipe writes, by the names that it gives them.

    Args:
        written: Name -> options, or a benchmark; `benchmark` inside where the name is not that of a benchmark.

    Raises:
        UserError: With the key and what to write instead.
    """
    found: Chosen = {}
    for name, options in written.items():
        where = f"evaluation.benchmarks.{name}"
        if not isinstance(options, Benchmark):
            options = _built(where, str(name), options)
        if not isinstance(name, str) or not name.isidentifier():
            raise UserError(f"{where}: write a name of letters, digits and _, which keys of metrics.json begin with")
        found[name] = options
    return found


def _built(where: str, name: str, options: Any) -> Benchmark:
    if not isinstance(options, Mapping | None):
        raise UserError(f"{where}={options!r}: write its options, or {{}}")
    own = dict(options or {})
    kind = str(own.pop("benchmark", name))
    if kind not in BENCHMARKS:
        raise UserError(f"{where}: no benchmark {kind!r}; {suggest(kind, BENCHMARKS)}{failures()}")
    cls = BENCHMARKS[kind]
    return cls(**checked(where, own, cls))


def choose(
    written: Mapping[str, Any] | None, encode: Encode, data: EvaluationData, defaults: Mapping[str, Any] | None = None
) -> Chosen:
    """The benchmarks of a run, checked: those that are written, or else all that data and model allow.

    Args:
        written: Of the recipe; None where it says nothing.
        encode: The model.
        data: What it is measured with.
        defaults: Options that benchmarks take where the recipe writes none, by the name of the option.

    Raises:
        UserError: If a benchmark that is written needs what the data or the model has not.
    """
    if written is not None:
        found = {
            name: benchmark if written[name] is benchmark else _with(benchmark, defaults, written[name] or {})
            for name, benchmark in build_benchmarks(written).items()
        }
        for name, benchmark in found.items():
            where = f"evaluation.benchmarks.{name}"
            with blamed_on(where):
                try:
                    benchmark.check_model(encode)
                    found[name] = benchmark.for_model(encode, data)
                    found[name].check(data)
                except UserError as error:
                    raise UserError(f"{where}: {error}") from None
        _refuse_equal_keys(found, encode, data)
        return found
    if data.benchmarks is None:
        kinds = sorted(BENCHMARKS.values(), key=_order)
        wanted = {name: own for cls in kinds for name, own in cls.by_default(encode, data).items()}
    else:
        wanted = build_benchmarks(data.benchmarks)
    return {
        name: own
        for name, benchmark in wanted.items()
        if benchmark.needs <= encode.abilities and fits(own := _with(benchmark, defaults, {}), data, name)
    }


def _order(benchmark: type[Benchmark]) -> int:
    return min((group.order for group in benchmark.groups.values()), default=50)


def _with(benchmark: Benchmark, defaults: Mapping[str, Any] | None, written: Mapping[str, Any]) -> Benchmark:
    known = {spec.name for spec in fields(benchmark)}
    own = {key: value for key, value in (defaults or {}).items() if key in known and key not in written}
    return replace(benchmark, **own)


def _refuse_equal_keys(found: Chosen, encode: Encode, data: EvaluationData) -> None:
    keys: dict[str, str] = {}
    for name, benchmark in found.items():
        for key in (m.key for m in described({name: benchmark}, encode, data)):
            if keys.setdefault(key, name) != name:
                raise UserError(f"evaluation.benchmarks: {keys[key]} and {name} both measure {key}: rename one")


def described(chosen: Chosen, encode: Encode, data: EvaluationData) -> list[Measurement]:
    """What will be measured, with values of NaN."""
    return flat(chosen, {name: benchmark.describe(encode, data) for name, benchmark in chosen.items()})


def measured(chosen: Chosen, encode: Encode, data: EvaluationData) -> Found:
    """What each benchmark finds, under keys of its own.

    Raises:
        UserError: If the model cannot be measured.
    """
    with blamed_on("the model cannot be measured"):
        return {name: benchmark.run(encode, data) for name, benchmark in chosen.items()}


def flat(chosen: Chosen, found: Found) -> list[Measurement]:
    """The measurements of all benchmarks, under keys that differ."""
    return [each for name, part in found.items() for each in renamed(part, chosen[name], name)]


def draw(chosen: Chosen, encode: Encode, data: EvaluationData, found: Found, folder: Path, title: str) -> None:
    """Draw what was measured into a folder, the first of each kind of benchmark.

    Args:
        found: Of [`measured`], with this `encode`, which has computed all that is drawn.
        title: The name of the run.
    """
    first: dict[str, str] = {}
    for name, benchmark in chosen.items():
        first.setdefault(benchmark.kind, name)
    for name in first.values():
        chosen[name].draw(encode, data, found[name], folder, title)
    draw_latent_map(encode, data, folder / "latent_map.png")
