"""What is measured of an image and a text tower, on embeddings whose numbers are known by hand."""

from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from hf_latent import LatentALBEFForImageTextRetrieval, LatentALBEFProcessor
from hf_latent.data.hub_data import HubData
from hf_latent.data.loaded import CaptionBenchmark
from hf_latent.data.tokenizers import word_tokenizer
from hf_latent.errors import UserError
from hf_latent.evaluation import captions
from hf_latent.evaluation.captions import CaptionsEvaluation, reranked_retrieval
from hf_latent.models.embeddings import Embeddings
from tests.models.small import small_albef

E = np.eye(8)
# Image 1 lies at a caption of image 0; both are "a dog".
CAPTIONS = [["a dog", "x"], ["a dog"], ["y"], ["A  dog"]]
IMAGES = np.stack([0.8 * E[0] + 0.6 * E[1], E[1], E[2], E[0]])
COLORS = ["red", "lime", "blue", "white"]
TEXTS = {"a dog": E[0], "x": E[1], "y": E[2]}


class Trainer:
    """Gives the rows of each data set the embeddings that were planted for them."""

    processing_class = SimpleNamespace(stack=lambda name, sentences: {"input_ids": torch.tensor(sentences)})
    accelerator = SimpleNamespace(unwrap_model=lambda model: model)

    def __init__(self, *planted, temperature=0.05):
        self.planted = planted
        self.model = SimpleNamespace(
            scale=torch.tensor(1 / temperature),
            eval=lambda: None,
            device="cpu",
            config=SimpleNamespace(projection_dim=8),
            get_text_features=lambda input_ids: torch.eye(8)[input_ids],
        )

    def embed(self, dataset):
        (embeddings,) = (embeddings for rows, embeddings in self.planted if rows is dataset)
        return embeddings


def measured(benchmark, *planted, protocol="standard"):
    evaluation = CaptionsEvaluation(benchmark, protocol)
    evaluation.embed(Trainer(*planted))
    return evaluation.metrics()


def tensors(**vectors):
    return {name: torch.tensor(np.asarray(rows), dtype=torch.float32) for name, rows in vectors.items()}


def stored(folder, ids, listed):
    """The four images, with lists of captions, or as a row of the data set for each caption."""
    rows = [(number, text) for number, texts in enumerate(CAPTIONS) for text in texts]
    table = {"photo": [number for number, _ in rows], "words": [text for _, text in rows]}
    if listed:
        table = {"photo": list(range(len(CAPTIONS))), "words": CAPTIONS}
    table["photo"] = [Image.new("RGB", (8, 8), COLORS[number]) for number in table["photo"]]
    table["same"] = ids or [None] * len(table["photo"])
    dataset = datasets.Dataset.from_dict(table)
    datasets.DatasetDict(train=dataset, test=dataset).save_to_disk(folder)
    columns = {"image": "photo", "text": "words"}
    return HubData(str(folder), columns, ids="same" if ids else None, test_split="test").load().captions


def recalls(benchmark, image_rows):
    texts = [TEXTS[" ".join(text.lower().split())] for text in benchmark.test.sentences("words")]
    embeddings = Embeddings(embeds=tensors(image=IMAGES[image_rows], text=texts))
    found = measured(benchmark, (benchmark.test, embeddings))
    ways = ("image_to_text_r1", "image_to_text_median_rank", "text_to_image_r1", "text_to_image_median_rank")
    return [found[way] for way in ways]


def test_equal_captions_are_one_caption_without_ids(tmp_path):
    """Image 1 takes "x", which is wrong for it and ties with nothing else: "a dog" and "y" are both at 0."""
    benchmark = stored(tmp_path, None, listed=True)
    assert len(benchmark.texts) == 3 and len(benchmark.images) == 4
    assert {tuple(pair) for pair in benchmark.pairs} == {(0, 0), (1, 0), (3, 0), (0, 1), (2, 2)}
    assert recalls(benchmark, [0, 0, 1, 2, 3]) == pytest.approx([75, 1, 200 / 3, 1])


def test_equal_captions_are_one_caption_with_ids(tmp_path):
    """Images 0 and 2 are of one id: the captions of each are right for both, and for nothing else."""
    benchmark = stored(tmp_path, ["g", None, "g", None], listed=True)
    right = {(0, 0), (1, 0), (3, 0), (2, 0), (0, 1), (2, 1), (0, 2), (2, 2)}
    assert {tuple(pair) for pair in benchmark.pairs} == right
    # Of "x", image 1 is wrong and nearest; image 0 is right and next.
    assert recalls(benchmark, [0, 0, 1, 2, 3]) == pytest.approx([75, 1, 200 / 3, 1])


def test_a_data_set_with_a_row_a_caption_counts_its_captions_once(tmp_path):
    """Each row is an image of its own without ids: the copy of image 0 under "x" has "x" alone."""
    benchmark = stored(tmp_path, None, listed=False)
    assert {tuple(pair) for pair in benchmark.pairs} == {(0, 0), (1, 1), (2, 0), (3, 2), (4, 0)}
    assert recalls(benchmark, [0, 0, 1, 2, 3]) == pytest.approx([60, 1, 200 / 3, 1])
    benchmark = stored(tmp_path / "ids", ["0", "0", "1", "2", "3"], listed=False)
    assert recalls(benchmark, [0, 0, 1, 2, 3]) == pytest.approx([80, 1, 200 / 3, 1])


def test_reranking_counts_as_retrieval_does(tmp_path, monkeypatch):
    """Whole numbers for scores: matching prefers the captions of image 0 for all."""
    benchmark = stored(tmp_path, None, listed=True)
    tokenizer = word_tokenizer(TEXTS)
    model = small_albef(cls=LatentALBEFForImageTextRetrieval, vocab_size=len(tokenizer), dtype=torch.float32)
    processor = LatentALBEFProcessor.for_size(16, tokenizer)
    asked = []

    def rerank(similarity, image_tokens, text_tokens, mask, k, by_text):
        asked.append((similarity.shape, len(image_tokens), len(text_tokens), k, by_text))
        scores = torch.tensor([[3.0, 2, 1], [2, 3, 1], [1, 2, 3], [3, 3, 1]])  # a tie counts against the right one
        return scores.T if by_text else scores

    monkeypatch.setattr(model, "rerank", rerank)
    texts = np.stack([TEXTS[text] for text in TEXTS])
    embeds = tensors(image=IMAGES, text=texts)
    found = reranked_retrieval(model, processor, benchmark, embeds["image"], embeds["text"], 2)
    assert asked == [((4, 3), 4, 3, 2, False), ((4, 3), 4, 3, 2, True)]
    assert found["reranked_image_to_text_r1"] == 50  # images 0 and 2
    assert found["reranked_text_to_image_r1"] == pytest.approx(200 / 3)  # "a dog" and "y"; "x" is third
    assert found["reranked_text_to_image_median_rank"] == 1 and found["reranked_image_to_text_median_rank"] == 1.5


def test_matching_reads_the_rows_of_the_candidates(tmp_path, monkeypatch):
    """Within a query, all candidates differ by what the model says of each pair, computed one by one."""
    benchmark = stored(tmp_path, None, listed=True)
    tokenizer = word_tokenizer(TEXTS)
    model = small_albef(cls=LatentALBEFForImageTextRetrieval, vocab_size=len(tokenizer), dtype=torch.float32).eval()
    processor = LatentALBEFProcessor.for_size(16, tokenizer)
    embeds = tensors(image=IMAGES, text=np.stack([TEXTS[text] for text in TEXTS]))
    scores = []
    monkeypatch.setattr(captions, "scored_retrieval", lambda *found, pairs: scores.extend(found) or {})
    reranked_retrieval(model, processor, benchmark, embeds["image"], embeds["text"], 99)
    odds = torch.zeros(4, 3)
    for image, row in enumerate((0, 2, 3, 4)):
        for text, words in enumerate(TEXTS):
            batch = processor(images=[benchmark.test[row]["photo"]], text=[words])
            with torch.no_grad():
                pixels = model.encoders["image"](pixel_values=batch.pop("pixel_values"))
                tokens = model.encoders["text"](**batch).tokens
                logits = model.match(model.fusion.image_tokens(pixels), tokens, batch["attention_mask"])[0]
            odds[image, text] = logits[1] - logits[0]
    assert odds.std(dim=0).min() > 1e-3 and odds.std(dim=1).min() > 1e-3
    for found, expected in zip(scores, (odds, odds.T), strict=True):
        torch.testing.assert_close(found - found[:, :1], expected - expected[:, :1], atol=1e-5, rtol=1e-4)


def factors(count, flipped=0):
    """Shape and texture of rows, in every combination; the first of `flipped` rows show another texture."""
    shape, texture = np.arange(count) % 2, (np.arange(count) // 2 % 5 > 2).astype(int)  # 3 of 5 have texture 0
    shown = np.where(np.arange(count) < flipped, 1 - texture, texture)
    return shape, texture, shown


def planted(shape, shown):
    """The image tells the shape by its direction, and the texture by its length; the independent one tells the
    texture by its direction."""
    length = np.where(shown, 4.0, 1.0)[:, None]
    return Embeddings(
        embeds=tensors(image=length * E[shape], text=E[shape]), independent=tensors(image=3 * E[6 + shown])
    )


@pytest.fixture
def probed():
    train_shape, train_texture, train_shown = factors(80)
    shape, texture, shown = factors(20, flipped=2)
    train, test = ["rows of training"] * 80, ["rows of the test"] * 20
    benchmark = CaptionBenchmark(
        test=test,
        test_ids=np.arange(20),
        captions=np.arange(20),
        images=np.arange(20),
        train=train,
        train_labels={"shape": train_shape, "texture": train_texture},
        test_labels={"shape": np.where(np.arange(20) < 1, 1 - shape, shape), "texture": texture},
        class_names={"shape": ["a", "b"], "texture": ["c", "d"]},
        private=("texture",),
    )
    return benchmark, (train, planted(train_shape, train_shown)), (test, planted(shape, shown))


def test_probes_read_the_image_alone_and_with_its_independent_half(probed):
    """One of 20 shapes is told wrongly, two textures are; the image alone tells none: 12 of 20 are the commonest."""
    found = measured(*probed)
    probes = {key: value for key, value in found.items() if key.startswith("probe_")}
    assert probes == pytest.approx({"probe_shape": 95, "probe_texture": 60, "probe_texture_full": 90})
    assert found["separation"] == 0 and found["temperature"] == pytest.approx(0.05)


def test_the_protocol_that_reads_features_as_they_are_sees_their_length(probed):
    found = measured(*probed, protocol="cyclip")
    assert found["probe_texture"] > 60


def test_without_independent_embeddings_no_probe_has_them(probed):
    benchmark, *rows = probed
    rows = [(dataset, Embeddings(embeds=embeddings.embeds)) for dataset, embeddings in rows]
    found = measured(benchmark, *rows)
    assert "probe_texture_full" not in found and "separation" not in found


def test_separation_is_the_mean_absolute_cosine(probed):
    benchmark, train, (test, embeddings) = probed
    turned = embeddings.embeds["image"].clone()
    turned[:10] *= -2  # cosine -1; the others are orthogonal
    independent = torch.where(torch.arange(20)[:, None] < 10, turned, embeddings.independent["image"])
    found = measured(
        benchmark, train, (test, Embeddings(embeds=embeddings.embeds, independent={"image": independent}))
    )
    assert found["separation"] == pytest.approx(0.5)


def test_zero_shot_takes_the_nearest_class_sentence():
    """The sentence of class c is embedded at the axis c + 1. Three of four images are nearest to theirs."""
    rows = ["rows"] * 4
    benchmark = CaptionBenchmark(
        test=rows,
        test_ids=np.arange(4),
        captions=np.arange(4),
        images=np.arange(4),
        classes=[1, 2, 3],
        test_classes=np.array([0, 1, 2, 0]),
    )
    images = [E[1], E[2], E[3], 0.9 * E[2] + 0.1 * E[1]]
    found = measured(benchmark, (rows, Embeddings(embeds=tensors(image=images, text=E[:4]))))
    assert found["zero_shot_top1"] == 75 and found["zero_shot_top3"] == 100


def test_a_test_split_that_is_too_small_is_said_before_training():
    rows = ["rows"] * 3
    benchmark = CaptionBenchmark(test=rows, test_ids=np.arange(3), captions=np.arange(3), images=np.arange(3))
    with pytest.raises(UserError, match="the test split holds 3 images: 4 or more can be measured"):
        CaptionsEvaluation(benchmark, "standard")


def test_geometry_takes_every_image_once(tmp_path):
    """The five rows are of four images: the copy of image 0 counts once, with its first caption."""
    benchmark = stored(tmp_path, None, listed=True)
    images, texts = IMAGES[[0, 0, 1, 2, 3]], np.stack([E[0], E[1], E[0], E[2], E[0]])
    found = measured(benchmark, (benchmark.test, Embeddings(embeds=tensors(image=images, text=texts))))
    assert found["paired_cosine"] == pytest.approx((0.8 + 0 + 1 + 1) / 4, abs=1e-6)
