"""Where to read on about a model: its card, its data, the papers of its objective and regularizers, and the code."""

import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any
from urllib.parse import quote

from explorer import Explorer
from page import short

from hf_latent.errors import UserError
from hf_latent.hub.card_fields import repository_id
from hf_latent.objectives import build_objective

CODE = "https://github.com/hf-latent/hf_latent"
HUB = "https://huggingface.co"
SEARCH = "https://scholar.google.com/scholar?q="
WEB = re.compile(r"https://[\w.-]+(/[\w./%~+-]*)?", re.ASCII)
MOST = 12  # papers


def links_html(explorer: Explorer) -> str:
    """The links of a model, in one line."""
    found = [("Model card", f"{HUB}/{quote(explorer.repository)}", "")] if explorer.repository else []
    found += [(f"Data: {name}", f"{HUB}/datasets/{quote(name)}", "") for name in data_sets(explorer)]
    found += [(f"Paper: {name}", address, title) for name, address, title in papers(explorer)]
    found.append(("Code", CODE, ""))
    shown = (
        f"<a href='{escape(address)}' title='{escape(title)}' target='_blank' rel='noopener'>{escape(name)}</a>"
        for name, address, title in found
    )
    return f"<small class='links'>{' · '.join(shown)}</small>"


def data_sets(explorer: Explorer) -> list[str]:
    """The data sets on the Hub that a model was trained on, by their ids."""
    named = explorer.source.repositories() if explorer.source else ()
    return [name for name in dict.fromkeys(named) if repository_id(name)]


def papers(explorer: Explorer) -> list[tuple[str, str, str]]:
    """The papers of the objective and its regularizers: name, address and title."""
    cited: list[str] = []
    try:
        objective = build_objective(explorer.model.config)
    except (ImportError, UserError, ValueError):  # of a plug-in that is not here
        return []
    for part in _parts(objective):
        cited += part.citations
    found = [paper_of(each) for each in dict.fromkeys(cited)]
    return [paper for paper in found if paper][:MOST]


def _parts(objective: Any) -> Iterator[Any]:
    yield getattr(objective, "objective", objective)
    for weighted in getattr(objective, "regularizers", {}).values():
        yield weighted.regularizer


def paper_of(bibtex: str) -> tuple[str, str, str] | None:
    """Authors with year, where a paper is (as it says itself, else what a search finds), and its title."""
    fields = {
        key.lower(): _plain(value) for key, value in re.findall(r"(\w+)\s*=\s*\{((?:[^{}]|\{[^{}]*\})*)\}", bibtex)
    }
    title = fields.get("title")
    if not title:
        return None
    authors = [name.split(",")[0].strip() for name in fields.get("author", "").split(" and ") if name.strip()]
    by = " and ".join(authors) if len(authors) < 3 else f"{authors[0]} et al."
    name = f"{by} {fields.get('year', '')}".strip()
    return short(name or title, 60), _address(fields, title), title


def _address(fields: Mapping[str, str], title: str) -> str:
    told = f"{fields.get('eprint', '')} {fields.get('note', '')}"
    number = re.search(r"\b(\d{4}\.\d{4,5})\b", told)
    if WEB.fullmatch(fields.get("url", "")):
        return fields["url"]
    if fields.get("doi"):
        return f"https://doi.org/{quote(fields['doi'])}"
    return f"https://arxiv.org/abs/{number[1]}" if number else f"{SEARCH}{quote(title)}"


def _plain(value: str) -> str:
    """A value of BibTeX without braces and accents of LaTeX."""
    return " ".join(re.sub(r"\\[^\w\s]|[{}]", "", value).split())
