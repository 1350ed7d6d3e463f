"""Reading images: one reader, whatever an image is given as; and the squares that towers see."""

import io

import numpy as np
import pytest
import torch
import transformers
from PIL import Image, ImageOps
from transformers.image_processing_backends import PilBackend

from hf_latent.models.images import (
    at_size,
    checkpoint_processor,
    cropped,
    fitted,
    keeps_squares,
    mean_and_std,
    output_size,
    read_image,
    scratch_processor,
    stored_processor,
)

RAMP = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
COLORS = np.stack([RAMP, RAMP[::-1], 255 - RAMP], axis=-1)


def read(value):
    image = read_image(value)
    assert image.mode == "RGB"
    return np.asarray(image)


def saved(image, format, **options):
    image.save(buffer := io.BytesIO(), format=format, **options)
    return buffer.getvalue()


LOSSLESS = ("PNG", "BMP", "TIFF", "GIF", "PPM", "TGA", "WEBP", "JPEG2000", "ICO", "PCX", "SGI", "DIB")


@pytest.mark.parametrize("format", LOSSLESS)
def test_formats(format):
    options = {"WEBP": {"lossless": True}, "JPEG2000": {"irreversible": False}}.get(format, {})
    side = Image.fromarray(COLORS).resize((16, 16), Image.Resampling.NEAREST)
    wanted = np.asarray(side.quantize(256).convert("RGB") if format == "GIF" else side)
    np.testing.assert_array_equal(read(saved(side, format, **options)), wanted)


def test_bytes_as_datasets_stores_them():
    content = saved(Image.fromarray(COLORS), "PNG")
    np.testing.assert_array_equal(read({"bytes": content, "path": "/etc/hostname"}), COLORS)
    with pytest.raises(ValueError, match="expected an image, found NoneType"):
        read({"bytes": None, "path": "/etc/hostname"})


def test_a_jpeg_is_read_as_pillow_decodes_it():
    content = saved(Image.fromarray(COLORS).resize((64, 64)), "JPEG", quality=90)
    np.testing.assert_array_equal(read(content), np.asarray(Image.open(io.BytesIO(content))))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_images_are_upright(orientation, format):
    exif = Image.Exif()
    exif[0x0112] = orientation
    flat = Image.new("RGB", (16, 8), "blue")
    flat.paste("red", (0, 0, 8, 8))
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(format, {})
    content = saved(flat, format, exif=exif, **options)
    wanted = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    assert wanted.size == ((8, 16) if orientation > 4 else (16, 8))
    np.testing.assert_array_equal(read(content), np.asarray(wanted.convert("RGB")))
    np.testing.assert_array_equal(read(read_image(content)), read(content))  # once


def test_transparency_shows_white():
    clear = np.dstack([COLORS, np.zeros((4, 6), np.uint8)])
    assert (read(Image.fromarray(clear)) == 255).all() and (read(clear) == 255).all()
    assert (read(torch.from_numpy(clear).permute(2, 0, 1)) == 255).all()
    half = np.dstack([np.zeros_like(COLORS), np.full((4, 6), 128, np.uint8)])
    assert (np.abs(read(half).astype(int) - 127) <= 1).all()
    gray = Image.merge("LA", [Image.new("L", (3, 2), 7), Image.new("L", (3, 2), 0)])
    assert (read(gray) == 255).all() and (read(gray.convert("La")) == 255).all()
    palette = Image.new("P", (3, 2), 5)
    palette.putpalette([10, 20, 30] * 256)
    assert (read(palette) == (10, 20, 30)).all()
    palette.info["transparency"] = 5
    assert (read(palette) == 255).all() and (read(saved(palette, "PNG")) == 255).all()
    named = Image.new("RGB", (3, 2), "red")
    named.info["transparency"] = (255, 0, 0)
    assert (read(named) == 255).all()


def test_depths():
    sixteen = RAMP.astype(np.uint16) * 257
    expected = np.stack([RAMP] * 3, axis=-1)
    for value in (sixteen, Image.fromarray(sixteen), saved(Image.fromarray(sixteen), "PNG")):
        np.testing.assert_array_equal(read(value), expected)
    np.testing.assert_array_equal(read(saved(Image.fromarray(sixteen), "TIFF")), expected)
    np.testing.assert_array_equal(read(Image.fromarray(sixteen.astype(np.int32))), expected)
    np.testing.assert_array_equal(read((RAMP / 255).astype(np.float32)), expected)
    np.testing.assert_array_equal(read(saved(Image.fromarray((RAMP / 255).astype(np.float32)), "TIFF")), expected)
    stretched = np.rint(RAMP / 230.0 * 255).astype(np.uint8)
    np.testing.assert_array_equal(read(RAMP.astype(np.float64) * 4 - 7)[..., 0], stretched)
    np.testing.assert_array_equal(read(RAMP.astype(np.int64) * 1000)[..., 0], stretched)
    np.testing.assert_array_equal(read(COLORS.astype(np.int64)), COLORS)
    np.testing.assert_array_equal(read(np.full((2, 2), 7.5))[..., 0], 0)
    np.testing.assert_array_equal(read(RAMP > 100), np.stack([(RAMP > 100) * 255] * 3, axis=-1))
    np.testing.assert_array_equal(read(Image.fromarray(RAMP > 100)), read(RAMP > 100))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "I", "F", "RGBX"])
def test_modes(mode):
    image = Image.new("RGB", (5, 4), "white").convert(mode) if mode not in ("I", "F") else None
    image = image or Image.new(mode, (5, 4), 65535 if mode == "I" else 1)
    assert (np.abs(read(image).astype(int) - 255) <= 1).all()


def test_arrays_and_tensors():
    for value in (
        COLORS,
        torch.from_numpy(COLORS).permute(2, 0, 1),
        Image.fromarray(COLORS),
        COLORS[:, ::-1][:, ::-1],
    ):
        np.testing.assert_array_equal(read(value), COLORS)
    for value in (RAMP, RAMP[..., None], torch.from_numpy(RAMP)[None], torch.from_numpy(RAMP)):
        np.testing.assert_array_equal(read(value), np.stack([RAMP] * 3, axis=-1))
    animated = saved(Image.fromarray(COLORS), "PNG", save_all=True, append_images=[Image.new("RGB", (6, 4))])
    np.testing.assert_array_equal(read(animated), COLORS)


BOMB = saved(Image.new("1", (20_000, 20_000)), "PNG", optimize=True)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("/etc/hostname.png", "expected an image, found a text: names of files are not opened"),
        (None, "expected an image, found NoneType"),
        (b"", "cannot identify"),
        (b"no image", "cannot identify"),
        (saved(Image.new("RGB", (50, 50)), "PNG")[:60], "."),
        (saved(Image.new("RGB", (50, 50), "red"), "BMP")[:80], "."),
        (saved(Image.new("RGB", (50, 50), "red"), "TIFF")[:-40], "."),
        (saved(Image.effect_noise((50, 50), 9), "JPEG2000")[:200], "."),
        (saved(Image.effect_noise((50, 50), 9), "GIF")[:60], "."),
        (b"GIF89a\x00\x00\x00\x00\x00\x00\x00", "."),
        (BOMB, "exceeds limit"),
        (np.zeros((4, 4, 5), np.uint8), r"expected \(height, width, channels\) with 1 to 4 channels"),
        (torch.zeros(7, 4, 4), r"expected \(channels, height, width\) with 1 to 4 channels"),
        (np.zeros((0, 4, 3), np.uint8), "expected"),
        (np.zeros(4), "expected"),
        (np.full((2, 2), np.nan), "NaN or infinity"),
        (np.full((2, 2), "a"), "expected numbers, found <U1"),
        (np.zeros((2, 2), complex), "expected numbers"),
    ],
)
def test_what_cannot_be_read_is_told(value, words):
    assert len(BOMB) < 100_000
    with pytest.raises(ValueError, match=words):
        read_image(value)


# Squares

FAMILIES = ("CLIP", "Siglip", "ViT", "ConvNext", "Bit", "DeiT", "Beit", "Levit", "PoolFormer")


def processor_of(family):
    return getattr(transformers, f"{family}ImageProcessorPil")()


PHOTOS = [Image.fromarray(np.random.default_rng(k).integers(0, 256, (*shape, 3), dtype=np.uint8)) for k, shape in
          enumerate([(300, 500), (500, 260), (224, 224), (37, 90)])]  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_squares_are_those_of_the_image_processor(family, tmp_path):
    """To the vector of pixels: resized, cropped and normalised as the checkpoint's own pipeline does."""
    processor = processor_of(family)
    processor.save_pretrained(tmp_path)
    own = checkpoint_processor(str(tmp_path))
    size, (mean, std) = output_size(own), map(torch.tensor, mean_and_std(own))
    pixels = fitted(own, PHOTOS)
    assert pixels.dtype == torch.uint8 and pixels.shape == (len(PHOTOS), 3, size, size)
    ours = (pixels / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    torch.testing.assert_close(ours, processor(PHOTOS, return_tensors="pt")["pixel_values"], rtol=0, atol=2e-6)
    stored = stored_processor(own.to_dict())
    assert type(stored) is type(own) and torch.equal(fitted(stored, PHOTOS[:1]), pixels[:1])
    small = at_size(own, 64)
    assert output_size(small) == 64 and output_size(own) == size


@pytest.mark.parametrize("family", ["CLIP", "Siglip", "ViT", "Bit"])
def test_the_usual_resize_makes_no_array_of_the_whole_image(family, monkeypatch):
    processor, seen = processor_of(family), []
    usual = PilBackend.process_image
    monkeypatch.setattr(
        PilBackend, "process_image", lambda self, image, **k: seen.append(image.size) or usual(self, image, **k)
    )
    size = fitted(processor, PHOTOS[:1]).shape[-1]
    assert size < min(PHOTOS[0].size) and all(min(shape) == size for shape in seen)


def test_squares_of_a_tower_from_scratch():
    wide = Image.fromarray(np.repeat(np.arange(120, dtype=np.uint8)[None, :, None], 40, 0).repeat(3, 2))
    for fit, columns in (("squash", (0, 119)), ("crop", (40, 79)), ("pad", (0, 119))):
        processor = scratch_processor(40, [0.5] * 3, [0.5] * 3, fit)
        assert output_size(processor) == 40 and keeps_squares(processor, 40)
        pixels = fitted(processor, [wide], pad=fit == "pad")[0, 0].float()
        middle = pixels[20]
        assert abs(middle[0] - columns[0]) <= 2 and abs(middle[-1] - columns[1]) <= 2
        assert (pixels[0] == 128).all() == (fit == "pad")
    with pytest.raises(ValueError, match="fit='stretch': write one of squash, crop, pad"):
        scratch_processor(40, [0.5] * 3, [0.5] * 3, "stretch")


def test_processors_that_do_not_fit_are_refused(tmp_path):
    wide = transformers.CLIPImageProcessorPil(do_center_crop=False)
    with pytest.raises(ValueError, match="gives no squares of one size"):
        output_size(wide)
    transformers.CLIPImageProcessorPil(rescale_factor=1 / 127.5).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="scales pixels in a way that is not known here"):
        checkpoint_processor(str(tmp_path))
    assert checkpoint_processor(str(tmp_path / "nothing")) is None
    with pytest.raises(ValueError, match="is not of transformers"):
        stored_processor({"image_processor_type": "os.system"})


def test_a_crop_is_cut_from_the_whole_image():
    """Not from its square: nothing of its resolution or its shape is lost."""
    photo = PHOTOS[0]
    box = (0.25, 0.1, 0.5, 0.3)
    crop = cropped(photo, box, 32, Image.Resampling.BICUBIC)
    left, top = 0.1 * photo.width, 0.25 * photo.height
    wanted = photo.resize((32, 32), 3, (left, top, left + 0.3 * photo.width, top + 0.5 * photo.height))
    np.testing.assert_array_equal(crop.permute(1, 2, 0).numpy(), np.asarray(wanted))
    assert torch.equal(
        cropped(photo, (0, 0, 1, 1), 32, 2), fitted(scratch_processor(32, [0.5] * 3, [0.5] * 3), [photo])[0]
    )
