"""What tests of figures share."""

from PIL import Image

from hf_latent import plots


def shown(figure):
    return [panel for panel in figure.axes if panel.get_visible()]


def assert_whole_png(path, figure):
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert image.size == tuple(int(round(inches * plots.DPI)) for inches in figure.get_size_inches())
        assert len(set(image.convert("L").resize((64, 64)).tobytes())) > 5  # not blank
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]  # nothing half-written beside it
