"""The wheel is whole: installed alone and started from an empty folder, it has the command and the files it needs.

It is built as a release is: a source archive first, then the wheel from that archive. So what either of them forgets
is noticed here. Nothing is downloaded: build backend and dependencies are those of the running environment.
"""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from hf_latent.resources import KINDS

ROOT = Path(__file__).resolve().parents[1]

FIND = """
import json
import hf_latent
from hf_latent.resources import available_resources, resource_path

found = {
    kind: {name: str(resource_path(kind, name)) for name in available_resources(kind)}
    for kind in ("training_args", "training_args/benchmarks", "model_cards", "spaces")
}
print(json.dumps({"package": hf_latent.__file__, "found": found}))
"""


def run(*command, **kwargs):
    """Runs a command to its end and returns what it printed; where it fails, the test shows all it said."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, **kwargs)
    assert result.returncode == 0, f"{' '.join(map(str, command))}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("the tests do not run from a source checkout")
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs Python in an empty folder, with the installed wheel before everything else on its path."""
    site, empty = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("empty")
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", site, wheel)
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def python(*arguments):
        output = run(sys.executable, *arguments, cwd=empty, env=environment)
        assert not list(empty.iterdir()), "the command left files behind"
        return output

    python.site = site
    return python


def names(folder):
    """The names of the files at the top of a folder of the repository that are meant to ship."""
    entries = [entry for entry in (ROOT / folder).iterdir() if f"{folder}/{entry.name}" not in KINDS]
    return {entry.name for entry in entries if not entry.name.startswith((".", "__"))}


def test_the_wheel_holds_the_package_and_only_it(wheel):
    with zipfile.ZipFile(wheel) as archive:
        files = archive.namelist()
    info = "-".join(wheel.name.split("-")[:2]) + ".dist-info"
    assert {name.split("/")[0] for name in files} == {"hf_latent", info}
    assert {"hf_latent/py.typed", f"{info}/licenses/LICENSE"} <= set(files)
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "hf_latent").rglob("*.py")}
    assert sources <= set(files), "the wheel misses modules"


def test_the_wheel_holds_no_compiled_files(wheel):
    """Running the Space from the checkout leaves a `__pycache__` in its folder, which must not ship."""
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if "__pycache__" in name or name.endswith(".pyc")]


@pytest.mark.slow
def test_the_command_starts_from_an_empty_folder(installed):
    output = installed("-m", "hf_latent", "--help")
    assert "train" in output


@pytest.mark.slow
def test_recipes_card_templates_and_the_space_are_found(installed):
    result = json.loads(installed("-c", FIND).splitlines()[-1])
    assert Path(result["package"]).is_relative_to(installed.site)
    assert set(result["found"]) == set(KINDS)
    for kind, paths in result["found"].items():
        assert set(paths) == names(kind)
        assert paths, f"the wheel carries no {kind}"
        assert all(Path(path).is_relative_to(installed.site) for path in paths.values())


def test_nothing_we_depend_on_is_torchvision_or_timm(wheel):
    """A torchvision that does not match torch breaks even the import of a text model from transformers."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        lines = archive.read(metadata).decode().splitlines()
    wanted = " ".join(line for line in lines if line.startswith("Requires-Dist:"))
    assert "torch>=" in wanted
    assert "torchvision" not in wanted
    assert "timm" not in wanted
