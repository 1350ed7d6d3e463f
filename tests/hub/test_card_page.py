"""The page that shows a card: self-contained, with its figures and formulas, and nothing that could run."""

import json
import re
import webbrowser
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from hf_latent import CoMMConfig
from hf_latent.cli import main
from hf_latent.hub.card import write_card
from hf_latent.hub.card_page import card_page
from tests.measured import measured


@pytest.fixture
def run(tmp_path):
    run = tmp_path / "my_run"
    (run / "figures").mkdir(parents=True)
    towers = {name: {"encoder": "cnn"} for name in ("image1", "image2")}
    config = CoMMConfig(modalities=towers, regularizers={"alignment": {"weight": 0.5}})
    (run / "config.json").write_text(config.to_json_string(use_diff=False))
    (run / "metrics.json").write_text(json.dumps(measured({"redundancy": 90.0, "seed": 1})))
    Figure().savefig(run / "figures" / "latent_map.png")
    return run


def test_a_page_needs_nothing_else(run):
    page = card_page(write_card(run).read_text(), run)
    assert "<title>my_run</title>" in page and "<td><strong>90.0 %</strong></td>" in page
    sources = re.findall(r'src="(.{20})', page)
    assert sum(source.startswith("data:image/png") for source in sources) == 1
    assert sum(source.startswith("data:image/svg") for source in sources) == 5  # four formulas of CoMM and one more
    assert len(sources) == 6 and "$$" not in page and "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!data:|https://(?:huggingface\.co|arxiv\.org|github\.com)/)', page)


def test_what_others_wrote_into_a_card_does_not_run(run):
    text = (
        write_card(run).read_text()
        + "\n<script>alert(1)</script>\n\n[x](javascript:alert(1))\n\n$$\n\\nonsense{\n$$\n"
    )
    page = card_page(text.replace("my_run", "a</pre><script>b", 1) + "\n![y](figures/../../secret.png)\n", run)
    assert "<script" not in page and 'href="javascript' not in page and "<pre>\\nonsense{</pre>" in page


def test_a_figure_that_is_a_link_out_of_the_run_is_not_shown(run, tmp_path):
    text = write_card(run).read_text()
    (run / "figures" / "latent_map.png").rename(tmp_path / "private.png")
    (run / "figures" / "latent_map.png").symlink_to(tmp_path / "private.png")
    assert 'src="data:image/png' not in card_page(text, run) and 'src="figures/latent_map.png"' in card_page(text, run)


def test_the_command_writes_the_card_and_opens_it(run, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    assert main(["card", str(run), "--license", "mit", "--open"]) == 0
    told = capsys.readouterr().out
    assert f"Card: {run / 'README.md'}" in told and "license: mit" in (run / "README.md").read_text()
    (page,) = opened
    file = Path(page.removeprefix("file://"))
    try:
        assert str(file) in told and "my_run" in file.read_text() and file.parent != run
    finally:
        file.unlink()
    assert sorted(path.name for path in run.iterdir()) == ["README.md", "config.json", "figures", "metrics.json"]


def test_without_a_browser_the_page_is_named(run, monkeypatch, capsys):
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    assert main(["card", str(run), "--open"]) == 2
    told = capsys.readouterr().err
    file = Path(re.search(r"look at (\S+)", told)[1])
    assert file.is_file() and "no browser" in told
    file.unlink()
