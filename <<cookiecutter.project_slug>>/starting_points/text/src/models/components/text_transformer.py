"""A small transformer that classifies texts, trained from scratch.

Source: A. Vaswani et al., Attention Is All You Need, 2017, with its layer norms moved in front.
"""

import torch
from torch import Tensor, nn


class TextTransformer(nn.Module):
    """Embeddings of words and positions, transformer layers, and a linear layer on the mean.

    Args:
        vocab_size: numbers that the tokenizer gives.
        num_classes: number of classes.
        max_length: longest text, in tokens.
        width: of the embeddings.
        depth: number of layers.
        heads: of the attention.
        dropout: share of values set to zero while training.
    """

    def __init__(
        self,
        vocab_size: int,
        num_classes: int,
        max_length: int = 128,
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab_size, width, padding_idx=0)
        self.positions = nn.Parameter(torch.randn(max_length, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, num_classes))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Map tokens and their mask, `(B, T)` each, to logits `(B, num_classes)`."""
        hidden = self.words(input_ids) + self.positions[: input_ids.shape[1]]
        mask = attention_mask.bool()
        mask[:, 0] = True  # attention of an empty text must rest somewhere
        hidden = self.layers(hidden, src_key_padding_mask=~mask)
        weights = mask.unsqueeze(2).to(hidden.dtype)
        return self.head((hidden * weights).sum(dim=1) / weights.sum(dim=1))
