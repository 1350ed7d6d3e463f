"""The embeddings of any rows as a parquet file, made in parts by one process or several."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from accelerate import PartialState
from accelerate.utils import send_to_device
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from . import __version__
from .data.cells import is_missing
from .data.collator import ModelCollator, examples_of
from .data.hub_data import HubData
from .data.opening import FORMATS, separator
from .data.rows import ModalityRows
from .data.source import Reader
from .errors import UserError, blamed_on, suggest
from .files import remove, replace
from .finished import find_run, load_finished
from .kinds import kind_of
from .models.embeddings import Embeddings
from .recipe_file import read_values
from .runs import RECIPE, read_json
from .tasks import task_of
from .training.run_lock import locked
from .trust import use_plugins

PART = 4096  # rows of a part, which is written whole or not at all
ID, FUSED, ENDING = "id", "fused", "_embedding"
BEGUN = "begun.json"


@dataclass(frozen=True)
class Request:
    """What is embedded, and how it is written.

    Args:
        run: The folder of a finished run, or the id of a model on the Hub.
        data: What `data.path` of a recipe is: the id of a data set on the Hub, a folder; or a file of rows (csv, tsv,
            json, jsonl, parquet).
        output: The parquet file.
        columns: Of each modality to embed, of a table also several; by default those of the run's recipe that the
            data has, and else columns with the names of the modalities.
        split: By default the only one that there is.
        ids: The column that tells rows apart, which becomes `id`; by default the number of the row. Rows of several
            captions of one row have its id.
        keep: Further columns to copy.
        normalize: Write vectors of unit length. By default where the model compares its modalities by cosine.
        batch_size: Rows that are embedded at a time.
        workers: Processes that read rows.
        on_bad_row: `"error"` stops at a row that cannot be read, `"skip"` leaves it out.
        revision: Of a model on the Hub.
    """

    run: str
    data: str
    output: Path
    columns: Mapping[str, str | list[str]] | None = None
    split: str | None = None
    ids: str | None = None
    keep: Sequence[str] = ()
    normalize: bool | None = None
    batch_size: int = 256
    workers: int = 0
    on_bad_row: str = "error"
    revision: str | None = None


def embed(request: Request, trust_recipe: bool = False, progress: bool = True) -> Path:
    """Write the embeddings of rows into a parquet file.

    It has a column `id`, those that were asked for, and `<modality>_embedding`, lists of float32 of one length, of
    each modality, and `fused_embedding` where the model fuses them; null where a row lacks the modality. The metadata
    of the file tell the model, its revision and how the vectors were made, as JSON under `hf_latent`.

    Rows are embedded in parts, which lie in a folder beside the file until all are done: the same command goes on
    where it was stopped. Processes that `torchrun` or `accelerate launch` starts share the parts.

    Args:
        request: What to embed.
        trust_recipe: Import the plug-ins that a recipe of somebody else lists.
        progress: Show a progress bar.

    Returns:
        The file.

    Raises:
        UserError: If model, data or columns do not fit, the file exists, or parts of another request lie there.
    """
    output = request.output
    if output.suffix != ".parquet":
        raise UserError(f"--output {output}: write the name of a file that ends in .parquet")
    if output.exists():
        raise UserError(f"{output} is there already: remove it, or write another --output")
    for key in ("batch_size", "workers"):
        if (value := getattr(request, key)) < (key == "batch_size"):
            raise UserError(f"--{key.replace('_', '-')} {value}: write {int(key == 'batch_size')} or more")
    state = PartialState(cpu=not torch.accelerator.is_available())
    folder = find_run(request.run, request.revision)
    use_plugins(folder, trust_recipe)
    model, processor = load_finished(request.run, folder)
    if task_of(type(model)) is not None:
        raise UserError(
            f"{request.run} was trained to answer, which shapes no space of embeddings: name another model"
        )
    with _as_options():
        rows, columns = _rows(request, folder, model.config.modalities)
        _check_examples(rows, columns, processor)
        collate = ModelCollator(processor, columns, examples_of(rows, columns))
    normalize = request.normalize if request.normalize is not None else model.compared
    model.to(state.device)
    told = _told(request, folder, columns, rows, model, normalize)
    parts = output.with_name(f"{output.name}.parts")
    with locked(parts, f"write another --output than {output}"):
        if state.is_main_process:
            _begin(parts, told)
        state.wait_for_everyone()
        own = list(range(state.process_index, -(-len(rows) // PART), state.num_processes))
        with (
            _as_options(),
            tqdm(desc="Embedding", unit="row", disable=not (progress and state.is_main_process)) as bar,
        ):
            for number, vectors in _embedded(request, model, collate, rows, parts, own, normalize, bar):
                table = _table(request, rows, places_of(number, rows), vectors)
                _write(table.replace_schema_metadata({"hf_latent": json.dumps(told)}), _path(parts, number))
        state.wait_for_everyone()
        if state.is_main_process:
            _join(parts, output)
    if state.is_main_process:
        remove(parts)
    return output


@contextmanager
def _as_options() -> Iterator[None]:
    """An error in here says what to write on the command line, and not in a recipe."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace("write data.on_bad_row: skip", "add --skip-bad-rows")) from error


def _rows(
    request: Request, folder: Path, modalities: Mapping[str, Mapping[str, Any]]
) -> tuple[ModalityRows, dict[str, str]]:
    """The rows, and the key in them of each modality to embed."""
    file, options = Path(request.data), {}
    path = request.data
    if file.is_file():
        if file.suffix not in FORMATS:
            raise UserError(f"{file}: files of rows end in {', '.join(FORMATS)}")
        path, options = FORMATS[file.suffix], {"data_files": str(file), **separator(file)}
    source = HubData(path, {}, on_missing="use", on_bad_row=cast(Any, request.on_bad_row), options=options)
    known = source.known_splits()
    split = request.split or (known[0] if len(known) == 1 else "train" if not known else None)
    if split is None:
        raise UserError(f"--split is missing: {request.data} has {', '.join(known)}")
    there = source.columns_of(split)
    columns = _columns(request, folder, list(modalities), there)
    for name, column in columns.items():
        kind = kind_of(modalities[name])
        if not isinstance(column, str) and not (kind is not None and kind.joins(modalities[name])):
            raise UserError(f"{name}={'+'.join(column)}: several columns are for tables of cells: write one")
    if left := [name for name in modalities if name not in columns] if request.columns is None else []:
        print(f"Not embedded: {', '.join(left)}, of which {request.data} has no column")
    source = HubData(path, columns, on_missing="use", on_bad_row=source.on_bad_row, options=options)
    for column in (*request.keep, *filter(None, [request.ids])):
        if column not in there:
            raise UserError(f"no column {column!r} in {request.data}: {suggest(column, there)}")
    taken = {ID, f"{FUSED}{ENDING}", *(f"{modality}{ENDING}" for modality in columns)}
    if wrong := [column for column in request.keep if column in taken]:
        raise UserError(f"--keep {wrong[0]}: the file has a column of this name of its own: rename it")
    rows = source.rows_of(split, Reader(modalities))
    if request.ids is not None:
        _check_ids(request.ids, rows)
    return rows, source.row_columns


def _check_ids(column: str, rows: ModalityRows) -> None:
    """A UserError where the ids of rows are missing or repeated."""
    values, _ = rows.values(column)
    first: dict[str, int] = {}
    for number, value in zip(np.unique(rows.numbers), values, strict=True):
        if is_missing(value):
            raise UserError(f"--ids {column}: row {number} has none: give each row one, or leave --ids out")
        if not isinstance(value, str | int):
            raise UserError(
                f"--ids {column}: row {number} holds a {type(value).__name__}: name a column of texts or whole numbers"
            )
        if (other := first.setdefault(repr(value), number)) != number:
            raise UserError(
                f"--ids {column}: rows {other} and {number} both have {value!r}: name a column that tells rows apart, "
                "or write --keep for it"
            )


def _columns(
    request: Request, folder: Path, modalities: Sequence[str], there: Sequence[str]
) -> dict[str, str | list[str]]:
    for modality, columns in (request.columns or {}).items():
        for column in _parts(columns):
            if modality not in modalities:
                raise UserError(f"{modality}={column}: no such modality; {suggest(modality, modalities)}")
            if column not in there:
                raise UserError(f"{modality}={column}: no such column; {suggest(column, there)}")
    if request.columns:
        return dict(request.columns)
    written: Any = read_values(folder / RECIPE).get("data", {}) if (folder / RECIPE).is_file() else {}
    written = written if isinstance(written, Mapping) else {}
    usual: dict[str, str | list[str]] = {}
    sources = written.get("sources")  # of a mixture
    for section in [written, *(sources if isinstance(sources, list) else [])]:
        own = section.get("columns") if isinstance(section, Mapping) else None
        for key, value in own.items() if isinstance(own, Mapping) else ():
            if isinstance(value, str | list) and all(part in there for part in _parts(value)):
                usual.setdefault(key, value)
    found = {name: usual.get(name, name) for name in modalities if name in usual or name in there}
    if not found:
        known = ", ".join(there)
        raise UserError(f"{request.data} has the columns {known}: write what one holds, as {modalities[0]}=COLUMN")
    return found


def _parts(columns: Any) -> list[str]:
    return [columns] if isinstance(columns, str) else list(columns)


def _check_examples(rows: ModalityRows, columns: Mapping[str, str], processor: Any) -> None:
    """A UserError where the values of a column are of another kind than its modality."""
    values = rows.examples()
    for name, column in columns.items():
        with blamed_on(f"{name}={column}"):
            processor.stack(name, [values[column]])


@torch.no_grad()
def _vectors(model: Any, collated: tuple[Any, Any], normalize: bool) -> dict[str, np.ma.MaskedArray]:
    """`(rows, dim)` float32 of each column, masked where a row lacks it."""
    batch, present = send_to_device(collated, model.device)
    asked = {"present": present} if present is not None and model.supports_missing else {}
    found: Embeddings = model(**batch, **asked, return_loss=False)
    vectors = dict(found.embeds or {})
    if found.fused is not None and len(vectors) > 1 and (asked or present is None):
        vectors[FUSED] = found.fused
    arrays = {}
    for name, rows in vectors.items():
        own = (F.normalize(rows.float(), dim=-1) if normalize else rows.float()).cpu().numpy()
        lacks = np.zeros(len(own), bool) if name not in (present or {}) else ~present[name].cpu().numpy()
        arrays[f"{name}{ENDING}"] = np.ma.masked_array(own, np.broadcast_to(lacks[:, None], own.shape))
    return arrays


def _told(
    request: Request, folder: Path, columns: Mapping[str, str], rows: ModalityRows, model: Any, normalize: bool
) -> dict[str, Any]:
    """What the file says of itself; parts of the same are parts of one file."""
    local = Path(request.run).is_dir()
    return {
        "model": folder.resolve().name if local else request.run,
        "model_type": model.config.model_type,
        "revision": _hash_of(folder) if local else folder.name,
        "data": request.data,
        "rows": len(rows),
        "fingerprint": rows.dataset._fingerprint,
        "columns": dict(columns),
        "ids": request.ids,
        "keep": list(request.keep),
        "normalized": normalize,
        "version": __version__,
    }


def _hash_of(folder: Path) -> str:
    """The sha256 of the weights in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _begin(parts: Path, told: Mapping[str, Any]) -> None:
    """Note what the parts are of; a UserError where others lie there."""
    path = parts / BEGUN
    if path.exists():
        found = read_json(path, f"remove {parts}")
        for key, value in told.items():
            if found.get(key) != value:
                begun = f"{parts} was begun with {key}={found.get(key)!r}, and here it is {value!r}"
                raise UserError(f"{begun}: remove the folder, or write another --output")
        return
    path.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8", newline="\n")


def places_of(number: int, rows: ModalityRows) -> range:
    """The rows of a part."""
    return range(number * PART, min((number + 1) * PART, len(rows)))


def _embedded(
    request: Request,
    model: Any,
    collate: ModelCollator,
    rows: ModalityRows,
    parts: Path,
    numbers: Sequence[int],
    normalize: bool,
    bar: Any,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The vectors of those of the parts that are not there yet."""
    todo = {number: places_of(number, rows) for number in numbers if not _path(parts, number).exists()}
    bar.reset(total=sum(map(len, todo.values())))
    size = request.batch_size
    batches = {number: [own[at : at + size] for at in range(0, len(own), size)] for number, own in todo.items()}
    sampler = [list(batch) for own in batches.values() for batch in own]
    loader = iter(DataLoader(rows, batch_sampler=sampler, collate_fn=collate, num_workers=request.workers))
    for number, own in batches.items():
        found = []
        for batch in own:
            found.append(_vectors(model, next(loader), normalize))
            bar.update(len(batch))
        yield number, {name: np.ma.concatenate([part[name] for part in found]) for name in found[0]}


def _write(table: pa.Table, path: Path) -> None:
    """A table as a file that appears whole."""
    writing = path.with_suffix(".writing")
    pq.write_table(table, writing)
    replace(writing, path)


def _path(parts: Path, number: int) -> Path:
    return parts / f"{number:06d}.parquet"


def _table(request: Request, rows: ModalityRows, places: Sequence[int], vectors: Mapping[str, Any]) -> pa.Table:
    """One part: the id, the columns that are kept, and the vectors."""
    numbers = [rows.index[place][0] for place in places]
    wanted = list(dict.fromkeys([*request.keep, *filter(None, [request.ids])]))
    names, arrays = [ID], [pa.array(numbers, pa.int64())]
    if wanted:
        kept = rows.dataset.select_columns(wanted).select(numbers).with_format("arrow")[:]
        arrays = [kept.column(request.ids)] if request.ids is not None else arrays
        names += request.keep
        arrays += [kept.column(name) for name in request.keep]
    for name, own in vectors.items():
        lacks = np.ma.getmaskarray(own)[:, 0]
        names.append(name)
        flat = pa.array(own.data.reshape(-1))
        arrays.append(pa.FixedSizeListArray.from_arrays(flat, own.shape[1], mask=pa.array(lacks)))
    return pa.table(dict(zip(names, arrays, strict=True)))


def _join(parts: Path, output: Path) -> None:
    """All parts in one file, which appears whole."""
    paths = sorted(parts.glob("*.parquet"))
    writing = output.with_name(f"{output.name}.writing")
    with pq.ParquetWriter(writing, pq.read_schema(paths[0])) as writer:
        for path in paths:
            writer.write_table(pq.read_table(path))
    replace(writing, output)
