"""The `hf-latent` command. Thin: it reads the command line, calls a function, and turns a UserError into code 2."""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from transformers.utils import logging

from .errors import UserError, printable

RUN = "the folder of a finished run, such as outputs/comm_trifeature_quick"
TRUST = "read what the recipe of somebody else names on this machine or elsewhere, and print it"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the encoding of the console does not hold, as cp1252 on Windows, is written with escapes.
        sys.stdout.reconfigure(errors="backslashreplace")
    options = _parse(arguments)
    logging.disable_progress_bar()  # a bar for every checkpoint that is written would tear the one that counts
    try:
        options.run(options)
    except UserError as error:
        # From a worker of a data loader it comes with the worker's traceback before it.
        said = str(error).rpartition(f"{UserError.__module__}.UserError: ")[2]
        print(f"hf-latent: {printable(said)}", file=sys.stderr)
        return 2
    except OSError as error:
        where = f" ({printable(error.filename)})" if error.filename else ""
        print(f"hf-latent: {error.strerror or error}{where}; what was finished before is still there", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        how = "with --resume" if hasattr(options, "resume") else "by the same command"
        print(f"\nhf-latent: stopped; go on {how}", file=sys.stderr)
        return 130
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line, where overrides may stand on either side of --resume; argparse alone takes only one place."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and not (hasattr(options, "overrides") and all("=" in word and word[0] != "-" for word in rest)):
        hint = "; a change to the recipe is written section.key=value" if hasattr(options, "overrides") else ""
        parser.error(f"unrecognized arguments: {' '.join(rest)}{hint}")
    if rest:
        options.overrides += rest
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hf-latent", description="Train and measure multimodal representations.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a recipe, measure the result, and write its card")
    train.add_argument("recipe", help="a YAML file, or the name of a recipe of the package")
    train.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help="changes to the recipe")
    train.add_argument("--resume", action="store_true", help="go on from the last checkpoint of the run")
    train.set_defaults(run=_train)

    evaluate = commands.add_parser("evaluate", help="measure a run again")
    evaluate.add_argument("path", metavar="RUN", type=Path, help=RUN)
    evaluate.add_argument("--trust-recipe", action="store_true", help=TRUST)
    evaluate.set_defaults(run=_evaluate)

    compare = commands.add_parser("compare", help="put runs side by side, as a table and as bars")
    compare.add_argument("paths", metavar="RUN", type=Path, nargs="+", help=RUN)
    compare.add_argument(
        "--output",
        type=Path,
        help="the picture; by default comparison.png beside the first run, with a number if there is one",
    )
    compare.set_defaults(run=_compare)

    study = commands.add_parser("study", help="train one recipe with many structures and seeds, and tabulate them")
    study.add_argument("study", help="a YAML file, or the name of a study of the package")
    study.add_argument("--output", type=Path, help="the folder of the runs; outputs/<name> by default")
    study.set_defaults(run=_study)

    card = commands.add_parser("card", help="write the model card of a run")
    card.add_argument("path", metavar="RUN", type=Path, help=RUN)
    card.add_argument("--license", help="of the weights, as the Hub spells it; by default what the card says already")
    card.add_argument("--open", action="store_true", help="show it in the browser")
    card.set_defaults(run=_card)

    push = commands.add_parser("push", help="publish a run on the Hugging Face Hub")
    push.add_argument("path", metavar="RUN", type=Path, help=RUN)
    _add_target(push)
    push.set_defaults(run=_push)

    data = commands.add_parser("data", help="publish data").add_subparsers(required=True, metavar="COMMAND")
    data_push = data.add_parser("push", help="publish Trifeature: pictures, and pairs with their labels")
    _add_target(data_push)
    for name, default, what in (
        ("image-size", 224, "side of the pictures in pixels"),
        ("renders", 3, "training pictures of each combination"),
        ("test-renders", 1, "test pictures of each combination"),
        ("seed", 42, "of all draws"),
        ("texture-period", 10.0, "in pixels of the 224 px canvas; larger where small pictures would blur it"),
        ("max-pairs", 10_000, "pairs a split, at most"),
    ):
        data_push.add_argument(f"--{name}", type=type(default), default=default, help=f"{what}; {default} by default")
    data_push.set_defaults(run=_data_push)

    space = commands.add_parser("space", help="show runs in the browser, side by side: maps, questions, structure")
    space.add_argument("models", metavar="RUN", nargs="+", help="a run folder, or the id of a model on the Hub")
    space.add_argument("--port", type=int, help="where the page is; the first free port from 7860 by default")
    space.add_argument("--trust-recipe", action="store_true", help=TRUST)
    space.set_defaults(run=_space)

    push_space = commands.add_parser("push-space", help="publish the Space of a model that is on the Hub")
    push_space.add_argument("model_or_run", metavar="RUN", help="the id of a model on the Hub, or a run folder")
    push_space.add_argument("repo_id", metavar="USER/NAME", help="the Space, which is created where there is none")
    push_space.add_argument("--model", metavar="USER/MODEL", help="the id under which the run folder was pushed")
    push_space.add_argument("--private", action="store_true", help="for nobody else to see")
    push_space.set_defaults(run=_push_space)
    return parser


def _add_target(parser: argparse.ArgumentParser) -> None:
    """Where on the Hub."""
    parser.add_argument("repo_id", metavar="USER/NAME", help="the repository, which is created where there is none")
    parser.add_argument("--private", action="store_true", help="for nobody else to see")
    parser.add_argument("--revision", help="a branch, which is created where there is none; main by default")


# The commands import what they need: `hf-latent --help` waits for torch and transformers alone.


def _train(options: argparse.Namespace) -> None:
    if int(os.environ.get("LOCAL_RANK", 0)) > 0:
        # One process speaks, for as long as all run.
        sys.stdout = open(os.devnull, "w", encoding="utf-8", errors="replace")  # noqa: SIM115
    from . import experiment
    from .recipe import load_recipe
    from .training.distributed import shut_down

    experiment.train(load_recipe(options.recipe, options.overrides), resume=options.resume)
    shut_down()


def _evaluate(options: argparse.Namespace) -> None:
    from . import experiment

    experiment.evaluate(options.path, options.trust_recipe)


def _compare(options: argparse.Namespace) -> None:
    from . import study

    study.compare(options.paths, options.output)


def _study(options: argparse.Namespace) -> None:
    from .study import load_study, run_study

    run_study(load_study(options.study, options.output))


def _card(options: argparse.Namespace) -> None:
    from .hub.card import write_card
    from .trust import use_plugins

    use_plugins(options.path)
    card = write_card(options.path, license=options.license)
    print(f"Card: {card}")
    if options.open:
        from .hub.card_page import open_card

        print(f"Page: {open_card(card)}")


def _push(options: argparse.Namespace) -> None:
    from .hub.push import push_run
    from .trust import use_plugins

    use_plugins(options.path)
    print(f"Pushed: {push_run(options.path, options.repo_id, private=options.private, revision=options.revision)}")


def _data_push(options: argparse.Namespace) -> None:
    from .hub.dataset import push_trifeature

    known = {name: value for name, value in vars(options).items() if name != "run"}
    print(f"Pushed: {push_trifeature(progress=True, **known)}")


def _space(options: argparse.Namespace) -> None:
    from .hub.space import show_space
    from .trust import use_plugins

    for model in options.models:
        use_plugins(Path(model), options.trust_recipe)
    show_space(options.models, options.port, options.trust_recipe)


def _push_space(options: argparse.Namespace) -> None:
    from .hub.space import push_space

    print(f"Space: {push_space(options.model_or_run, options.repo_id, options.model, options.private)}")
