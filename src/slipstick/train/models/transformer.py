"""A small pre-norm transformer that predicts the next character (the shape of GPT-2, Radford et al. 2019).

The embeddings of characters and of positions are linear layers of one-hot inputs: each is then a matrix product and
nothing else, which every arithmetic and every recipe has.
"""

import torch
import torch.nn.functional as F
from torch import nn

from slipstick.train.config import Transformer

_HIDDEN = 4  # times width, in the feed-forward layers


class CausalAttention(nn.Module):
    """Softmax attention of every position to itself and those before it. Products of activations are no layers."""

    mask: torch.Tensor

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.projection = (nn.Linear(width, width) for _ in range(4))
        later = torch.ones(context, context, dtype=torch.bool).triu(diagonal=1)
        self.register_buffer("mask", later, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        length, width = x.shape[1:]
        mask = self.mask[:length, :length]
        query, key, value = (self._split(layer(x)) for layer in (self.query, self.key, self.value))
        scores = (query * (width // self.heads) ** -0.5) @ key.transpose(1, 2)
        # The second mask is for arithmetics whose smallest number is not zero: exp(-inf) is that number there.
        shares = torch.softmax(scores.masked_fill(mask, -torch.inf), dim=-1).masked_fill(mask, 0.0)
        mixed = (shares @ value).reshape(-1, self.heads, length, width // self.heads)
        y: torch.Tensor = self.projection(mixed.transpose(1, 2).reshape(x.shape))
        return y

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        """(N, T, width) to (N * heads, T, width / heads)."""
        count, length, width = x.shape
        heads = x.reshape(count, length, self.heads, width // self.heads).transpose(1, 2)
        return heads.reshape(count * self.heads, length, width // self.heads)


class Block(nn.Module):
    def __init__(self, width: int, heads: int, context: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = CausalAttention(width, heads, context)
        self.expand, self.contract = nn.Linear(width, _HIDDEN * width), nn.Linear(_HIDDEN * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.dropout(self.attention(self.norm1(x)))
        y: torch.Tensor = x + self.dropout(self.contract(torch.relu(self.expand(self.norm2(x)))))
        return y


class CharacterTransformer(nn.Module):
    """Codes of characters (N, T), T up to the context, to logits (N, T, characters) of what follows each."""

    positions: torch.Tensor

    def __init__(self, model: Transformer, characters: int) -> None:
        super().__init__()
        width, context = model.width, model.context
        self.characters = characters
        self.embedding = nn.Linear(characters, width, bias=False)
        self.position = nn.Linear(context, width, bias=False)
        self.register_buffer("positions", torch.eye(context), persistent=False)
        self.blocks = nn.Sequential(*(Block(width, model.heads, context, model.dropout) for _ in range(model.layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, characters)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        one_hot = F.one_hot(codes, self.characters).to(self.positions.dtype)
        x = self.embedding(one_hot) + self.position(self.positions[: codes.shape[1]])
        y: torch.Tensor = self.head(self.norm(self.blocks(x)))
        return y


def build_transformer(model: Transformer, characters: int) -> nn.Module:
    return CharacterTransformer(model, characters)
