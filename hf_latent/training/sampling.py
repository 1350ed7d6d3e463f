"""The order of rows in training, and which process reads which."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from ..errors import UserError
from .arguments import LatentTrainingArguments


class UniqueIdSampler(Sampler[int]):
    """An order in which no two rows of one batch have the same id, so that no positive passes for a negative.

    An epoch has as many batches as can be filled so: the largest m with sum_i min(count_i, m) >= m * batch. Which rows
    of a frequent id are left out is drawn anew in every epoch.

    Args:
        ids: `(rows,)` integers.
        batch: Rows of one global batch.
        seed: The order depends on it and on the epoch only.

    Raises:
        UserError: If there are fewer distinct ids than rows in a batch.
    """

    def __init__(self, ids: Any, batch: int, seed: int) -> None:
        self.batch, self.seed, self.epoch = batch, seed, 0
        distinct, self._group, counts = np.unique(np.asarray(ids), return_inverse=True, return_counts=True)
        if len(distinct) < batch:
            raise UserError(
                f"training.unique_ids: the data set has {len(distinct)} distinct ids, fewer than one global batch of "
                f"{batch}: write a smaller training.global_batch_size"
            )
        low, high = 1, len(self._group) // batch
        while low < high:
            middle = (low + high + 1) // 2
            enough = np.minimum(counts, middle).sum() >= middle * batch
            low, high = (middle, high) if enough else (low, middle - 1)
        self.batches = low

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches * self.batch

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        rows = rng.permutation(len(self._group))
        groups = rng.permutation(self._group.max() + 1)[self._group[rows]]  # ids in random order
        order = np.argsort(groups, kind="stable")
        rows, groups = rows[order], groups[order]
        # At most one row of an id a batch: those beyond the number of batches are left out, ...
        place = np.arange(len(rows)) - np.searchsorted(groups, groups)
        rows, groups = rows[place < self.batches], groups[place < self.batches]
        kept = np.sort(rng.permutation(len(rows))[: len(self)])
        # ... and the rest are dealt like cards: the rows of an id lie side by side, so each goes to another batch.
        table = rows[kept].reshape(self.batch, self.batches).T
        table = rng.permuted(table[rng.permutation(self.batches)], axis=1)
        return iter(table.ravel().tolist())


class ShuffledSampler(Sampler[int]):
    """All rows in an order that depends on the seed and on the epoch only."""

    def __init__(self, rows: int, seed: int) -> None:
        self.rows, self.seed, self.epoch = rows, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[int]:
        return iter(np.random.default_rng([self.seed, self.epoch]).permutation(self.rows).tolist())


class PlaceSampler(Sampler[int]):
    """An order of rows, each with its place in training: `place * rows + row`, which [`PlacedRows`] takes apart.

    The place of a row, how many rows training has consumed before it, keys its random crops: a worker that loads it
    knows it so, on any number of processes and after a resume.

    Args:
        order: Gives the rows of an epoch; one with `set_epoch`.
        rows: Of the data set.
        batch: Rows of one global batch; those of the incomplete last one are dropped.
    """

    def __init__(self, order: Any, rows: int, batch: int) -> None:
        self.order, self.rows, self.batch = order, rows, batch

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader at the start of each epoch."""
        self.order.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[int]:
        start = self.order.epoch * (len(self.order) // self.batch * self.batch)
        return ((start + place) * self.rows + row for place, row in enumerate(self.order))


class PlacedRows(Dataset):
    """The rows of a data set with their `place` in training, by the numbers that a [`PlaceSampler`] gives."""

    def __init__(self, rows: Any) -> None:
        self.source = rows

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, number: int) -> dict[str, Any]:
        place, row = divmod(number, len(self.source))
        placed = copy.copy(self.source[row])  # rows may know their number in the data set
        placed["place"] = place
        return placed


class StreamShare(IterableDataset):
    """The rows of one process, of a stream that ends: so many of each global batch, in their order.

    Of several processes each gets as many rows: the last one fills up the last global batch.

    Args:
        source: The stream.
        share: Rows of a process in a global batch.
        process, processes: Which of how many processes this is.

    Attributes:
        rows: How many rows of the stream all processes have read.
    """

    def __init__(self, source: Any, share: int, process: int, processes: int) -> None:
        self.source, self.rows = source, 0
        self._own, self._total = range(process * share, (process + 1) * share), share * processes

    def __iter__(self) -> Iterator[Any]:
        self.rows, row = 0, None
        for row in self.source:
            place, self.rows = self.rows % self._total, self.rows + 1
            if place in self._own:
                yield row
        rest = self.rows % self._total
        if rest and self._total > len(self._own):
            for place in self._own:
                if place >= rest:
                    yield row


def stream_loader(source: Any, args: LatentTrainingArguments, collate: Callable[..., Any]) -> DataLoader:
    """The batches of this process, of a stream that has a share for each."""
    share = source.share_of(args.process_index, args.world_size)
    if args.dataloader_num_workers > share.max_workers:
        raise UserError(
            f"training.dataloader_num_workers={args.dataloader_num_workers}: of this stream a process reads "
            f"{share.max_workers} file(s), each by one worker: write {share.max_workers} or less"
        )
    loader = DataLoader(
        share,
        batch_size=args.per_device_train_batch_size,
        collate_fn=collate,
        num_workers=args.dataloader_num_workers,
        pin_memory=args.dataloader_pin_memory,
        prefetch_factor=args.dataloader_prefetch_factor,
    )
    # As of a single process: accelerate would read and decode everything and keep a share.
    alone = {"num_processes": 1, "process_index": 0, "dispatch_batches": False}
    return prepare_data_loader(
        loader, args.device, put_on_device=True, non_blocking=args.copies_without_waiting, **alone
    )
