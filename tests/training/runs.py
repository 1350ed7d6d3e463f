"""A tiny training run, shared by the tests of the Trainer; also a script, so that torchrun can start it."""

import gc
import itertools
import json
import sys
import warnings
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset
from transformers import TrainerCallback, set_seed

from hf_latent import (
    CoMMConfig,
    CoMMForSequenceClassification,
    CoMMModel,
    CoMMProcessor,
    LatentALBEFForImageTextClassification,
    LatentALBEFForNaturalLanguageVisualReasoning,
    LatentALBEFForQuestionAnswering,
    LatentALBEFProcessor,
    LatentCLIPProcessor,
    LatentTrainer,
    LatentTrainingArguments,
    Views,
    build_view,
)
from hf_latent.data.collator import LatentCollator
from hf_latent.data.loaded import EvaluationData, Label, Split, Target
from hf_latent.data.stream import ModalityStream
from hf_latent.data.tokenizers import word_tokenizer
from hf_latent.errors import UserError
from hf_latent.evaluation import Benchmark, Measurement
from hf_latent.training.distributed import rank, shut_down, world_size
from hf_latent.training.lora import Lora, add_lora
from tests.models.small import small_albef, small_clip

NAMES = ("image1", "image2")


class RandomPairs(Dataset):
    """Pairs of random mosaics: coarse, so that two crops of one look alike."""

    def __init__(self, rows=52):
        draw = torch.Generator().manual_seed(0)
        tiles = torch.randint(0, 256, (rows, 2, 3, 4, 4), generator=draw, dtype=torch.uint8)
        self.images = tiles.repeat_interleave(4, dim=-1).repeat_interleave(4, dim=-2)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return {"image1": self.images[i, 0], "image2": self.images[i, 1], "ids": i}


PROBLEMS = {
    "classes": "single_label_classification",
    "labels": "multi_label_classification",
    "numbers": "regression",
}


class LabelledPairs(RandomPairs):
    """The same rows with labels, of which some are missing: a class, three labels, or three numbers of each row; or
    the class of the objective supcon."""

    def __init__(self, rows=52, problem="classes"):
        super().__init__(rows)
        self.problem = problem

    def __getitem__(self, i):
        missing = i % 5 == 3
        said = {
            "classes": -100 if missing else i % 3,
            "supcon": -1 if missing else i % 3,
            "labels": [float(i % 2), float(i % 3 == 0), np.nan if missing else 1.0],
            "numbers": [i / 10, np.nan if missing else np.sin(i), 1.0],
        }
        return {**super().__getitem__(i), "labels": said[self.problem]}


def build_trainer(
    folder,
    dataset=None,
    eval_dataset=None,
    norm="group",
    objective="comm",
    loss_terms="both",
    views=True,
    double=False,
    regularizers=None,
    benchmarks=None,
    missing=False,
    problem=None,
    options=None,
    **arguments,
):
    """CoMM; with a `problem` its head, or `supcon`. `options` are of the config."""
    set_seed(0)
    spec = {"encoder": "cnn", "channels": [8, 16], "norm": norm}
    config = CoMMConfig(
        modalities={name: dict(spec) for name in NAMES},
        embed_dim=16,
        fusion_heads=4 if options is None or "fusion" not in options else 8,
        projection_hidden_dim=16,
        projection_dim=8,
        objective=objective,
        loss_terms=loss_terms,
        regularizers=regularizers or {},
        num_labels=3,
        problem_type=PROBLEMS.get(problem),
        **(options or {}),
    )
    model = (CoMMForSequenceClassification if problem in PROBLEMS else CoMMModel)(config)
    if problem is not None and dataset is None:
        dataset = LabelledPairs(problem=problem)
    processor = CoMMProcessor({name: {"kind": "image", "size": 16} for name in NAMES})
    views = Views({name: build_view("image", size=16) for name in NAMES}, seed=0) if views else None
    return LatentTrainer(
        model=model.double() if double else model,
        args=_arguments(folder, **arguments),
        views=views,
        **rows_and_collator(dataset or RandomPairs(), processor, views, NAMES, missing),
        eval_dataset=eval_dataset,
        **_measured_with(benchmarks, RandomPairs, NAMES),
        processing_class=processor,
    )


def _measured_with(benchmarks, rows, modalities=("image", "text"), target=None):
    """Arguments of a Trainer that measures 29 rows; equal captions are one caption, and the label of some is missing.

    Args:
        benchmarks: As a recipe writes them, or "broken"; None for a Trainer that measures nothing.
    """
    if benchmarks is None:
        return {}

    def split(count):
        number = np.arange(count)
        labels = {"kind": np.where(number % 7 == 6, -1, number % 2), "size": number % 5 / 2, "word": number % 3}
        own = rows(count)
        ids = np.array([own[i]["ids"] for i in number])
        texts = {"text": [own[i]["text"] for i in number]} if "text" in modalities else {}
        items = {name: np.unique(column, return_inverse=True)[1] for name, column in texts.items()}
        return Split(own, ids, labels, items)

    labels = {"kind": Label(names=("red", "green")), "size": Label("number"), "word": Label(names=tuple(ANSWERS))}
    columns = {name: name for name in modalities}
    data = EvaluationData(split(29), split(52), columns=columns, labels=labels, target=target)
    return {"benchmarks": {"broken": Broken()} if benchmarks == "broken" else benchmarks, "evaluation_data": data}


@dataclass(frozen=True)
class Broken(Benchmark):
    """It asks for embeddings, and then has an error that is none of a user's."""

    def describe(self, encode, data):
        return [Measurement("broken", np.nan, "Broken", "mine")]

    def measure(self, encode, data):
        encode(data.test.rows)
        raise KeyError("the measurement broke")


def _arguments(folder, **arguments):
    defaults = {"global_batch_size": 12, "max_steps": 8, "learning_rate": 1e-3, "logging_steps": 1}
    defaults |= {"save_strategy": "no", "disable_tqdm": True, "use_cpu": True, "seed": 0}
    return LatentTrainingArguments(output_dir=str(folder), **{**defaults, **arguments})


class RandomCaptions(RandomPairs):
    """The first mosaic of each pair with a sentence of its own length; every third sentence is the same."""

    @property
    def ids(self):
        return [0 if i % 3 == 0 else i for i in range(len(self))]

    def __getitem__(self, i):
        words = ["red", "green", "blue", "small", "large"]
        sentence = "a red square" if i % 3 == 0 else " ".join(words[(i * k) % 5] for k in range(1, 3 + i % 4))
        return {"image": self.images[i, 0], "text": sentence, "ids": 0 if i % 3 == 0 else i}


class RandomPhotos(RandomCaptions):
    """The same rows with decoded pictures, of a size and a shape each."""

    def __getitem__(self, i):
        row = super().__getitem__(i)
        picture = Image.fromarray(row["image"].permute(1, 2, 0).numpy())
        return {**row, "image": picture.resize((20 + 3 * (i % 7), 18 + 5 * (i % 4)))}


class RandomTriples(RandomCaptions):
    """The same rows with a series of its own length."""

    def __getitem__(self, i):
        steps = np.arange(1, 3 + i % 4)[:, None]
        return {**super().__getitem__(i), "series": np.sin(steps * (1 + i % 5) + np.arange(3)).astype("float32")}


def captions_as_a_stream():
    """The same rows as a stream of encoded pictures."""
    import datasets

    rows = RandomCaptions()
    pictures = [Image.fromarray(rows[i]["image"].permute(1, 2, 0).numpy()) for i in range(len(rows))]
    table = {"image": pictures, "text": [rows[i]["text"] for i in range(len(rows))]}
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    stream = datasets.Dataset.from_dict(table, features=features).to_iterable_dataset()
    return ModalityStream(stream, ["image", "text"], ids="text", buffer=16, skip=False)


class Lacking(Dataset):
    """Rows of which some lack a modality, so that processes and chunks have different numbers of each."""

    def __init__(self, rows, names):
        self.rows, self.names = rows, names

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        row = dict(self.rows[i])
        for name, every in zip(self.names, (3, 4, 5), strict=False):
            if i % every == 1 and i % 12 != 1:  # a row has one at least
                row[name] = None
        return row


def rows_and_collator(rows, processor, views, names, missing):
    """Arguments of a Trainer; `missing` for rows that may lack a modality."""
    if not missing:
        return {"train_dataset": rows}
    examples = {name: rows[0][name] for name in names}
    collator = LatentCollator(processor, word_ids=views.of_words, examples=examples)
    return {"train_dataset": Lacking(rows, names), "data_collator": collator}


class AsAStream(IterableDataset):
    """Rows that come one after the other, of a length that nobody knows."""

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return (self.rows[i] for i in range(len(self.rows)))


REGULARIZERS = {
    "feature_separation": {"weight": 0.5, "ramp": 0.5},
    "brownian_bridge": {"weight": 0.3},
    "geometric_consistency": {"weight": 0.1},
    "information_bottleneck": {"weight": 0.2, "mode": "kl"},
    "alignment": {"weight": 0.01},
    "uniformity": {"weight": 0.1, "cross": True},
    "centroid_uniformity": {"weight": 0.1},
    "decorrelation": {"weight": 0.05},
    "orthogonality": {"weight": 0.2},
}
# Those that read a head whose place the objective coral has encoders for.
INDEPENDENT = ("feature_separation", "orthogonality")
# Those that read what LatentCLIP alone gives.
OF_CLIP = {
    "distillation": {"weight": 0.2, "scale": 10.0},
    "random_references": {"weight": 0.05},
    "in_modal_separation": {"weight": 0.3},
}


def build_clip_trainer(
    folder,
    double=False,
    stream=False,
    photos=False,
    in_modal=True,
    regularizers=REGULARIZERS,
    lora=None,
    benchmarks=None,
    missing=False,
    triples=False,
    anchor=None,
    config=None,
    **arguments,
):
    """All regularizers at once, in-modal terms, equal ids, words that are swapped and left out. `config` are further
    options of it."""
    set_seed(0)
    tokenizer = word_tokenizer(["a red square green blue small large"])
    options = {"in_modal": in_modal, "regularizers": regularizers or {}, "frozen": lora is not None, "anchor": anchor}
    options |= {"more": ["series"] if triples else [], **(config or {})}
    model = small_clip(vocab_size=len(tokenizer), dtype=torch.float64 if double else torch.float32, **options)
    own = {"image": build_view("image", size=16), "text": build_view("words").for_tokenizer(tokenizer)}
    rows = captions_as_a_stream() if stream else RandomPhotos() if photos else RandomCaptions()
    processor = LatentCLIPProcessor.for_size(16, tokenizer)
    if triples:
        own["series"] = build_view("series")
        kinds = {"image": {"kind": "image", "size": 16}, "text": {"kind": "text"}, "series": {"kind": "series"}}
        processor, rows = CoMMProcessor(kinds, {"text": tokenizer}), RandomTriples()
    views = Views(own, seed=0)
    return LatentTrainer(
        model=model if lora is None else add_lora(model, Lora(**lora)),
        args=_arguments(folder, **arguments),
        views=views,
        **rows_and_collator(rows, processor, views, tuple(own), missing),
        **_measured_with(benchmarks, RandomCaptions),
        processing_class=processor,
    )


def build_albef_trainer(folder, double=False, regularizers=REGULARIZERS, model=None, **arguments):
    """The same rows. Matching is off: its negatives come from one process's rows."""
    set_seed(0)
    tokenizer = word_tokenizer(["a red square green blue small large"])
    tokenizer.add_special_tokens({"mask_token": "[MASK]"})
    options = {
        "itm_weight": 0,
        "alpha_ramp": 0.5,
        "momentum": 0.9,
        "regularizers": regularizers or {},
        **(model or {}),
    }
    dtype = torch.float64 if double else torch.float32
    masked = build_view("masked", mask_probability=0.4).for_tokenizer(tokenizer)
    return LatentTrainer(
        model=small_albef(vocab_size=len(tokenizer), dtype=dtype, **options),
        args=_arguments(folder, **arguments),
        views=Views({"image": build_view("image", size=16), "text": masked}, seed=0),
        train_dataset=RandomCaptions(),
        processing_class=LatentALBEFProcessor.for_size(16, tokenizer),
    )


HEADS = {
    "answers": LatentALBEFForQuestionAnswering,
    "annotated": LatentALBEFForQuestionAnswering,
    "classes": LatentALBEFForImageTextClassification,
    "statements": LatentALBEFForNaturalLanguageVisualReasoning,
}
ANSWERS = ["red", "blue or green", "small red square"]  # of two to four tokens: a mean of means would be another one


class LabelledCaptions(RandomCaptions):
    """The same rows, each with an answer in words or with a class; statements are about both mosaics of a pair."""

    def __init__(self, rows=52, head="answers", labelled=True):
        super().__init__(rows)
        self.head, self.labelled = head, labelled

    def __getitem__(self, i):
        row = super().__getitem__(i)
        if self.head == "statements":
            row["image"] = list(self.images[i])
        said = {
            "answers": ANSWERS[i % 3],
            "annotated": [ANSWERS[(i + n) % 3] for n in (0, 0, 1, 2)[: 1 + i % 4]],  # of one to four annotators
        }
        return row | ({"labels": said.get(self.head, i % 3)} if self.labelled else {})


def build_head_trainer(folder, head="answers", double=False, labelled=True, model=None, benchmarks=None, **arguments):
    """A downstream head of LatentALBEF, with a momentum copy."""
    set_seed(0)
    tokenizer = word_tokenizer(["a red square green blue small large or"])
    options = {"alpha": 0.3, "alpha_ramp": 0.5, "momentum": 0.9, "num_labels": 3, **(model or {})}
    dtype = torch.float64 if double else torch.float32
    return LatentTrainer(
        model=small_albef(vocab_size=len(tokenizer), dtype=dtype, cls=HEADS[head], **options),
        args=_arguments(folder, **arguments),
        views=Views({"image": build_view("image", size=16), "text": build_view("none")}, seed=0),
        train_dataset=LabelledCaptions(head=head, labelled=labelled),
        **_measured_with(
            benchmarks,
            partial(LabelledCaptions, head=head),
            target=Target("answers" if head == "annotated" else head, "word"),
        ),
        processing_class=LatentALBEFProcessor.for_size(16, tokenizer),
    )


def build(folder, clip=False, albef=False, kinds=None, **options):
    if kinds is not None:
        from tests.training.kinds import build_trainer as build_kinds_trainer

        own = options.pop("double")
        return build_kinds_trainer(kinds, rows_and_collator, _arguments(folder, **options), own)
    if "head" in options:
        return build_head_trainer(folder, **options)
    return (build_albef_trainer if albef else build_clip_trainer if clip else build_trainer)(folder, **options)


def curve(trainer):
    """The logged losses, terms and gradient norms, without times."""
    keep = ("loss", "grad_norm", "step")
    return [{k: v for k, v in e.items() if k.startswith(keep)} for e in trainer.state.log_history if "loss" in e]


def without_times(metrics):
    return {name: value for name, value in metrics.items() if not name.endswith(("runtime", "_per_second"))}


def measured(trainer):
    """The metrics of an evaluation, or the kind of error and its text."""
    try:
        return without_times(trainer.evaluate())
    except UserError as error:
        return type(error).__name__, str(error)


def checksum(tensors):
    return sum(tensor.double().abs().sum().item() for tensor in tensors.values())


def of_all_processes(value):
    """A list of the values of each."""
    found = [value] * world_size()
    if world_size() > 1:
        torch.distributed.all_gather_object(found, value)
    return found


class FirstGradient(TrainerCallback):
    """Keeps the gradient of the first optimizer step, all parameters in one vector."""

    vector = None

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        if self.vector is None:
            parameters = model.parameters()
            self.vector = torch.cat([p.grad.flatten().clone() for p in parameters if p.grad is not None])


def run(folder, options):
    """Train, and tell what happened."""
    options = dict(options)
    resume, evaluated = options.pop("resume", None), options.pop("evaluate", {})
    validated = options.pop("validate", 0)
    options |= {"eval_dataset": RandomPairs(validated)} if validated else {}
    # Clipping would scale the gradient; a norm that is never reached only measures it.
    trainer = build(folder, **{"max_grad_norm": 1e9, **options})
    trainer.add_callback(gradient := FirstGradient())
    trainer.train(resume_from_checkpoint=resume)
    result = {"curve": curve(trainer), "gradient": gradient.vector}
    if "benchmarks" in options:
        result["measured"] = of_all_processes(measured(trainer))
        result["evaluations"] = of_all_processes(
            [without_times(entry) for entry in trainer.state.log_history if "eval_loss" in entry]
        )
    if trainer.args.max_steps > 1:
        rows = RandomCaptions(7) if options.get("clip") or options.get("albef") else RandomPairs(7)
        rows = LabelledCaptions(7, options["head"]) if "head" in options else rows
        result["features"] = trainer.features(rows)
    if validated or options.get("load_best_model_at_end"):
        found = {"checkpoint": trainer.state.best_model_checkpoint, "weights": checksum(trainer.model.state_dict())}
        result["best"] = of_all_processes({**found, "greater_is_better": trainer.args.greater_is_better})
    if evaluated:
        rows = RandomCaptions if options.get("clip") or options.get("albef") else RandomPairs
        rows = partial(LabelledCaptions, head=options["head"]) if "head" in options else rows
        result["state"] = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
        result["evaluated"] = {
            name: trainer.evaluate(AsAStream(rows(count)) if name == "stream" else rows(count))
            for name, count in evaluated.items()
        }
        trainer.compute_metrics = lambda found: {"found": found}
        everything = trainer.evaluate(AsAStream(rows(29)))["eval_found"]
        result["found"] = {"predictions": everything.predictions, "label_ids": everything.label_ids}
    if options.get("stream"):
        # What 52 rows are: one pass of all processes together.
        batches = itertools.islice(trainer.get_train_dataloader(), 5)
        own = torch.cat([batch["ids"] for batch in batches])[: 52 // trainer.args.world_size]
        result["ids"] = trainer.accelerator.gather(own)
    return result


def run_all(folder, cases):
    """`{name: options}` -> `{name: result}`, also written to the folder, by the first process; a folder a case."""
    results = {name: run(f"{folder}/{name}", options) for name, options in cases.items()}
    if rank() == 0:
        torch.save(results, f"{folder}/results.pt")
    return results


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    gc.freeze()  # as in tests/conftest.py
    run_all(sys.argv[1], json.loads(sys.argv[2]))
    shut_down()
