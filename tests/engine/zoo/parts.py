"""What several tiny models are made of: tokenizers, text encoders, autoencoders."""

from __future__ import annotations

from typing import Any

import diffusers as d
import transformers as t
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers.convert_slow_tokenizer import bytes_to_unicode

from tests.engine import tiny

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}"
    "{{ message['content'] }}{% else %}{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}"
)
QWEN_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>",
)  # fmt: skip
QWEN_SIZE = 256 + len(QWEN_TOKENS)
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 2, "num_hidden_layers": 2}


def qwen_tokenizer() -> t.Qwen2Tokenizer:
    """Every byte a token."""
    vocabulary = {char: number for number, char in enumerate(bytes_to_unicode().values())}
    vocabulary |= {token: 256 + number for number, token in enumerate(QWEN_TOKENS)}
    made = t.Qwen2Tokenizer(vocab=vocabulary, merges=[], model_max_length=4096)
    made.add_special_tokens({"additional_special_tokens": list(QWEN_TOKENS[1:])})
    made.chat_template = CHAT
    return made


def qwen3(kind: Any, size: int = 16, *, layers: int = 2) -> Any:
    return kind(
        t.Qwen3Config(
            hidden_size=size, intermediate_size=16, head_dim=8, vocab_size=QWEN_SIZE,
            max_position_embeddings=4096, **{**HEADS, "num_hidden_layers": layers},
        )
    ).eval()  # fmt: skip


def words() -> Any:
    """Words, each text with a beginning, so that an empty one has a token too."""
    vocabulary = {word: n for n, word in enumerate(["<pad>", "</s>", "<unk>", "<bos>", *tiny.WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 3)])
    return t.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", bos_token="<bos>",
        model_max_length=64,
    )  # fmt: skip


def clip(kind: Any = t.CLIPTextModelWithProjection, *, tokens: int = tiny.CLIP_TOKENS) -> Any:
    config = tiny._clip(tiny._clip_tokenizer()).config
    config.max_position_embeddings = tokens
    return kind(config).eval()


def clip_tokenizer(tokens: int = tiny.CLIP_TOKENS) -> Any:
    made = tiny._clip_tokenizer()
    made.model_max_length = tokens
    return made


def vision(size: int = 32) -> Any:
    return t.CLIPVisionConfig(
        hidden_size=32, projection_dim=32, num_hidden_layers=2, num_attention_heads=2, image_size=size,
        intermediate_size=16, patch_size=size // 4,
    )  # fmt: skip


def vision_processor(size: int = 32) -> Any:
    return t.CLIPImageProcessor(crop_size=size, size=size)


def vae(channels: int = 4) -> Any:
    return d.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=channels, norm_num_groups=4, sample_size=32,
        shift_factor=0.1,
    )  # fmt: skip


def flow(**options: Any) -> Any:
    return d.FlowMatchEulerDiscreteScheduler(**options)


def t5() -> Any:
    return tiny._t5().eval()


def unet(**options: Any) -> Any:
    return d.UNet2DConditionModel(
        sample_size=4, block_out_channels=(8, 16), layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=8, norm_num_groups=8, **options,
    )  # fmt: skip
