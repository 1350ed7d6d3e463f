"""What visitors bring: images are opened, everything else is refused in a sentence, before it is decoded."""

import struct
import zlib
from io import BytesIO

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

import tests.space.runs  # noqa: F401  (it makes the Space importable)

from explorer import picture, unit  # isort: skip
from upload import open_image  # isort: skip


def save(path, image, **options):
    image.save(path, **options)
    return path


def png_header(width, height):
    """A PNG that says it is huge, in a hundred bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "bmp"])
def test_images_are_opened_in_rgb_and_whole(tmp_path, kind):
    opened = open_image(save(tmp_path / f"a.{kind}", Image.new("RGB", (3000, 1500), (200, 20, 20))))
    assert opened.mode == "RGB" and opened.size == (3000, 1500)
    assert np.abs(np.asarray(opened).mean((0, 1)) - (200, 20, 20)).max() < 4


def detailed(mode, size=(1800, 1200)):
    """A large picture with details that shrinking it twice would blur otherwise than once."""
    pixels = np.random.default_rng(0).integers(0, 256, (size[1] // 3, size[0] // 3, 4), dtype=np.uint8)
    return Image.fromarray(pixels.repeat(3, 0).repeat(3, 1)).convert(mode)


@pytest.mark.parametrize(
    "kind", ["large.png", "transparent.png", "palette.png", "sixteen.png", "turned.jpeg", "a.webp"]
)
def test_an_upload_is_embedded_as_the_processor_embeds_the_file(tmp_path, captions, kind):
    path, options = tmp_path / kind, {}
    if kind == "turned.jpeg":
        options["exif"] = Image.Exif()
        options["exif"][274] = 6
    if kind == "sixteen.png":
        values = np.random.default_rng(0).integers(0, 2**16, (900, 1200), dtype=np.uint16)
        picture = Image.fromarray(values)
    else:
        picture = detailed({"transparent.png": "RGBA", "palette.png": "P"}.get(kind, "RGB"))
    picture.save(path, **options)
    with Image.open(path) as file:
        wanted = captions.processor(images=[file])["pixel_values"]
    inputs = captions.processor.batch({"image": [open_image(path)]})
    assert torch.equal(inputs["pixel_values"], wanted)
    assert torch.equal(unit(captions.embed({"image": [open_image(path)]}))["image"], unit_of(captions, wanted))


def unit_of(captions, pixels):
    with torch.no_grad():
        found = captions.model(pixel_values=pixels, return_loss=False, return_logits=False)
    return unit(found)["image"]


def test_pictures_of_a_sample_are_read_as_models_read_them():
    clear = np.zeros((4, 4, 4), dtype=np.uint8)
    assert picture(clear).getpixel((0, 0)) == (255, 255, 255)  # transparent, on white
    assert picture(np.full((4, 4), 65535, dtype=np.uint16)).getpixel((0, 0)) == (255, 255, 255)
    assert picture(Image.new("LA", (4, 4))).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_images_of_any_mode_are_opened(tmp_path, mode):
    kind = "jpeg" if mode == "CMYK" else "png"
    assert open_image(save(tmp_path / f"a.{kind}", Image.new(mode, (12, 8)))).mode == "RGB"


def test_a_picture_taken_sideways_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    assert open_image(save(tmp_path / "a.jpeg", Image.new("RGB", (40, 20)), exif=exif)).size == (20, 40)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("text.png", b"this is no image", "cannot be read as an image"),
        ("empty.png", b"", "cannot be read as an image"),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "cannot be read as an image"),
        ("bomb.png", png_header(100_000, 100_000), "cannot be read as an image|100000 x 100000 pixels"),
        ("large.png", png_header(6_000, 6_000), "6000 x 6000 pixels"),
        ("hollow.png", png_header(200, 100), "cannot be read as an image"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.endswith((".png", ".svg")) else "",
)
def test_what_is_no_image_or_too_large_is_refused_in_a_sentence(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(gr.Error, match=words) as refusal:
        open_image(tmp_path / name)
    assert "Bring a PNG, JPEG, WEBP or BMP file of at most 30 megapixels." in refusal.value.message
    assert str(tmp_path) not in refusal.value.message


def test_half_an_image_and_a_film_are_refused(tmp_path):
    Image.effect_noise((300, 300), 50).save(buffer := BytesIO(), format="png")
    (tmp_path / "half.png").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    frames = [Image.new("L", (9, 9), k) for k in range(3)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    for name in ("half.png", "film.gif", "not there.png"):
        with pytest.raises(gr.Error, match="cannot be read as an image"):
            open_image(tmp_path / name)
