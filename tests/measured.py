"""The content of a `metrics.json`: numbers, and a block that describes them as the benchmarks do."""

from hf_latent.evaluation import Measurement
from hf_latent.results import written

# key: (group, unit, chance, headline, short)
KNOWN = {
    "redundancy": ("interactions", "%", 10.0, True, ""),
    "uniqueness1": ("interactions", "%", 10.0, True, ""),
    "uniqueness2": ("interactions", "%", 10.0, True, ""),
    "synergy": ("interactions", "%", 50.0, True, ""),
    "synergy_auroc": ("interactions", "", 0.5, True, ""),
    "zero_shot_top1": ("zero_shot", "%", 2.5, True, "zero_shot"),
    "image_to_text_r1": ("retrieval", "%", 1.5, True, "i2t_r1"),
    "text_to_image_r1": ("retrieval", "%", 1.5, True, "t2i_r1"),
    "probe_texture": ("probes", "%", 13.5, True, ""),
    "probe_texture_full": ("probes", "%", 13.5, True, ""),
    "gap_centroid": ("gap", "", None, True, ""),
    "cka": ("agreement", "", None, True, ""),
    "answer_accuracy": ("answers", "%", 12.5, True, "answer"),
    "answer_accuracy_yes_no": ("answers", "%", 50.0, False, "yes_no"),
    "class_accuracy": ("classes", "%", 50.0, True, "class"),
}
METRIC = {"image_to_text_r1": "recall_at_1", "text_to_image_r1": "recall_at_1", "cka": "cka"}
INFORMATION = {
    **{"zero_shot_top1": "redundant", "probe_texture": "unique", "redundancy": "redundant"},
    **{"uniqueness1": "unique", "uniqueness2": "unique", "synergy": "synergistic", "synergy_auroc": "synergistic"},
}


def measurement(key, value):
    group, unit, chance, headline, short = KNOWN[key]
    options = {"headline": headline, "short": short, "metric": METRIC.get(key, "accuracy")}
    title = key.replace("_", " ").capitalize()
    return Measurement(key, value, title, group, unit, chance, information=INFORMATION.get(key, ""), **options)


def measured(metrics):
    """`metrics`, of which those that are known here are described."""
    found = [measurement(key, value) for key, value in metrics.items() if key in KNOWN]
    return {**metrics, **written(found)}
