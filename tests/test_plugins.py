"""Plug-ins: packages that add regularizers, encoders, views, data, benchmarks and tasks."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import venv
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModel, AutoModelForSequenceClassification

import hf_latent
from hf_latent import LatentALBEFForImageTextClassification, LatentCLIPConfig, LatentCLIPModel
from hf_latent.cli import main
from hf_latent.errors import UserError
from hf_latent.models import plugins
from hf_latent.models.encoders import ENCODERS, CNNEncoder
from hf_latent.objectives import OBJECTIVES, CLIPObjective
from hf_latent.objectives.base import register_objective
from hf_latent.recipe_file import import_plugins
from hf_latent.regularizers import REGULARIZERS, Regularizer, register_regularizer
from hf_latent.tasks import TASKS, Task, register_task, task_of
from hf_latent.trust import use_plugins
from tests.hub.server import serving
from tests.models.small import small_clip, small_pairs

ROOT = Path(hf_latent.__file__).parents[1]
EXAMPLE = ROOT / "examples" / "plugin"
TINY = ("training.max_steps=2", "training.disable_tqdm=true", "training.num_train_epochs=1", "data.rows=64")


@pytest.fixture
def lonely(monkeypatch):
    """No plug-in is installed, and none was looked for yet; what is registered in here is forgotten behind it."""
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setattr(plugins, "_failed", {})
    monkeypatch.setattr(plugins, "_state", {"looked": False})
    monkeypatch.setattr(plugins, "entry_points", lambda group: [])
    for registry in (REGULARIZERS, ENCODERS):
        monkeypatch.setattr(registry, "_found", dict(registry._found))
    return monkeypatch


def install(lonely, folder, **modules):
    """Modules as installed plug-ins, each under the name of its entry point."""
    for name, code in modules.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(code))
        lonely.delitem(sys.modules, name, raising=False)
    lonely.syspath_prepend(folder)
    points = [EntryPoint(name, name, plugins.GROUP) for name in modules]
    lonely.setattr(plugins, "entry_points", lambda group: points)


HALO = """
    from dataclasses import dataclass
    from hf_latent.regularizers import Regularizer, register_regularizer

    @register_regularizer("halo")
    @dataclass(frozen=True)
    class Halo(Regularizer):
        def value(self, z, scale):
            return z.embeds["image"].mean()
"""


def test_a_plug_in_is_imported_when_a_name_is_not_known(lonely, tmp_path):
    install(lonely, tmp_path, halo_plugin=HALO)
    assert "halo_plugin" not in sys.modules
    assert REGULARIZERS["feature_separation"] and "halo_plugin" not in sys.modules  # a known name imports nothing
    config = LatentCLIPConfig(modalities=small_clip().config.modalities, regularizers={"halo": {}})
    assert config.plugins == {"halo_plugin": ""}  # of no package: the name of the module
    assert LatentCLIPModel(config)(**small_pairs(dtype=torch.float32), return_loss=True).loss.isfinite()
    with pytest.raises(ValueError, match="no regularizer 'hallo': did you mean 'halo'"):
        LatentCLIPConfig(modalities=config.modalities, regularizers={"hallo": {}})


def test_a_plug_in_that_fails_is_named_with_its_traceback_and_the_others_are_used(lonely, tmp_path, capsys):
    install(lonely, tmp_path, bad_plugin="def read():\n    return 1 / 0\n\nread()", halo_plugin=HALO)
    assert "halo" in REGULARIZERS
    error = capsys.readouterr().err
    assert "The plug-in 'bad_plugin' cannot be imported" in error
    assert "return 1 / 0" in error and "ZeroDivisionError" in error
    with pytest.raises(ValueError, match="no encoder 'x'.*'bad_plugin' is not used: it cannot be imported"):
        ENCODERS.find("x")


def test_names_are_given_once(lonely, tmp_path, capsys):
    install(lonely, tmp_path, halo_plugin=HALO, other_plugin=HALO)
    assert REGULARIZERS["halo"].__module__ == "halo_plugin"
    error = capsys.readouterr().err
    assert "there is a regularizer 'halo' already, halo_plugin.Halo: choose another name" in error
    install(lonely, tmp_path, third_plugin=HALO.replace('"halo"', '"feature_separation"'))
    plugins._state["looked"] = False
    assert "unknown" not in REGULARIZERS and "third_plugin" in plugins.failures()
    points = [EntryPoint("same", "first_module", plugins.GROUP), EntryPoint("same", "second_module", plugins.GROUP)]
    lonely.setattr(plugins, "entry_points", lambda group: points)
    plugins._state["looked"] = False
    assert "unknown" not in REGULARIZERS
    assert "two packages have one of that name, first_module and second_module" in plugins.failures()


@dataclass(frozen=True)
class Spread(Regularizer):
    def value(self, z, scale):
        return z.independent["image"].mean()

    @property
    def requires(self):
        return frozenset({"embeds", "independent"})


@pytest.mark.parametrize("package", [True, False])
def test_a_model_loads_without_its_regularizer(lonely, tmp_path, package):
    register_regularizer("spread")(Spread)
    model = small_clip(dtype=torch.float32, regularizers={"spread": {"weight": 0.5}}).eval()
    assert model.config.extra_heads == ["independent"]
    if package:
        lonely.setattr(model.config, "plugins", {"spread-package": "2.1"})
    model.save_pretrained(tmp_path)
    REGULARIZERS._found.pop("spread")
    again = AutoModel.from_pretrained(tmp_path).eval()
    batch = small_pairs(dtype=torch.float32)
    ours, theirs = again(**batch), model(**batch, return_loss=False)
    assert torch.equal(ours.embeds["image"], theirs.embeds["image"])
    assert torch.equal(ours.independent["text"], theirs.independent["text"])
    said = "no regularizer 'spread'.*" + ("spread-package 2.1, which is not installed here" if package else "known: ")
    with pytest.raises(ValueError, match=said):
        _ = again.objective
    with pytest.raises(ValueError, match="no regularizer 'spred'"):
        AutoModel.from_pretrained(tmp_path, regularizers={"spred": {}})
    again.save_pretrained(tmp_path / "again")
    config = json.loads((tmp_path / "again" / "config.json").read_text())
    assert config.get("plugins", {}).get("spread-package") == ("2.1" if package else None) and config[
        "regularizers"
    ] == {"spread": {"weight": 0.5}}


def test_an_encoder_that_is_not_there_says_what_to_install(lonely, tmp_path):
    class OwnEncoder(CNNEncoder):
        pass

    ENCODERS.register("own")(OwnEncoder)
    modalities = {**small_clip().config.modalities, "image": {"encoder": "own", "channels": [8, 16]}}
    model = small_clip(dtype=torch.float32, modalities=modalities)
    model.config.plugins = {"own-package": "1.0", "rm -rf /": "1", "torch": "2"}
    model.save_pretrained(tmp_path)
    assert torch.equal(AutoModel.from_pretrained(tmp_path).logit_scale.weight, model.logit_scale.weight)
    ENCODERS._found.pop("own")
    with pytest.raises(ValueError) as error:
        AutoModel.from_pretrained(tmp_path)
    said = str(error.value)
    assert "modality 'image': no encoder 'own'" in said and "own-package 1.0, which is not installed here" in said
    assert "rm -rf" not in said and "torch 2" not in said


def test_a_recipe_may_list_modules(lonely, tmp_path, capsys):
    lonely.chdir(tmp_path)
    (tmp_path / "halo_here.py").write_text(textwrap.dedent(HALO))
    import_plugins({"plugins": ["halo_here"]})
    assert REGULARIZERS["halo"].__module__ == "halo_here"
    for names, said in (
        ("halo_here", "write a list of modules"),
        (["halo here"], "write a list of modules"),
        ([3], "write a list of modules"),
        (["nowhere_at_all"], "there is no module 'nowhere_at_all'"),
        (["halo_here.inner"], "'halo_here.inner' cannot be imported|there is no module 'halo_here.inner'"),
    ):
        with pytest.raises(UserError, match=said):
            import_plugins({"plugins": names})
    (tmp_path / "needs_more.py").write_text("import nowhere_at_all")
    with pytest.raises(UserError, match="'needs_more' cannot be imported, see above .ModuleNotFoundError"):
        import_plugins({"plugins": ["needs_more"]})
    assert "import nowhere_at_all" in capsys.readouterr().err
    lonely.delitem(sys.modules, "halo_here")


def test_a_plug_in_that_somebody_else_names_is_not_imported(lonely, tmp_path, capsys):
    lonely.chdir(tmp_path)
    (tmp_path / "planted.py").write_text("raise SystemExit('imported')")
    run = tmp_path / "run"
    model = small_clip(dtype=torch.float32)
    model.config.plugins = {"planted": "1.0"}
    model.save_pretrained(run)
    (run / "recipe.yaml").write_text(yaml.safe_dump({"plugins": ["planted"], "data": {"name": "planted"}}))
    AutoModel.from_pretrained(run)
    use_plugins(run)
    assert "its plug-ins ['planted'] are not imported" in capsys.readouterr().out
    assert main(["card", str(run)]) in (0, 2) and main(["evaluate", str(run)]) == 2
    assert "planted" not in sys.modules
    with pytest.raises(UserError, match="'planted' cannot be imported, see above .SystemExit: imported"):
        use_plugins(run, trust=True)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A Python that has this library, as installed, and the example installed into it alone."""
    folder = tmp_path_factory.mktemp("plugin")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    site = next((folder / "env" / "lib").glob("python*")) / "site-packages"
    ours = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
    (site / "ours.pth").write_text("\n".join(ours))
    source = shutil.copytree(EXAMPLE, folder / "source")
    install = ["-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--no-index", str(source)]
    subprocess.run([python, *install], check=True, capture_output=True, cwd=folder)
    return folder, python


def run_in(environment, code, variables):
    folder, python = environment
    done = subprocess.run(
        [python, "-c", textwrap.dedent(code)], cwd=folder, capture_output=True, text=True, env=variables
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(os.name == "nt", reason="an environment has other folders there")
@pytest.mark.slow
def test_every_command_on_a_run_of_the_example(environment):
    pytest.importorskip("gradio")
    folder, _ = environment
    study = {"recipe": "source/captions.yaml", "seeds": [1], "structures": {"plain": {}}}
    study["changes"] = {"training": {"max_steps": 1, "disable_tqdm": True}, "data": {"rows": 64}}
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    with serving() as server:
        out = run_in(
            environment,
            f"""
        from pathlib import Path
        from hf_latent.cli import main
        from hf_latent.hub.shareable import stage_run
        from transformers import AutoModel, AutoModelForSequenceClassification

        tiny = {TINY!r}
        assert main(["train", "source/captions.yaml", *tiny]) == 0
        assert main(["train", "source/counting.yaml", "model.pretrained=outputs/captions", *tiny]) == 0
        for run in ("outputs/captions", "outputs/counting"):
            assert main(["evaluate", run]) == 0
            assert main(["card", run]) == 0
            stage_run(Path(run), Path(run).parent.parent / "staged" / Path(run).name, "user/name")
        assert main(["compare", "outputs/captions", "outputs/captions"]) == 0
        assert main(["study", "study.yaml"]) == 0
        assert main(["push", "outputs/captions", "user/captions"]) == 0
        assert main(["push-space", "user/captions", "user/app"]) == 0
        assert main(["list", "tasks"]) == 0
        head = AutoModelForSequenceClassification.from_pretrained("outputs/counting")
        assert type(head).__name__ == "LatentALBEFForCounting"
        assert type(AutoModel.from_pretrained("user/captions").encoders["image"]).__name__ == "PatchEncoder"

        import sys
        from hf_latent.resources import resource_path

        sys.path.insert(0, str(resource_path("spaces", "app.py").parent))
        import app

        explorers = app.load(["outputs/captions", "outputs/counting"])
        asked = explorers[1].head
        assert asked.answers == ["one", "two", "three", "four"] and asked.sentence == "question"
        page = str(app.build_demo(explorers).get_config_file())
        for words in ("Latent map", "Labels", "Ask", "Questions", "how many dots", "count", "color"):
            assert words in page, words
        """,
            server.environment(folder, token="hf_write"),
        )
    metrics = json.loads((folder / "outputs" / "captions" / "metrics.json").read_text())
    assert metrics["measurements"]["neighbours_same"]["group"] == "neighbours"
    assert {"class_accuracy", "class_accuracy_red"} <= set(
        json.loads((folder / "outputs" / "counting" / "metrics.json").read_text())
    )
    config = json.loads((folder / "staged" / "captions" / "config.json").read_text())
    assert config["plugins"] == {"hf-latent-dots": "1.0"} and config["modalities"]["image"]["encoder"] == "patches"
    card = (folder / "staged" / "captions" / "README.md").read_text()
    assert "Keeps the standard deviation of each dimension" in card and "Nearest image has the same color" in card
    assert "rendered pictures of one to four dots" in card and "plain" in out
    assert re.search(r"counting.*hf-latent-dots 1.0", out)
    head = json.loads((folder / "outputs" / "counting" / "config.json").read_text())
    assert head["architectures"] == ["LatentALBEFForCounting"] and list(head["id2label"].values())[0] == "one"
    # Elsewhere the weights are of no use without the encoder, which is named.
    with pytest.raises(ValueError, match="no encoder 'patches'.*hf-latent-dots 1.0, which is not installed here"):
        AutoModel.from_pretrained(folder / "outputs" / "captions")


def test_an_objective_is_known_where_it_is_registered(lonely):
    class Doubled(CLIPObjective):
        pass

    lonely.setattr(OBJECTIVES["latent_clip"], "_found", dict(OBJECTIVES["latent_clip"]._found))
    with pytest.raises(ValueError, match="objective='doubled': known: clip"):
        small_clip(objective="doubled")
    register_objective("latent_clip", "doubled")(Doubled)
    assert type(small_clip(objective="doubled").objective) is Doubled
    with pytest.raises(ValueError, match="'doubled' already"):
        register_objective("latent_clip", "doubled")(CLIPObjective)


def test_a_task_has_a_type_of_its_own_and_a_subclass_of_a_head_its_own_task(lonely):
    lonely.setattr(TASKS, "_found", dict(TASKS._found))

    class Own(LatentALBEFForImageTextClassification):
        pass

    assert task_of(Own) is TASKS["classes"]
    words = {"does": "tells", "sentence": "hypothesis", "auto_class": "AutoModelForSequenceClassification"}
    with pytest.raises(ValueError, match="a task of the type 'latent_albef_classification' already"):
        register_task("own", Task("latent_albef_classification", Own, labels="classes", **words))
    with pytest.raises(ValueError, match="labels='class': write answers, classes or any"):
        register_task("own", Task("latent_albef_own", Own, labels="class", **words))
    lonely.setattr(AutoModelForSequenceClassification, "register", lambda *args: None)
    own = register_task("own", Task("latent_albef_own", Own, labels="classes", **words))
    assert task_of(Own) is own and task_of(LatentALBEFForImageTextClassification) is TASKS["classes"]
