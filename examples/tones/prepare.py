"""Short tones with captions: WAV files and a CSV with their names for each split, made here.

    python prepare.py --output tones

A caption names the pitch and the timbre of its tone ("a high buzzing tone"); how loud it is, only the sound tells.
"""

import argparse
import csv
import wave
from pathlib import Path

import numpy as np

RATE = 8000
PITCHES = {"low": 220.0, "middle": 440.0, "high": 880.0}
TIMBRES = {"pure": (1.0,), "hollow": (1.0, 0.0, 0.5, 0.0, 0.3), "buzzing": (1.0, 0.8, 0.7, 0.6, 0.5)}
LOUDNESS = {"quiet": 0.05, "loud": 0.5}
SPLITS = {"train": 240, "validation": 60, "test": 60}


def tone(pitch: str, timbre: str, loudness: str, draw: np.random.Generator) -> np.ndarray:
    """`(samples,)` int16, between 0.4 and 0.8 seconds."""
    time = np.arange(int(RATE * draw.uniform(0.4, 0.8))) / RATE
    base = PITCHES[pitch] * draw.uniform(0.95, 1.05)
    parts = [
        strength * np.sin(2 * np.pi * base * number * time + draw.uniform(0, 2 * np.pi))
        for number, strength in enumerate(TIMBRES[timbre], start=1)
        if base * number < RATE / 2
    ]
    sound = np.sum(parts, axis=0) * np.exp(-2 * time)
    sound = LOUDNESS[loudness] * sound / np.abs(sound).max() + draw.normal(0, 0.002, len(time))
    return np.clip(np.rint(sound * 32767), -32768, 32767).astype("<i2")


def write(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())


def prepare(folder: Path, splits: dict[str, int]) -> None:
    """Write the tones of each split into a folder, and `<split>.csv` beside it."""
    draw = np.random.default_rng(0)
    for split, count in splits.items():
        (folder / split).mkdir(parents=True)
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["file", "caption", "pitch", "timbre", "loudness"])
            for number in range(count):
                pitch, timbre, loudness = (str(draw.choice(list(known))) for known in (PITCHES, TIMBRES, LOUDNESS))
                name = f"{split}/{number:03}.wav"
                write(folder / name, tone(pitch, timbre, loudness, draw))
                rows.writerow([name, f"a {pitch} {timbre} tone", pitch, timbre, loudness])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("tones"), help="a folder that is not there yet")
    prepare(parser.parse_args().output, SPLITS)
