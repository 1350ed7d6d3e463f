"""Sound."""

import base64
from collections.abc import Mapping, Sequence
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from ..errors import UserError
from ..models.audio import INSTALL, open_audio, read_audio
from .base import Decoder, Kind, Suggestion, register_kind
from .stored import content, is_file, named

LONGEST = 60.0  # seconds of a file that are read, where its encoder does not say; no family reads more
PLAYED = 5.0  # seconds
BEGINNINGS = (b"RIFF", b"fLaC", b"OggS", b"ID3", b"FORM")  # of files of sound
ENCODER = {"encoder": "audio_cnn", "channels": [16, 32, 64], "sampling_rate": 16000, "max_seconds": 5.0}


@register_kind("audio")
class AudioKind(Kind):
    """Columns of files of sound, of their bytes, of paths to them, of arrays at the rate of the encoder, or of records
    with `array` and `sampling_rate`."""

    IMPORTS = ("from pathlib import Path",)
    OPENS_FILES = True
    SUFFIXES = (".aif", ".aiff", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav")
    NAMES = ("audio", "sound", "audio_path", "file", "filepath", "file_name", "wav", "flac", "mp3", "ogg")

    def decoder(self, spec: Mapping[str, Any]) -> Decoder:
        try:
            import soundfile  # noqa: F401
        except (ImportError, OSError) as error:
            raise UserError(INSTALL) from error
        return partial(_decoded, seconds=spec.get("max_seconds") or LONGEST)

    def suggest(self, feature: Any, values: Sequence[Any]) -> Suggestion | None:
        import datasets

        why = "sound" if isinstance(feature, datasets.Audio) else None
        if why is None and isinstance(feature, Mapping) and {"array", "sampling_rate"} <= set(feature):
            why = "sound, as arrays with their sampling rate"
        if why is None and is_file(feature):
            name, file = named(values, self.SUFFIXES), content(values)
            if name is not None:
                why = f"files of sound, such as {name!r}"
            elif file is not None and file.startswith(BEGINNINGS):
                why = "the bytes of files of sound"
        return None if why is None else Suggestion(why, ENCODER, {"kind": "audio"})

    def example(self, name: str, spec: Mapping[str, Any]) -> str:
        return f'Path("{name}.wav")'

    def thumbnail(self, value: Any) -> Image.Image:
        from ..plots.thumbnails import of_waveform

        return of_waveform(open_audio(value, PLAYED)[0])

    def player(self, value: Any, options: Mapping[str, Any]) -> str:
        try:
            import soundfile
        except (ImportError, OSError):
            return ""
        rate, file = int(options["sampling_rate"]), BytesIO()
        samples = read_audio(value, rate, PLAYED)
        soundfile.write(file, np.clip(samples, -1, 1), rate, format="WAV", subtype="PCM_16")
        return f'<audio controls src="data:audio/wav;base64,{base64.b64encode(file.getvalue()).decode()}"></audio>'


def _decoded(value: Any, seconds: float | None) -> Any:
    samples, rate = open_audio(value, seconds)
    return samples if rate is None else {"array": samples, "sampling_rate": rate}
