"""The measurements in `metrics.json`, and runs side by side as tables."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, get_args

from .errors import printable
from .evaluation import Measurement, groups
from .evaluation.measurement import Better, Group, Information

BLOCK = "measurements"
# Numbers of a run that are no measurements of its model.
FACTS = ("train_loss", "train_runtime", "train_samples_per_second", "seed")
OTHER = "other"
LONGEST = 300  # characters of a key, a title or a reading
CHOICES: dict[str, tuple[Any, ...]] = {"better": get_args(Better), "information": get_args(Information)}

Rows = Mapping[str, Mapping[str, Measurement]]


def written(found: Iterable[Measurement]) -> dict[str, Any]:
    """Measurements as `metrics.json` keeps them: flat numbers, and a block that describes them."""
    found = list(found)
    block = {measurement.key: measurement.described() for measurement in found if measurement.group}
    return {measurement.key: measurement.value for measurement in found} | {BLOCK: block}


def renewed(metrics: Mapping[str, Any], found: Iterable[Measurement], data: Collection[str] = ("",)) -> dict[str, Any]:
    """The content of `metrics.json` with new measurements of some data in place of those that it holds of them.

    What the model reached before training stays beside the measurement of the same key.

    Args:
        metrics: The content.
        found: The measurements.
        data: What `Measurement.data` of those that are replaced is; by default those of the run's own data.
    """
    block = metrics.get(BLOCK)
    described = block if isinstance(block, Mapping) else {}
    old = {key for key, told in described.items() if not isinstance(told, Mapping) or told.get("data", "") in data}
    starts = {key: _number(told.get("start")) for key, told in described.items() if isinstance(told, Mapping)}
    added = written(replace(each, start=starts.get(each.key, each.start)) for each in found)
    kept = {key: value for key, value in metrics.items() if key != BLOCK and key not in old}
    return kept | added | {BLOCK: {key: told for key, told in described.items() if key not in old} | added[BLOCK]}


def read(metrics: Mapping[str, Any]) -> dict[str, Measurement]:
    """The measurements in the content of a `metrics.json`, in the order of a card.

    A file without descriptions, of an earlier version, shows its numbers by key. What is described as something else
    than words and numbers is left out: others may have written the file.
    """
    block = metrics.get(BLOCK)
    found = []
    if isinstance(block, Mapping):
        for key, described in block.items():
            value = _number(metrics.get(key))
            if value is not None and isinstance(described, Mapping) and _is_key(key):
                found.append(_measurement(key, value, described))
    else:
        for key, item in metrics.items():
            value = _number(item)
            if value is not None and _is_key(key) and key not in FACTS and not key.endswith("_chance"):
                found.append(Measurement(key, value, key, OTHER, headline=True, better="none"))
    order = list(groups())
    found.sort(key=lambda measurement: order.index(measurement.group) if measurement.group in order else len(order))
    return {measurement.key: measurement for measurement in found}


def started(found: Iterable[Measurement]) -> dict[str, Any]:
    """What `metrics.json` holds of a run that is not measured yet: what the model reached before training."""
    return {BLOCK: {each.key: {"start": each.value, "data": each.data} for each in found if each.group}}


def before_training(found: Mapping[str, Measurement]) -> dict[str, Measurement]:
    """The measurements that were made before training, too, with what was found then."""
    return {key: replace(each, value=each.start) for key, each in found.items() if each.start is not None}


def group_of(measurement: Measurement) -> Group:
    """The group of a measurement; of one that is not known here, its name is the title."""
    unknown = "Measurements" if measurement.group == OTHER else measurement.group.replace("_", " ").capitalize()
    return groups().get(measurement.group, Group(unknown))


def _measurement(key: str, value: float, described: Mapping[str, Any]) -> Measurement:
    kept: dict[str, Any] = {}
    for spec in fields(Measurement):
        item = described.get(spec.name)
        if spec.name in CHOICES:
            kept |= {spec.name: item} if item in CHOICES[spec.name] else {}
        elif spec.name in ("title", "group", "unit", "reading", "short", "metric", "task", "data"):
            if isinstance(item, str) and len(item) <= LONGEST and item.strip():
                kept[spec.name] = " ".join(printable(item).split())
        elif spec.name == "headline" and isinstance(item, bool):
            kept["headline"] = item
        elif spec.name in ("chance", "rows", "start") and (number := _number(item)) is not None:
            kept[spec.name] = int(number) if spec.name == "rows" else number
    return Measurement(**{"title": key, "group": OTHER, **kept, "key": key, "value": value})


def _is_key(key: Any) -> bool:
    return isinstance(key, str) and 0 < len(key) <= LONGEST and key == " ".join(printable(key).split())


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def as_data(rows: Rows) -> dict[str, dict[str, dict[str, Any]]]:
    """Runs as JSON holds them: the value of each measurement, and what is said of it."""
    return {
        name: {
            key: {"value": m.value, "unit": m.unit, "chance": m.chance, "better": m.better} | m.described()
            for key, m in row.items()
        }
        for name, row in rows.items()
    }


def columns(rows: Rows) -> dict[str, Measurement]:
    """The measurements that tables show of some runs, each as the first run that has it describes it."""
    found: dict[str, Measurement] = {}
    for row in rows.values():
        for key, measurement in row.items():
            if measurement.headline:
                found.setdefault(key, measurement)
    order = list(groups())
    places = {key: order.index(m.group) if m.group in order else len(order) for key, m in found.items()}
    return dict(sorted(found.items(), key=lambda item: places[item[0]]))


def table(rows: Rows) -> str:
    """Runs as rows, measurements as columns; one that no run has is left out."""
    heads = columns(rows)
    names = {name: " ".join(printable(name).split()) for name in rows}
    width = max(map(len, ["run", *names.values()]))
    titles = {key: measurement.short or key for key, measurement in heads.items()}
    lines = ["  ".join(["run".ljust(width), *titles.values()])]
    for name, values in rows.items():
        cells = [
            heads[key].cell(values[key].value if key in values else None).rjust(len(title))
            for key, title in titles.items()
        ]
        lines.append("  ".join([names[name].ljust(width), *cells]))
    return "\n".join(lines)


def markdown(
    summary: Mapping[str, Mapping[str, Mapping[str, Any]]], known: Mapping[str, Measurement], head: str = "structure"
) -> str:
    """The same of means and spreads, `{"mean", "std", "runs"}`, as Markdown; the last row is chance. `head` is what
    the rows are."""
    heads = columns({"": {key: m for key, m in known.items() if any(key in row for row in summary.values())}})
    titles = [(measurement.short or key).replace("|", "\\|") for key, measurement in heads.items()]
    lines = [f"| {head} | {' | '.join(titles)} |", f"|---{'|---:' * len(heads)}|"]
    for name, row in summary.items():
        cells = []
        for key, measurement in heads.items():
            cell = row.get(key)
            spread = f" ± {measurement.cell(cell['std'])}" if cell and cell["runs"] > 1 else ""
            cells.append(measurement.cell(cell["mean"]) + spread if cell else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    if any(measurement.chance is not None for measurement in heads.values()):
        levels = ["" if m.chance is None else m.cell(m.chance) for m in heads.values()]
        lines.append(f"| chance | {' | '.join(levels)} |")
    return "\n".join(lines) + "\n"
