"""Random crops that are cut while rows are loaded: from the images as they are, keyed by the place of a row."""

import numpy as np
import pytest
import torch
from PIL import Image

from hf_latent import CoMMProcessor, LatentCLIPProcessor, LatentTrainingArguments, Views, build_view
from hf_latent.data.collator import LatentCollator
from hf_latent.data.tokenizers import word_tokenizer
from hf_latent.models.images import cropped
from hf_latent.training.sampling import PlacedRows, PlaceSampler, ShuffledSampler, UniqueIdSampler
from hf_latent.views.image import CROPS
from tests.training.runs import RandomPhotos, build_clip_trainer

SIZE = 16


def views(**options):
    return Views({"image": build_view("image", size=SIZE, **options)}, seed=3)


def photos(count, several=None):
    rng = np.random.default_rng(0)

    def photo():
        height, width = rng.integers(20, 60, 2)
        return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))

    return [photo() if several is None else [photo() for _ in range(several)] for _ in range(count)]


@pytest.mark.parametrize("several", [(), (2,)], ids=["one image", "two images"])
def test_crops_are_those_of_the_batch(several):
    """As `augmented` draws them where all images have one shape."""
    batch = {"pixel_values": torch.zeros(6, *several, 3, 30, 40)}
    drawn = views().modalities["image"].draw(6, batch, views()._generator(1, 0, 12))["crop"]
    aspects = torch.full((6, *several), 40 / 30)
    torch.testing.assert_close(views().crops("image", 1, aspects, torch.arange(12, 18), 6), drawn)
    some = torch.tensor([16, 3, 13])
    found = views().crops("image", 1, aspects[:3], some, 6)
    torch.testing.assert_close(found[[0, 2]], drawn[[4, 1]])
    assert not torch.allclose(found[1], drawn[3])  # of the batch before
    assert not torch.allclose(views().crops("image", 0, aspects, torch.arange(12, 18), 6), drawn)


def test_crops_keep_the_shares_of_every_shape():
    view, shapes = views(crop_scale=(0.25, 0.25), crop_ratio=(1.0, 1.0)), torch.tensor([1.0, 2.0, 0.5])
    _, _, height, width = view.crops("image", 0, shapes, torch.arange(3), 3).unbind(1)
    torch.testing.assert_close(height * width, torch.full((3,), 0.25))
    torch.testing.assert_close(width / height * shapes, torch.ones(3))


@pytest.mark.parametrize("several", [None, 2])
def test_the_collator_cuts_them_from_the_images_as_they_are(several):
    processor, pictures = CoMMProcessor({"image": {"kind": "image", "size": SIZE}}), photos(4, several)
    collator, own = LatentCollator(processor), views()
    rows = [{"image": picture, "place": 8 + row} for row, picture in enumerate(pictures)]
    assert set(collator(rows)["modalities"]["image"]) == {"pixel_values"}
    collator.cut_crops(own, {"image": [1]}, 4)
    found = collator(rows)["modalities"]["image"]
    plain = collator([{"image": picture} for picture in pictures])["modalities"]["image"]
    assert set(plain) == {"pixel_values"} and torch.equal(found["pixel_values"], plain["pixel_values"])
    flat = [image for picture in pictures for image in (picture if several else [picture])]
    aspects = torch.tensor([image.width / image.height for image in flat]).view(4, *([several] if several else []))
    boxes = own.crops("image", 1, aspects, torch.arange(8, 12), 4).flatten(0, -2).tolist()
    wanted = torch.stack([cropped(image, box, SIZE, 2) for image, box in zip(flat, boxes, strict=True)])
    assert torch.equal(found[f"{CROPS}1"].flatten(0, -4), wanted)
    both = LatentCollator(processor)
    both.cut_crops(own, {"image": [0, 1]}, 4)
    first = both(rows)["modalities"]["image"]
    assert torch.equal(first[f"{CROPS}1"], found[f"{CROPS}1"]) and first[f"{CROPS}0"].numel() == 0
    assert first["pixel_values"].shape == found["pixel_values"].shape


def test_a_view_of_a_cut_crop_is_flipped_recolored_and_blurred_but_not_cut_again():
    own, pictures = views(), photos(5)
    collator = LatentCollator(CoMMProcessor({"image": {"kind": "image", "size": SIZE}}))
    collator.cut_crops(own, {"image": [0, 1]}, 5)
    batch = collator([{"image": picture, "place": row} for row, picture in enumerate(pictures)])["modalities"]
    for view in (0, 1):
        found = own.augmented(batch, view=view)["image"]
        crops = batch["image"]["pixel_values"] if view == 0 else batch["image"][f"{CROPS}1"]
        noise = own.modalities["image"].draw(5, {"pixel_values": crops}, own._generator(view, 0, 0))
        noise["crop"] = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).repeat(5, 1)
        wanted = own.modalities["image"].augment({"pixel_values": crops}, noise)["pixel_values"]
        assert set(found) == {"pixel_values"} and torch.equal(found["pixel_values"], wanted)
    assert set(own.plain(batch)["image"]) == {"pixel_values"}


def test_detail_of_a_large_image_survives():
    """A crop of a fine pattern keeps it; one of the square that the image was resized to would be gray."""
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::8] = stripes[:, 1::8] = stripes[:, 2::8] = stripes[:, 3::8] = 255
    collator = LatentCollator(CoMMProcessor({"image": {"kind": "image", "size": SIZE}}))
    collator.cut_crops(views(crop_scale=(0.004, 0.004), crop_ratio=(1.0, 1.0)), {"image": [1]}, 1)
    found = collator([{"image": Image.fromarray(stripes), "place": 0}])["modalities"]["image"]
    assert found[f"{CROPS}1"].float().std() > 60 > 10 > found["pixel_values"].float().std()


def test_places_of_all_epochs_and_processes():
    order = ShuffledSampler(10, seed=1)
    sampler = PlaceSampler(order, 10, batch=4)
    first = list(sampler)
    assert [number // 10 for number in first] == list(range(10)) and sorted(number % 10 for number in first) == list(
        range(10)
    )
    sampler.set_epoch(2)
    again = list(sampler)
    assert again[0] // 10 == 2 * 8  # two whole global batches an epoch
    assert [n % 10 for n in again] != [n % 10 for n in first] and len(sampler) == 10
    unique = PlaceSampler(UniqueIdSampler([0, 0, 1, 2, 3, 3], 2, seed=0), 6, batch=2)
    unique.set_epoch(1)
    assert next(iter(unique)) // 6 == len(unique)
    assert PlacedRows(RandomPhotos(5))[3 * 5 + 2]["place"] == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_training_on_photos_takes_up_where_it_stopped(tmp_path, workers):
    options = {"photos": True, "double": True, "max_steps": 6, "dataloader_num_workers": workers}
    options |= {"save_strategy": "steps", "save_steps": 4, "regularizers": None}
    trainer = build_clip_trainer(tmp_path, **options)
    trainer.train()
    whole = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    again = build_clip_trainer(tmp_path, **options)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    rest = [entry["loss"] for entry in again.state.log_history if "loss" in entry]
    assert rest == whole and len(whole) == 6
    assert again.data_collator._cut is not None


def test_arrays_of_the_right_size_are_augmented_on_the_device_as_before(tmp_path):
    trainer = build_clip_trainer(tmp_path)
    trainer.get_train_dataloader()
    assert trainer.data_collator._cut is None


def test_a_processor_says_how_its_images_are_resampled():
    processor = LatentCLIPProcessor.for_size(SIZE, word_tokenizer(["a"]))
    assert processor.crop_of("image") == (SIZE, Image.Resampling.BILINEAR)
    assert LatentTrainingArguments("unused", use_cpu=True).train_sampling_strategy == "random"
