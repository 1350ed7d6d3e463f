"""Rows a second on one core, from files to the batch that a model reads, beside what one would use otherwise.

    pip install --target PEERS --no-deps webdataset braceexpand
    PYTHONPATH=PEERS python benchmarks/input_pipeline.py

Pictures are JPEG files of 640 x 480 px, read as normalised float32 `(batch, 3, 224, 224)`; sounds are WAV files of
5 s and 16 bits, of 16 kHz, or of 48 kHz and two channels, read as log-mel spectrograms at 16 kHz of 64 bands with a
frame of 25 ms every 10 ms. All ways read the same files (webdataset a tar of them) and take turns in one process of
one thread; what they cost is measured in CPU time. Before that, values are compared with a plain reference in float64.
Without webdataset its rows are left out.
"""

import argparse
import math
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from PIL import Image
from scipy.signal import resample_poly
from torch import Tensor
from transformers import (
    ASTFeatureExtractor,
    ClapFeatureExtractor,
    CLIPImageProcessorPil,
    SeamlessM4TFeatureExtractor,
    WhisperFeatureExtractor,
)

from hf_latent import CoMMProcessor, Views, build_view
from hf_latent.data.collator import LatentCollator
from hf_latent.data.hub_data import HubData
from hf_latent.data.source import Reader
from hf_latent.models.encoders import build_encoder

SIZE = 224
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
RATE, SECONDS, BINS, WINDOW, HOP = 16000, 5, 64, 400, 160

Way = Callable[[], Iterator[Tensor]]
"""One pass over the files, batch by batch."""


def write_pictures(folder: Path, count: int) -> list[Path]:
    """Smooth random pictures with some noise, about as large as photos of their size."""
    paths = []
    for seed in range(count):
        draw = np.random.default_rng(seed)
        coarse = Image.fromarray(draw.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((640, 480), Image.BICUBIC)
        noisy = np.asarray(coarse, dtype=np.int16) + draw.integers(-12, 13, (480, 640, 3))
        paths.append(folder / f"{seed:05}.jpg")
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(paths[-1], quality=90)
    return paths


def write_sounds(folder: Path, count: int, rate: int, channels: int) -> list[Path]:
    """Three tones each, in noise 40 dB below full scale, `(samples, channels)`."""
    paths, seconds = [], np.arange(SECONDS * rate) / rate
    for seed in range(count):
        draw = np.random.default_rng(seed)
        tones = sum(0.2 * np.sin(2 * np.pi * frequency * seconds) for frequency in draw.uniform(100, 4000, 3))
        noise = draw.normal(0, 0.01, (len(seconds), channels))
        paths.append(folder / f"{seed:05}.wav")
        soundfile.write(paths[-1], tones[:, None] + noise, rate, subtype="PCM_16")
    return paths


def tar(paths: list[Path], file: Path) -> Path:
    with tarfile.open(file, "w") as archive:
        for path in paths:
            archive.add(path, path.name)
    return file


def in_batches(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    batch = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def ours(folder: Path, kind: str, size: int) -> Way:
    """As training and evaluation read: rows of `datasets`, the collator, the plain view."""
    source = {"image": "imagefolder", "audio": "csv"}[kind]
    encoder = {"image": {"encoder": "cnn"}, "audio": {"encoder": "audio_cnn", "max_seconds": SECONDS}}[kind]
    options: dict[str, Any] = {"cache_dir": str(folder / "cache"), "data_dir": str(folder)}
    if kind == "audio":
        names = [path.name for path in sorted(folder.glob("*.wav"))]
        (folder / "train.csv").write_text("\n".join(["audio", *names]), encoding="utf-8", newline="\n")
        options = {**options, "data_dir": None, "data_files": {"train": str(folder / "train.csv")}}
    data = HubData(path=source, columns={kind: kind}, options=options)
    rows = data.load_for(Reader({kind: encoder}), find=False).train
    view = build_view("image", size=SIZE, fit="squash") if kind == "image" else build_view("none")
    own = view.processor_options if kind == "image" else build_encoder(encoder).processor_options
    collator, views = LatentCollator(CoMMProcessor({kind: {"kind": kind, **own}})), Views({kind: view})

    def batches() -> Iterator[Tensor]:
        for batch in in_batches((rows[i] for i in range(len(rows))), size):
            inputs = views.plain(collator(batch)["modalities"])[kind]
            yield inputs["pixel_values" if kind == "image" else "input_features"]

    return batches


def normalised(image: Image.Image) -> Tensor:
    """A picture as torchvision's Resize, ToTensor and Normalize give it."""
    image = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return pixels.sub_(mean).div_(std)


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def pillow_loop(paths: list[Path], size: int) -> Way:
    return lambda: (torch.stack(batch) for batch in in_batches((normalised(opened(path)) for path in paths), size))


def image_processor(paths: list[Path], size: int) -> Way:
    square: Any = {"height": SIZE, "width": SIZE}
    processor = CLIPImageProcessorPil(
        size=square, do_center_crop=False, resample=Image.Resampling.BILINEAR, image_mean=MEAN, image_std=STD
    )

    def batches() -> Iterator[Tensor]:
        for batch in in_batches((opened(path) for path in paths), size):
            yield processor(batch, return_tensors="pt")["pixel_values"]

    return batches


def mel_bands(rate: int) -> np.ndarray:
    """The bands of the reference, `(frequencies, bands)`, one triangle after the other."""
    edges = [700 * (10 ** (mel / 2595) - 1) for mel in np.linspace(0, 2595 * math.log10(1 + rate / 1400), BINS + 2)]
    bands = np.zeros((WINDOW // 2 + 1, BINS))
    for band in range(BINS):
        low, middle, high = edges[band : band + 3]
        for place in range(WINDOW // 2 + 1):
            frequency = place * rate / WINDOW
            bands[place, band] = max(0, min((frequency - low) / (middle - low), (high - frequency) / (high - middle)))
    return bands


def short_time(samples: np.ndarray, bands: Tensor, hann: Tensor) -> Tensor:
    """A log-mel spectrogram in float32, as torchaudio's MelSpectrogram without centering makes it."""
    spectrum = torch.stft(torch.from_numpy(samples), WINDOW, HOP, window=hann, center=False, return_complex=True)
    return (spectrum.abs().pow(2.0).transpose(-1, -2) @ bands).clamp(min=1e-10).log10()


def stft_loop(samples: Callable[[], Iterable[np.ndarray]], size: int) -> Way:
    bands, hann = torch.from_numpy(mel_bands(RATE)).float(), torch.hann_window(WINDOW)
    rows = lambda: (short_time(sound, bands, hann) for sound in samples())  # noqa: E731
    return lambda: (torch.stack(batch) for batch in in_batches(rows(), size))


def read_sounds(paths: list[Path]) -> Callable[[], Iterator[np.ndarray]]:
    def sounds() -> Iterator[np.ndarray]:
        for path in paths:
            samples, rate = soundfile.read(path, dtype="float32")
            samples = samples.mean(axis=1) if samples.ndim == 2 else samples
            yield samples if rate == RATE else resample_poly(samples, RATE, rate)

    return sounds


def feature_extractor(extractor: Any, paths: list[Path], size: int) -> Way:
    def batches() -> Iterator[Tensor]:
        for batch in in_batches(read_sounds(paths)(), size):
            made = extractor(batch, sampling_rate=RATE, return_tensors="pt")
            yield next(made[key] for key in ("input_features", "input_values") if key in made)

    return batches


def webdataset_ways(pictures: Path, sounds: Path, size: int) -> tuple[dict[str, Way], dict[str, Way]]:
    """By webdataset; nothing where it is not installed."""
    try:
        import webdataset
    except ImportError:
        return {}, {}

    def images() -> Iterator[Tensor]:
        data = webdataset.WebDataset(str(pictures), shardshuffle=False).decode("pilrgb").to_tuple("jpg")
        yield from (batch[0] for batch in data.map_tuple(normalised).batched(size))

    def waves() -> Iterator[np.ndarray]:
        data = webdataset.WebDataset(str(sounds), shardshuffle=False).to_tuple("wav")
        yield from (soundfile.read(BytesIO(file), dtype="float32")[0] for (file,) in data)

    return {"webdataset, Pillow": images}, {"webdataset, soundfile, torch.stft in float32": stft_loop(waves, size)}


def check_pictures(way: Way, paths: list[Path]) -> float:
    """The largest difference to Pillow's squares, normalised in float64."""
    worst, mean, std = 0.0, np.array(MEAN), np.array(STD)
    for path, found in zip(paths, (row for batch in way() for row in batch), strict=True):
        pixels = np.asarray(opened(path).resize((SIZE, SIZE), Image.Resampling.BILINEAR), dtype=np.float64)
        wanted = ((pixels / 255 - mean) / std).transpose(2, 0, 1)
        worst = max(worst, np.abs(found.double().numpy() - wanted).max())
    return worst


def check_sounds(way: Way, paths: list[Path]) -> float:
    """The largest difference to spectra of numpy in float64."""
    worst, bands = 0.0, mel_bands(RATE)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    for path, found in zip(paths, (row for batch in way() for row in batch), strict=True):
        samples = soundfile.read(path, dtype="float64")[0]
        starts = range(0, len(samples) - WINDOW + 1, HOP)
        power = np.stack([np.abs(np.fft.rfft(samples[start : start + WINDOW] * hann)) ** 2 for start in starts])
        wanted = np.log10(np.maximum(power @ bands, 1e-10))
        worst = max(worst, np.abs(found.double().numpy() - wanted).max())
    return worst


def measure(ways: Mapping[str, Way], repeats: int) -> dict[str, list[float]]:
    """CPU seconds of a pass, the turns beginning with another way each time."""
    names = list(ways)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-1, repeats):
        for name in [*names[turn % len(names) :], *names[: turn % len(names)]]:
            began = time.process_time()
            for _ in ways[name]():
                pass
            if turn >= 0:  # the first turn warms up
                seconds[name].append(time.process_time() - began)
    return seconds


def report(title: str, ways: Mapping[str, Way], rows: int, repeats: int) -> None:
    shapes = {name: tuple(next(iter(way())).shape[1:]) for name, way in ways.items()}
    seconds = measure(ways, repeats)
    print(f"| {title} | shape of a row | rows a second, median | lowest | highest | hf_latent is faster by |")
    print("|---|---|---|---|---|---|")
    for name, found in seconds.items():
        ratio = statistics.median(b / a for a, b in zip(seconds["hf_latent"], found, strict=True))
        low, middle, high = (rows / f(found) for f in (max, statistics.median, min))
        print(f"| {name} | {shapes[name]} | {middle:.0f} | {low:.0f} | {high:.0f} | {ratio:.2f}x |")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=11)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folders = {kind: Path(name) / kind for kind in ("image", "audio", "wide")}
        for folder in folders.values():
            folder.mkdir()
        pictures = write_pictures(folders["image"], options.rows)
        sounds = write_sounds(folders["audio"], options.rows, RATE, 1)
        wide = write_sounds(folders["wide"], options.rows, 3 * RATE, 2)
        web_pictures, web_sounds = webdataset_ways(
            tar(pictures, Path(name) / "pictures.tar"), tar(sounds, Path(name) / "sounds.tar"), options.batch
        )
        image_ways = {
            "hf_latent": ours(folders["image"], "image", options.batch),
            "Pillow in a loop": pillow_loop(pictures, options.batch),
            **web_pictures,
            "transformers, CLIPImageProcessorPil": image_processor(pictures, options.batch),
        }
        mel = {"sampling_rate": RATE, "feature_size": BINS}
        extractors = {
            "WhisperFeatureExtractor": WhisperFeatureExtractor(**mel, chunk_length=SECONDS),
            "ASTFeatureExtractor": ASTFeatureExtractor(num_mel_bins=BINS, max_length=498),
            "ClapFeatureExtractor": ClapFeatureExtractor(
                **mel, hop_length=HOP, fft_window_size=WINDOW, max_length_s=SECONDS, truncation="rand_trunc"
            ),
            "SeamlessM4TFeatureExtractor": SeamlessM4TFeatureExtractor(**mel, num_mel_bins=BINS, stride=1),
        }
        sound_ways = {
            "hf_latent": ours(folders["audio"], "audio", options.batch),
            "soundfile, torch.stft in float32": stft_loop(read_sounds(sounds), options.batch),
            **web_sounds,
            **{f"transformers, {n}": feature_extractor(e, sounds, options.batch) for n, e in extractors.items()},
        }
        wide_ways = {
            "hf_latent": ours(folders["wide"], "audio", options.batch),
            "soundfile, resample_poly of SciPy, torch.stft in float32": stft_loop(read_sounds(wide), options.batch),
        }
        print("Largest difference to float64:")
        print(f"pictures, hf_latent: {check_pictures(image_ways['hf_latent'], pictures):.1e}")
        for name in ("hf_latent", "soundfile, torch.stft in float32"):
            print(f"sounds, {name}: {check_sounds(sound_ways[name], sounds):.1e}")
        print()
        report("JPEG", image_ways, options.rows, options.repeats)
        report("WAV, 16 kHz", sound_ways, options.rows, options.repeats)
        report("WAV, 48 kHz, stereo", wide_ways, options.rows, options.repeats)


if __name__ == "__main__":
    main()
