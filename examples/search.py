"""Search rows that `hf-latent embed` has embedded, by a sentence, with FAISS or with usearch.

    hf-latent embed outputs/finetuned pictures/ image=image --keep file_name --output vectors.parquet
    python examples/search.py vectors.parquet outputs/finetuned "a red square"

`pip install faiss-cpu` or `pip install usearch`; `--index` chooses where both are there.
"""

import argparse
import json

import numpy as np
import pyarrow.parquet as pq
import torch
from transformers import AutoModel, AutoProcessor

import hf_latent  # noqa: F401  (AutoModel knows its models)


def by_faiss(vectors: np.ndarray, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers and cosines of the nearest vectors, all of unit length."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    cosines, rows = index.search(query[None], k)
    return rows[0], cosines[0]


def by_usearch(vectors: np.ndarray, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The same, by an approximate index."""
    from usearch.index import Index

    index = Index(ndim=vectors.shape[1], metric="cos")
    index.add(np.arange(len(vectors)), vectors)
    found = index.search(query, k)
    return found.keys, 1 - found.distances


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", help="the parquet file")
    parser.add_argument("model", help="the model that made it: a run folder or its id on the Hub")
    parser.add_argument("sentence", help="what to look for")
    parser.add_argument("--modality", default="image", help="whose vectors are searched")
    parser.add_argument("--by", default="text", help="the modality that the sentence is of")
    parser.add_argument("--index", choices=["faiss", "usearch"], default="faiss")
    parser.add_argument("-k", type=int, default=5, help="how many to show")
    options = parser.parse_args()

    table = pq.read_table(options.vectors)
    told = json.loads(table.schema.metadata[b"hf_latent"])
    if not told["normalized"]:
        raise SystemExit("the vectors are not of unit length: embed them with --normalize")
    table = table.filter(table.column(f"{options.modality}_embedding").is_valid())
    column = table.column(f"{options.modality}_embedding").combine_chunks()
    vectors = np.ascontiguousarray(column.flatten().to_numpy().reshape(len(table), -1))

    model, processor = AutoModel.from_pretrained(options.model), AutoProcessor.from_pretrained(options.model)
    with torch.no_grad():
        found = model(**processor.batch({options.by: [options.sentence]}), return_loss=False)
        query = torch.nn.functional.normalize(found.embeds[options.by], dim=-1)[0].numpy()
    search = by_faiss if options.index == "faiss" else by_usearch
    rows, cosines = search(vectors, query, min(options.k, len(vectors)))
    shown = [name for name in table.column_names if not name.endswith("_embedding")]
    for row, cosine in zip(rows.tolist(), cosines.tolist(), strict=True):
        told = {name: table.column(name)[row].as_py() for name in shown}
        print(f"{cosine:.3f}  {told}")


if __name__ == "__main__":
    main()
