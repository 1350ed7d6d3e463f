"""Shipped files are found by name, from a wheel's layout and from a checkout's, and from nowhere else."""

import pytest

from hf_latent import resources
from hf_latent.resources import available_resources, resource_path


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An imitated place of the package, with nothing beside it yet."""
    folder = tmp_path / "site" / "hf_latent"
    folder.mkdir(parents=True)
    monkeypatch.setattr(resources, "_PACKAGE", folder)
    return folder


def put(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_this_checkout_ships_the_recipe_of_the_demo():
    path = resource_path("training_args", "comm_trifeature_quick.yaml")
    assert path.is_file()
    assert path.name in available_resources("training_args")


def test_the_installed_folder_comes_first(package):
    put(package.parent / "pyproject.toml")
    checkout = put(package.parent / "training_args" / "a.yaml", "checkout")
    assert resource_path("training_args", "a.yaml") == checkout
    installed = put(package / "_share" / "training_args" / "a.yaml", "installed")
    assert resource_path("training_args", "a.yaml") == installed


def test_what_only_the_checkout_has_is_still_found(package):
    put(package.parent / "pyproject.toml")
    put(package / "_share" / "training_args" / "a.yaml")
    only_here = put(package.parent / "training_args" / "b.yaml")
    assert resource_path("training_args", "b.yaml") == only_here
    assert available_resources("training_args") == ["a.yaml", "b.yaml"]


def test_a_neighbour_of_an_installed_package_is_not_ours(package):
    put(package.parent / "training_args" / "foreign.yaml")
    with pytest.raises(FileNotFoundError, match="ships nothing in training_args"):
        resource_path("training_args", "foreign.yaml")


def test_a_space_is_a_folder_and_its_files_have_names_too(package):
    app = put(package / "_share" / "spaces" / "explorer" / "app.py")
    assert resource_path("spaces", "explorer") == app.parent
    assert resource_path("spaces", "explorer/app.py") == app


def test_an_unknown_name_lists_the_nearest_first(package):
    for name in ("albef_shapes.yaml", "comm_trifeature_quick.yaml", "comm_trifeature.yaml"):
        put(package / "_share" / "training_args" / name)
    put(package / "_share" / "training_args" / ".hidden")
    put(package / "_share" / "training_args" / "__pycache__" / "x.pyc")
    with pytest.raises(FileNotFoundError) as error:
        resource_path("training_args", "comm_trifeature_quik.yaml")
    assert str(error.value) == (
        "training_args holds no 'comm_trifeature_quik.yaml'; it holds (nearest name first): "
        "comm_trifeature_quick.yaml, comm_trifeature.yaml, albef_shapes.yaml."
    )


@pytest.mark.parametrize("name", ["", " ", ".", "..", "../secret.yaml", "sub/../../secret.yaml"])
def test_a_name_does_not_leave_its_folder(package, name):
    put(package / "_share" / "training_args" / "a.yaml")
    put(package / "_share" / "secret.yaml")
    with pytest.raises(FileNotFoundError, match="a.yaml"):
        resource_path("training_args", name)


def test_an_absolute_path_is_not_a_name(package):
    put(package / "_share" / "training_args" / "a.yaml")
    secret = put(package.parent / "secret.yaml")
    with pytest.raises(FileNotFoundError, match="a.yaml"):
        resource_path("training_args", str(secret))


def test_an_unknown_kind_names_the_kinds():
    with pytest.raises(ValueError, match="training_args, training_args/benchmarks, model_cards, spaces"):
        resource_path("recipes", "a.yaml")
