"""Rows of a data set of `datasets` as they come, without end."""

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from torch.utils.data import IterableDataset, get_worker_info

from ..errors import UserError
from .cells import is_missing, stable_hash
from .files import Format
from .rows import RowReader

FIRST_ROWS = 10_000
"""Of a stream, in which each column should have a value."""


class ModalityStream(IterableDataset):
    """Rows of a `datasets.IterableDataset`, again and again, shuffled anew each time.

    It never ends: whoever resumes finds the place by counting rows. Processes and their workers share the rows, each
    row once a pass: by files where the number of files allows it, else by turns.

    Args:
        dataset: A `datasets.IterableDataset`.
        columns, ids: As of [`ModalityRows`].
        buffer: Rows that wait to be drawn from; 0 keeps the order.
        skip: Leave rows out that cannot be read, instead of stopping.
        from_hub, shapes: As of [`RowReader`].
        on_missing: As of [`HubData`].
        joined: As of [`RowReader`].
    """

    def __init__(
        self,
        dataset: Any,
        columns: Sequence[str],
        ids: str | None,
        buffer: int,
        skip: bool,
        from_hub: bool = False,
        shapes: Mapping[str, Format] | None = None,
        on_missing: str = "error",
        joined: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.reader = RowReader(dataset.features, columns, from_hub, shapes, joined, missing=on_missing != "error")
        self.drop = on_missing == "drop"
        self.ordered = self.reader.undecoded(dataset, keep=[] if ids is None else [ids])
        self.buffer = buffer
        self.dataset = self.ordered.shuffle(seed=0, buffer_size=buffer) if buffer else self.ordered
        self.id_column, self.skip = ids, skip
        self.share, self.shares = 0, 1

    @property
    def max_workers(self) -> int:
        """Workers that have something to read: one a file."""
        return self.dataset.num_shards

    def examples(self) -> dict[str, Any]:
        """A value of each column, the first that is there.

        Raises:
            UserError: If none of the first rows has one.
        """
        found: dict[str, Any] = {}
        for number, row in enumerate(itertools.islice(self.ordered, FIRST_ROWS)):
            for caption in range(self.reader.captions(row)):
                try:
                    values = self.reader.read(number, row, caption)
                except UserError:
                    if not self.skip:
                        raise
                    continue
                found = {name: value for name, value in values.items() if value is not None} | found
            if len(found) == len(self.reader.values):
                return found
        column = next(name for name in self.reader.values if name not in found)
        raise UserError(
            f"none of the first {FIRST_ROWS:,} rows has a value in the column {column!r}: leave its modality out"
        )

    def share_of(self, process: int, processes: int) -> "ModalityStream":
        """The rows that one of several processes reads."""
        from datasets.distributed import split_dataset_by_node

        part = copy.copy(self)
        part.dataset = split_dataset_by_node(self.dataset, rank=process, world_size=processes)
        part.share, part.shares = process, processes
        return part

    def _name_bad_row(self, place: int, error: UserError) -> NoReturn:
        """Raise the error of a bad row with its number in the data set.

        The place in a stream that is shuffled and shared is another one, so the first rows are read again in their
        order: as many as were read of all shares, and of the buffer.
        """
        worker = get_worker_info()
        shares = self.shares * (worker.num_workers if worker else 1)
        for number, row in enumerate(itertools.islice(self.ordered, (place + 1) * shares + self.buffer)):
            for caption in range(self.reader.captions(row)):
                self.reader.read(number, row, caption)
        # The files of the stream were shuffled, too, and no bad row is among the first.
        raise UserError(str(error).replace(f"row {place}", f"row {place} of the shuffled stream", 1)) from error

    def __iter__(self) -> Iterator[dict[str, Any]]:
        numbers = own_numbers(self.share, self.shares)
        for epoch in itertools.count():
            self.dataset.set_epoch(epoch)
            read = False
            for number, row in enumerate(self.dataset):
                own = next(numbers)
                for caption in range(self.reader.captions(row)):
                    try:
                        values = self.reader.read(number, row, caption)
                    except UserError as error:
                        if not self.skip:
                            self._name_bad_row(number, error)
                        continue
                    if self.drop and any(value is None for value in values.values()):
                        continue
                    read = True
                    value = None if self.id_column is None else row[self.id_column]
                    ids = own if is_missing(value) else stable_hash(value)
                    yield {**values, "ids": ids, "place": own}
            if not read:
                here = "" if self.shares == 1 else f" for process {self.share} of {self.shares}"
                raise UserError(f"the stream holds no row that can be read{here}")


def own_numbers(process: int, processes: int) -> Iterator[int]:
    """Numbers of rows that no other process or worker gives."""
    worker = get_worker_info()
    number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
    return itertools.count(process * workers + number, processes * workers)
