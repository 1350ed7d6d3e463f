import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hf_latent.metrics import ranks, retrieval
from hf_latent.metrics.retrieval import scored_retrieval

CHUNKS = pytest.mark.parametrize("chunk_size", [1, 3, 12, 1000])


def captioned(images=12, captions=5, dim=8, noise=1.0, seed=0):
    """Images, `captions` noisy texts of each in mixed order, and the image of each text."""
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(images, dim))
    image_of_text = rng.permutation(np.repeat(np.arange(images), captions))
    return image, image[image_of_text] + noise * rng.normal(size=(images * captions, dim)), image_of_text


def plain_recall(queries, query_ids, candidates, candidate_ids, k):
    """By sorting all candidates, wrong ones first among equals."""
    hits = 0
    for query, own in zip(queries, query_ids, strict=True):
        cosines = [q @ query / (np.linalg.norm(q) * np.linalg.norm(query)) for q in candidates]
        order = sorted(range(len(candidates)), key=lambda j: (-round(cosines[j], 9), candidate_ids[j] == own))
        wrong_before = 0
        for j in order:
            if candidate_ids[j] == own:
                break
            wrong_before += 1
        hits += wrong_before < k
    return 100 * hits / len(queries)


@CHUNKS
@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_several_captions_an_image_against_sorting_all(chunk_size, noise):
    images, texts, image_of_text = captioned(noise=noise)
    ids = np.arange(len(images))
    got = retrieval(3 * images, texts, text_ids=image_of_text, chunk_size=chunk_size)
    for k in (1, 5, 10):
        assert got[f"image_to_text_r{k}"] == pytest.approx(plain_recall(images, ids, texts, image_of_text, k))
        assert got[f"text_to_image_r{k}"] == pytest.approx(plain_recall(texts, image_of_text, images, ids, k))
    assert list(got) == [
        f"{way}_{score}" for way in ("image_to_text", "text_to_image") for score in ("r1", "r5", "r10", "median_rank")
    ]
    assert all(type(value) is float for value in got.values())
    if noise == 2.0:
        assert 0 < got["text_to_image_r1"] < got["text_to_image_r5"] < 100


@CHUNKS
def test_equal_ids_on_both_sides_against_sorting_all(chunk_size):
    images, texts, _ = captioned(captions=3, noise=1.5)
    rng = np.random.default_rng(1)
    image_ids, text_ids = (np.concatenate([np.arange(5), rng.integers(0, 5, len(x) - 5)]) for x in (images, texts))
    got = retrieval(images, texts, 10 * image_ids - 7, 10 * text_ids - 7, k=(1, 2), chunk_size=chunk_size)
    for k in (1, 2):
        assert got[f"image_to_text_r{k}"] == pytest.approx(plain_recall(images, image_ids, texts, text_ids, k))
        assert got[f"text_to_image_r{k}"] == pytest.approx(plain_recall(texts, text_ids, images, image_ids, k))


def test_perfect_and_reversed():
    eye = np.eye(6)
    got = retrieval(eye, eye)
    assert got == {
        f"{way}_{score}": value
        for way in ("image_to_text", "text_to_image")
        for score, value in (("r1", 100.0), ("r5", 100.0), ("median_rank", 1.0))
    }
    worst = retrieval(eye, -eye)
    assert worst["image_to_text_r1"] == worst["image_to_text_r5"] == 0 and worst["text_to_image_median_rank"] == 6


def test_by_hand():
    images, texts = np.array([[1.0, 0], [0, 1]]), np.array([[1.0, 0.1], [0.9, 1], [1, 0.9]])
    got = retrieval(images, texts, text_ids=[0, 0, 1], k=(1, 2))
    # texts 0 and 1 are of image 0; text 1 leans to image 1, text 2 to image 0
    assert got["image_to_text_r1"] == 50 and got["text_to_image_r1"] == pytest.approx(100 / 3)
    assert got["image_to_text_median_rank"] == 1.5 and got["text_to_image_median_rank"] == 2
    np.testing.assert_array_equal(ranks(images, [0, 1], texts, [0, 0, 1]), [1, 2])


@pytest.mark.parametrize("rows", [2, 101])
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_constant_embeddings_score_nothing(rows, scale):
    same = scale * np.tile(np.random.default_rng(3).normal(size=77), (rows, 1))
    got = retrieval(same, same, k=(1,))
    assert got["image_to_text_r1"] == got["text_to_image_r1"] == 0
    assert got["image_to_text_median_rank"] == rows
    rounded = same * (1 + 1e-15 * np.random.default_rng(4).normal(size=same.shape))
    np.testing.assert_array_equal(ranks(rounded, range(rows), rounded, range(rows)), rows)
    images, texts, image_of_text = captioned()
    assert retrieval(np.ones_like(images), texts, text_ids=image_of_text)["text_to_image_r10"] == 0


def test_a_repeated_caption_is_wrong_with_its_own_id_and_right_with_the_same():
    images, texts = np.eye(4)[[0, 0, 1, 2]], np.eye(4)[[0, 0, 1, 2]]
    assert retrieval(images, texts)["image_to_text_r1"] == 50
    assert retrieval(images, texts, [0, 0, 1, 2], [0, 0, 1, 2])["image_to_text_r1"] == 100


def test_a_common_rotation_and_the_order_of_rows_change_nothing():
    images, texts, image_of_text = captioned()
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]
    got = retrieval(images, texts, text_ids=image_of_text)
    order = np.random.default_rng(2).permutation(len(texts))
    assert retrieval(images @ turn, texts @ turn, text_ids=image_of_text) == got
    assert retrieval(images, texts[order], text_ids=image_of_text[order]) == got


def test_cutoffs_that_every_candidate_passes_are_left_out():
    assert list(retrieval(np.eye(5), np.eye(5), k=(4, 5))) == [
        *("image_to_text_r4", "image_to_text_median_rank"),
        *("text_to_image_r4", "text_to_image_median_rank"),
    ]
    images, texts, image_of_text = captioned(images=4, captions=3)
    got = retrieval(images, texts, text_ids=image_of_text, k=(1, 5, 100), names=("photo", "caption"))
    assert list(got) == [
        "photo_to_caption_r1",
        "photo_to_caption_r5",
        "photo_to_caption_median_rank",
        "caption_to_photo_r1",
        "caption_to_photo_median_rank",
    ]


def test_tensors_are_taken():
    images, texts, image_of_text = captioned()
    tensors = (torch.tensor(x, dtype=torch.float32, requires_grad=True) for x in (images, texts))
    got = retrieval(*tensors, text_ids=torch.tensor(image_of_text))
    assert got == retrieval(images.astype(np.float32), texts.astype(np.float32), text_ids=image_of_text.tolist())


IMAGES, TEXTS, OF = captioned(images=4, captions=2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: retrieval(IMAGES * np.nan, TEXTS, text_ids=OF), "image embeddings are NaN or infinite in 4 row"),
        (lambda: retrieval(IMAGES, TEXTS * np.inf, text_ids=OF), "text embeddings are NaN or infinite in 8 row"),
        (lambda: retrieval(IMAGES, TEXTS), "4 image and 8 text embeddings and no text ids"),
        (lambda: retrieval(IMAGES, IMAGES, [0, 1, 2, 3]), "no text ids"),
        (lambda: retrieval(IMAGES, TEXTS[:, :3], text_ids=OF), "image embeddings are 8 wide, the text embeddings 3"),
        (lambda: retrieval(IMAGES, TEXTS, text_ids=OF + 1), r"1 image row\(s\) have no text.*first row 0 \(id 0\)"),
        (lambda: retrieval(IMAGES, TEXTS, text_ids=[0, 1, 2, 3, 9, 0, 0, 9]), r"2 text row.*first row 4 \(id 9\)"),
        (lambda: retrieval(IMAGES, TEXTS, text_ids=OF[:3]), r"text ids must be \(8,\).*got \(3,\)"),
        (lambda: retrieval(IMAGES, TEXTS, text_ids=OF / 1), "text ids must be integers; got float64"),
        (lambda: retrieval(IMAGES, TEXTS, text_ids=OF, k=(1, 0)), "k=0: each k must be 1 or more"),
        (lambda: retrieval(IMAGES, TEXTS, text_ids=OF, chunk_size=0), "chunk_size=0"),
        (lambda: retrieval(IMAGES, TEXTS, text_ids=OF, names=("image", "image")), "both called 'image'"),
        (lambda: retrieval(IMAGES[:0], TEXTS[:0]), "0 rows of image embeddings"),
    ],
)
def test_errors_in_plain_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_scores_of_any_kind_rank_as_cosines_do():
    draw = torch.Generator().manual_seed(0)
    images, texts = torch.randn(30, 8, generator=draw), torch.randn(12, 8, generator=draw)
    image_ids, text_ids = torch.arange(30) % 10, torch.arange(12) % 10
    scores = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    found = scored_retrieval(3 * scores - 7, 3 * scores.T - 7, image_ids, text_ids)
    assert found == retrieval(images, texts, image_ids, text_ids)
    with pytest.raises(ValueError, match="hold NaN"):
        scored_retrieval(scores * float("nan"), scores.T, image_ids, text_ids)
    with pytest.raises(ValueError, match=r"3 image row\(s\) have no text with their id, first row 3"):
        scored_retrieval(scores, scores.T, image_ids, torch.where(torch.arange(12) == 3, 99, text_ids))
