"""The script for a machine with a GPU: its parts run at toy size, and one that fails holds up no other."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.device import comm
from benchmarks.device.__main__ import PARTS, in_a_process, main, markdown
from benchmarks.device.common import Options

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="its parts are forks of one process")


def fails(options):
    yield "table", {"rows": 1}
    raise ValueError("no such thing")


def hangs(options):
    yield "table", {"rows": 2}
    time.sleep(600)


def dies(options):
    yield "table", {"rows": 3}
    os._exit(7)


def works(options):
    yield "table", {"rows": 4, "share": 0.123456}


@pytest.mark.parametrize(
    "part, status, row",
    [
        (fails, "failed: ValueError: no such thing (test_device.py:", {"rows": 1}),
        (hangs, "out of time", {"rows": 2}),
        (dies, "failed: its process ended with 7", {"rows": 3}),
        (works, "done", {"rows": 4, "share": 0.123456}),
    ],
)
def test_what_a_part_has_found_is_kept(part, status, row):
    found = in_a_process(part, Options("cpu", True, 5 if part is hangs else 60))
    assert found["status"].startswith(status) and found["tables"] == {"table": [row]}
    assert "torch" in found["machine"]


def test_the_others_go_on(tmp_path, monkeypatch, capsys):
    for name, part in {"checks": fails, "losses": works}.items():
        monkeypatch.setitem(PARTS, name, (part, 60.0))
    assert main(["--toy", "--device", "cpu", "--parts", "checks,losses", "--output", str(tmp_path)]) == 1
    results = json.loads((tmp_path / "results.json").read_text())
    assert [part["status"].split(":")[0] for part in results["parts"].values()] == ["failed", "done"]
    text = (tmp_path / "results.md").read_text()
    assert text == markdown(results) and text in capsys.readouterr().out
    assert "| rows | share |\n| --- | --- |\n| 4 | 0.123 |" in text
    with pytest.raises(SystemExit):
        main(["--parts", "check"])
    assert "no part 'check'; there are checks, comm" in capsys.readouterr().err


def test_the_restated_structure_is_our_loss():
    found = comm._difference(Options("cpu", True, 60), 32)
    assert 0 < max(found.values()) < 1e-9


@pytest.mark.slow
def test_every_part_runs_at_toy_size(tmp_path):
    command = [ROOT / "benchmarks" / "device.sh", "--toy", "--device", "cpu", "--limit", "500", "--output", tmp_path]
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(list(map(str, command)), cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    results = json.loads((tmp_path / "results.json").read_text())
    assert {name: part["status"] for name, part in results["parts"].items()} == dict.fromkeys(PARTS, "done")
    assert all(part["tables"] for part in results["parts"].values())
