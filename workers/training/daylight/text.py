"""The words' side of the model: a byte-pair tokenizer of its own and a small CLIP text encoder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import cast

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

LENGTH = 32  # tokens of a caption, the two marks included
WIDTH = 128
_START, _END = "<|startoftext|>", "<|endoftext|>"


def build_tokenizer(captions: Iterable[str], *, size: int = 1000) -> CLIPTokenizer:
    """Learns the merges from `captions`; all bytes are in the vocabulary, so no text is unknown."""
    pattern = CLIPTokenizer().backend_tokenizer
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer, learner.pre_tokenizer = pattern.normalizer, pattern.pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
        special_tokens=[_START, _END],
    )
    learner.train_from_iterator(captions, trainer)
    learnt = json.loads(learner.to_str())["model"]
    vocabulary: dict[str, int] = learnt["vocab"]
    for letter in alphabet:
        vocabulary.setdefault(letter + "</w>", len(vocabulary))
    return _make(vocabulary, learnt["merges"])


def tokenizer_text(tokenizer: CLIPTokenizer) -> str:
    """All that `read_tokenizer` needs: learning again would number some of the letters differently."""
    return cast("str", tokenizer.backend_tokenizer.to_str())


def read_tokenizer(text: str) -> CLIPTokenizer:
    learnt = json.loads(text)["model"]
    return _make(learnt["vocab"], learnt["merges"])


def _make(vocabulary: dict[str, int], merges: list[list[str]]) -> CLIPTokenizer:
    make = cast("Callable[..., CLIPTokenizer]", CLIPTokenizer)
    return make(vocab=vocabulary, merges=[tuple(pair) for pair in merges], model_max_length=LENGTH)


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        projection_dim=WIDTH,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = CLIPTextModel(config)
    embeddings = {len(tokenizer): 0.1, LENGTH: 0.02}  # wider than the default: words part sooner
    for weight in model.parameters():
        if weight.ndim == 2 and weight.shape[0] in embeddings:
            torch.nn.init.normal_(weight, std=embeddings[weight.shape[0]])
    return model


def tokens(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    encoded = tokenizer(
        captions, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt"
    )
    return cast("Tensor", encoded.input_ids)
