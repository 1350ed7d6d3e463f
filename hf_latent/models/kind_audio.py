"""Sound as waveforms, or as the features that a tower reads."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor

from .audio import MEANS, log_mel, normalized, read_audio
from .kinds import InputKind

MAX_SECONDS = 10.0
FEATURES = ("input_features", "input_values")


class AudioKind(InputKind):
    """What `audio.read_audio` takes, as `input_values` or `input_features`, and `attention_mask` where lengths differ.

    A row does not depend on the others: each is read, cut, and made features of alone, then padded with zeros.

    Options:

    - `sampling_rate`: Samples a second (16000); sound of another rate is resampled.
    - `max_seconds`: Of longer sound the first so many seconds are read (10).
    - `feature_extractor`: The settings of one of transformers, whose result is stacked: waveforms
      `(batch, samples)`, or features `(batch, ..., frames, bins)`. Without it, log-mel spectrograms of `bins` bands
      (64), with frames of `window` (400) samples every `hop` (160), see `audio.log_mel`.
    - `normalize`: What is subtracted from a log-mel spectrogram: `none` (default), `level` or `bands`, see
      `audio.normalized`.
    - `window`: Shorter sound is padded with silence to so many samples.
    - `padding`: `longest` of the batch (default), or `max_length`, always to `max_seconds`.
    - `bins_first`: The feature extractor gives `(bins, frames)`, as Whisper's.
    """

    kind = "audio"

    def __init__(self, name: str, options: dict[str, Any], tokenizer: Any = None) -> None:
        super().__init__(name, options, tokenizer)
        options.setdefault("sampling_rate", 16000)
        options.setdefault("max_seconds", MAX_SECONDS)
        options.setdefault("window", 400)
        self.extractor = None
        if "feature_extractor" in options:
            self.extractor = feature_extractor(options["feature_extractor"])
            options["sampling_rate"] = self.extractor.sampling_rate
        else:
            options.setdefault("bins", 64)
            options.setdefault("hop", 160)
            options.setdefault("normalize", "none")
            if options["normalize"] not in MEANS:
                known = ", ".join(MEANS)
                raise ValueError(f"modality {name!r}: normalize={options['normalize']!r}: write one of {known}")
        for key in ("sampling_rate", "window", "bins", "hop"):
            if key in options and (not isinstance(options[key], int) or options[key] < 1):
                raise ValueError(f"modality {name!r}: {key}={options[key]!r}: write a whole number of at least 1")
        check_seconds(options["max_seconds"])

    def read(self, row: int, value: Any) -> np.ndarray:
        """One row as samples, at least as many as the shortest window."""
        try:
            samples = read_audio(value, self.options["sampling_rate"], self.options["max_seconds"])
        except ValueError as error:
            raise ValueError(f"row {row} of modality {self.name!r} is no sound that can be read: {error}") from None
        lacking = self.options["window"] - len(samples)
        return np.pad(samples, (0, lacking)) if lacking > 0 else samples

    def stack(self, values: Sequence[Any], **text: Any) -> dict[str, Tensor]:
        rows = [self.read(row, value) for row, value in enumerate(values)]
        if self.extractor is None:
            rate, bins, window, hop = (self.options[key] for key in ("sampling_rate", "bins", "window", "hop"))
            spectrograms = (log_mel(samples, rate, bins, window, hop) for samples in rows)
            return _padded("input_features", [normalized(row, self.options["normalize"]) for row in spectrograms])
        made = [self.extractor(samples, **self._call(), return_tensors="np") for samples in rows]
        key = next(key for key in FEATURES if key in made[0])
        features = [torch.from_numpy(np.asarray(row[key][0], dtype=np.float32)) for row in made]
        if self.options.get("bins_first"):
            features = [row.transpose(-1, -2) for row in features]
        if features[0].ndim > 1 and len({row.shape for row in features}) == 1:  # of one length, with padding inside
            masks = [row["attention_mask"][0] for row in made if "attention_mask" in row]
            mask = {"attention_mask": torch.from_numpy(np.stack(masks)).long()} if len(masks) == len(made) else {}
            return {key: torch.stack(features), **mask}
        fixed = self.options.get("padding") == "max_length"
        length = round(self.options["max_seconds"] * self.options["sampling_rate"]) if fixed else 0
        return _padded(key, features, length)

    def _call(self) -> dict[str, Any]:
        # Whisper's gives the mask of its frames only when it is asked.
        asked = {"return_attention_mask": True} if self.options.get("bins_first") else {}
        return {"sampling_rate": self.options["sampling_rate"], **asked}


def _padded(key: str, rows: list[Tensor], length: int = 0) -> dict[str, Tensor]:
    """Rows of several lengths, zero-padded to the longest, or to `length` if that is longer, and their mask."""
    lengths = torch.tensor([len(row) for row in rows])
    length = max(length, int(lengths.max()))
    mask = (torch.arange(length) < lengths[:, None]).long()
    stacked = rows[0].new_zeros(len(rows), length, *rows[0].shape[1:])
    for place, row in enumerate(rows):
        stacked[place, : len(row)] = row
    return {key: stacked, "attention_mask": mask}


def check_seconds(seconds: Any) -> None:
    """A ValueError where `max_seconds` is no length of a sound."""
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds < math.inf:
        raise ValueError(f"max_seconds={seconds!r}: write a number of seconds above 0")


def feature_extractor(settings: Mapping[str, Any]) -> Any:
    """A feature extractor of transformers from its settings, `{"feature_extractor_type": ..., ...}`.

    Raises:
        ValueError: If there is none of that name for sound.
    """
    cls = getattr(transformers, str(settings.get("feature_extractor_type")), None)
    if not isinstance(cls, type) or not issubclass(cls, SequenceFeatureExtractor):
        raise ValueError(
            f"feature_extractor_type={settings.get('feature_extractor_type')!r}: no feature extractor of sound"
        )
    return cast(Any, cls).from_dict(dict(settings))
