"""The `hf-latent` command. Thin: it reads the command line, calls a function, and turns a UserError into code 2."""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.utils import logging

from . import __version__
from .console import as_json, messages, progress_bars
from .errors import UserError, printable

RUN = "the folder of a finished run, such as outputs/comm_trifeature_quick"
TRUST = "read what the recipe of somebody else names on this machine or elsewhere, and print it"


@dataclass(frozen=True)
class Result:
    """What a command was asked for.

    Attributes:
        text: What `--quiet` leaves of the output.
        data: What `--json` prints.
    """

    text: str = ""
    data: Any = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the encoding of the console does not hold, as cp1252 on Windows, is written with escapes.
        sys.stdout.reconfigure(errors="backslashreplace")
    options = _parse(arguments)
    logging.disable_progress_bar()  # a bar for every checkpoint that is written would tear the one that counts
    try:
        silent = options.quiet and options.run is not _space  # which says where the page is
        with progress_bars(not options.quiet), messages(silent, to_stderr=options.json):
            result = options.run(options)
        if _is_first():
            _print(as_json(result.data) if options.json else result.text if options.quiet else "")
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


def _is_first() -> bool:
    """Whether this is the process that speaks, of all that a run has on this machine."""
    return int(os.environ.get("LOCAL_RANK", 0)) == 0


def _print(text: str) -> None:
    """Print a result; whoever stops reading it, such as `head`, has what it wants."""
    try:
        print(text, end="\n" if text else "", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hf-latent", description="Train and measure multimodal representations.")
    libraries = f"torch {torch.__version__}, transformers {transformers.__version__}"
    parser.add_argument("--version", action="version", version=f"hf_latent {__version__}, {libraries}")
    parser.add_argument(
        "--quiet",
        action="store_true",
        help="show no progress bars, and print nothing but errors, warnings and the result of the command, which its "
        "own help names",
    )
    parser.set_defaults(json=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    init = commands.add_parser("init", help="look at your data, and write a recipe that trains on it")
    init.add_argument(
        "data", metavar="DATA", help="a folder, a file of rows (csv, tsv, json, parquet, tar), or the id of a data set"
    )
    init.add_argument(
        "overrides",
        nargs="*",
        default=[],
        metavar="modality=column",
        help="the columns of the modalities, of a table also modality=column+column; by default they are guessed",
    )
    init.add_argument(
        "--output", type=Path, metavar="FILE", help="the recipe; by default NAME.yaml, as the data is called"
    )
    init.add_argument("--name", metavar="CONFIG", help="the configuration of a data set of the Hub that has several")
    init.add_argument("--force", action="store_true", help="write over a file that is there")
    _add_quiet(init, "the path of the recipe")
    init.set_defaults(run=_init)

    train = commands.add_parser("train", help="train a recipe, measure the result, and write its card")
    train.add_argument("recipe", help="a YAML file, or the name of a recipe of the package")
    train.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help="changes to the recipe")
    train.add_argument("--resume", action="store_true", help="go on from the last checkpoint of the run")
    _add_quiet(train, "")
    train.set_defaults(run=_train)

    evaluate = commands.add_parser("evaluate", help="measure a run again, or on other data")
    evaluate.add_argument("path", metavar="RUN", help=f"{RUN}; with --on also the id of a model on the Hub")
    evaluate.add_argument(
        "--on",
        metavar="NAME|FILE",
        help="measure on the data of benchmark files, separated by commas, instead of the run's own: YAML with the "
        "sections data and evaluation of a recipe, or names that hf-latent list benchmark_files tells",
    )
    evaluate.add_argument("--trust-recipe", action="store_true", help=TRUST)
    _add_json(evaluate, "the content of metrics.json")
    _add_quiet(evaluate, "the table of results")
    evaluate.set_defaults(run=_evaluate)

    compare = commands.add_parser("compare", help="put runs side by side, as a table and as bars")
    compare.add_argument("paths", metavar="RUN", type=Path, nargs="+", help=RUN)
    compare.add_argument(
        "--output",
        type=Path,
        help="the picture; by default comparison.png beside the first run, with a number if there is one",
    )
    _add_json(compare, "{run: {measurement: {value, unit, chance, better, title, ...}}}; draw only with --output")
    _add_quiet(compare, "the table")
    compare.set_defaults(run=_compare)

    mixed = commands.add_parser("interpolate", help="measure the models between a model and its fine-tuned copy")
    mixed.add_argument("first", metavar="RUN_A", help="what fine-tuning began with: a run folder, or an id of the Hub")
    mixed.add_argument("second", metavar="RUN_B", help="the fine-tuned model")
    mixed.add_argument("--output", type=Path, required=True, help="a new folder for the table and the picture")
    mixed.add_argument(
        "--on",
        metavar="NAME|FILE",
        help="benchmark files to measure on, separated by commas; by default the data of both recipes",
    )
    mixed.add_argument(
        "--weights", metavar="NUMBERS", help="of RUN_B, separated by commas; by default 0, 0.1, 0.2 ... 1"
    )
    mixed.add_argument("--save", type=float, metavar="WEIGHT", help="keep the model of this weight in the folder")
    mixed.add_argument("--trust-recipe", action="store_true", help=TRUST)
    _add_json(mixed, "{weight: {measurement: {value, unit, chance, better, title, ...}}}")
    _add_quiet(mixed, "the table")
    mixed.set_defaults(run=_interpolate)

    calibrated = commands.add_parser(
        "calibrate", help="take the offset of each modality out of the embeddings of a run, by its training rows"
    )
    calibrated.add_argument("path", metavar="RUN", type=Path, help=RUN)
    calibrated.add_argument(
        "--method",
        default="mean",
        metavar="mean|standardise|none",
        help="what is taken away: the mean, the mean and the spread of each coordinate, or an earlier calibration",
    )
    calibrated.add_argument("--trust-recipe", action="store_true", help=TRUST)
    _add_json(calibrated, "the content of metrics.json")
    _add_quiet(calibrated, "the table of results")
    calibrated.set_defaults(run=_calibrate)

    study = commands.add_parser("study", help="train one recipe with many structures and seeds, and tabulate them")
    study.add_argument("study", help="a YAML file, or the name of a study of the package")
    study.add_argument("--output", type=Path, help="the folder of the runs; outputs/<name> by default")
    _add_quiet(study, "the path of the table")
    study.set_defaults(run=_study)

    card = commands.add_parser("card", help="write the model card of a run")
    card.add_argument("path", metavar="RUN", type=Path, help=RUN)
    card.add_argument("--license", help="of the weights, as the Hub spells it; by default what the card says already")
    card.add_argument("--open", action="store_true", help="show it in the browser")
    _add_quiet(card, "the path of the card")
    card.set_defaults(run=_card)

    embed = commands.add_parser("embed", help="write the embeddings of any rows into a parquet file")
    embed.add_argument("model", metavar="RUN", help="a run folder, or the id of a model on the Hub")
    embed.add_argument(
        "data", metavar="DATA", help="a data set of the Hub by its id, a folder, or a file: csv, tsv, json, parquet"
    )
    embed.add_argument(
        "overrides",
        nargs="*",
        default=[],
        metavar="modality=column",
        help="what to embed, of a table also modality=column+column; by default the columns of training, or those "
        "that are called as the modalities",
    )
    embed.add_argument("--output", type=Path, required=True, metavar="FILE", help="the parquet file")
    embed.add_argument("--split", help="such as test or train[:90%%]; by default the only one that there is")
    embed.add_argument("--ids", metavar="COLUMN", help="what tells rows apart; by default their numbers")
    embed.add_argument("--keep", nargs="+", default=[], metavar="COLUMN", help="further columns to copy")
    embed.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        help="write vectors of unit length; by default where the model compares its modalities by cosine",
    )
    embed.add_argument("--batch-size", type=int, default=256, help="rows that are embedded at a time; 256 by default")
    embed.add_argument("--workers", type=int, default=0, help="processes that read rows; 0 by default")
    embed.add_argument("--skip-bad-rows", action="store_true", help="leave out rows that cannot be read")
    embed.add_argument("--revision", help="of a model on the Hub")
    embed.add_argument("--trust-recipe", action="store_true", help=TRUST)
    _add_quiet(embed, "the path of the file")
    embed.set_defaults(run=_embed)

    push = commands.add_parser("push", help="publish a run on the Hugging Face Hub")
    push.add_argument("path", metavar="RUN", type=Path, help=RUN)
    _add_target(push)
    _add_quiet(push, "the address")
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
    _add_quiet(data_push, "the address")
    data_push.set_defaults(run=_data_push)

    space = commands.add_parser("space", help="show runs in the browser, side by side: maps, questions, structure")
    space.add_argument("models", metavar="RUN", nargs="+", help="a run folder, or the id of a model on the Hub")
    space.add_argument("--port", type=int, help="where the page is; the first free port from 7860 by default")
    space.add_argument("--trust-recipe", action="store_true", help=TRUST)
    _add_quiet(space, "where the page is")
    space.set_defaults(run=_space)

    push_space = commands.add_parser("push-space", help="publish the Space of a model that is on the Hub")
    push_space.add_argument("model_or_run", metavar="RUN", help="the id of a model on the Hub, or a run folder")
    push_space.add_argument("repo_id", metavar="USER/NAME", help="the Space, which is created where there is none")
    push_space.add_argument("--model", metavar="USER/MODEL", help="the id under which the run folder was pushed")
    push_space.add_argument("--private", action="store_true", help="for nobody else to see")
    _add_quiet(push_space, "the address")
    push_space.set_defaults(run=_push_space)

    names = commands.add_parser("list", help="say what recipes can name, what it is for, and its options")
    names.add_argument(
        "family", nargs="?", help="recipes, or a part of one, such as models or views; all families by default"
    )
    names.add_argument("name", nargs="?", help="one name of the family, with all that is said of it")
    _add_json(names, "{family: [{name, line, text, options, facts, plugin}]}")
    names.set_defaults(run=_list)
    return parser


def _add_quiet(parser: argparse.ArgumentParser, result: str) -> None:
    """`--quiet`, also behind the command."""
    kept = f"{result}, errors and warnings" if result else "errors and warnings"
    text = f"show no progress bars, and print nothing but {kept}"
    parser.add_argument("--quiet", action="store_true", default=argparse.SUPPRESS, help=text)


def _add_json(parser: argparse.ArgumentParser, content: str) -> None:
    text = f"print one JSON document and nothing else on stdout, {content}; messages go to stderr"
    parser.add_argument("--json", action="store_true", help=text)


def _add_target(parser: argparse.ArgumentParser) -> None:
    """Where on the Hub."""
    parser.add_argument("repo_id", metavar="USER/NAME", help="the repository, which is created where there is none")
    parser.add_argument("--private", action="store_true", help="for nobody else to see")
    parser.add_argument("--revision", help="a branch, which is created where there is none; main by default")


# The commands import what they need: `hf-latent --help` waits for torch and transformers alone.


def _init(options: argparse.Namespace) -> Result:
    from .init import init

    columns = _columns(options.overrides)
    return Result(str(init(options.data, options.output, columns, options.name, options.force)))


def _columns(words: Sequence[str]) -> dict[str, str | list[str]]:
    """What `modality=column` and `modality=column+column` say."""
    pairs = [word.partition("=") for word in words]
    for modality, equals, column in pairs:
        if not (modality and equals and column):
            raise UserError(f"{modality}{equals}{column} names no column: write modality=column")
    return {modality: column.split("+") if "+" in column else column for modality, _, column in pairs}


def _train(options: argparse.Namespace) -> Result:
    if not _is_first():
        # One process speaks, for as long as all run.
        sys.stdout = open(os.devnull, "w", encoding="utf-8", errors="replace")  # noqa: SIM115
    from . import experiment
    from .recipe import load_recipe, without_progress
    from .training.distributed import shut_down

    recipe = load_recipe(options.recipe, options.overrides)
    experiment.train(without_progress(recipe) if options.quiet else recipe, resume=options.resume)
    shut_down()
    return Result()


def _evaluate(options: argparse.Namespace) -> Result:
    from . import experiment
    from .results import read, table

    if options.on is None:
        metrics = experiment.evaluate(Path(options.path), options.trust_recipe, progress=not options.quiet)
        found = read(metrics)
    else:
        from .benchmark_files import measure_on

        names = [name.strip() for name in options.on.split(",")]
        metrics = measure_on(options.path, names, options.trust_recipe, progress=not options.quiet)
        found = {key: one for key, one in read(metrics).items() if one.data in {Path(name).stem for name in names}}
        print("\n" + table({Path(options.path).resolve().name: found}))
    return Result(table({Path(options.path).resolve().name: found}) if found else "", metrics)


def _calibrate(options: argparse.Namespace) -> Result:
    from .calibration import calibrate
    from .results import read, table

    metrics = calibrate(options.path, options.method, options.trust_recipe, progress=not options.quiet)
    return Result(table({options.path.resolve().name: read(metrics)}), metrics)


def _compare(options: argparse.Namespace) -> Result:
    from . import study
    from .results import as_data, table

    if options.output is not None or not options.json:
        study.compare(options.paths, options.output)
    found = study.read_runs(options.paths)
    return Result(table(found), as_data(found))


def _interpolate(options: argparse.Namespace) -> Result:
    from .interpolation import WEIGHTS, interpolate
    from .results import as_data, table

    found = interpolate(
        options.first,
        options.second,
        options.output,
        [name.strip() for name in options.on.split(",")] if options.on else [],
        WEIGHTS if options.weights is None else _numbers("--weights", options.weights),
        options.save,
        options.trust_recipe,
        progress=not options.quiet,
    )
    return Result(table(found), as_data(found))


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"{option} {text}: write numbers, separated by commas, such as 0,0.5,1") from None


def _study(options: argparse.Namespace) -> Result:
    from .study import load_study, run_study

    study = load_study(options.study, options.output)
    run_study(study, progress=not options.quiet)
    return Result(str(study.output_dir / "study.md"))


def _card(options: argparse.Namespace) -> Result:
    from .hub.card import write_card
    from .trust import use_plugins

    use_plugins(options.path)
    card = write_card(options.path, license=options.license)
    print(f"Card: {card}")
    if options.open:
        from .hub.card_page import open_card

        print(f"Page: {open_card(card)}")
    return Result(str(card))


def _embed(options: argparse.Namespace) -> Result:
    from .embed import Request, embed
    from .training.distributed import shut_down

    copied = ("data", "output", "split", "ids", "keep", "normalize", "batch_size", "workers", "revision")
    request = Request(
        options.model,
        columns=_columns(options.overrides) or None,
        on_bad_row="skip" if options.skip_bad_rows else "error",
        **{name: getattr(options, name) for name in copied},
    )
    written = embed(request, options.trust_recipe, progress=not options.quiet)
    if _is_first():
        print(f"Embeddings: {written}")
    shut_down()
    return Result(str(written))


def _push(options: argparse.Namespace) -> Result:
    from .hub.push import push_run
    from .trust import use_plugins

    use_plugins(options.path)
    address = push_run(options.path, options.repo_id, private=options.private, revision=options.revision)
    print(f"Pushed: {address}")
    return Result(address)


def _data_push(options: argparse.Namespace) -> Result:
    from .hub.dataset import push_trifeature

    known = {name: value for name, value in vars(options).items() if name not in ("run", "quiet", "json")}
    address = push_trifeature(progress=not options.quiet, **known)
    print(f"Pushed: {address}")
    return Result(address)


def _space(options: argparse.Namespace) -> Result:
    from .hub.space import show_space
    from .trust import use_plugins

    for model in options.models:
        use_plugins(Path(model), options.trust_recipe)
    show_space(options.models, options.port, options.trust_recipe)
    return Result()


def _push_space(options: argparse.Namespace) -> Result:
    from .hub.space import push_space

    address = push_space(options.model_or_run, options.repo_id, options.model, options.private)
    print(f"Space: {address}")
    return Result(address)


def _list(options: argparse.Namespace) -> Result:
    from . import listing
    from .models.plugins import failures

    if options.json:
        families = [options.family] if options.family else listing.FAMILIES
        result = Result(data={name: listing.as_data(listing.list_of(name, options.name)) for name in families})
    else:
        result = Result(listing.details(options.family, options.name) if options.family else listing.overview())
        _print(result.text)
    if failures():
        print(f"hf-latent: {printable(failures().removeprefix('; '))}", file=sys.stderr)
    return result
