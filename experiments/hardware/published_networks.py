"""The networks of LNS-Madam's energy table, one sample each: ``pip install transformers`` has their code.

ImageNet's size of image, SQuAD's length of text. No weights are needed: on PyTorch's device "meta" none are made.
"""

import torch
import torch.nn.functional as F
from transformers import BertConfig, BertForQuestionAnswering, ResNetConfig, ResNetForImageClassification

TOKENS = 384


def resnet18():
    """Of basic blocks."""
    return _resnet(
        ResNetConfig(layer_type="basic", hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], num_labels=1000)
    )


def resnet50():
    """Of bottlenecks."""
    return _resnet(ResNetConfig(num_labels=1000))


def bert_base():
    """12 layers of 768."""
    return _bert(BertConfig())


def bert_large():
    """24 layers of 1024."""
    return _bert(BertConfig(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096))


def _resnet(config):
    label = torch.zeros(1, dtype=torch.int64)
    return (
        ResNetForImageClassification(config),
        torch.empty(1, 3, 224, 224),
        lambda made: F.cross_entropy(made.logits, label),
    )


def _bert(config):
    place = torch.zeros(1, dtype=torch.int64)
    return (
        BertForQuestionAnswering(config),
        torch.zeros(1, TOKENS, dtype=torch.int64),
        lambda made: F.cross_entropy(made.start_logits, place) + F.cross_entropy(made.end_logits, place),
    )
