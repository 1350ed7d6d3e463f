"""LatentALBEF with two images: is a statement about them true?"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from torch import Tensor, nn
from transformers.masking_utils import create_bidirectional_mask

from .albef_layers import CrossAttentionLayer
from .modeling_latent_albef_classification import PairClassifier, SupervisedClassifier

IMAGES = 2


class TwoImageClassifier(PairClassifier):
    """The fusion with each of its layers doubled, and a head of classes.

    Of the two blocks of a layer the first, `fusion.layer[i]`, attends to image 0, and the second, `second_layer[i]`,
    to image 1. Their cross-attentions share the projections of keys and values. The second begins as the first.
    """

    def build(self) -> None:
        super().build()
        self.second_layer = nn.ModuleList(CrossAttentionLayer(self.bert.config) for _ in self.fusion.layer)
        for blocks in zip(self.fusion.layer, self.second_layer, strict=True):
            first, second = (cast(Any, block).crossattention.self for block in blocks)
            second.tie_projections(first)

    def initialized_from(self) -> Iterable[tuple[Tensor, Tensor]]:
        """Those of the second blocks, each with that of the first."""
        first = dict(self.fusion.layer.named_parameters())
        return [(copy, first[name]) for name, copy in self.second_layer.named_parameters()]

    def fuse(self, pixel_values: Tensor, text: Mapping[str, Tensor]) -> Tensor:
        """As in the base class, from `(batch, 2, 3, height, width)`."""
        self.check_images(pixel_values, text)
        tokens = self.fusion.image_tokens(self.encoders["image"](pixel_values=pixel_values.flatten(0, 1)))
        of_image = tokens.unflatten(0, (-1, IMAGES)).unbind(1)
        words = self.encoders["text"](**text)
        hidden = words.tokens
        mask = create_bidirectional_mask(self.bert.config, hidden, words.attention_mask)
        for blocks in zip(self.fusion.layer, self.second_layer, strict=True):
            for block, seen in zip(blocks, of_image, strict=True):
                hidden = block(hidden, seen, mask)
        return hidden

    def check_images(self, pixel_values: Tensor, text: Mapping[str, Tensor]) -> None:
        texts = len(text["input_ids"])
        if pixel_values.ndim != 5 or pixel_values.shape[:2] != (texts, IMAGES):
            raise ValueError(
                f"pixel_values {tuple(pixel_values.shape)} with {texts} texts: this model reads {IMAGES} images a "
                f"text, ({texts}, {IMAGES}, 3, height, width)"
            )


class LatentALBEFForNaturalLanguageVisualReasoning(SupervisedClassifier, TwoImageClassifier):
    """A [`LatentALBEFModel`] that says whether a sentence about two images is true.

    `pixel_values` are `(batch, 2, 3, height, width)`; both images go through the image encoder in one call.

    It starts from a pre-trained model by `from_pretrained`: each layer of the fusion is doubled. The paper trains one
    epoch of text assignment in between: the same class with `num_labels=3`, which says whether a caption belongs to
    image 0, to image 1 or to neither. From there to two labels, `ignore_mismatched_sizes=True` replaces the last layer
    of the head.

    Source: Li et al., NeurIPS 2021, section 5 and figure 4. The official code tells text assignment with one linear
    layer; here it is the same perceptron.
    """

    teacher_class = TwoImageClassifier


LatentALBEFForNaturalLanguageVisualReasoning.register_for_auto_class("AutoModelForSequenceClassification")
