"""Mixtures of the weights of two models, and what they reach."""

import json

import datasets
import pytest
import torch

from hf_latent import LatentCLIPModel
from hf_latent.cli import main
from tests.models.small import save_small_clip, small_clip
from tests.test_benchmark_files import COLORS, CUSTOM, WORDS, pictures


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two models, and a benchmark file."""
    folder = tmp_path_factory.mktemp("mixed")
    for name, seed in (("first", 0), ("second", 1)):
        save_small_clip(folder / name, [WORDS], seed=seed, temperature=0.07 if seed else 0.2)
    rows = {"picture": pictures(9), "caption": [f"{COLORS[i % 3]} square" for i in range(9)]}
    datasets.Dataset.from_dict({**rows, "color": [COLORS[i % 3] for i in range(9)]}).save_to_disk(folder / "rows")
    (folder / "colors.yaml").write_text(CUSTOM.format(path=folder / "rows"), encoding="utf-8", newline="\n")
    return folder


def command(folder, *more, second="second"):
    return ["interpolate", str(folder / "first"), str(folder / second), "--on", str(folder / "colors.yaml"), *more]


def test_each_weight_is_measured_and_one_is_kept(folder, tmp_path, capsys):
    output = tmp_path / "out"
    assert main(command(folder, "--weights", "1,0,0.25", "--output", str(output), "--save", "0.25", "--json")) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == ["0", "0.25", "1"]
    for weight, run in (("0", folder / "first"), ("1", folder / "second"), ("0.25", output)):
        assert main(["evaluate", str(run), "--on", str(folder / "colors.yaml"), "--json"]) == 0
        alone = json.loads(capsys.readouterr().out)
        for key in ("colors_zero_shot_top1", "colors_image_to_text_median_rank"):
            assert told[weight][key]["value"] == pytest.approx(alone[key])
    ends = [LatentCLIPModel.from_pretrained(folder / name).state_dict() for name in ("first", "second")]
    mixed = LatentCLIPModel.from_pretrained(output)
    for name, tensor in mixed.state_dict().items():
        expected = 0.75 * ends[0][name] + 0.25 * ends[1][name]
        torch.testing.assert_close(tensor, expected.to(tensor.dtype), rtol=1e-5, atol=1e-6)
    assert 1 / mixed.scale.item() == pytest.approx(0.2**0.75 * 0.07**0.25, rel=1e-5)  # of the logarithm
    page = (output / "interpolation.md").read_text(encoding="utf-8")
    assert "| weight |" in page and "| 0.25 |" in page and "| chance |" in page
    assert (output / "interpolation.png").read_bytes()[:4] == b"\x89PNG"


def test_what_is_calibrated_is_mixed_without_it(folder, tmp_path, capsys):
    model = LatentCLIPModel.from_pretrained(folder / "second")
    model.calibrate({name: torch.eye(8) for name in ("image", "text")}, "standardise")
    save_small_clip(tmp_path / "third", [WORDS])
    model.save_pretrained(tmp_path / "third")
    more = ["--weights", "1", "--output", str(tmp_path / "out"), "--save", "1", "--json"]
    assert main(command(folder, *more, second=tmp_path / "third")) == 0
    assert f"{tmp_path / 'third'} is calibrated" in capsys.readouterr().err
    mixed = LatentCLIPModel.from_pretrained(tmp_path / "out")
    assert mixed.config.calibration is None
    for name, tensor in LatentCLIPModel.from_pretrained(folder / "second").state_dict().items():
        assert torch.equal(mixed.state_dict()[name], tensor)


def test_mistakes_are_told(folder, tmp_path, capsys):
    small_clip(projection_dim=4, dtype=torch.float32, vocab_size=60).save_pretrained(tmp_path / "other")
    save_small_clip(tmp_path / "wide", [WORDS], projection_dim=4)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    out = ["--output", str(tmp_path / "out")]
    for arguments, words in (
        (command(folder, *out, "--weights", "0,1.5"), "weight 1.5: write numbers from 0, the first model, to 1"),
        (command(folder, *out, "--weights", "0,x"), "--weights 0,x: write numbers, separated by commas"),
        (command(folder, "--output", str(tmp_path / "there")), "it is there already"),
        (command(folder, *out, second=tmp_path / "wide"), "are no models of one shape"),
        (command(folder, *out, second="third"), "is neither a folder nor a model"),
        (["interpolate", str(folder / "first"), str(folder / "second"), *out], "holds no recipe.yaml: say what to"),
    ):
        assert main(arguments) == 2
        said = capsys.readouterr().err
        assert words in said and "Traceback" not in said
    assert not (tmp_path / "out").exists()
