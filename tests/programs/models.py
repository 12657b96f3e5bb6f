"""Small networks built from the code of others, each with the loss of one fixed batch. No weights are fetched."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Program = tuple[nn.Module, Callable[[], Tensor]]

TRANSFORMER = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def tokens(*shape: int) -> Tensor:
    return torch.randint(1, 50, shape)


def bert() -> Program:
    """An encoder that classifies."""
    from transformers import BertConfig, BertForSequenceClassification

    model = BertForSequenceClassification(BertConfig(vocab_size=50, max_position_embeddings=32, **TRANSFORMER))
    x, mask, y = tokens(4, 10), torch.ones(4, 10, dtype=torch.int64), torch.tensor([0, 1, 0, 1])
    mask[1, 7:] = 0
    return model, lambda: model(input_ids=x, attention_mask=mask, labels=y).loss


def gpt2() -> Program:
    """A decoder."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2, n_positions=32, bos_token_id=0, eos_token_id=0)
    model, x = GPT2LMHeadModel(config), tokens(4, 10)
    return model, lambda: model(input_ids=x, labels=x).loss


def llama() -> Program:
    """A decoder with RMS norm, rotary positions, gated activations and grouped keys."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(vocab_size=50, num_key_value_heads=1, max_position_embeddings=32, **TRANSFORMER)
    model, x = LlamaForCausalLM(config), tokens(4, 10)
    return model, lambda: model(input_ids=x, labels=x).loss


def t5() -> Program:
    """Encoder and decoder."""
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, decoder_start_token_id=0)
    model, x = T5ForConditionalGeneration(config), tokens(4, 10)
    return model, lambda: model(input_ids=x, labels=x).loss


def mamba() -> Program:
    """A state-space model."""
    from transformers import MambaConfig, MambaForCausalLM

    model = MambaForCausalLM(MambaConfig(vocab_size=50, hidden_size=16, state_size=4, num_hidden_layers=1))
    x = tokens(2, 8)
    return model, lambda: model(input_ids=x, labels=x).loss


def vit() -> Program:
    """A vision transformer."""
    from transformers import ViTConfig, ViTForImageClassification

    model = ViTForImageClassification(ViTConfig(image_size=16, patch_size=4, num_labels=4, **TRANSFORMER))
    x, y = torch.randn(4, 3, 16, 16), torch.arange(4)
    return model, lambda: model(pixel_values=x, labels=y).loss


def resnet() -> Program:
    """Convolutions and batch norm."""
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=4)
    model, x, y = ResNetForImageClassification(config), torch.randn(4, 3, 32, 32), torch.arange(4)
    return model, lambda: F.cross_entropy(model(x).logits, y)


def convnext() -> Program:
    """Depthwise convolutions and layer norm."""
    from transformers import ConvNextConfig, ConvNextForImageClassification

    config = ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, num_labels=4)
    model, x, y = ConvNextForImageClassification(config), torch.randn(4, 3, 32, 32), torch.arange(4)
    return model, lambda: F.cross_entropy(model(x).logits, y)


def wav2vec2() -> Program:
    """Convolutions over time, group norm and weight norm."""
    from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification

    convolutions = {"conv_dim": (8, 8), "conv_stride": (5, 2), "conv_kernel": (10, 3), "num_feat_extract_layers": 2}
    positions = {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    masks = {"apply_spec_augment": False, "classifier_proj_size": 8, "num_labels": 2}
    model = Wav2Vec2ForSequenceClassification(Wav2Vec2Config(**TRANSFORMER, **convolutions, **positions, **masks))
    x, y = torch.randn(2, 400), torch.tensor([0, 1])
    return model, lambda: model(x, labels=y).loss


class Tagger(nn.Module):
    """PyTorch's own LSTM, two layers, both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 8)
        self.lstm = nn.LSTM(8, 12, 2, batch_first=True, bidirectional=True, dropout=0.1)
        self.tags = nn.Linear(24, 50)

    def forward(self, x: Tensor) -> Tensor:
        return self.tags(self.lstm(self.embedding(x))[0])


def lstm() -> Program:
    """A recurrent network."""
    model, x = Tagger(), tokens(4, 7)
    return model, lambda: F.cross_entropy(model(x).flatten(0, 1), x.flatten())


def gru() -> Program:
    """Another."""
    model, x = nn.GRU(6, 8, 2), torch.randn(5, 3, 6)
    return model, lambda: (model(x)[0] - 0.25).square().mean()


def unet() -> Program:
    """A diffusion network that predicts the noise in an image."""
    from diffusers import DDPMScheduler, UNet2DModel

    blocks = {
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    }
    sizes = {"sample_size": 8, "in_channels": 1, "out_channels": 1, "layers_per_block": 1}
    model = UNet2DModel(block_out_channels=(8, 16), norm_num_groups=4, **sizes, **blocks)
    scheduler = DDPMScheduler(num_train_timesteps=100)
    x, noise, t = torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8), torch.tensor([10, 50])
    return model, lambda: F.mse_loss(model(scheduler.add_noise(x, noise, t), t).sample, noise)


def autoencoder() -> Program:
    """A variational autoencoder, without its sampling."""
    from diffusers import AutoencoderKL

    model = AutoencoderKL(in_channels=1, out_channels=1, block_out_channels=(8,), latent_channels=2, norm_num_groups=4)
    x = torch.randn(2, 1, 8, 8)
    return model, lambda: F.mse_loss(model(x).sample, x)


PROGRAMS: dict[str, Callable[[], Program]] = {
    each.__name__: each
    for each in (bert, gpt2, llama, t5, mamba, vit, resnet, convnext, wav2vec2, lstm, gru, unet, autoencoder)
}
