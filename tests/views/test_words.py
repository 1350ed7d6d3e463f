"""WordsView against a plain word-by-word reference, and its promises to a batch."""

import random
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import BertTokenizer

from hf_latent.views import Views, WordsView, build_view

PAD, CLS, SEP = 0, 1, 2
SIDES = ("right", "left")
some = settings(max_examples=40, deadline=None)


@dataclass
class Sentence:
    """Special tokens, words of one or more tokens, special tokens."""

    first: list[int]
    words: list[list[int]]
    last: list[int]

    def __len__(self) -> int:
        return len(self.tokens())

    def tokens(self) -> list[int]:
        return self.first + [token for word in self.words for token in word] + self.last

    def names(self) -> list[int]:
        inner = [index for index, word in enumerate(self.words) for _ in word]
        return [-1] * len(self.first) + inner + [-1] * len(self.last)


def sentences(rows: int, seed: int, most_words: int = 8, most_tokens: int = 3, fewest: int = 1) -> list[Sentence]:
    rng = random.Random(seed)

    def word() -> list[int]:
        return [rng.randrange(5, 2 * 10**9) for _ in range(rng.randint(1, most_tokens))]

    return [
        Sentence(
            [CLS] * rng.randint(0, 1),
            [word() for _ in range(rng.randint(fewest, most_words))],
            [SEP] * rng.randint(0, 2),
        )
        for _ in range(rows)
    ]


def padded(rows: list[list[int]], filler: int, width: int, side: str) -> Tensor:
    fill = [[filler] * (width - len(row)) for row in rows]
    pairs = zip(rows, fill, strict=True)
    return torch.tensor([row + more if side == "right" else more + row for row, more in pairs])


def collated(rows: list[Sentence], side: str = "right", wider: int = 0) -> dict[str, Tensor]:
    width = max(map(len, rows)) + wider
    return {
        "input_ids": padded([row.tokens() for row in rows], PAD, width, side),
        "attention_mask": padded([[1] * len(row) for row in rows], 0, width, side),
        "word_ids": padded([row.names() for row in rows], -1, width, side),
    }


def reference(view: WordsView, sentence: Sentence, numbers: dict[str, list[float]]) -> list[int]:
    words, n = sentence.words, len(sentence.words)
    line = sorted((j for j in range(n) if numbers["swap"][j] < view.swap), key=numbers["partner"].__getitem__)
    traders = len(line)
    line += sorted((j for j in range(n) if j not in line), key=numbers["partner"].__getitem__)
    order = list(range(n))
    for k in range(min(traders, n // 2)):
        one, other = line[k], line[n - 1 - k]
        order[one], order[other] = other, one

    gone = {j for j in range(n) if numbers["delete"][j] < view.delete}
    if len(gone) == n > 0:
        gone.remove(max(gone, key=numbers["delete"].__getitem__))

    room = sum(len(words[j]) for j in gone)
    said_again: dict[int, list[int]] = {}
    wanted = [j for j in range(n) if j not in gone and numbers["insert"][j] < view.insert]
    for j in sorted(wanted, key=numbers["insert"].__getitem__):
        room -= len(words[j])
        if room < 0:
            break
        gap = min(int(np.float32(numbers["place"][j]) * np.float32(n + 1)), n)
        said_again.setdefault(gap, []).append(j)

    result = []
    for gap in range(n + 1):
        result += [words[j] for j in sorted(said_again.get(gap, []))]
        if gap < n and order[gap] not in gone:
            result.append(words[order[gap]])
    return Sentence(sentence.first, result, sentence.last).tokens()


def draw(view: WordsView, inputs: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    return view.draw(len(inputs["input_ids"]), inputs, torch.Generator().manual_seed(seed))


def real(out: dict[str, Tensor]) -> list[list[int]]:
    return [ids[mask.bool()].tolist() for ids, mask in zip(out["input_ids"], out["attention_mask"], strict=True)]


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


chances = st.sampled_from([0.0, 0.1, 0.3, 0.6, 0.9, 1.0])


@some
@given(
    seed=st.integers(0, 2**31),
    swap=chances,
    delete=chances,
    insert=chances,
    side=st.sampled_from(SIDES),
    most_words=st.integers(1, 9),
    most_tokens=st.integers(1, 4),
)
def test_it_is_the_plain_reference_token_for_token(
    seed: int, swap: float, delete: float, insert: float, side: str, most_words: int, most_tokens: int
) -> None:
    rows = sentences(30, seed, most_words, most_tokens)
    insert = insert if delete else 0.0
    view = WordsView(pad_token_id=PAD, swap=swap, delete=delete, insert=insert, padding_side=side)
    inputs = collated(rows, side, wider=seed % 3)
    noise = draw(view, inputs, seed)
    got = view.augment(inputs, noise)
    drawn = [{name: numbers[row].tolist() for name, numbers in noise.items()} for row in range(30)]
    expected = [reference(view, row, numbers) for row, numbers in zip(rows, drawn, strict=True)]
    assert real(got) == expected
    width = inputs["input_ids"].shape[1]
    assert torch.equal(got["input_ids"], padded(expected, PAD, width, side))
    assert torch.equal(got["attention_mask"], padded([[1] * len(row) for row in expected], 0, width, side))


@some
@given(seed=st.integers(0, 2**31), delete=chances, insert=chances)
def test_ends_stay_a_word_stays_and_no_row_grows(seed: int, delete: float, insert: float) -> None:
    rows = sentences(60, seed)
    view = WordsView(pad_token_id=PAD, swap=0.5, delete=delete, insert=insert if delete else 0.0)
    inputs = collated(rows)
    for row, tokens in zip(rows, real(view.augment(inputs, draw(view, inputs, seed))), strict=True):
        inner = tokens[len(row.first) : len(tokens) - len(row.last)]
        assert tokens[: len(row.first)] == row.first and tokens[len(tokens) - len(row.last) :] == row.last
        assert len(inner) >= 1 and len(tokens) <= len(row)
        while inner:  # whole words of the sentence, and nothing else
            word = next(word for word in row.words if word == inner[: len(word)])
            inner = inner[len(word) :]


@pytest.mark.parametrize("side", SIDES)
def test_probabilities_of_zero_leave_the_plain_view(side: str) -> None:
    view = WordsView(pad_token_id=PAD, swap=0, delete=0, insert=0, padding_side=side)
    inputs = collated([*sentences(50, 0, fewest=0), Sentence([CLS], [], [SEP]), Sentence([], [], [])], side)
    inputs["attention_mask"] = inputs["attention_mask"].int()
    plain = view.plain(inputs)
    assert plain.keys() == {"input_ids", "attention_mask"}
    assert same(plain, {key: inputs[key] for key in plain})
    out = view.augment(inputs, draw(view, inputs))
    assert same(out, plain) and out["attention_mask"].dtype == torch.int32


def test_one_word_always_stays() -> None:
    rows = [Sentence([CLS], [[7, 8]], [SEP])] * 50
    view = WordsView(pad_token_id=PAD, swap=1, delete=1, insert=1)
    assert real(view.augment(collated(rows), draw(view, collated(rows)))) == [[CLS, 7, 8, SEP]] * 50
    two = [Sentence([], [[7], [8]], [])] * 400
    view = WordsView(pad_token_id=PAD, swap=0, delete=1, insert=0)
    stayed = [tokens for tokens in real(view.augment(collated(two), draw(view, collated(two))))]
    assert 150 < stayed.count([7]) < 250 and stayed.count([7]) + stayed.count([8]) == 400


# A row's view is its own


@pytest.mark.parametrize("side", SIDES)
def test_slices_padding_and_neighbours_change_nothing(side: str) -> None:
    rows = sentences(40, 3)
    view = WordsView(pad_token_id=PAD, swap=0.4, delete=0.4, insert=0.4, padding_side=side)
    views = Views({"text": view}, seed=5)
    whole = views.augmented({"text": collated(rows, side)}, view=1, position=80)["text"]
    assert real(whole) != [row.tokens() for row in rows]
    for step in (1, 7, 33):
        for start in range(0, 40, step):
            here = slice(start, min(start + step, 40))
            # padded to the longest of its own rows, as each process and chunk does
            part = {"text": collated(rows[here], side, wider=step % 2)}
            got = views.augmented(part, view=1, position=80, rows=here, global_rows=40)["text"]
            assert real(got) == real(whole)[here]
    wide = views.augmented({"text": collated(rows, side, wider=6)}, view=1, position=80)["text"]
    before = slice(None, -6) if side == "right" else slice(6, None)
    assert same({key: tensor[:, before] for key, tensor in wide.items()}, whole)


def test_inputs_stay_as_they_were_and_other_keys_pass() -> None:
    inputs = collated(sentences(20, 1)) | {"token_type_ids": torch.arange(20)}
    inputs["input_ids"] = inputs["input_ids"].int()
    before = {key: tensor.clone() for key, tensor in inputs.items()}
    view = WordsView(pad_token_id=PAD, swap=0.5, delete=0.5, insert=0.5)
    out = view.augment(inputs, draw(view, inputs))
    assert same(inputs, before)
    assert out.keys() == {"input_ids", "attention_mask", "token_type_ids"}
    assert out["input_ids"].dtype == torch.int32 and torch.equal(out["token_type_ids"], torch.arange(20))


# What a word is


def test_without_word_ids_each_token_that_is_not_special_is_a_word() -> None:
    rows = sentences(50, 2, most_tokens=1)
    inputs = collated(rows)
    told = WordsView(pad_token_id=PAD, swap=0.4, delete=0.4, insert=0.4)
    guessed = replace(told, special_token_ids=(CLS, SEP))
    noise = draw(told, inputs)
    assert same(guessed.augment(told.plain(inputs), noise), told.augment(inputs, noise))


@pytest.mark.parametrize("side", SIDES)
def test_what_word_ids_say_of_padding_does_not_matter(side: str) -> None:
    inputs = collated(sentences(50, 4), side)
    view = WordsView(pad_token_id=PAD, swap=0.4, delete=0.4, insert=0.4, padding_side=side)
    noise = draw(view, inputs)
    zeros = inputs | {"word_ids": inputs["word_ids"] * inputs["attention_mask"]}
    assert same(view.augment(zeros, noise), view.augment(inputs, noise))


def test_the_last_place_is_behind_the_last_word() -> None:
    ids = torch.tensor([[10, 11]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    almost = 1 - 2**-24  # the largest number that rand draws; times 3 it is rounded to 3
    noise = {name: torch.tensor([[0.5, 0.5]]) for name in ("swap", "partner")}
    noise |= {"delete": torch.tensor([[0.0, 0.5]]), "insert": torch.zeros(1, 2), "place": torch.full((1, 2), almost)}
    assert real(WordsView(pad_token_id=PAD).augment(inputs, noise)) == [[11, 11]]


@pytest.mark.parametrize("known", [True, False])
def test_a_special_token_between_words_is_a_word(known: bool) -> None:
    unknown = 3
    ids = torch.tensor([[CLS, 10, unknown, unknown, 11, SEP]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if known:
        inputs["word_ids"] = torch.tensor([[-1, 0, -1, 1, 2, -1]])
    # the last of four words becomes the first, and the first the last
    noise = {name: torch.full((1, 6), 0.5) for name in ("swap", "partner", "delete", "insert", "place")}
    noise["swap"][0, 3], noise["partner"][0, :4] = 0.0, torch.tensor([0.9, 0.2, 0.3, 0.1])
    view = WordsView(pad_token_id=PAD, special_token_ids=(PAD, CLS, SEP, unknown))
    assert real(view.augment(inputs, noise)) == [[CLS, 11, unknown, unknown, 10, SEP]]


def test_the_words_of_a_tokenizer_stay_whole() -> None:
    pieces = ["a", "red", "##dish", "big", "cir", "##cle", "##s", "on", "blue", "table", "##cloth"]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]
    tokenizer = BertTokenizer(vocab={token: index for index, token in enumerate(vocabulary)})
    texts = ["a reddish circle on a big blue tablecloth", "big circles on a zebra", "a circle"] * 30
    tokens = tokenizer(texts, padding=True, return_tensors="pt")
    names = [[-1 if word is None else word for word in tokens.word_ids(row)] for row in range(len(texts))]
    view = WordsView(swap=0.3, delete=0.3, insert=0.3).for_tokenizer(tokenizer)
    inputs = {**tokens, "word_ids": torch.tensor(names)}
    out = view.augment(inputs, draw(view, inputs))
    changed = 0
    for text, ids in zip(texts, real(out), strict=True):
        assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
        said = str(tokenizer.decode(ids[1:-1]))
        assert set(said.split()) <= set(text.replace("zebra", "[UNK]").split())
        changed += said != text.replace("zebra", "[UNK]")
    assert changed > 45


# How often


def test_shares_are_those_asked_for() -> None:
    rows = [Sentence([CLS], [[token] for token in range(100, 140)], [SEP])] * 500
    inputs = collated(rows)

    def words(swap: float = 0, delete: float = 0, insert: float = 0) -> list[list[int]]:
        view = WordsView(pad_token_id=PAD, swap=swap, delete=delete, insert=insert)
        return [tokens[1:-1] for tokens in real(view.augment(inputs, draw(view, inputs)))]

    swapped = np.array(words(swap=0.1))
    assert (np.sort(swapped) == np.arange(100, 140)).all()
    moved = swapped != np.arange(100, 140)
    assert abs(moved.mean() - 0.2) < 0.01  # two words a trade, 0.1 trades a word
    assert abs(moved.mean(0) - 0.2).max() < 0.08  # at any place
    assert (np.array(words(swap=1)) != np.arange(100, 140)).all()
    distance = np.abs(swapped - np.arange(100, 140))[moved]
    assert abs(distance.mean() - 41 / 3) < 0.7  # with a partner anywhere in the sentence

    lost = 1 - np.mean([len(row) for row in words(delete=0.15)]) / 40
    assert abs(lost - 0.15) < 0.01

    twice = words(delete=0.5, insert=0.2)  # room enough
    stayed = np.array([len(set(row)) for row in twice])
    repeated = np.array([len(row) for row in twice]) - stayed
    assert abs(stayed.mean() / 40 - 0.5) < 0.015
    assert abs(repeated.sum() / stayed.sum() - 0.2) < 0.015
    # the insertions stand anywhere: out of order they tell where
    firsts = np.mean([row[0] > min(row) for row in twice])
    lasts = np.mean([row[-1] < max(row) for row in twice])
    assert 0.03 < firsts < 0.2 and 0.03 < lasts < 0.2


def test_scarce_room_favours_no_word() -> None:
    rows = [Sentence([], [[token] for token in range(100, 110)], [])] * 4000
    view = WordsView(pad_token_id=PAD, swap=0, delete=0.1, insert=1)
    counts = np.zeros(10)
    for row in real(view.augment(collated(rows), draw(view, collated(rows)))):
        tokens, times = np.unique(row, return_counts=True)
        counts[tokens[times > 1] - 100] += 1
    assert abs(counts / counts.mean() - 1).max() < 0.25


def test_about_half_of_the_insertions_fit_at_the_defaults() -> None:
    rows = [Sentence([], [[token] for token in range(100, 110)], [])] * 4000
    view = WordsView(pad_token_id=PAD)
    repeated = sum(len(row) - len(set(row)) for row in real(view.augment(collated(rows), draw(view, collated(rows)))))
    assert 0.4 < repeated / 4000 / (10 * 0.9 * 0.1) < 0.6


# What the user got wrong


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"pad_token_id": "[PAD]"}, "pad_token_id='.PAD.': write a token id"),
        ({"pad_token_id": 0, "swap": 1.5}, "swap=1.5: write a number from 0 to 1"),
        ({"pad_token_id": 0, "delete": "often"}, "delete='often': write a number"),
        ({"pad_token_id": 0, "insert": -0.1}, "insert=-0.1: write a number"),
        ({"pad_token_id": 0, "delete": 0}, "insert=0.1: write 0, or a delete above 0: only deletions make room"),
        ({"pad_token_id": 0, "padding_side": "both"}, "padding_side='both': write right or left"),
        ({"pad_token_id": 0, "special_token_ids": ["[CLS]"]}, "special_token_ids"),
        ({"pad_token_id": 0, "swaps": 0.1}, "option 'swaps' of the words view: did you mean 'swap'"),
    ],
)
def test_bad_options_say_what_to_write(options: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        build_view("words", **options)


def test_bad_batches_are_named() -> None:
    assert build_view("words", pad_token_id=0, special_token_ids=[1, 2]) == WordsView(
        pad_token_id=0, special_token_ids=(1, 2)
    )
    view, inputs = WordsView(pad_token_id=0), collated(sentences(4, 0))
    noise = draw(view, inputs)
    for key in ("input_ids", "attention_mask"):
        with pytest.raises(ValueError, match=f"words view needs '{key}'"):
            view.augment({name: tensor for name, tensor in inputs.items() if name != key}, noise)
    with pytest.raises(ValueError, match="needs pad_token_id: write it, or call for_tokenizer"):
        WordsView().augment(inputs, noise)
    with pytest.raises(ValueError, match=r"word_ids \(4, 3\) must have the shape of input_ids \(4, "):
        view.augment(inputs | {"word_ids": inputs["word_ids"][:, :3]}, noise)
