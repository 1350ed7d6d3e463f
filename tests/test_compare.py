"""Runs side by side: every run and what was measured of it is in the picture, which replaces no other."""

import json

import pytest
from PIL import Image

from hf_latent import study
from hf_latent.cli import main
from hf_latent.errors import UserError
from tests.measured import measured

COMM = {"redundancy": 96.1, "uniqueness1": 68.3, "uniqueness2": 69.6, "synergy": 44.7, "synergy_auroc": 0.455}
OWN = {"image_to_text_r1": 27.8, "text_to_image_r1": 36.6, "gap_centroid": 1.13, "cka": 0.4}
TOWERS = {"zero_shot_top1": 86.9, "probe_texture": 16.4, "gap_centroid": 0.13, "cka": float("nan")}
QUESTIONS = {"answer_accuracy": 80.5, "answer_accuracy_yes_no": 81.6, "cka": None}


@pytest.fixture
def drawn(monkeypatch):
    """What is drawn, in place of the picture."""
    calls = []
    monkeypatch.setattr(study, "plot_comparison", lambda panels, runs, path: calls.append((panels, runs)))
    return calls


def run(folder, metrics):
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(measured(metrics)))
    return folder


def test_runs_of_several_families_are_all_drawn(tmp_path, drawn):
    families = {"comm": COMM, "own": OWN, "towers": TOWERS, "questions": QUESTIONS, "none": {"seed": 1}}
    study.compare([run(tmp_path / name, metrics) for name, metrics in families.items()])
    ((panels, runs),) = drawn
    assert runs == list(families)
    found = {title: {name: cells for name, cells in part.runs.items() if cells} for title, part in panels.items()}
    nan = pytest.approx(float("nan"), nan_ok=True)
    assert found == {
        "Redundant, unique and synergistic information": {
            "comm": {
                "redundancy": (96.1, 10),
                "uniqueness1": (68.3, 10),
                "uniqueness2": (69.6, 10),
                "synergy": (44.7, 50),
            }
        },
        "Zero-shot classification": {"towers": {"zero shot": (86.9, 2.5)}},
        "Retrieval": {"own": {"i2t r1": (27.8, 1.5), "t2i r1": (36.6, 1.5)}},
        "Questions": {"questions": {"all answers": (80.5, 12.5), "yes/no": (81.6, 50)}},
        "Linear probes": {"towers": {"probe texture": (16.4, 13.5)}},
        "The structure of the space": {
            "own": {"gap centroid": (1.13, nan), "cka": (0.4, nan)},
            "towers": {"gap centroid": (0.13, nan)},
        },
    }
    assert [part.top for part in panels.values()] == [100] * 5 + [2]


def test_two_runs_do_not_fill_the_axes(tmp_path, drawn):
    small = {"gap_centroid": 0.1, "cka": 0.2}
    study.compare([run(tmp_path / "a", small), run(tmp_path / "b", {"gap_centroid": 0.11, "cka": 0.21})])
    assert [part.top for part in drawn[0][0].values()] == [1]


def test_folders_of_one_name_are_told_apart_and_a_run_counts_once(tmp_path, drawn):
    first, second, third = (run(tmp_path / name, COMM) for name in ("a/comm", "b/comm", "c/other"))
    study.compare([first, second, third, second, tmp_path / "a" / ".." / "a" / "comm"])
    assert drawn[0][1] == [str(first), str(second), "other"]


def test_a_comparison_replaces_no_other_unless_it_is_told_where(tmp_path, capsys):
    one, two = run(tmp_path / "one", COMM), run(tmp_path / "two", OWN)
    pictures = [study.compare([one]), study.compare([two]), study.compare([one, two])]
    assert [path.name for path in pictures] == ["comparison.png", "comparison_2.png", "comparison_3.png"]
    assert len({path.read_bytes() for path in pictures}) == 3
    assert study.compare([two], pictures[0]) == pictures[0] and "comparison.png" in capsys.readouterr().out
    assert pictures[0].read_bytes() == pictures[1].read_bytes()
    with Image.open(pictures[2]) as picture:
        picture.load()


def test_runs_of_which_nothing_was_measured_are_refused_by_name(tmp_path, capsys):
    with pytest.raises(UserError, match="empty: nothing that can be drawn was measured"):
        study.compare([run(tmp_path / "empty", {"synergy_auroc": 0.5, "seed": 3})])
    assert main(["compare", str(tmp_path / "empty")]) == 2
    assert "Traceback" not in capsys.readouterr().err and not (tmp_path / "comparison.png").exists()
