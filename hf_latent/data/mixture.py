"""Several data sets of `datasets` as one training set, each with columns of its own."""

import copy
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import numpy as np
from torch.utils.data import Dataset, IterableDataset

from ..errors import UserError
from .cells import stable_hash
from .description import Description, on_the_hub
from .hub_data import HubData
from .hub_rows import missing_in
from .loaded import EvaluationData, LoadedData, Split
from .rows import ModalityRows, Row
from .sample import ROWS, Role, Sample
from .source import Reader, Source, register_source
from .stream import ModalityStream, own_numbers
from .tokenizers import WORDS, load_tokenizer


@register_source("mixture")
@dataclass(frozen=True)
class MixtureData(Source):
    """Several data sets of the Hub or of the disk, mixed.

    Args:
        sources: Each as a data section with `name: dataset` would describe it, without `name`, `streaming` and
            `tokenizers`: `{path: ..., columns: {image: ..., text: ...}}`. All have the same modalities, unless
            `on_missing` says otherwise. One may have rows to measure on: `splits` with `validation` or `test`, or a
            `validation_share`; in others they are not looked for. That source may have `labels`, and probes are fit on
            its training rows alone. Rows of different sources are never positives of each other.
        shares: The share of each source among the rows of training, such as `[1, 1, 2]`; only what they are to each
            other matters. An epoch then has every row of the source that is largest for its share, and repeats the
            rows of the others. By default each row comes once an epoch, as in ALBEF; of streams, whose sizes are not
            known, shares must be written.
        streaming: Read the rows as they come; each is then of a random source, with these shares. Training needs
            `max_steps`.
        tokenizers: As of [`HubData`], the data `dataset`; `words` makes one of the words of all sources.
        on_missing: As of [`HubData`], of each source that does not write `use` or `drop` itself. With `"use"` the
            columns of a source may leave modalities out that others have: its rows lack them.
    """

    sources: list[HubData]
    shares: list[float] | None = None
    streaming: bool = False
    tokenizers: dict[str, str] = field(default_factory=dict)
    on_missing: Literal["error", "drop", "use"] = "error"

    def __post_init__(self) -> None:
        if not self.sources:
            raise UserError("data.sources is empty: name one data set or more")
        for number, source in enumerate(self._sources):
            if source.target is not None:
                raise UserError(
                    f"data.sources.{number}.target: a head is trained on one data set: write name: dataset"
                )
            for key in ("streaming", "tokenizers"):
                if getattr(source, key):
                    raise UserError(f"data.sources.{number}.{key}: of all sources together, write data.{key}")
            if not source.columns:
                raise UserError(f"data.sources.{number}.columns is empty: name the column of a modality")
            for name in self.columns:
                if name not in source.columns and source.on_missing != "use":
                    raise UserError(
                        f"data.sources.{number}.columns.{name} is missing: name its column, or write data.on_missing: "
                        "use, to train on the rows of this source with the modalities that they have"
                    )
        self._check_measured()
        shares = self.shares
        if shares is None:
            if self.streaming:
                raise UserError(f"data.shares is missing: write one a source, such as {[1] * len(self.sources)}")
        elif len(shares) != len(self.sources) or not all(0 < share < float("inf") for share in shares):
            raise UserError(f"data.shares={shares}: write a number above 0 for each of {len(self.sources)} sources")

    def _check_measured(self) -> None:
        measured = []
        for number, source in enumerate(self.sources):
            with in_source(number):
                measured += [number] if source.is_measured else []
        if len(measured) > 1:
            raise UserError(
                f"data.sources.{measured[1]} has rows to measure on, and so has source {measured[0]}: write a test "
                "split, a validation split and a validation_share for one of them alone"
            )
        for number, source in enumerate(self.sources):
            if source.labels and number not in measured:
                raise UserError(
                    f"data.sources.{number}.labels: this source has no rows to measure on; write its splits.test, or "
                    "leave the labels out"
                )

    @property
    def columns(self) -> dict[str, str]:
        """The modalities of all sources: rows of the mixture are keyed by them."""
        return {name: name for source in self.sources for name in source.columns}

    @property
    def _sources(self) -> list[HubData]:
        """The sources, with what is written for all of them."""
        return [
            replace(source, on_missing=self.on_missing) if source.on_missing == "error" else source
            for source in self.sources
        ]

    @property
    def shown(self) -> HubData:
        """The source to take a sample of: that with rows to measure on, or the first with all modalities."""
        whole = [source for source in self._sources if len(source.columns) == len(self.columns)]
        return next((source for source in self._sources if source.is_measured), [*whole, *self._sources][0])

    def sample(self, rows: int = ROWS, reader: Reader | None = None, role: Role = "test") -> Sample:
        """Rows of the source with rows to measure on, or of the first with all modalities."""
        if reader is not None and reader.labels is not None:
            return super().sample(rows, reader, role)
        return replace(self.shown, streaming=self.streaming).sample(rows, reader, role)

    @classmethod
    def described(cls, options: Mapping[str, Any]) -> Description:
        """What a card tells of the data: its `paths` on the Hub, and what was measured on."""
        return on_the_hub(options["paths"], options["test_split"], options["path"])

    def load(self, progress: bool = False) -> LoadedData:
        return self.load_for(Reader(), progress)

    def load_for(self, reader: Reader, progress: bool = False) -> LoadedData:
        """As [`HubData.load_for`]; errors name the source."""
        parts: list[LoadedData] = []
        for number, source in enumerate(self._sources):
            with in_source(number):
                own = replace(source, streaming=self.streaming)
                parts.append(own.load_for(reader, progress, find=source.is_measured))
        columns = [part.columns for part in parts]
        measured = [
            self._evaluation(number, part.evaluation)
            for number, part in enumerate(parts)
            if part.evaluation is not None
        ]
        train: MixedRows | MixedStream
        if self.streaming:
            streams = cast(list[ModalityStream], [part.train for part in parts])
            train = MixedStream(streams, columns, cast(list[float], self.shares))
        else:
            train = MixedRows(cast(list[ModalityRows], [part.train for part in parts]), columns, self.shares)
        tokenizers = {name: self._tokenizer(name, value, train) for name, value in self.tokenizers.items()}
        size = f"{len(train):,} rows" if isinstance(train, MixedRows) else "a stream of rows"
        said = [self._said(part) for part in parts]
        summary = f"{size} of {', '.join(said)}"
        evaluation = measured[0] if measured else None
        used = {source.on_missing for source in self._sources}
        examples = self._examples(parts) if "use" in used else None
        missing = missing_in(train, self.columns, "use" in used) if used != {"error"} and not self.streaming else None
        return LoadedData(train, self.columns, summary, tokenizers, evaluation, examples=examples, missing=missing)

    def _said(self, part: LoadedData) -> str:
        """What is told of a source."""
        lacks = [name for name in self.columns if name not in part.columns]
        return f"{part.summary} (without {', '.join(lacks)})" if lacks else part.summary

    def _examples(self, parts: Sequence[LoadedData]) -> dict[str, Any]:
        """A value of each modality, of the first source that has it."""
        found: dict[str, Any] = {}
        for number, part in enumerate(parts):
            own = part.examples or {}
            if not own and not found.keys() >= part.columns.keys():
                with in_source(number):
                    values = cast(Any, part.train).examples()
                own = {name: values[column] for name, column in part.columns.items()}
            found = {**own, **found}
        return found

    def _evaluation(self, number: int, data: EvaluationData) -> EvaluationData:
        """What one source is measured with, keyed by modality; its rows have all, and None for what it lacks."""

        def keyed(split: Split) -> Split:
            rows = MixedRows([cast(ModalityRows, split.rows)], [data.columns], first=number, modalities=self.columns)
            return replace(split, rows=rows)

        test = keyed(data.test)
        train = None if data.train is None else keyed(data.train)
        validation = test if data.validation is data.test else data.validation and keyed(data.validation)
        columns = {name: name for name in data.columns}
        return replace(data, test=test, train=train, validation=validation, columns=columns)

    def _tokenizer(self, name: str, value: str, rows: "MixedRows | MixedStream") -> Any:
        if name not in self.columns:
            raise UserError(f"data.tokenizers.{name}: no such modality; there are {', '.join(self.columns)}")
        if value != WORDS:
            return load_tokenizer(value, [])
        if isinstance(rows, MixedStream):
            raise UserError(f"data.tokenizers.{name}: the words of a stream are not known: name a checkpoint")
        return load_tokenizer(WORDS, rows.texts(name))

    def repositories(self) -> Sequence[str]:
        return [name for source in self.sources for name in source.repositories()]

    def local_reads(self) -> dict[str, Any]:
        """As [`HubData.local_reads`], of every source."""
        return {
            f"data.sources.{number}.{key.removeprefix('data.')}": value
            for number, source in enumerate(self.sources)
            for key, value in source.local_reads().items()
        }


class MixedRows(Dataset):
    """Rows of several data sets, keyed by modality, with `ids` of which no two sources share one.

    Args:
        sources: Their rows.
        columns: `{modality: column}` of each. A row has None for what its source has no column of.
        shares: Of each; by default each row is here once.
        first: The number of the first source in the recipe, for errors to name.
        modalities: Of a row; by default those of all `columns`.
    """

    def __init__(
        self,
        sources: Sequence[ModalityRows],
        columns: Sequence[Mapping[str, str]],
        shares: Sequence[float] | None = None,
        first: int = 0,
        modalities: Iterable[str] | None = None,
    ) -> None:
        self.sources, self.columns, self.first = list(sources), [dict(own) for own in columns], first
        self.modalities = _modalities(columns) if modalities is None else list(modalities)
        sizes = [len(rows) for rows in self.sources]
        counts = sizes
        if shares is not None:
            whole = max(size / share for size, share in zip(sizes, shares, strict=True))
            counts = [max(1, round(whole * share)) for share in shares]
        self._ends = np.cumsum(counts)
        self._ids = np.cumsum([0, *(len(rows.dataset) for rows in self.sources)])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def _place(self, i: int) -> tuple[int, int]:
        """The source of a row, and its number among those of that source."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"row {i} of {len(self)}")
        i %= len(self)
        number = int(np.searchsorted(self._ends, i, side="right"))
        start = self._ends[number - 1] if number else 0
        return number, int(i - start) % len(self.sources[number])

    def __getitem__(self, i: int) -> Row:
        number, place = self._place(i)
        with in_source(self.first + number):
            row = self.sources[number][place]
        values = _keyed(row, self.columns[number], self.modalities)
        found = Row(values, ids=row["ids"] + int(self._ids[number]))
        found.number = f"{row.number} of data.sources.{self.first + number}"
        return found

    @property
    def ids(self) -> np.ndarray:
        """`(rows,)` int64."""
        own = [rows.ids + start for rows, start in zip(self.sources, self._ids, strict=False)]
        return np.array(list(self._in_order(own)), dtype=np.int64)

    def _in_order(self, own: Sequence[Sequence[Any] | np.ndarray]) -> Iterator[Any]:
        """Of what there is of each row of each source, that of each of our rows."""
        return (own[number][place] for number, place in map(self._place, range(len(self))))

    @property
    def dropped(self) -> int:
        """How many rows were left out, since they lack a modality."""
        return sum(rows.dropped for rows in self.sources)

    @property
    def present(self) -> dict[str, np.ndarray]:
        """`(rows,)` bool of each modality, whether a row has a value."""
        there = [rows.present for rows in self.sources]
        found = {}
        for name in self.modalities:
            own = [
                present[columns[name]] if name in columns else np.zeros(len(rows), dtype=bool)
                for rows, columns, present in zip(self.sources, self.columns, there, strict=True)
            ]
            found[name] = np.array(list(self._in_order(own)), dtype=bool)
        return found

    def examples(self) -> dict[str, Any]:
        """A value of each modality that a source has a column of, as [`ModalityRows.examples`]."""
        found: dict[str, Any] = {}
        for number, (rows, columns) in enumerate(zip(self.sources, self.columns, strict=True), self.first):
            with in_source(number):
                values = rows.examples()
            found = {name: values[column] for name, column in columns.items()} | found
        return found

    def joined(self, modality: str) -> list[str] | None:
        """As [`ModalityRows.joined`], of the first source that has the modality."""
        own = zip(self.sources, self.columns, strict=True)
        return next((rows.joined(columns[modality]) for rows, columns in own if modality in columns), None)

    def read_column(self, modality: str) -> Iterator[Any]:
        """The values of one modality, each row of a source once."""
        for number, (rows, columns) in enumerate(zip(self.sources, self.columns, strict=True), self.first):
            if modality in columns:
                with in_source(number):
                    yield from rows.read_column(columns[modality])

    def sentences(self, modality: str) -> Iterator[str]:
        """The texts of one modality, row by row; an empty one of a row that has none."""
        own = [
            list(rows.sentences(columns[modality])) if modality in columns else [""] * len(rows)
            for rows, columns in zip(self.sources, self.columns, strict=True)
        ]
        return self._in_order(own)

    def texts(self, modality: str) -> Iterator[str]:
        """Every text of a modality, as [`ModalityRows.texts`]."""
        for number, (rows, columns) in enumerate(zip(self.sources, self.columns, strict=True), self.first):
            if modality not in columns:
                continue
            if columns[modality] not in rows.text_columns:
                raise UserError(f"data.sources.{number}.columns.{modality}={columns[modality]!r} is no column of text")
            yield from rows.texts(columns[modality])


class MixedStream(IterableDataset):
    """Rows of several streams, each of a random one, keyed by modality, without end.

    Args:
        sources: The streams.
        columns: `{modality: column}` of each. A row has None for what its source has no column of.
        shares: How often each is drawn, in any unit.
    """

    def __init__(
        self, sources: Sequence[ModalityStream], columns: Sequence[Mapping[str, str]], shares: Sequence[float]
    ) -> None:
        self.sources, self.columns = list(sources), [dict(own) for own in columns]
        self.modalities = _modalities(columns)
        self.shares = np.array(shares) / sum(shares)
        self.share, self.processes = 0, 1

    @property
    def max_workers(self) -> int:
        """Workers that have something to read of every source."""
        return min(source.max_workers for source in self.sources)

    def share_of(self, process: int, processes: int) -> "MixedStream":
        """The rows that one of several processes reads."""
        part = copy.copy(self)
        part.sources = [source.share_of(process, processes) for source in self.sources]
        part.share, part.processes = process, processes
        return part

    def __iter__(self) -> Iterator[dict[str, Any]]:
        rows = [iter(source) for source in self.sources]
        numbers = own_numbers(self.share, self.processes)
        first = next(numbers)
        draw = np.random.default_rng(first)  # of no other process or worker
        for own in itertools.chain([first], numbers):
            number = int(draw.choice(len(rows), p=self.shares))
            with in_source(number):
                row = next(rows[number])
            values = _keyed(row, self.columns[number], self.modalities)
            with_ids = self.sources[number].id_column is not None
            yield {**values, "ids": stable_hash((number, row["ids"])) if with_ids else own, "place": own}


def _modalities(columns: Sequence[Mapping[str, str]]) -> list[str]:
    return list(dict.fromkeys(name for own in columns for name in own))


def _keyed(row: Mapping[str, Any], columns: Mapping[str, str], modalities: Iterable[str]) -> dict[str, Any]:
    """The values of a row by modality, None of those that have no column."""
    return {name: row[columns[name]] if name in columns else None for name in modalities}


@contextmanager
def in_source(number: int) -> Iterator[None]:
    """An error in here tells the source."""
    try:
        yield
    except UserError as error:
        raise UserError(f"data.sources.{number}: {error}") from error
