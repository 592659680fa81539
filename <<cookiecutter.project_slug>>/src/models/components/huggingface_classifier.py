"""A pretrained model of the Hugging Face hub, with a new head that classifies texts."""

from importlib import import_module

from torch import Tensor, nn


class HuggingFaceClassifier(nn.Module):
    """Logits of `AutoModelForSequenceClassification`.

    Args:
        name: of the model on the hub, or a folder that holds it.
        num_classes: number of classes.

    Raises:
        ValueError: if it cannot be had.
    """

    def __init__(self, name: str, num_classes: int) -> None:
        super().__init__()
        try:
            models = import_module("transformers").AutoModelForSequenceClassification
            self.model = models.from_pretrained(name, num_labels=num_classes)
        except ImportError as error:
            raise ValueError("Hugging Face needs a package: uv sync --extra text") from error
        except OSError as error:
            raise ValueError(
                f"The model {name} is neither a folder nor can it be downloaded: "
                "go online once, or train from scratch: model/backbone=transformer"
            ) from error

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Map tokens and their mask, `(B, T)` each, to logits `(B, num_classes)`."""
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits
