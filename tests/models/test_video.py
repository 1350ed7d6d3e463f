"""Clips: which frames are read, encoders of images and of clips, one augmentation a clip, and columns of frames."""

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from hf_latent import CoMMConfig, CoMMModel, CoMMProcessor
from hf_latent.data.hub_data import HubData
from hf_latent.data.source import Reader
from hf_latent.errors import UserError
from hf_latent.kinds import KINDS
from hf_latent.models.encoders import build_encoder, kind_of_spec
from hf_latent.models.kind_video import chosen_frames
from hf_latent.views import Views, build_view

CNN = {"encoder": "cnn", "channels": [8, 16], "frames": 4}
MAE = {
    **{"model_type": "videomae", "image_size": 16, "patch_size": 8, "num_frames": 4, "tubelet_size": 2},
    **{"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32},
}


def clip(frames, side=20):
    """Frame number n is of grey 10 n."""
    return np.stack([np.full((side, side, 3), 10 * n, np.uint8) for n in range(frames)])


def processor(frames=4):
    return CoMMProcessor({"clip": {"kind": "video", "size": 16, "frames": frames}})


def greys(stacked):
    return stacked["pixel_values"][:, :, 0, 0, 0].tolist()


def test_the_middles_of_equal_parts_are_read():
    assert chosen_frames(8, 4) == [1, 3, 5, 7] and chosen_frames(10, 4) == [1, 3, 6, 8]
    assert chosen_frames(4, 4) == [0, 1, 2, 3] and chosen_frames(2, 4) == [0, 0, 1, 1] and chosen_frames(9, 1) == [4]


def test_names_of_frames_are_counted_and_hidden_files_left_out(tmp_path):
    for place, frame in enumerate(clip(12)):
        Image.fromarray(frame).save(tmp_path / f"frame{place}.png")
    (tmp_path / "._frame0.png").write_bytes(b"what macOS leaves")
    assert greys(CoMMProcessor({"clip": {"kind": "video", "size": 16, "frames": 12}}).stack("clip", [tmp_path])) == [
        [10 * place for place in range(12)]
    ]


def test_frames_come_in_many_forms(tmp_path):
    frames = clip(10)
    for place, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"{place:02}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    paths = sorted(tmp_path.glob("*.png"))
    values = [frames, list(frames), torch.from_numpy(frames).permute(0, 3, 1, 2), frames.tolist(), tmp_path, paths]
    values += [[Image.fromarray(frame) for frame in frames], [{"bytes": path.read_bytes()} for path in paths]]
    stacked = processor().stack("clip", values)
    assert stacked["pixel_values"].shape == (8, 4, 3, 16, 16) and stacked["pixel_values"].dtype == torch.uint8
    assert greys(stacked) == [[10, 30, 60, 80]] * 8


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "a clip without a frame"),
        (Image.new("RGB", (9, 9)), "expected a list of frames, found Image"),
        (np.zeros((9, 9, 3), np.uint8), r"expected \(frames, height, width, 3\), found \(9, 9, 3\)"),
        (["/etc/hostname"], "frame 0: expected an image, found a text: names of files are not opened"),
        ("/etc", "expected a list of frames, found str"),
        ([np.zeros((9, 9, 5), np.uint8)], "frame 0: expected"),
    ],
)
def test_what_is_no_clip_is_told_with_its_row(value, words):
    with pytest.raises(ValueError, match=f"row 1 of modality 'clip' is no clip that can be read: {words}"):
        processor().stack("clip", [clip(3), value])


@pytest.mark.parametrize("spec", [CNN, {"encoder": "auto", "config": MAE}])
def test_encoders_of_clips(spec):
    torch.manual_seed(0)
    encoder = build_encoder(spec).eval()
    assert encoder.kind == kind_of_spec(spec) == "video" and encoder.processor_options == {"frames": 4}
    inputs = processor()({"clip": [clip(10), clip(4), clip(10)]})["modalities"]["clip"]
    with torch.no_grad():
        found, alone = encoder(**inputs), encoder(pixel_values=inputs["pixel_values"][:1])
    assert found.tokens.shape[::2] == (3, encoder.hidden_size)
    torch.testing.assert_close(found.pool()[[0, 2]], alone.pool()[[0, 0]])
    assert not torch.allclose(found.pool()[0], found.pool()[1])


def test_a_clip_is_the_mean_of_its_frames():
    encoder = build_encoder(CNN).eval().double()
    pixels = torch.randn(2, 4, 3, 16, 16, dtype=torch.float64)
    each = torch.stack([encoder.image(pixels[:, place]).pool() for place in range(4)])
    torch.testing.assert_close(encoder(pixels).pool(), each.mean(0))
    torch.nn.init.normal_(encoder.position_embeddings)
    torch.testing.assert_close(encoder(pixels).pool(), (each + encoder.position_embeddings[:, None]).mean(0))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({**CNN, "frames": 0}, "whole number of at least 1"),
        ({"encoder": "table", "input_dim": 3, "frames": 2}, "reads table: leave frames out"),
    ],
)
def test_wrong_options_are_told(spec, words):
    with pytest.raises(ValueError, match=words):
        build_encoder(spec)
    with pytest.raises(ValueError, match=r"got \(2, 3, 3, 16, 16\)"):
        build_encoder(CNN)(torch.zeros(2, 3, 3, 16, 16))


def test_all_frames_of_a_clip_are_augmented_alike():
    views = Views({"clip": build_view("video", size=16)}, seed=1)
    still = torch.rand(5, 1, 3, 16, 16).expand(5, 4, 3, 16, 16)
    found = views.augmented({"clip": {"pixel_values": still}}, view=0)["clip"]["pixel_values"]
    assert torch.equal(found, found[:, :1].expand_as(found)) and found.shape == still.shape
    assert not torch.allclose(found[0] - found[1], found[0] * 0)
    part = {"pixel_values": still[2:4]}
    again = views.augmented({"clip": part}, view=0, rows=slice(2, 4), global_rows=5)["clip"]["pixel_values"]
    torch.testing.assert_close(again, found[2:4], rtol=1e-5, atol=1e-6)


def test_a_model_of_clips_is_saved_and_loaded(tmp_path):
    config = CoMMConfig(modalities={"clip": CNN, "still": {"encoder": "cnn", "channels": [8]}}, embed_dim=16)
    model = CoMMModel(config).eval()
    inputs = processor()({"clip": [clip(10)]})["modalities"]
    model.save_pretrained(tmp_path)
    loaded = CoMMModel.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded.get_fused_features(inputs), model.get_fused_features(inputs))


def test_columns_of_frames(tmp_path):
    frames = [Image.fromarray(frame) for frame in clip(10)]
    (tmp_path / "clips" / "a").mkdir(parents=True)
    for place, frame in enumerate(frames):
        frame.save(tmp_path / "clips" / "a" / f"{place:02}.png")
    names = [str(path) for path in sorted((tmp_path / "clips" / "a").iterdir())]
    columns = {
        "pictures": datasets.Dataset.from_dict(
            {"x": [frames]}, datasets.Features({"x": datasets.List(datasets.Image())})
        ),
        "names": datasets.Dataset.from_dict({"x": [names]}),
        "folder": datasets.Dataset.from_dict({"x": [str(tmp_path / "clips" / "a")]}),
        "array": datasets.Dataset.from_dict({"x": [clip(10).tolist()]}),
    }
    for name, data in columns.items():
        data.save_to_disk(tmp_path / name)
        source = HubData(path=str(tmp_path / name), columns={"clip": "x"})
        (row,) = source.load_for(Reader({"clip": CNN})).train
        assert len(row["x"]) == 4 and greys(processor().stack("clip", [row["x"]])) == [[10, 30, 60, 80]], name
        assert KINDS["video"].thumbnail(row["x"]).size == (96, 96)
    datasets.Dataset.from_dict({"x": [["missing.png"]]}).save_to_disk(tmp_path / "bad")
    with pytest.raises(UserError, match="row 0, column 'x' cannot be read .there is no file missing.png"):
        HubData(path=str(tmp_path / "bad"), columns={"clip": "x"}).load_for(Reader({"clip": CNN})).train[0]
