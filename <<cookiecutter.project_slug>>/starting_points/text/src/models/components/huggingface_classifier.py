"""A pretrained Hugging Face model with a new head that classifies texts."""

from importlib import import_module
from typing import Any

from torch import Tensor, nn


class HuggingFaceClassifier(nn.Module):
    """Logits of `AutoModelForSequenceClassification`.

    Args:
        name: of the model on the hub, or a folder that holds it.
        num_classes: number of classes.
        lora: train low-rank adapters of all linear layers, and the head, in place of all weights.
        rank: of the adapters.

    Raises:
        ValueError: if it cannot be loaded.
    """

    def __init__(self, name: str, num_classes: int, lora: bool = False, rank: int = 8) -> None:
        super().__init__()
        try:
            models = import_module("transformers").AutoModelForSequenceClassification
            # A head for another number of classes starts anew.
            self.model: Any = models.from_pretrained(
                name, num_labels=num_classes, ignore_mismatched_sizes=True
            )
            if lora:
                self.model = add_adapters(self.model, rank)
            self.model.train()  # it is loaded in evaluation mode, without dropout
        except ImportError as error:
            raise ValueError(f"Install {error.name}: uv pip install -e '.[text]'") from error
        except OSError as error:
            raise ValueError(
                f"The model {name} is neither a folder nor can it be downloaded: "
                "go online once, or train from scratch: model/backbone=transformer"
            ) from error

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Map tokens and their mask, `(B, T)` each, to logits `(B, num_classes)`."""
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits


def add_adapters(model: nn.Module, rank: int) -> Any:
    """Freeze a model and add LoRA adapters.

    Source: E. Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2021.
    """
    peft = import_module("peft")  # an extra
    settings = peft.LoraConfig(
        task_type="SEQ_CLS", r=rank, lora_alpha=2 * rank, target_modules="all-linear"
    )
    return peft.get_peft_model(model, settings)
