"""Retrieval, on embeddings whose numbers are known by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from hf_latent import LatentALBEFForImageTextRetrieval, LatentALBEFProcessor
from hf_latent.data.loaded import Split
from hf_latent.data.tokenizers import word_tokenizer
from hf_latent.errors import UserError
from hf_latent.evaluation import Retrieval
from hf_latent.evaluation.abilities import rerank
from tests.evaluation.planted import E, Planted, chances, data_of, embeddings, split, tensors, values
from tests.models.small import small_albef

# Image 0 has the captions "a dog" and "x"; images 1 and 3 are "a dog", too, and image 2 is "y". Image 1 lies at "x".
IMAGES = np.stack([0.8 * E[0] + 0.6 * E[1], E[1], E[2], E[0]])[[0, 0, 1, 2, 3]]
IMAGE_OF, TEXT_OF = [0, 0, 1, 2, 3], [0, 1, 0, 2, 0]
WORDS = ["a dog", "x", "y"]
WAYS = ("image_to_text_r1", "image_to_text_median_rank", "text_to_image_r1", "text_to_image_median_rank")


def found(test, *modalities, scores=None, vectors=None, **options):
    vectors = vectors or embeddings(image=IMAGES, text=E[TEXT_OF])
    encode, data = Planted((test, vectors), scores=scores), data_of(test, *modalities)
    benchmark = Retrieval(**options)
    benchmark.check(data)
    return benchmark.run(encode, data)


def of_ways(measurements):
    return [values(measurements)[way] for way in WAYS]


def test_equal_captions_are_one_caption_without_ids():
    """Image 1 takes "x", which is wrong for it; "x" takes image 1."""
    test = split(IMAGE_OF, image=IMAGE_OF, text=TEXT_OF)
    assert {tuple(pair) for pair in test.pairs("image", "text")} == {(0, 0), (1, 0), (3, 0), (0, 1), (2, 2)}
    measured = found(test)
    assert of_ways(measured) == pytest.approx([75, 1, 200 / 3, 1])
    assert {m.key: m.rows for m in measured} == dict(zip(WAYS, (4, 4, 3, 3), strict=True))


def test_chance_counts_all_right_candidates():
    """Of three captions two are right for image 0 and one for each other; of four images three are for "a dog"."""
    measured = found(split(IMAGE_OF, image=IMAGE_OF, text=TEXT_OF), k=[1, 2])
    expected = {
        "image_to_text_r1": 100 * (2 / 3 + 3 * 1 / 3) / 4,
        "image_to_text_r2": 100 * (1 + 3 * 2 / 3) / 4,
        "image_to_text_median_rank": 2,
        "text_to_image_r1": 100 * (3 / 4 + 2 * 1 / 4) / 3,
        "text_to_image_r2": 100 * (1 + 2 * 1 / 2) / 3,
        "text_to_image_median_rank": 2,
    }
    assert chances(measured) == pytest.approx(expected)


def test_equal_captions_are_one_caption_with_ids():
    """Images 0 and 2 are of one id: the captions of each are right for both, and for nothing else."""
    test = split([0, 0, 1, 0, 3], image=IMAGE_OF, text=TEXT_OF)
    right = {(0, 0), (1, 0), (3, 0), (2, 0), (0, 1), (2, 1), (0, 2), (2, 2)}
    assert {tuple(pair) for pair in test.pairs("image", "text")} == right
    measured = found(test)
    assert of_ways(measured) == pytest.approx([75, 1, 200 / 3, 1])  # of "x", the right image 0 is second
    assert chances(measured)["image_to_text_r1"] == pytest.approx(100 * (1 + 1 / 3 + 1 + 1 / 3) / 4)


def test_a_row_for_each_caption_counts_equal_captions_once():
    """Without ids the copy of image 0 under "x" has "x" alone; with them it has "a dog", too."""
    assert of_ways(found(split(5, text=TEXT_OF))) == pytest.approx([60, 1, 200 / 3, 1])
    assert of_ways(found(split(IMAGE_OF, text=TEXT_OF))) == pytest.approx([80, 1, 200 / 3, 1])


def test_the_median_rank_is_of_the_nearest_right_one():
    """Cosines .9, .7, .5, .3 of every image with captions 0 to 3: the right one is at rank 1, 2, 3, 4."""
    cosines = np.array([0.9, 0.7, 0.5, 0.3])
    texts = np.zeros((4, 8))
    texts[:, 0], texts[np.arange(4), np.arange(1, 5)] = cosines, np.sqrt(1 - cosines**2)
    measured = values(found(split(4), vectors=embeddings(image=E[[0, 0, 0, 0]], text=texts), k=[1, 2, 3]))
    assert [measured[f"image_to_text_r{k}"] for k in (1, 2, 3)] == [25, 50, 75]
    assert measured["image_to_text_median_rank"] == 2.5
    assert measured["text_to_image_r1"] == 0  # all images tie, which counts against the right one


def test_lengths_of_vectors_do_not_matter():
    """Image 1, which "x" takes wrongly, is short."""
    lengths = np.array([1, 1, 0.1, 9, 2])[:, None]
    vectors = embeddings(image=lengths * IMAGES, text=lengths * E[TEXT_OF])
    test = split(IMAGE_OF, image=IMAGE_OF, text=TEXT_OF)
    assert values(found(test, vectors=vectors)) == pytest.approx(values(found(test)))


def test_three_modalities_meet_in_pairs():
    """Texts 2 and 3 are swapped."""
    vectors = embeddings(image=E[:4], text=E[[0, 1, 3, 2]], audio=E[:4])
    measured = found(split(4), "image", "text", "audio", vectors=vectors, k=[1])
    recalls = {key.removesuffix("_r1"): value for key, value in values(measured).items() if key.endswith("_r1")}
    expected = {"image_to_text": 50, "image_to_audio": 100, "text_to_audio": 50}
    assert recalls == expected | {"_to_".join(key.split("_to_")[::-1]): value for key, value in expected.items()}
    assert {m.short for m in measured if m.short} == {"i2t_r1", "t2i_r1"}


def test_pairs_are_chosen_and_fused_is_one_of_them():
    """Three of four lie at what belongs to another, and are orthogonal to their own and to the rest: the last."""
    vectors = embeddings(image=E[[1, 0, 2, 3]], text=E[:4], fused=E[[1, 2, 0, 3]])
    measured = found(split(4), vectors=vectors, k=[1], between=[["fused", "text"]])
    assert values(measured) == {
        "fused_to_text_r1": 25,
        "fused_to_text_median_rank": 4,
        "text_to_fused_r1": 25,
        "text_to_fused_median_rank": 4,
    }
    assert of_ways(found(split(4), vectors=vectors, between=[["text", "image"]]))[::2] == [50, 50]


def test_a_cutoff_of_all_candidates_is_left_out():
    measured = found(split(IMAGE_OF, image=IMAGE_OF, text=TEXT_OF), k=[1, 3, 4])
    assert {key for key in values(measured) if "_r" in key.replace("_rank", "")} == {
        "image_to_text_r1",  # of three captions
        "text_to_image_r1",  # of four images
        "text_to_image_r3",
    }


def test_matching_orders_the_nearest_anew():
    """Whole numbers for scores: matching prefers the captions of image 0 for all."""
    scores = [[3.0, 2, 1], [2, 3, 1], [1, 2, 3], [3, 3, 1]]  # a tie counts against the right one
    test = split(IMAGE_OF, image=IMAGE_OF, text=TEXT_OF)
    measured = found(test, scores=scores, rerank=2)
    again = values(measured)
    assert again["reranked_image_to_text_r1"] == 50  # images 0 and 2
    assert again["reranked_text_to_image_r1"] == pytest.approx(200 / 3)  # "a dog" and "y"; "x" is third
    assert again["reranked_text_to_image_median_rank"] == 1 and again["reranked_image_to_text_median_rank"] == 1.5
    assert of_ways(measured) == pytest.approx([75, 1, 200 / 3, 1])  # beside the cosines
    assert chances(measured)["reranked_image_to_text_r1"] == chances(measured)["image_to_text_r1"]
    assert not any(key.startswith("reranked") for key in values(found(test, scores=scores, rerank=0)))


@pytest.fixture
def albef():
    tokenizer = word_tokenizer(WORDS)
    model = small_albef(cls=LatentALBEFForImageTextRetrieval, vocab_size=len(tokenizer), dtype=torch.float32).eval()
    colors = ["red", "lime", "blue", "white"]
    rows = [
        {"photo": Image.new("RGB", (8, 8), colors[image]), "words": WORDS[text]}
        for image, text in zip(IMAGE_OF, TEXT_OF, strict=True)
    ]
    items = {"image": np.array(IMAGE_OF), "text": np.array(TEXT_OF)}
    test = Split(rows, np.array(IMAGE_OF), items=items)
    columns = {"image": "photo", "text": "words"}
    return model, LatentALBEFProcessor.for_size(16, tokenizer), test, columns, tensors(image=IMAGES, text=E[TEXT_OF])


def test_matching_is_asked_about_distinct_images_and_texts(albef, monkeypatch):
    asked = []

    def scores(similarity, image_tokens, text_tokens, mask, k, by_text):
        asked.append((similarity, len(image_tokens), len(text_tokens), k, by_text))
        return similarity.T if by_text else similarity

    monkeypatch.setattr(albef[0], "rerank", scores)
    by_image, by_text = rerank(*albef, candidates=2)
    assert [rest for _, *rest in asked] == [[4, 3, 2, False], [4, 3, 2, True]]
    expected = torch.tensor(IMAGES[[0, 2, 3, 4]] @ E[:3].T, dtype=torch.float32)
    torch.testing.assert_close(by_image, expected)
    torch.testing.assert_close(by_text, expected.T)


def test_matching_reads_the_rows_of_the_candidates(albef):
    """Within a query, all candidates differ by what the model says of each pair, computed one by one."""
    model, processor, test, *_ = albef
    scores = rerank(*albef, candidates=99, batch_size=2)
    odds = torch.zeros(4, 3)
    for image, row in enumerate((0, 2, 3, 4)):
        for text, words in enumerate(WORDS):
            batch = processor(images=[test.rows[row]["photo"]], text=[words])
            with torch.no_grad():
                pixels = model.encoders["image"](pixel_values=batch.pop("pixel_values"))
                tokens = model.encoders["text"](**batch).tokens
                logits = model.match(model.fusion.image_tokens(pixels), tokens, batch["attention_mask"])[0]
            odds[image, text] = logits[1] - logits[0]
    assert odds.std(dim=0).min() > 1e-3 and odds.std(dim=1).min() > 1e-3
    for given, expected in zip(scores, (odds, odds.T), strict=True):
        torch.testing.assert_close(given - given[:, :1], expected - expected[:, :1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k": [0]}, r"k=\[0\], rerank=16: write cut-offs of 1 or more"),
        ({"k": []}, r"k=\[\], rerank=16: write cut-offs of 1 or more"),
        ({"rerank": -1}, "rerank=-1: write cut-offs of 1 or more, and 0 or more"),
        ({"between": [["image", "images"]]}, "between: no modality 'images': did you mean 'image'"),
        ({"between": [["image", "image"]]}, "write pairs of two modalities, such as"),
        ({"between": [["image", "text", "text"]]}, "write pairs of two modalities, such as"),
        ({"between": [["image"]]}, "write pairs of two modalities, such as"),
        ({"between": []}, "write pairs of two modalities, such as"),
    ],
)
def test_options_that_say_nothing_are_refused(options, said):
    with pytest.raises(UserError, match=said):
        found(split(4), **options)


def test_one_modality_has_nothing_to_look_for():
    with pytest.raises(UserError, match="retrieval is between two modalities: there is image"):
        found(split(4), "image")


def test_pairs_that_no_row_has_are_left_out():
    three = embeddings(image=E[[0, 1]], text=E[[0, 1]], sound=E[[0, 1]])
    test = replace(split(2), present={"text": np.array([True, False]), "sound": np.array([False, True])})
    measured = values(found(test, "image", "text", "sound", vectors=three))
    assert measured["image_to_text_median_rank"] == 1 and "text_to_sound_median_rank" not in measured
    assert "image_to_sound_median_rank" in measured
    with pytest.raises(UserError, match="no row to measure has text and sound: leave them out"):
        found(test, "image", "text", "sound", vectors=three, between=[["text", "sound"]])
    with pytest.raises(UserError, match="no row to measure has text and sound"):
        found(test, "text", "sound", vectors=three)
