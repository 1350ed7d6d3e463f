"""Sound: how it is read, resampled and cut, and its log-mel spectrogram."""

import math
from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

INSTALL = "reading files of sound needs soundfile: pip install soundfile"
ZEROS = 16  # zero crossings of the sinc of the resampling filter, to either side
ROLLOFF = 0.95  # its cutoff, as a share of the lower of the two Nyquist frequencies
LARGEST_FILTER = 2**22  # numbers
FILTERS = 64  # that are applied at once
HIGHEST_RATE = 10_000_000  # samples a second; what a broken header says may be far more
LARGEST = 1e15  # of a sample, whose square is a number in float32
FLOOR = 1e-10  # of the power in a mel band, whose logarithm is -10
MEANS = {"none": (), "level": (0, 1), "bands": (0,)}  # what is subtracted from a spectrogram is the mean over these


def read_audio(value: Any, rate: int, seconds: float | None = None) -> np.ndarray:
    """Sound as float32 samples of one channel, `(samples,)`, full scale from -1 to 1, at a rate.

    Integers are divided by the full scale of their width: 8 bits unsigned, 16 or 32 bits; wider ones are those of 16
    bits where they fit, else of 32. Floats are taken as they are. Several channels are averaged.

    Args:
        value: An array, tensor or list `(samples,)` at `rate`; `{"array": ..., "sampling_rate": ...}`, also with
            several channels, `(samples, channels)` or `(channels, samples)`, of which the fewer are the channels; the
            bytes of a WAV, FLAC or another file that soundfile reads, also as `{"bytes": ..., "path": ...}`, as
            `datasets` stores them; or a `pathlib.Path` to one. No path as a text: a text in a row of somebody's data
            must not name a file of this machine.
        rate: Samples a second of the result.
        seconds: Read the first seconds alone.

    Raises:
        ImportError: If a file is read and soundfile is not installed.
        ValueError: If it cannot be read; says why.
    """
    array, own = open_audio(value, seconds)
    if own is None and seconds is not None:
        array = array[: math.ceil(seconds * rate)]
    samples = resample(np.ascontiguousarray(array), rate if own is None else own, rate)
    return samples if seconds is None else samples[: round(seconds * rate)]


def open_audio(value: Any, seconds: float | None = None) -> tuple[np.ndarray, int | None]:
    """As [`read_audio`], at the rate that the sound has: float32 `(samples,)`, and samples a second, None of a plain
    array, which is then not cut."""
    array, own = _samples(value, seconds)
    if own is not None and (not 1 <= own <= HIGHEST_RATE or own != int(own)):
        raise ValueError(f"sampling_rate={own!r}: give the samples a second, a whole number, at most {HIGHEST_RATE:,}")
    if own is not None and seconds is not None:
        array = array[: math.ceil(seconds * own)]
    if not len(array):
        raise ValueError("it holds no sample")
    if not np.isfinite(array).all():
        raise ValueError("it holds NaN or infinity")
    if np.abs(array).max() > LARGEST:
        raise ValueError(f"it holds numbers above {LARGEST:g}, where full scale is 1")
    return array.astype(np.float32), None if own is None else int(own)


def _samples(value: Any, seconds: float | None) -> tuple[np.ndarray, float | None]:
    """`(samples,)`, float32 where that holds them exactly, else float64, and their rate."""
    if isinstance(value, Mapping):
        if value.get("array") is not None:
            own = value.get("sampling_rate")
            if not isinstance(own, int | float | np.number) or isinstance(own, bool) or not np.isfinite(own):
                raise ValueError(f"sampling_rate={own!r}: give the samples a second, a whole number")
            return _one_channel(_scaled(value["array"])), float(own)
        if value.get("bytes") is None:
            raise ValueError(
                f"expected array and sampling_rate, or bytes; found {', '.join(map(str, value)) or 'none'}"
            )
        value = value["bytes"]
    if isinstance(value, str):
        raise ValueError(
            "expected sound, found a text: names of files are not opened; give pathlib.Path(name), or cast the column "
            "of the data set to datasets.Audio(decode=False)"
        )
    if isinstance(value, bytes | PathLike):
        return _decoded(value, seconds)
    array = _scaled(value)
    if array.ndim != 1:
        raise ValueError(f"expected (samples,), found {array.shape}; give channels as array with its sampling_rate")
    return array, None


def _decoded(file: Any, seconds: float | None) -> tuple[np.ndarray, float]:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: its library is missing
        raise ImportError(INSTALL) from error
    try:
        with soundfile.SoundFile(BytesIO(file) if isinstance(file, bytes) else file) as sound:
            frames = -1 if seconds is None else math.ceil(seconds * sound.samplerate)
            # Its conversion to floats takes as long as the reading.
            width = "int16" if sound.subtype == "PCM_16" else "float64"
            samples = _scaled(sound.read(frames, dtype=width, always_2d=True))
            return _mean(samples.T), float(sound.samplerate)
    except (OSError, RuntimeError, TypeError, ValueError) as error:  # its own errors are RuntimeErrors
        if not isinstance(file, bytes) and not Path(file).is_file():
            raise ValueError(f"there is no file {file}") from error
        raise ValueError(str(error) or type(error).__name__) from error


def _scaled(value: Any) -> np.ndarray:
    """Numbers as floats, integers by their full scale; float32 where that is exact, else float64."""
    try:
        if isinstance(value, Tensor):
            value = value.detach().cpu()
            value = (value.double() if value.is_floating_point() else value).numpy()  # NumPy has no bfloat16
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"expected numbers, found a {type(value).__name__} ({error})") from error
    if array.size == 0:
        return array.astype(np.float64)
    if np.issubdtype(array.dtype, np.floating):
        return array.astype(np.float32 if array.dtype.itemsize < 8 else np.float64, copy=False)
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"expected numbers, found a {type(value).__name__} of {array.dtype}")
    if array.dtype == np.uint8:
        return (array.astype(np.float32) - 128) / 128
    if array.dtype == np.int16:
        return array.astype(np.float32) * np.float32(2**-15)
    wide = array.dtype == np.int32 or max(-int(array.min()), int(array.max())) > 2**15
    return array.astype(np.float64) / (2**31 if wide else 2**15)


def _one_channel(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2 and array.size:
        return _mean(array if array.shape[0] <= array.shape[1] else array.T)
    if array.ndim != 1:
        raise ValueError(f"expected (samples,) or (channels, samples), found {array.shape}")
    return array


def _mean(channels: np.ndarray) -> np.ndarray:
    """Of channels `(channels, samples)`: of so few rows NumPy's takes ten times as long."""
    if len(channels) == 1:
        return channels[0]
    return sum(channel.astype(np.float64) for channel in channels) / len(channels)


def resample(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """`(samples,)` float32 at another rate, by a sinc filter under a Hann window; of equal rates, as they are.

    Sample `n` of the result stands at the time of sample `n * rate / wanted`; outside there is silence. There are
    `ceil(samples * wanted / rate)`.
    """
    if rate == wanted or not len(samples):
        return samples
    divisor = math.gcd(rate, wanted)
    step, phases = rate // divisor, wanted // divisor  # results repeat their places among samples after as many
    reach = math.ceil(ZEROS / _cutoff(step, phases))
    length = math.ceil(len(samples) * phases / step)
    while phases < FILTERS and 4 * phases * (reach + step) <= LARGEST_FILTER:  # a few filters make a slow convolution
        step, phases = 2 * step, 2 * phases
    if phases * (2 * reach + step) > LARGEST_FILTER:
        return _resampled_one_by_one(samples, step, phases, reach, length)
    blocks = math.ceil(length / phases)
    padded = F.pad(torch.from_numpy(samples), (reach, reach + blocks * step - len(samples)))
    out = F.conv1d(padded[None, None], _filters(step, phases, reach), stride=step)[0]  # (phases, blocks)
    return out.T.reshape(-1)[:length].numpy()


def _cutoff(step: int, phases: int) -> float:
    """As a share of the Nyquist frequency of the samples."""
    return min(1.0, phases / step) * ROLLOFF


def _weights(times: Tensor, cutoff: float) -> Tensor:
    """The filter at some distances, in samples."""
    window = torch.cos((times * cutoff / ZEROS).clamp(-1, 1) * math.pi / 2) ** 2
    return torch.sinc(times * cutoff) * window * cutoff


@lru_cache(maxsize=8)
def _filters(step: int, phases: int, reach: int) -> Tensor:
    """A filter for each of the `phases` results of `step` samples, `(phases, 1, 2 * reach + step)`."""
    taps = torch.arange(-reach, reach + step, dtype=torch.float64)
    places = torch.arange(phases, dtype=torch.float64)[:, None] * step / phases
    return _weights(taps - places, _cutoff(step, phases)).float().unsqueeze(1)


def _resampled_one_by_one(samples: np.ndarray, step: int, phases: int, reach: int, length: int) -> np.ndarray:
    """The same of rates that have no large common divisor: a filter for each result, made for some at a time."""
    padded = F.pad(torch.from_numpy(samples), (reach, reach + 1)).double()
    done = []
    for block in torch.arange(length).split(max(1, LARGEST_FILTER // (2 * reach + 1))):
        whole, part = block * step // phases, (block * step % phases).double() / phases
        taps = torch.arange(-reach, reach + 1)
        near = padded[(whole[:, None] + taps + reach).clamp(max=len(padded) - 1)]
        done.append((near * _weights(taps - part[:, None], _cutoff(step, phases))).sum(1))
    return torch.cat(done).float().numpy()


def log_mel(samples: np.ndarray, rate: int, bins: int, window: int, hop: int) -> Tensor:
    """The logarithm to base 10 of the power in mel bands, `(frames, bins)` float32; silence is -10.

    Bands are triangles on HTK's mel scale, 2595 log10(1 + f / 700), from 0 Hz to half the rate, of height 1. The
    spectra are of frames under a periodic Hann window, `hop` samples apart, of which the first begins with the first
    sample: there are `1 + (samples - window) // hop`.

    Args:
        samples: `(samples,)`, at least `window`.
        rate: Samples a second.
        bins: How many bands.
        window, hop: In samples.
    """
    frames = torch.from_numpy(samples.astype(np.float64)).unfold(0, window, hop)
    spectra = torch.fft.rfft(frames * _hann(window))
    # A spectrum needs float64, for a band may hold 1e-10 of the power of another. Its squares, which are not negative,
    # are added up without cancellation in float32. Real and imaginary parts stand side by side.
    squares = torch.view_as_real(spectra).float().square_().flatten(1)
    return (squares @ _weights_of_parts(rate, bins, window)).clamp_(min=FLOOR).log10_()


def normalized(spectrogram: Tensor, normalize: str) -> Tensor:
    """A log-mel spectrogram `(frames, bins)` without a mean of its own: a gain adds one number to all of it, and the
    response of a microphone adds one to each band.

    Args:
        normalize: What is subtracted. `none`: nothing. `level`: the mean over frames and bands. `bands`: the mean of
            each band over the frames, as cepstral mean normalisation.
    """
    over = MEANS[normalize]
    return spectrogram - spectrogram.mean(over, keepdim=True) if over else spectrogram


@lru_cache(maxsize=8)
def _hann(window: int) -> Tensor:
    return torch.hann_window(window, dtype=torch.float64)


@lru_cache(maxsize=8)
def _weights_of_parts(rate: int, bins: int, window: int) -> Tensor:
    """`mel_bands` for the real and the imaginary part of each frequency, `(2 * (window // 2 + 1), bins)` float32."""
    return mel_bands(rate, bins, window).float().repeat_interleave(2, dim=0)


def mel_bands(rate: int, bins: int, window: int) -> Tensor:
    """The weight of each frequency of a spectrum in each band, `(window // 2 + 1, bins)` float64."""
    edges = torch.linspace(0, 2595 * math.log10(1 + rate / 2 / 700), bins + 2, dtype=torch.float64)
    low, middle, high = (700 * (10 ** (edges / 2595) - 1)).unfold(0, 3, 1).T
    frequencies = torch.linspace(0, rate / 2, window // 2 + 1, dtype=torch.float64)[:, None]
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    return torch.minimum(rising, falling).clamp(min=0)
