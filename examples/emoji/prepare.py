"""Emoji as images with captions and labels: pictures of two vendors, names and groups, split by emoji.

    npm pack emoji-datasource-google emoji-datasource-twitter emojibase-data
    python examples/emoji/prepare.py *.tgz
    hf-latent train examples/emoji/recipe.yaml

The folder `emoji` is an `imagefolder` with the splits `train`, `validation` and `test`. Its `metadata.jsonl` have the
columns `file_name`; `emoji`, its code points, that both vendors' pictures of it share; `caption`, its name, such
as "grinning face"; `description`, the name with the group, "grinning face, one of smileys & emotion"; `group`, one of
nine; `face`, yes where the emoji is a face; `vendor`; `german`, `french`, its names in these languages, and `tags`,
English words for it, each empty where the package has none; and `words`, those of the tasks of tasks.py, for a
tokenizer. An emoji is in one split alone, which follows from its code points. Emoji that one vendor lacks, skin
tones and components (hair, regional indicators) are left out.

The pictures are Google's (Noto Emoji: Apache License 2.0, the fonts under the SIL OFL 1.1) and Twitter's (Twemoji:
CC-BY 4.0). The names are from emojibase-data (MIT), after Unicode CLDR. Keep these notices with what you publish.
"""

import argparse
import hashlib
import json
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

NPM = "npm pack emoji-datasource-google emoji-datasource-twitter emojibase-data"
NAMES, GROUPS = "en/data.json", "en/messages.json"
LANGUAGES = {"german": "de/data.json", "french": "fr/data.json"}
PICTURE = re.compile(r"img/(\w+)/64/([0-9a-f-]+)\.png")
SHARES = {"test": 0.2, "validation": 0.1}  # of the emoji; the others are for training
COMPONENTS, FACE = "component", "face"
WORDS = (
    "which group is it of? who has drawn it? is it a face? yes no one of, drawn by {vendor} "
    "both are of the same group drawn by the same vendor"
)


class WrongPackage(Exception):
    """A package that is missing, cannot be read, or is another one."""


def read_files(package: Path) -> Iterator[tuple[str, bytes]]:
    """The names of the files of a package, without the folder `package/`, and what is in them."""

    def wanted(name: str) -> bool:
        return name in (NAMES, GROUPS, *LANGUAGES.values()) or PICTURE.fullmatch(name) is not None

    if package.is_dir():
        root = package / "package" if (package / "package").is_dir() else package
        for path in sorted(root.rglob("*")):
            if path.is_file() and wanted(name := path.relative_to(root).as_posix()):
                yield name, path.read_bytes()
        return
    if not package.is_file():
        raise WrongPackage(f"{package} does not exist")
    try:
        with tarfile.open(package) as archive:
            for member in archive:
                name = member.name.removeprefix("package/")
                if member.isfile() and wanted(name):
                    yield name, archive.extractfile(member).read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise WrongPackage(f"{package} is no packed npm package: {error}") from error


def plain(code: str) -> str:
    """Code points as they are compared: packages differ in case and in the variation selector FE0F."""
    return "-".join(point for point in code.lower().split("-") if point != "fe0f")


def read_packages(packages: list[Path]) -> tuple[dict[str, dict[str, bytes]], list[dict[str, str]]]:
    """The pictures by vendor and emoji, and the code points, name and group of each emoji that all vendors have."""
    pictures: dict[str, dict[str, bytes]] = {}
    tables = {}
    with tqdm(desc="Reading packages", unit=" files") as bar:
        for package in packages:
            found = False
            for name, content in read_files(package):
                found = True
                if match := PICTURE.fullmatch(name):
                    pictures.setdefault(match[1], {})[plain(match[2])] = content
                else:
                    try:
                        tables[name] = json.loads(content)
                    except ValueError as error:
                        raise WrongPackage(f"{package}: {name} is no JSON: {error}") from error
                bar.update()
            if not found:
                raise WrongPackage(f"{package} holds neither pictures (img/VENDOR/64) nor names ({NAMES})")
    if len(pictures) < 2:
        raise WrongPackage(f"pictures of two vendors are needed; found: {', '.join(pictures) or 'none'}")
    if missing := {NAMES, GROUPS} - set(tables):
        raise WrongPackage(f"no package holds {' and '.join(sorted(missing))}, which are in emojibase-data")
    try:
        groups = {group["order"]: group["message"] for group in tables[GROUPS]["groups"] if group["key"] != COMPONENTS}
        records = [(plain(record["hexcode"]), record) for record in tables[NAMES] if record.get("group") in groups]
        faces = {part["order"] for part in tables[GROUPS].get("subgroups", ()) if FACE in part["key"]}
        others = {
            language: {plain(record["hexcode"]): record.get("label") for record in tables.get(name, ())}
            for language, name in LANGUAGES.items()
        }
        rows = [
            {
                "emoji": emoji,
                "caption": record["label"],
                "group": groups[record["group"]],
                "face": "yes" if record.get("subgroup") in faces else "no",
                **{language: names.get(emoji) or "" for language, names in others.items()},
                "tags": ", ".join(record.get("tags", ())),
            }
            for emoji, record in records
            if all(emoji in own for own in pictures.values())
        ]
    except (AttributeError, KeyError, TypeError) as error:
        raise WrongPackage(f"{NAMES} or {GROUPS} is not as in emojibase-data: {error!r}") from error
    if not rows:
        raise WrongPackage(f"no emoji has a name in {NAMES} and pictures of all of {', '.join(pictures)}")
    return pictures, rows


def split_of(emoji: str, seed: int) -> str:
    """The split of an emoji, whatever others there are: a hash of its code points decides."""
    drawn = int(hashlib.sha256(f"{seed}:{emoji}".encode()).hexdigest()[:8], 16) / 16**8
    for split, share in SHARES.items():
        if drawn < share:
            return split
        drawn -= share
    return "train"


def write(packages: list[Path], output: Path, seed: int) -> dict[str, int]:
    """Write the folder; returns how many emoji each split has."""
    pictures, rows = read_packages(packages)
    counts, lines = dict.fromkeys(("train", *SHARES), 0), dict.fromkeys(("train", *SHARES), "")
    unfinished = output.with_name(f"{output.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for split in lines:
        (unfinished / split).mkdir(parents=True)
    for row in tqdm(rows, desc="Writing pictures", unit=" emoji"):
        split = split_of(row["emoji"], seed)
        counts[split] += 1
        for vendor, own in sorted(pictures.items()):
            name = f"{row['emoji']}_{vendor}.png"
            described = f"{row['caption']}, one of {row['group']}"
            (unfinished / split / name).write_bytes(own[row["emoji"]])
            written = {"file_name": name, **row, "description": described, "vendor": vendor}
            written["words"] = WORDS.format(vendor=vendor)
            lines[split] += json.dumps(written, ensure_ascii=False) + "\n"
    for split, text in lines.items():
        (unfinished / split / "metadata.jsonl").write_text(text, encoding="utf-8", newline="\n")
    unfinished.rename(output)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="+", type=Path, metavar="PACKAGE", help="packed .tgz files, or folders")
    parser.add_argument("--output", type=Path, default=Path("emoji"), help="a new folder")
    parser.add_argument("--seed", type=int, default=0, help="of the splits")
    args = parser.parse_args()
    if args.output.exists():
        parser.error(f"{args.output} exists: remove it, or write another --output")
    try:
        counts = write(args.packages, args.output, args.seed)
    except WrongPackage as error:
        parser.error(f"{error}. Download the packages by: {NPM}")
    print(f"{args.output}: " + ", ".join(f"{split} {count:,} emoji" for split, count in counts.items()))


if __name__ == "__main__":
    main()
