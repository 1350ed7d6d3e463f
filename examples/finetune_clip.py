"""Fine-tune an image tower and a text tower on your own pictures and captions, with two regularizers.

A part of the pictures is not trained on: training ends when their loss no longer falls, with the best checkpoint.

    python examples/finetune_clip.py pictures/ --image google/vit-base-patch16-224-in21k --text bert-base-uncased

`pictures/` holds images and a `metadata.csv` with the columns `file_name` and `text`.
"""

import argparse

from datasets import load_dataset
from transformers import AutoImageProcessor, AutoTokenizer, EarlyStoppingCallback

from hf_latent import LatentCLIP, LatentCLIPProcessor, LatentTrainer, LatentTrainingArguments, Views, build_view


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", help="a folder of images with a metadata.csv")
    parser.add_argument("--image", default="google/vit-base-patch16-224-in21k", help="checkpoint of the image tower")
    parser.add_argument("--text", default="bert-base-uncased", help="checkpoint of the text tower")
    parser.add_argument("--batch", type=int, default=256, help="rows that are contrasted with each other")
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--validation", type=float, default=0.1, help="share of the pictures that is not trained on")
    parser.add_argument("--output", default="outputs/finetuned")
    parser.add_argument("--push", metavar="USER/NAME", help="push the result to the Hub")
    options = parser.parse_args()

    rows = load_dataset("imagefolder", data_dir=options.pictures, split="train")
    rows = rows.train_test_split(options.validation, seed=0)

    # Two pretrained towers, new projections. The regularizers need a second view of each image, which the views below
    # give.
    model = LatentCLIP.from_vision_text_pretrained(
        options.image,
        options.text,
        projection_dim=256,
        regularizers={
            "brownian_bridge": {"weight": 0.3},
            "geometric_consistency": {"weight": 0.1, "augmented": False},
        },
    )
    # The image tower sees pictures as it was trained on them: resized, cropped and normalised by its own processor.
    image_processor = AutoImageProcessor.from_pretrained(options.image, backend="pil")
    processor = LatentCLIPProcessor(image_processor, AutoTokenizer.from_pretrained(options.text))
    pixels = {key: value for key, value in processor.modalities["image"].items() if key != "kind"}
    views = Views({"image": build_view("image", **pixels), "text": build_view("none")})

    arguments = LatentTrainingArguments(
        options.output,
        global_batch_size=options.batch,
        num_train_epochs=options.epochs,
        learning_rate=1e-5,
        warmup_steps=0.1,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
    )
    trainer = LatentTrainer(
        model,
        arguments,
        train_dataset=rows["train"],
        eval_dataset=rows["test"],
        processing_class=processor,
        views=views,
        callbacks=[EarlyStoppingCallback(early_stopping_patience=3)],
    )
    trainer.train()
    trainer.save_model()

    if options.push:
        model.push_to_hub(options.push)
        processor.push_to_hub(options.push)


if __name__ == "__main__":  # each worker of a data loader imports this file on Windows and macOS
    main()
