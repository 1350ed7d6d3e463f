"""Folders and runs onto the Hub: one commit, whole or not at all."""

import tempfile
import time
from collections.abc import Callable
from fnmatch import fnmatch
from json import JSONDecodeError
from pathlib import Path
from typing import Any, Literal, TypeVar

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    OfflineModeIsEnabled,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from .. import __version__
from ..errors import UserError
from .shareable import check_weights, stage_run

RepoType = Literal["model", "dataset", "space"]
T = TypeVar("T")

# Seconds before another try, where the client does not try again itself.
PAUSES = (1.0, 4.0)

# Files that only a push of ours puts there, so that one that is gone from the folder is old. What people add to their
# repository by hand stays.
OURS: dict[str, tuple[str, ...]] = {
    "model": (
        "adapter/adapter_*",
        "adapter_*",
        "configuration_*.py",
        "figures/*.png",
        "metrics.json",
        "model*.safetensors",
        "model.safetensors.index.json",
        "modeling_*.py",
        "processing_*.py",
        "recipe.yaml",
        "tokenizer*",
    ),
    "dataset": ("images/*.parquet", "pairs/*.parquet", "pairs_biased/*.parquet"),
    "space": (),
}


def push_run(
    run: Path, repo_id: str, *, private: bool = False, revision: str | None = None, message: str | None = None
) -> str:
    """Publish a run: model, processor, code, recipe, measurements, figures and card, in one commit.

    Checkpoints, the state of the Trainer, and whatever else lies in the folder stay at home; see
    `hf_latent.hub.shareable`.

    Args:
        run: The folder of a run, or one that `save_pretrained` and a card were written to.
        repo_id, private, revision: As of [`publish_folder`].
        message: Of the commit.

    Returns:
        The URL of the repository.

    Raises:
        UserError: If the folder holds no model, or [`publish_folder`] does.
    """
    check_repo_id(repo_id)
    check_weights(run)  # nobody should log in only to hear of it
    log_in()
    if "/" not in repo_id:
        repo_id = create_repository(repo_id, private=private)  # the card tells the whole name
    with tempfile.TemporaryDirectory() as temporary:
        stage_run(run, Path(temporary), repo_id)
        message = message or f"Push {repo_id.split('/')[-1]} with hf_latent"
        return publish_folder(Path(temporary), repo_id, private=private, revision=revision, message=message)


def publish_folder(
    folder: Path,
    repo_id: str,
    *,
    repo_type: RepoType = "model",
    private: bool = False,
    revision: str | None = None,
    message: str,
    **create: Any,
) -> str:
    """Upload a staged folder as one commit, and create the repository where there is none.

    Nothing is committed where nothing changed. Whatever breaks on the way, the repository is as it was or has all of
    the folder; the same call again completes it, and does not send again what has arrived.

    Args:
        folder: All of its files are uploaded. Remote files that it lacks are removed where they can only be ours, see
            `OURS`; others stay.
        repo_id: `user/name`; a bare `name` is one of the user whose token it is.
        private: Create the repository private. One that exists must be private already.
        revision: A branch, `main` by default; one that does not exist begins where `main` stands.
        message: Of the commit.
        **create: Of `HfApi.create_repo`, such as `space_sdk="gradio"`. `token` takes the place of the one that this
            machine is logged in with.

    Returns:
        The URL of the repository.

    Raises:
        UserError: If there is no token or it may not write there, the name is none, the connection is lost, or
            somebody else pushes at the same time.
    """
    check_repo_id(repo_id)
    paths = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
    if not paths:
        raise UserError(f"{folder} holds no files to push")
    api = log_in(create.pop("token", None))

    def publish() -> str:
        url = api.create_repo(repo_id, repo_type=repo_type, private=private or None, exist_ok=True, **create)
        where: dict[str, Any] = {"repo_id": url.repo_id, "repo_type": repo_type}
        try:
            info: Any = api.repo_info(**where, revision=revision)
            begins = False
        except RevisionNotFoundError:
            info, begins = api.repo_info(**where), True
        if private and not info.private:
            raise UserError(f"{url} is public: make it private in its settings, or leave out --private")
        remote = [sibling.rfilename for sibling in info.siblings or ()]
        old = [name for name in remote if name not in paths and any(fnmatch(name, own) for own in OURS[repo_type])]

        def additions() -> list[Any]:
            return [CommitOperationAdd(name, path) for name, path in paths.items()]

        if begins:
            # Large files first, so that a new branch holds what main holds for no longer than the commit takes.
            api.preupload_lfs_files(url.repo_id, additions(), repo_type=repo_type)
            api.create_branch(**where, branch=str(revision), revision=info.sha, exist_ok=True)
        # The parent makes it all or nothing: what is left out as unchanged was compared with that very commit.
        api.create_commit(
            **where,
            operations=additions() + [CommitOperationDelete(name) for name in old],
            commit_message=message,
            revision=revision,
            parent_commit=info.sha,
        )
        return str(url)

    return _with_patience(publish, repo_id, revision)


def create_repository(repo_id: str, *, private: bool = False, token: str | None = None) -> str:
    """Create a model repository, if there is none; its full name.

    Raises:
        UserError: As of [`publish_folder`].
    """
    check_repo_id(repo_id)
    api = log_in(token)
    return _with_patience(lambda: api.create_repo(repo_id, private=private or None, exist_ok=True).repo_id, repo_id)


def check_repo_id(repo_id: str) -> None:
    """A UserError where `repo_id` cannot name a repository."""
    try:
        validate_repo_id(repo_id)
    except HFValidationError:
        raise UserError(
            f"{repo_id!r} names no repository: write user/name, of letters, digits and single - _ . between them"
        ) from None


def log_in(token: str | None = None) -> HfApi:
    """The client of the Hub, with a token or that of this machine; a UserError says how to get one. Asks nobody."""
    token = token or get_token()
    if token is None:
        raise UserError(
            f"the Hub asks who you are: make a token with the role write at {constants.ENDPOINT}/settings/tokens, run "
            "hf auth login and paste it there (or set HF_TOKEN), then run the same command again"
        )
    return HfApi(token=token, library_name="hf_latent", library_version=__version__)


def _with_patience(publish: Callable[[], T], repo_id: str, revision: str | None = None) -> T:
    """Run it, again where that may help: all of it, as every step finds done what was done before."""
    for pause in (*PAUSES, None):
        try:
            return publish()
        except UserError:
            raise
        # The client wraps what happens in its threads in RuntimeErrors, and raises ValueErrors for a bad card; the
        # storage behind it has the errors of the system.
        except (HTTPError, OSError, RuntimeError, ValueError) as error:
            if getattr(error, "filename", None):
                raise  # a file of this machine
            text, again = _explained(error, repo_id, revision)
            if not again or pause is None:
                raise UserError(text) from error
            time.sleep(pause)
    raise AssertionError("the last pause is None")


def _explained(error: Exception, repo_id: str, revision: str | None) -> tuple[str, bool]:
    """What an error of the client means to a person, and whether another try may help."""
    cause: BaseException = error
    while not isinstance(cause, HTTPError) and cause.__cause__ is not None:
        cause = cause.__cause__
    said = str(getattr(cause, "server_message", None) or cause).strip().split("\n")[0]
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so the Hub is out of reach: unset it and run the same command again", False
    if isinstance(error, ValueError) and not isinstance(error, JSONDecodeError):
        return f"the Hub refuses the files: {' '.join(str(error).split())}", False
    if isinstance(cause, RevisionNotFoundError):
        return f"{repo_id} has no branch {revision!r}: a tag or a commit cannot be written to", False
    status = cause.response.status_code if isinstance(cause, HfHubHTTPError) else None
    if status == 401 or isinstance(cause, PermissionError):
        return "the Hub does not know this token: run hf auth login anew (HF_TOKEN, if set, is taken first)", False
    if status in (403, 404):
        return (
            f"you may not write to {repo_id} ({said}): check the name, and that your token has the role write there "
            f"({constants.ENDPOINT}/settings/tokens)"
        ), False
    if status in (409, 412):
        return f"somebody else writes to {repo_id} at this moment ({said}): run the same command again", True
    if status is None or status == 429 or status >= 500:
        return (
            f"the connection to {constants.ENDPOINT} broke ({said}); {repo_id} is as it was or complete: "
            "run the same command again to go on"
        ), True
    return f"the Hub refuses {repo_id}: {said}", False
