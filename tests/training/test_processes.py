"""Several processes as a user starts them: one is lost, streams are shared, the command line logs one curve."""

import json
import time
from collections import Counter

import psutil
import pytest
import torch

from hf_latent.cli import main
from tests.training.runs import RandomCaptions, run
from tests.training.torchrun import start, step_of, torchrun, wait_for

pytestmark = pytest.mark.filterwarnings("ignore:information_bottleneck with a temperature")

SAVED = {"double": True, "save_strategy": "steps", "save_steps": 5, "max_steps": 120}
STREAM = {"clip": True, "stream": True, "double": True, "save_strategy": "steps", "save_steps": 6}


@pytest.fixture(scope="module")
def lost(tmp_path_factory):
    """A run of two processes, one of which is killed after a checkpoint: the folder, what was said, and how soon."""
    folder = tmp_path_factory.mktemp("lost")
    process = start(2, "tests.training.runs", folder, json.dumps({"run": SAVED}))
    wait_for(folder / "run", "checkpoint-5")
    launcher = psutil.Process(process.pid)
    ranks = {p.environ()["RANK"]: p for p in launcher.children() if "tests.training.runs" in p.cmdline()}
    since = time.monotonic()
    launcher.suspend()  # on a busy machine torchrun would terminate the process that is left before it has said why
    ranks["1"].kill()
    while ranks["0"].status() != psutil.STATUS_ZOMBIE and time.monotonic() - since < 300:
        time.sleep(0.05)
    launcher.resume()
    _, said = process.communicate()
    return folder, process.returncode, said, time.monotonic() - since


@pytest.fixture(scope="module")
def resumed(lost):
    folder = lost[0]
    last = max(folder.glob("run/checkpoint-*"), key=step_of)
    cases = {
        "run": {**SAVED, "resume": str(last)},
        "stream": STREAM,
        "stream resumed": {**STREAM, "resume": str(folder / "stream" / "checkpoint-6")},
    }
    return step_of(last), torchrun(folder, 2, cases)


@pytest.mark.slow
def test_a_lost_process_ends_the_run_with_a_sentence(lost):
    _, code, said, seconds = lost
    assert code != 0 and seconds < 300  # seconds on a free machine
    assert "process 0 of 2 lost another process of this run" in said and "--resume" in said


@pytest.mark.slow
def test_the_run_goes_on_from_the_last_checkpoint(tmp_path, resumed):
    step, results = resumed
    whole = run(tmp_path, {**SAVED, "save_strategy": "no"})["curve"]
    assert 0 < step < len(whole) == 120
    for ours, expected in zip(results["run"]["curve"][-(120 - step) :], whole[step:], strict=True):
        assert ours == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_a_shared_stream_resumes_at_the_same_row(resumed):
    results = resumed[1]
    assert results["stream resumed"]["curve"] == results["stream"]["curve"]


@pytest.mark.slow
def test_processes_share_the_rows_of_a_stream(resumed):
    """In one pass every caption, which is the id here, comes as often as there are rows of it."""
    rows = RandomCaptions()
    expected = Counter(rows[i]["text"] for i in range(len(rows)))
    found = resumed[1]["stream"]["ids"].unique(return_counts=True)[1]
    assert sorted(found.tolist()) == sorted(expected.values())


@pytest.mark.slow
def test_the_command_line_logs_one_curve(tmp_path, monkeypatch):
    """In one process, in two, and in chunks that do not divide the batch."""
    monkeypatch.chdir(tmp_path)
    small = ["data.renders=1", "data.test_renders=1", "training.max_steps=3", "training.logging_steps=1"]
    small += ["training.global_batch_size=48", "training.disable_tqdm=true", "training.bf16=false"]

    def arguments(name, *more):
        return ["train", "latent_clip_quick", *small, f"training.output_dir={tmp_path / name}", *more]

    def logged(name):
        history = json.loads((tmp_path / name / "trainer_state.json").read_text())["log_history"]
        return [[entry["loss"], entry["grad_norm"]] for entry in history if "loss" in entry]

    two = start(2, "hf_latent", *arguments("two"), cwd=tmp_path)
    _, errors = two.communicate()
    assert two.returncode == 0, errors[-4000:]
    assert (tmp_path / "two" / "metrics.json").is_file()
    for name, more in (("one", []), ("chunks", ["training.gradient_cache_chunk_size=20"])):
        assert main(arguments(name, *more)) == 0
    assert len(logged("one")) == 3
    for name in ("two", "chunks"):
        torch.testing.assert_close(torch.tensor(logged(name)), torch.tensor(logged("one")), rtol=1e-3, atol=0)
