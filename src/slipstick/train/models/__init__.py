"""The networks of the experiments: plain ``nn.Module``s that know nothing of arithmetics."""

from torch import nn

from slipstick.train.config import MLP, VGG, LeNet, Model, ResNet, SmallCNN, Transformer
from slipstick.train.models.lenet import build_lenet
from slipstick.train.models.mlp import build_mlp
from slipstick.train.models.resnet import build_resnet
from slipstick.train.models.small_cnn import build_small_cnn
from slipstick.train.models.transformer import build_transformer
from slipstick.train.models.vgg import build_vgg


def build_model(model: Model, shape: tuple[int, ...], classes: int) -> nn.Module:
    """A network for inputs of ``shape``, which is that of images (channels, height, width) or of text (context,).

    Initialised by PyTorch's defaults.
    """
    if isinstance(model, Transformer):
        return build_transformer(model, classes)
    channels, height, width = shape
    size = (height, width)
    match model:
        case MLP():
            return build_mlp(model, channels * size[0] * size[1], classes)
        case LeNet():
            return build_lenet(channels, size, classes)
        case SmallCNN():
            return build_small_cnn(model, channels, size, classes)
        case VGG():
            return build_vgg(model, channels, size, classes)
        case ResNet():
            return build_resnet(model, channels, classes)


__all__ = [
    "build_lenet",
    "build_mlp",
    "build_model",
    "build_resnet",
    "build_small_cnn",
    "build_transformer",
    "build_vgg",
]
