"""Every code block of the README works as it is written."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from hf_latent.cli import _parser
from hf_latent.recipe import load_recipe
from hf_latent.regularizers import REGULARIZERS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.split("#")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]


@pytest.mark.slow
def test_the_python_blocks_run_one_after_the_other(tmp_path, monkeypatch):
    """What a block prints is what the comment behind its `print` says, up to a comma and what it means."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(REGULARIZERS, "_found", dict(REGULARIZERS._found))  # one block adds to them
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 6
    compared, printed = 0, []
    names = {"__name__": "__main__", "print": lambda *values: printed.append(" ".join(map(str, values)))}
    for block in blocks:
        printed.clear()
        exec(compile(block, "README.md", "exec"), dict(names))
        told = re.findall(r"^print\(.*?\)(?:  # (.*))?$", block, re.MULTILINE)
        assert len(told) == len(printed)
        for expected, found in zip(told, printed, strict=True):
            if expected:
                assert expected == found or expected.startswith(f"{found}, ")
                compared += 1
    assert compared == 4
    assert (tmp_path / "outputs" / "my_model" / "model.safetensors").is_file()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_are_ones_that_exist(command, beside_pretrained):
    words = shlex.split(command)
    if words[0] == "make":
        if os.name == "nt":
            pytest.skip("Windows has no make")
        subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, check=True, capture_output=True)
        return
    if words[0] == "torchrun":
        assert words[3:5] == ["-m", "hf_latent"]
        words = ["hf-latent", *words[5:]]
    if words[0] in ("npm", "python"):
        assert words[:2] == ["npm", "pack"] or (ROOT / words[1]).is_file()
        return
    assert words[0] == "hf-latent"
    options = _parser().parse_args(words[1:])
    if words[1] == "train":
        shipped = ROOT / options.recipe
        load_recipe(shipped if shipped.is_file() else options.recipe, options.overrides)


def test_links_point_to_files():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
