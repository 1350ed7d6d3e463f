"""Sound: how it is read and resampled, its spectrogram, and encoders that see no padding and no other row."""

import io
import math
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import resample_poly
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from hf_latent import CoMMProcessor
from hf_latent.models.audio import log_mel, mel_bands, read_audio, resample
from hf_latent.models.encoders import ENCODERS, build_encoder

TOWER = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
WAVES = {
    **TOWER,
    **{"conv_dim": [8, 8], "conv_kernel": [10, 3], "conv_stride": [5, 2], "num_feat_extract_layers": 2},
    **{"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "feat_extract_norm": "layer"},
}
CONFIGS = {
    "wav2vec2": WAVES,
    "hubert": {**WAVES, "feat_extract_norm": "group"},
    "wavlm": {**WAVES, "num_buckets": 8, "max_bucket_distance": 16},
    "audio-spectrogram-transformer": {**TOWER, "num_mel_bins": 32, "max_length": 64},
    "whisper": {
        **{"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32},
        **{"num_mel_bins": 16, "max_source_positions": 50, "vocab_size": 50},
        **{"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32},
        **{"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0, "decoder_start_token_id": 0},
    },
    "clap_audio_model": {
        **{"patch_embeds_hidden_size": 8, "depths": [1, 1], "num_attention_heads": [2, 2]},
        **{"num_mel_bins": 16, "spec_size": 64, "window_size": 4},
    },
}
RATE = 16000


def wav(samples, rate=RATE, width=2):
    """The bytes of a WAV file of integers, `(frames,)` or `(frames, channels)`."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(samples.shape[1] if samples.ndim == 2 else 1)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(samples.astype({1: "u1", 2: "<i2", 4: "<i4"}[width]).tobytes())
    return file.getvalue()


def sounds(*lengths, seed=0):
    draw = np.random.default_rng(seed)
    return [{"array": draw.normal(0, 0.1, length), "sampling_rate": RATE} for length in lengths]


def encoder_of(model_type, **options):
    own = CONFIGS.get(model_type, WAVES)
    if "conv_dim" in own:
        options["max_seconds"] = 0.5
    torch.manual_seed(0)
    return build_encoder({"encoder": "auto", "config": {"model_type": model_type, **own}, **options})


def processor_of(encoder):
    return CoMMProcessor({"sound": {"kind": encoder.kind, **encoder.processor_options}})


def embedded(encoder, values):
    with torch.no_grad():
        return encoder.eval()(**processor_of(encoder)({"sound": values})["modalities"]["sound"])


def test_files_arrays_and_records_are_one_sound(tmp_path):
    pytest.importorskip("soundfile")
    wanted = np.array([0, 1, -32768, 32767, 5], dtype=np.int16)
    scaled = wanted.astype(np.float64) / 2**15
    (tmp_path / "sound.wav").write_bytes(wav(wanted))
    stereo = wav(np.stack([wanted, np.zeros_like(wanted)], 1))
    for value in (
        *(tmp_path / "sound.wav", wav(wanted), {"bytes": wav(wanted), "path": None}, wanted, wanted.tolist(), scaled),
        *({"array": scaled, "sampling_rate": RATE}, torch.from_numpy(scaled)),
        torch.from_numpy(wanted),
    ):
        assert np.array_equal(read_audio(value, RATE), scaled.astype(np.float32))
    assert np.array_equal(read_audio(stereo, RATE), (scaled / 2).astype(np.float32))
    both = np.stack([scaled, np.zeros(5)])
    for array in (both, both.T):
        assert np.allclose(read_audio({"array": array, "sampling_rate": RATE}, RATE), scaled / 2, atol=1e-7)
    assert np.allclose(read_audio(wav(wanted.astype(np.int64) * 65536, width=4), RATE), scaled, atol=1e-7)
    assert np.allclose(read_audio(np.array([0, 128, 255], np.uint8), RATE), [-1, 0, 127 / 128])
    assert len(read_audio(wav(np.zeros(RATE, np.int16)), 8000, seconds=0.25)) == 2000


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "PCM_U8"])
def test_files_of_every_width_are_read_as_in_float64(subtype, channels):
    soundfile = pytest.importorskip("soundfile")
    file, draw = io.BytesIO(), np.random.default_rng(0)
    soundfile.write(file, draw.uniform(-1, 1, (300, channels)), RATE, format="WAV", subtype=subtype)
    exact = soundfile.read(io.BytesIO(file.getvalue()), dtype="float64", always_2d=True)[0]
    assert np.array_equal(read_audio(file.getvalue(), RATE), exact.mean(1).astype(np.float32))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"no sound at all, but a text", "Format not recognised"),
        ("/etc/hostname", "found a text: names of files are not opened"),
        ({"bytes": None, "path": "/etc/hostname"}, "expected array and sampling_rate, or bytes; found bytes, path"),
        ({"array": [0.0], "sampling_rate": None}, "sampling_rate=None"),
        ({"array": [0.0], "sampling_rate": 0}, "sampling_rate=0"),
        ({"array": [0.0], "sampling_rate": 10**12}, "a whole number, at most 10,000,000"),
        ([0.0, math.nan], "holds NaN or infinity"),
        ([0.0, 1e300], "holds numbers above 1e+15"),
        (np.zeros(0), "it holds no sample"),
        (Path("no/such/file.wav"), "there is no file no/such/file.wav"),
        (["a", "b"], "expected numbers"),
        (np.zeros((2, 3)), "expected (samples,), found (2, 3)"),
        ({"array": np.zeros((0, 3)), "sampling_rate": 8000}, "(channels, samples), found (0, 3)"),
        (3, "expected (samples,), found ()"),
        (None, "expected numbers"),
    ],
)
def test_what_is_no_sound_is_told_with_its_row(value, words):
    pytest.importorskip("soundfile")
    with pytest.raises(ValueError, match="row 1 of modality 'sound' is no sound that can be read: ") as caught:
        CoMMProcessor({"sound": {"kind": "audio"}})({"sound": [np.zeros(500), value]})
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("rate", "wanted"), [(44100, 16000), (8000, 16000), (16000, 48000), (22050, 8000), (44101, 16000)]
)
def test_resampled_tones_are_tones(rate, wanted):
    time = np.arange(rate // 5) / rate
    tone = np.sin(2 * np.pi * 1000 * time).astype(np.float32)
    found = resample(tone, rate, wanted)
    assert len(found) == math.ceil(len(tone) * wanted / rate)
    middle = slice(wanted // 50, -wanted // 50)
    exact = np.sin(2 * np.pi * 1000 * np.arange(len(found)) / wanted)
    assert np.abs(found - exact)[middle].max() < 5e-3
    if rate != 44101:  # of rates without a common divisor its filter is too long
        peer = resample_poly(tone.astype(np.float64), wanted, rate)[: len(found)]
        assert np.abs(found - peer)[middle].max() < 1e-2
    high = np.sin(2 * np.pi * 0.98 * max(rate, wanted) / 2 * np.arange(4000) / rate).astype(np.float32)
    if wanted < rate:  # what the lower rate cannot hold is filtered out
        assert np.abs(resample(high, rate, wanted)[100:-100]).max() < 1e-2


def test_both_ways_of_resampling_are_one(monkeypatch):
    noise = np.random.default_rng(0).normal(size=3001).astype(np.float32)
    before = [resample(noise, *rates) for rates in ((441, 160), (2, 3), (3, 1))]
    monkeypatch.setattr("hf_latent.models.audio.LARGEST_FILTER", 0)
    for rates, wanted in zip(((441, 160), (2, 3), (3, 1)), before, strict=True):
        np.testing.assert_allclose(resample(noise, *rates), wanted, atol=1e-5)


def test_the_spectrogram_is_that_of_transformers():
    samples = np.random.default_rng(0).normal(0, 0.1, 4000)
    bands = mel_filter_bank(201, 40, 0, RATE / 2, RATE, norm=None, mel_scale="htk")
    torch.testing.assert_close(mel_bands(RATE, 40, 400), torch.from_numpy(bands), rtol=1e-9, atol=1e-12)
    options = {"window": window_function(400, "hann", periodic=True), "frame_length": 400, "hop_length": 160}
    wanted = spectrogram(
        samples, **options, power=2.0, center=False, mel_filters=bands, log_mel="log10", dtype=np.float64
    )
    found = log_mel(samples, RATE, 40, 400, 160)
    assert found.shape == (23, 40)
    np.testing.assert_allclose(found.double(), wanted.T, rtol=1e-5, atol=1e-6)
    assert log_mel(np.zeros(400), RATE, 40, 400, 160).eq(-10).all()


def test_a_quiet_band_beside_a_loud_tone_is_exact():
    """Spectra in float32 are wrong by 0.1 here."""
    time = np.arange(4000) / RATE
    samples = 0.9 * np.sin(2 * np.pi * 1000 * time) + np.random.default_rng(0).normal(0, 1e-6, 4000)
    samples = samples.astype(np.float32).astype(np.float64)
    frames = np.stack([samples[start : start + 400] for start in range(0, 3601, 160)])
    power = np.abs(np.fft.rfft(frames * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)))) ** 2
    wanted = np.log10(np.maximum(power @ mel_bands(RATE, 40, 400).numpy(), 1e-10))
    assert wanted.min() < -8 and wanted.max() > 3
    np.testing.assert_allclose(log_mel(samples, RATE, 40, 400, 160).double(), wanted, rtol=0, atol=2e-6)


@pytest.mark.parametrize("model_type", [*CONFIGS, "data2vec-audio"])
def test_towers_embed_a_sound_whatever_stands_beside_it(model_type):
    encoder = encoder_of(model_type)
    assert encoder.kind == "audio" and ENCODERS["auto"].kind_of({"config": {"model_type": model_type}}) == "audio"
    rows = sounds(3000, 7000, 1, 2)
    together = embedded(encoder, rows)
    assert together.tokens.shape[::2] == (4, encoder.hidden_size) and together.pool().isfinite().all()
    alone = torch.cat([embedded(encoder, [row]).pool() for row in rows])
    torch.testing.assert_close(together.pool(), alone, rtol=1e-5, atol=1e-5)
    assert (alone[0] - alone[1]).abs().max() > 1e-3
    counted = {"wav2vec2": 299, "hubert": 299, "wavlm": 299, "whisper": 10}.get(model_type)
    if counted:
        assert together.attention_mask[0].sum() == counted


@pytest.mark.parametrize("model_type", ["wav2vec2", "hubert"])
def test_a_tower_of_waveforms_sees_no_padding(model_type):
    encoder = encoder_of(model_type)
    inputs = processor_of(encoder)({"sound": sounds(3000)})["modalities"]["sound"]
    before = encoder.eval()(**inputs)
    if model_type == "hubert":  # it normalises over time, so all is of one length
        assert inputs["input_values"].shape == (1, 8000)
        return
    padded = {key: torch.nn.functional.pad(value, (0, 500)) for key, value in inputs.items()}
    torch.testing.assert_close(encoder(**padded).pool(), before.pool(), rtol=0, atol=1e-5)


def test_the_convolutional_encoder_sees_no_padding():
    torch.manual_seed(0)
    encoder = build_encoder({"encoder": "audio_cnn", "channels": [8, 16, 24], "bins": 20}).double().eval()
    for frames in (1, 7, 8, 21):
        features = torch.randn(1, frames, 20, dtype=torch.float64) - 5
        wanted = encoder(features).pool()
        for width in (1, 2, 5):
            padded = torch.cat([features, torch.randn(1, width, 20)], 1)
            mask = (torch.arange(frames + width) < frames).long()[None]
            found = encoder(padded, mask)
            assert found.attention_mask.sum() == math.ceil(frames / 8)
            torch.testing.assert_close(found.pool(), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("normalize", ["level", "bands"])
def test_a_gain_changes_no_embedding_of_a_spectrogram_without_its_level(normalize):
    loud = sounds(4000, 6000)
    quiet = [{**sound, "array": sound["array"] / 50} for sound in loud]
    spec = {"encoder": "audio_cnn", "channels": [8, 8], "bins": 16}
    plain, without = build_encoder(spec), build_encoder({**spec, "normalize": normalize})
    without.load_state_dict(plain.state_dict())
    assert not torch.allclose(embedded(plain, loud).pool(), embedded(plain, quiet).pool(), atol=1e-2)
    torch.testing.assert_close(embedded(without, loud).pool(), embedded(without, quiet).pool(), rtol=0, atol=1e-4)
    spectrogram = processor_of(without).stack("sound", loud[:1])["input_features"][0]
    samples = np.asarray(loud[0]["array"], dtype=np.float32)
    wanted = log_mel(samples, RATE, 16, 400, 160).double().numpy()
    wanted -= wanted.mean() if normalize == "level" else wanted.mean(0)
    np.testing.assert_allclose(spectrogram.double(), wanted, rtol=0, atol=1e-5)


def test_the_convolutional_encoder_embeds_any_sound():
    encoder = build_encoder({"encoder": "audio_cnn", "channels": [8, 16], "max_seconds": 0.2})
    values = [np.zeros(3), np.zeros(1), np.zeros(2000), np.ones(2000), sounds(9000)[0]]
    found = embedded(encoder, values)
    assert found.pool().isfinite().all() and found.tokens.shape[1] == math.ceil((1 + (3200 - 400) // 160) / 4)
    alone = torch.cat([embedded(encoder, [value]).pool() for value in values])
    torch.testing.assert_close(found.pool(), alone, rtol=0, atol=1e-6)


def test_the_features_are_those_of_the_checkpoints_extractor():
    from transformers import ASTFeatureExtractor, Wav2Vec2FeatureExtractor

    (sound,) = sounds(3000)
    samples = sound["array"].astype(np.float32)
    own = ASTFeatureExtractor(num_mel_bins=32, max_length=64, mean=-3.0)
    encoder = encoder_of("audio-spectrogram-transformer", feature_extractor=own.to_dict())
    found = processor_of(encoder).stack("sound", [sound])["input_values"]
    wanted = own(samples, sampling_rate=RATE, return_tensors="pt")["input_values"]
    assert torch.equal(found, wanted)
    plain = processor_of(encoder_of("wav2vec2")).stack("sound", [sound])["input_values"][0]
    wanted = Wav2Vec2FeatureExtractor()(samples, sampling_rate=RATE, return_tensors="pt")["input_values"][0]
    torch.testing.assert_close(plain, wanted)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"encoder": "audio_cnn", "bins": 4}, "at least 16"),
        ({"encoder": "audio_cnn", "channels": []}, "at least one stage"),
        ({"encoder": "audio_cnn", "normalize": "loudness"}, "write one of none, level, bands"),
        ({"encoder": "auto", "config": {"model_type": "whisper", "max_source_positions": 60}}, "50 for each second"),
        ({"encoder": "auto", "max_seconds": 31, "config": {"model_type": "whisper", **CONFIGS["whisper"]}}, "reads 1"),
        ({"encoder": "auto", "max_seconds": 1, "config": {"model_type": "bert"}}, "are of sound"),
        ({"encoder": "auto", "config": {"model_type": "wav2vec2-bert", **TOWER}}, "reads sound is not known"),
        ({"encoder": "auto", "max_length": 9, "config": {"model_type": "hubert", **WAVES}}, "max_length is of text"),
        (
            {
                **{"encoder": "auto", "config": {"model_type": "hubert", **WAVES}},
                "feature_extractor": {"feature_extractor_type": "os"},
            },
            "no feature extractor of sound",
        ),
    ],
)
def test_wrong_options_are_told(spec, words):
    with pytest.raises(ValueError, match=words):
        build_encoder(spec)


def test_the_processor_survives_saving(tmp_path):
    for number, encoder in enumerate((encoder_of("whisper"), build_encoder({"encoder": "audio_cnn", "bins": 16}))):
        ours, values = processor_of(encoder), sounds(3000, 5000)
        ours.save_pretrained(tmp_path / str(number))
        loaded = CoMMProcessor.from_pretrained(tmp_path / str(number))
        assert loaded.modalities == ours.modalities
        for key, tensor in ours.stack("sound", values).items():
            assert torch.equal(loaded.stack("sound", values)[key], tensor)


def test_towers_begin_with_the_checkpoint_and_its_extractor(tmp_path):
    from transformers import ClapAudioConfig, ClapConfig, ClapFeatureExtractor, ClapModel

    from hf_latent import CoMMConfig, CoMMModel

    audio = ClapAudioConfig(**CONFIGS["clap_audio_model"], hidden_size=16)
    text = {**TOWER, "vocab_size": 20, "max_position_embeddings": 20}
    whole = ClapModel(ClapConfig(audio_config=audio, text_config=text, projection_dim=8))
    whole.save_pretrained(tmp_path)
    ClapFeatureExtractor(feature_size=16, max_length_s=1, truncation="rand_trunc").save_pretrained(tmp_path)
    spec = {"encoder": "auto", "pretrained": str(tmp_path), "pooling": "mean", "frozen": True}
    config = CoMMConfig.from_checkpoints(modalities={"sound": spec}, embed_dim=16, fusion_heads=4)
    assert config.modalities["sound"]["feature_extractor"]["max_length_s"] == 1
    model = CoMMModel(config)
    model.load_pretrained()
    tower = model.encoders["sound"].model
    for name, weight in whole.audio_model.state_dict().items():
        assert torch.equal(tower.state_dict()[name], weight), name
    assert processor_of(model.encoders["sound"]).stack("sound", sounds(9))["input_features"].shape == (1, 1, 101, 16)


def test_a_model_of_sound_is_saved_and_loaded(tmp_path):
    from hf_latent import CoMMConfig, CoMMModel

    towers = {"cnn": {"encoder": "audio_cnn", "channels": [8], "bins": 16}}
    for number, (model_type, config) in enumerate(CONFIGS.items()):
        spec = {"encoder": "auto", "config": {"model_type": model_type, **config}, "frozen": True}
        towers[f"sound{number}"] = spec | ({"max_seconds": 0.5} if "conv_dim" in config else {})
    torch.manual_seed(0)
    model = CoMMModel(CoMMConfig(modalities=towers, embed_dim=16, fusion_heads=4)).eval()
    processor = CoMMProcessor({n: {"kind": "audio", **e.processor_options} for n, e in model.encoders.items()})
    row = processor(dict.fromkeys(towers, sounds(3000)))["modalities"]
    model.save_pretrained(tmp_path)
    loaded = CoMMModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        for name in towers:
            alone = {name: row[name]}
            assert torch.equal(loaded.get_fused_features(alone), model.get_fused_features(alone)), name
            assert model.double().get_fused_features(alone).isfinite().all()
            model.float()


@pytest.mark.parametrize("model_type", ["wav2vec2", "whisper"])
def test_a_tower_of_a_whole_checkpoint(model_type, tmp_path):
    import transformers

    name = {"wav2vec2": "Wav2Vec2", "whisper": "Whisper"}[model_type]
    config = getattr(transformers, f"{name}Config")(**CONFIGS[model_type])
    head = {"wav2vec2": "Wav2Vec2ForCTC", "whisper": "WhisperForConditionalGeneration"}[model_type]
    whole = getattr(transformers, head)(config)
    whole.save_pretrained(tmp_path)
    options = {"whisper": {"feature_size": 16, "chunk_length": 1}}.get(model_type, {})
    getattr(transformers, f"{name}FeatureExtractor")(**options).save_pretrained(tmp_path)

    from hf_latent import CoMMConfig

    spec = {"encoder": "auto", "pretrained": str(tmp_path)}
    encoder = build_encoder(CoMMConfig.from_checkpoints(modalities={"sound": spec}).modalities["sound"])
    encoder.load_pretrained()
    wanted = whole.model.encoder if model_type == "whisper" else whole.wav2vec2
    for key, weight in encoder.model.state_dict().items():
        assert torch.equal(wanted.state_dict()[key], weight), key
