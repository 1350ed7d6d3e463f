"""Columns of sound: files, bytes, names of files, records and arrays; bad ones are named."""

import csv
from pathlib import Path

import datasets
import numpy as np
import pytest

from hf_latent.data.hub_data import HubData
from hf_latent.data.rows import ModalityRows
from hf_latent.data.source import Reader
from hf_latent.errors import UserError
from tests.models.test_audio import wav

pytest.importorskip("soundfile")
ENCODER = {"encoder": "audio_cnn", "channels": [8], "max_seconds": 0.1, "sampling_rate": 8000}
READER = Reader({"audio": ENCODER})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four WAV files, named by a CSV beside them; they last 0.2 s."""
    folder = tmp_path_factory.mktemp("sounds")
    (folder / "clips").mkdir()
    for number in range(4):
        (folder / "clips" / f"{number}.wav").write_bytes(wav(np.full(1600, 1000 * number, np.int16), rate=8000))
    with (folder / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file"], *([f"clips/{number}.wav"] for number in range(4))])
    return folder


def loaded(data, folder, column="audio", **options):
    """The rows of a data set that is saved and read again."""
    data.save_to_disk(folder)
    return HubData(path=str(folder), columns={"audio": column}, **options).load_for(READER).train


def check(rows, folder=None, seconds=0.1):
    assert len(rows) == 4
    for number, row in enumerate(rows[i] for i in range(4)):
        (value,) = (row[key] for key in row if key != "ids")
        array = value["array"] if isinstance(value, dict) else value
        assert array.dtype == np.float32 and len(array) == round(8000 * seconds)
        assert np.allclose(array, 1000 * number / 2**15)


def test_a_csv_names_files_beside_it(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    options = {"data_files": {"train": str(folder / "train.csv")}}
    data = HubData(path="csv", columns={"audio": "file"}, options=options)
    check(data.load_for(READER).train)
    check(HubData(path=str(folder), columns={"audio": "file"}).load_for(READER).train)
    assert len(data.sample(reader=READER, role="train").values["audio"]) == 4


def test_a_column_of_audio_needs_no_other_decoder(folder, tmp_path):
    files = [str(folder / "clips" / f"{number}.wav") for number in range(4)]
    data = datasets.Dataset.from_dict({"audio": files}).cast_column("audio", datasets.Audio(decode=False))
    embedded = data.map(lambda row: {"audio": {"bytes": Path(row["audio"]["path"]).read_bytes(), "path": None}})
    for name, one in {"paths": data, "bytes": embedded}.items():
        check(loaded(one.cast_column("audio", datasets.Audio()), tmp_path / name))


def test_streams(folder, tmp_path):
    """Rows of a parquet file as the Hub has them, with the bytes of their files."""
    record = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    raw = [{"bytes": (folder / "clips" / f"{number}.wav").read_bytes(), "path": None} for number in range(4)]
    data = datasets.Dataset.from_dict({"audio": raw}, datasets.Features({"audio": record}))
    data.cast_column("audio", datasets.Audio()).to_parquet(tmp_path / "train.parquet")
    options = {"data_files": {"train": str(tmp_path / "train.parquet")}}
    own = {"columns": {"audio": "audio"}, "options": options}
    check(HubData(path="parquet", **own).load_for(READER).train)
    stream = HubData(path="parquet", **own, streaming=True, shuffle_buffer=0)
    rows = iter(stream.load_for(READER).train)
    loudest = [np.abs(next(rows)["audio"]["array"]).max() for _ in range(4)]
    assert np.allclose(loudest, np.arange(4) * 1000 / 2**15)
    assert len(stream.sample(reader=READER, role="train").values["audio"]) == 4


def test_a_folder_without_its_decoder_is_told(folder):
    options = {"data_dir": str(folder / "clips")}
    try:
        import torchcodec  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match="please install 'torchcodec'"):
            HubData(path="audiofolder", columns={"audio": "audio"}, options=options).load_for(READER)


def test_records_and_arrays(folder, tmp_path):
    arrays = [np.full(1600, 1000 * number / 2**15).tolist() for number in range(4)]
    check(loaded(datasets.Dataset.from_dict({"audio": arrays}), tmp_path / "arrays"), seconds=0.2)
    records = [{"array": array, "sampling_rate": 8000} for array in arrays]
    check(loaded(datasets.Dataset.from_dict({"audio": records}), tmp_path / "records"))
    raw = [{"bytes": (folder / "clips" / f"{number}.wav").read_bytes(), "path": None} for number in range(4)]
    check(loaded(datasets.Dataset.from_dict({"audio": raw}), tmp_path / "raw"))


def test_bad_files_are_named_or_skipped(folder, tmp_path, capsys):
    (tmp_path / "text.wav").write_text("not a sound")
    names = [*(str(folder / "clips" / f"{n}.wav") for n in range(4)), str(tmp_path / "text.wav"), "missing.wav"]
    data = datasets.Dataset.from_dict({"audio": names})
    rows = loaded(data, tmp_path / "data")
    for number, words in ((4, "Format not recognised"), (5, "there is no file missing.wav")):
        with pytest.raises(UserError, match=rf"row {number}, column 'audio' cannot be read \(.*{words}"):
            rows[number]
    check(loaded(data, tmp_path / "data", on_bad_row="skip"))
    assert "Skipped 2 of 6 rows" in capsys.readouterr().out


def test_rows_of_the_hub_name_no_file_of_this_machine(folder):
    from hf_latent.data.files import format_of

    name = str(folder / "clips" / "1.wav")
    data = datasets.Dataset.from_dict({"audio": [name], "struct": [{"bytes": None, "path": name}]})
    files = format_of(ENCODER, [str(folder)])
    for column in ("audio", "struct"):
        rows = ModalityRows(data, [column], from_hub=True, shapes={column: files})
        with pytest.raises(UserError, match="is no file of the data set"):
            rows[0]
        assert len(ModalityRows(data, [column], shapes={column: files})[0][column]["array"]) == 800


def test_what_is_missing_is_said(folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(UserError, match="reading files of sound needs soundfile: pip install soundfile"):
        HubData(path=str(folder), columns={"audio": "file"}).load_for(READER)
