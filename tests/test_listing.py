"""What recipes can name: every name and every option is described, and those of plug-ins are among them."""

import dataclasses
import inspect
import json
import re
from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest

from hf_latent import listing
from hf_latent.cli import main
from hf_latent.data.loading import SOURCES
from hf_latent.docstrings import described, docstring, first_sentence
from hf_latent.errors import UserError
from hf_latent.evaluation import BENCHMARKS
from hf_latent.models import plugins
from hf_latent.models.encoders import ENCODERS
from hf_latent.objectives import OBJECTIVES
from hf_latent.recipe import models
from hf_latent.recipe_file import read_values
from hf_latent.regularizers import REGULARIZERS
from hf_latent.resources import available_resources, resource_path
from hf_latent.tasks import TASKS
from hf_latent.views import VIEWS, NoView

REGISTRIES = {"views": VIEWS, "regularizers": REGULARIZERS, "data": SOURCES, "benchmarks": BENCHMARKS}
NAMES = {
    **REGISTRIES,
    "encoders": ENCODERS,
    "tasks": TASKS,
    "models": models(),
    "objectives": [name for registry in OBJECTIVES.values() for name in registry],
    "recipes": [name.removesuffix(".yaml") for name in available_resources("training_args")],
    "benchmark_files": [name.removesuffix(".yaml") for name in available_resources("training_args/benchmarks")],
}


def test_every_family_is_looked_at_here():
    assert listing.FAMILIES.keys() == NAMES.keys()


@pytest.mark.parametrize("family", NAMES)
def test_every_name_has_a_line_and_every_option_a_description(family):
    entries = listing.list_of(family)
    assert sorted(entry.name for entry in entries) == sorted(NAMES[family]) and entries
    for entry in entries:
        assert entry.line[:1].isprintable() and entry.line.strip() and entry.line != "No description.", entry.name
        assert entry.text and not entry.plugin
        for option in entry.options:
            assert "property object" not in str(option.default)
            assert option.text.strip(), f"{family} {entry.name}: the docstring does not say what {option.name} is"


@pytest.mark.parametrize("family", REGISTRIES)
def test_every_option_is_listed_as_it_is(family):
    for entry in listing.list_of(family):
        listed = {option.name: option for option in entry.options}
        own = {spec.name: spec for spec in dataclasses.fields(REGISTRIES[family][entry.name]) if spec.init}
        assert listed.keys() - own.keys() == ({"weight", "start", "ramp"} if family == "regularizers" else set())
        for name, spec in own.items():
            made = spec.default_factory is not dataclasses.MISSING
            default = spec.default_factory() if made else spec.default
            assert listed[name].required == (default is dataclasses.MISSING)
            if not listed[name].required:
                assert listed[name].default == (list(default) if isinstance(default, tuple) else default)


def test_options_of_encoders_and_models():
    cnn, auto = (listing.list_of("encoders", name)[0] for name in ("cnn", "auto"))
    assert [option.name for option in cnn.options] == list(inspect.signature(ENCODERS["cnn"]).parameters)
    assert cnn.options[0].head == "channels: list[int] = [32, 64, 128, 256]"
    assert auto.options[0].head == "config: dict[str, Any], required"
    clip = {option.name: option for option in listing.list_of("models", "latent_clip")[0].options}
    assert clip["temperature"].default == 0.07 and "heads_of" not in clip  # a recipe cannot write it
    assert clip["regularizers"].text.startswith("`{name:")  # "As in LatentConfig" is looked up
    (head,) = listing.list_of("models", "latent_albef_classification")
    assert {"pretrained", "num_labels"} <= {option.name for option in head.options}
    (asked,) = listing.list_of("models", "latent_albef_question_answering")
    assert "num_labels" not in {option.name for option in asked.options}


def test_recipes_say_what_they_are():
    for entry in listing.list_of("recipes"):
        study = "structures" in read_values(resource_path("training_args", f"{entry.name}.yaml"))
        assert entry.facts["kind"] == ("study" if study else "run")
    assert {entry.facts["kind"] for entry in listing.list_of("recipes")} == {"study", "run"}


@pytest.mark.parametrize("width", [40, 80, 119])
def test_the_text_fits_and_holds_every_name(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    for family, names in NAMES.items():
        part = re.split(rf"^{family}:\s", printed, flags=re.MULTILINE)[1].split("\n\n")[0]
        assert all(f"  {name}" in part for name in names), family
    for family in NAMES:
        assert main(["list", family]) == 0
    printed += capsys.readouterr().out
    words = [line for line in printed.splitlines() if len(line) > width]
    assert all(len(line.split()) <= 5 for line in words), words  # a long word, which is not cut


def test_one_name_has_everything(capsys):
    assert main(["list", "views", "image"]) == 0
    printed = capsys.readouterr().out
    assert "blur_sigma: tuple[float, float] = [0.1, 2.0]" in printed and "hf_latent.views.image.ImageView" in printed
    assert "Approximations" in printed and "words" not in re.findall(r"^\w+", printed, re.MULTILINE)
    assert main(["list", "views"]) == 0
    assert "Approximations" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["view"], "no family 'view' of names: did you mean 'views'?"),
        (["views", "imag"], "views has no 'imag': did you mean 'image'?"),
        (["views", "imag", "--json"], "did you mean 'image'?"),
    ],
)
def test_unknown_names(capsys, words, said):
    assert main(["list", *words]) == 2
    told = capsys.readouterr()
    assert said in told.err and not told.out


def test_json_holds_the_same(capsys):
    assert main(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == list(listing.FAMILIES)
    assert [entry["name"] for entry in found["views"]] == [entry.name for entry in listing.list_of("views")]
    assert main(["list", "views", "image", "--json"]) == 0
    ((image,),) = json.loads(capsys.readouterr().out).values()
    sizes = [option for option in image["options"] if option["name"] == "size"]
    assert sizes == [
        {
            "name": "size",
            "type": "int",
            "text": "Side of the output, pixels; at least 8.",
            "required": False,
            "default": 224,
        }
    ]


def test_plugins_are_marked_and_one_that_fails_hides_no_other(tmp_path, monkeypatch, capsys):
    (tmp_path / "good_plugin.py").write_text(
        "from dataclasses import dataclass\n"
        "from hf_latent.views import VIEWS, NoView\n\n"
        "@VIEWS.register('foreign')\n@dataclass(frozen=True)\nclass Foreign(NoView):\n"
        '    """Does nothing. Slowly.\n\n    Args:\n        pace: Seconds a row.\n    """\n\n    pace: float = 2.5\n'
    )
    (tmp_path / "bad_plugin.py").write_text("print('noise')\nraise RuntimeError('broken on purpose')\n")
    monkeypatch.syspath_prepend(tmp_path)
    points = [EntryPoint(name, f"{name}_plugin", plugins.GROUP) for name in ("bad", "good")]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    monkeypatch.setattr(plugins, "packages_distributions", lambda: {"good_plugin": ["good-plugin"]})
    monkeypatch.setattr(plugins, "version", lambda name: "1.2")
    monkeypatch.setattr(plugins, "_state", {"looked": False})
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setattr(plugins, "_failed", {})
    monkeypatch.setattr(VIEWS, "_found", dict(VIEWS._found))
    assert main(["list", "views", "--json"]) == 0
    told = capsys.readouterr()
    found = {entry["name"]: entry for entry in json.loads(told.out)["views"]}
    assert "'bad'" in told.err and "broken on purpose" in told.err and "noise" in told.err
    assert found["foreign"]["line"] == "Does nothing." and found["foreign"]["plugin"] == "good-plugin 1.2"
    assert found["foreign"]["options"][0]["text"] == "Seconds a row." and not found["none"]["plugin"]
    assert main(["list", "views"]) == 0
    told = capsys.readouterr()
    assert (
        "foreign (text, series, table, features, audio) (plug-in: good-plugin 1.2)" in told.out and "'bad'" in told.err
    )


def test_options_of_a_plugin_that_cannot_be_read_hide_no_name(monkeypatch, capsys):
    @dataclass(frozen=True)
    class Strange(NoView):
        odd: "Nowhere" = None  # type: ignore[name-defined]  # noqa: F821

    Strange.__module__ = "somebody"
    monkeypatch.setattr(VIEWS, "_found", {**VIEWS._found, "strange": Strange})
    (entry,) = listing.list_of("views", "strange")
    assert entry.line == "No description." and not entry.options and entry.plugin == "somebody"
    assert "'strange' of somebody cannot be read" in capsys.readouterr().err


def test_objectives_of_one_name_are_all_listed(monkeypatch):
    monkeypatch.setattr(
        OBJECTIVES["comm"], "_found", {**OBJECTIVES["comm"]._found, "clip": OBJECTIVES["comm"]["comm"]}
    )
    assert [entry.facts["model"] for entry in listing.list_of("objectives", "clip")] == ["comm", "latent_clip"]
    with pytest.raises(UserError, match="did you mean 'cross_self'"):
        listing.list_of("objectives", "cross-self")


def test_docstrings_are_taken_apart():
    class Base:
        """A base.

        Attributes:
            one: the first.
            two: Of the base.
        """

    class Thing(Base):
        """Does what Li et al. 2021 and Jiang et al. (CVPR) say, as "this." It goes on: a [`link`] and \\(x\\).

        More of
        it.

        Args:
            two, three: Both; see
                below.
            four: As in [`Base`]; and more.

        Not an argument.

        Raises:
            ValueError: never.

        Example:

        ```python
        five: int
        ```
        """

    said = docstring(Thing)
    assert said.sentence == 'Does what Li et al. 2021 and Jiang et al. (CVPR) say, as "this."'
    assert said.text[1:] == ("More of\nit.", "Not an argument.")
    assert said.entries == {
        "two": "Both; see below.",
        "three": "Both; see below.",
        "four": "As in [`Base`]; and more.",
    }
    assert described("one", Thing.__mro__) == "The first." and described("five", Thing.__mro__) == ""
    Thing.__doc__ = "\n    Args:\n        one: As in [`Base`]; twice.\n    "
    assert described("one", Thing.__mro__) == "The first. Twice."
    assert first_sentence("Is it? `it` is.") == "Is it?" and docstring(object()).text == docstring(object).text

    @dataclass
    class Silent:
        one: int = 1

    assert docstring(Silent) == docstring(None)
