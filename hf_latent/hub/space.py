"""The Space: shown on this machine, or published for a model that lies on the Hub."""

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import requires
from importlib.util import find_spec
from pathlib import Path

from huggingface_hub import HfApi, metadata_load, metadata_save
from huggingface_hub.errors import HFValidationError, HTTPError, RepositoryNotFoundError
from packaging.requirements import Requirement

from ..errors import UserError
from ..resources import resource_path
from ..runs import CONFIG, OUTPUTS, RECIPE, run_file

LIBRARY = __name__.split(".")[0]
NEEDED = ("gradio", "plotly")
PORT_VARIABLE, PORTS = "GRADIO_SERVER_PORT", range(1, 65536)


def show_space(runs: Sequence[str], port: int | None = None, trust_recipe: bool = False) -> None:
    """Serve the Space of some runs on this machine until it is stopped.

    Args:
        runs: Run folders, or ids of models on the Hub.
        port: Where it listens; the first free one from 7860 by default.
        trust_recipe: Read what a recipe that was not written here names, see `trust.py`, and print it.

    Raises:
        UserError: If a run cannot be shown, the port is taken, or the libraries of the Space are not installed.
    """
    for name in NEEDED:
        if find_spec(name) is None:
            raise UserError(f"the Space needs {name}: pip install '.[space]' in a checkout of this library")
    if port is not None:
        check_port(port, "--port")
    elif PORT_VARIABLE in os.environ:  # where gradio looks for a free port
        check_port(os.environ[PORT_VARIABLE], PORT_VARIABLE)
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # gradio reads it as it is imported
    sys.path.insert(0, str(resource_path("spaces", "app.py").parent))
    app = import_module("app")
    try:
        app.serve(runs, trust_recipe, server_port=port)
    except OSError as error:
        raise not_served("any port from 7860" if port is None else f"port {port}", error) from None


def check_port(port: int | str, named: str) -> None:
    """Refuse what is no port, and one of the command line that is taken, before a model is loaded.

    Args:
        port: As it was written.
        named: Where it was written.

    Raises:
        UserError: If it cannot be listened on.
    """
    number = int(port) if str(port).isdecimal() else -1
    if number not in PORTS:
        raise UserError(f"{named} is {port}: write a port from {PORTS[0]} to {PORTS[-1]}, such as 7860")
    if named == PORT_VARIABLE:
        return  # from there on gradio takes the first that is free
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError as error:
            raise not_served(f"port {port}", error) from None


def not_served(where: str, error: OSError) -> UserError:
    """What the user is told of a page that nobody can open."""
    reason = (error.strerror or str(error)).split(". ")[0].rstrip(".")
    return UserError(f"the page cannot be served on {where} ({reason}): name a free one with --port")


def push_space(run: str, repo_id: str, model: str | None = None, private: bool = False) -> str:
    """Publish the Space of one model; it loads the model from the Hub.

    Args:
        run: The id of a model on the Hub, or the folder of a run whose model was pushed there.
        repo_id: The Space, `user/name`; made where it does not exist.
        model: The id that the folder's model has on the Hub.
        private: Make a private Space.

    Returns:
        The address of the Space.

    Raises:
        UserError: If the model is not on the Hub, or the Space cannot be written.
    """
    model = _model_of(run, model)
    _check_model(model)
    from .push import publish_folder

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "space"
        write_space(folder, [model])
        return publish_folder(
            folder, repo_id, repo_type="space", private=private, message=f"The Space of {model}", space_sdk="gradio"
        )


def write_space(folder: Path, models: Sequence[str]) -> None:
    """Write the files of the Space into a new folder: its README names the models, and the app reads them there.

    The folder carries this library as it is installed here, and `requirements.txt` what the library needs. The library
    itself cannot be a requirement: when a Space is built, pip sees `requirements.txt` alone, no file beside it.
    """
    source, ignored = resource_path("spaces", "app.py").parent, shutil.ignore_patterns("__pycache__", "_share", ".*")
    shutil.copytree(source, folder, ignore=ignored)
    shutil.copytree(Path(import_module(LIBRARY).__path__[0]), folder / LIBRARY, ignore=ignored)
    needed = "".join(f"{line}\n" for line in _requirements())
    (folder / "requirements.txt").write_text(needed, encoding="utf-8", newline="\n")
    readme = folder / "README.md"
    data = metadata_load(readme) or {}
    metadata_save(readme, {**data, "title": f"Inside {models[0].split('/')[-1]}", "models": list(models)})


def _requirements() -> list[str]:
    """What the library and its Space need; gradio is not among it, README.md names its version."""
    found = []
    for line in requires(LIBRARY) or ():
        requirement = Requirement(line)
        needed = requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in ("", "space"))
        if needed and requirement.name not in (LIBRARY, "gradio"):
            requirement.marker = None
            found.append(str(requirement))
    return found


def _model_of(run: str, model: str | None) -> str:
    """The id of the model on the Hub."""
    if not Path(run).is_dir():
        if run.count("/") != 1 or run.startswith((".", "/", "~", f"{OUTPUTS}/")):
            raise UserError(f"there is no folder {run}; the id of a model on the Hub is written user/model")
        if model not in (None, run):
            raise UserError(f"there is no folder {run}, so it is the id of a model: leave out --model {model}")
        return run
    run_file(Path(run), CONFIG)
    if model is None:
        raise UserError(
            f"{run} is a folder on this machine, and a Space loads its model from the Hub: push it with "
            f"hf-latent push {run} user/model, then write --model user/model"
        )
    return model


def _check_model(model: str) -> None:
    """Refuse a model that a Space could not load."""
    try:
        info = HfApi().model_info(model)
    except HFValidationError:
        raise UserError(f"{model!r} is neither a folder nor the id of a model: write user/model") from None
    except RepositoryNotFoundError:
        raise UserError(f"the Hub has no model {model} that you may read: push it with hf-latent push") from None
    except (HTTPError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"the Hub cannot be asked for {model}: {reason}") from None
    files = {file.rfilename for file in info.siblings or []}
    if CONFIG not in files:
        raise UserError(f"{model} holds no {CONFIG}: push the model with hf-latent push")
    if RECIPE not in files:
        print(f"{model} holds no {RECIPE}: the Space cannot know its data, and shows a stand-in, or no rows")
    if info.private:
        print(f"{model} is private: give the Space a secret HF_TOKEN that may read it, in its settings")
