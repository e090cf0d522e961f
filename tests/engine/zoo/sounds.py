"""Tiny models that make sounds, of a second."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

import diffusers as d
import torch
import transformers as t
from diffusers.pipelines.ace_step import AceStepConditionEncoder
from diffusers.pipelines.audioldm2 import AudioLDM2ProjectionModel, AudioLDM2UNet2DConditionModel
from diffusers.pipelines.stable_audio import StableAudioProjectionModel

from tests.engine import tiny
from tests.engine.zoo.parts import flow, qwen3, qwen_tokenizer, t5


def _oobleck(channels: int, rate: int = 8000) -> Any:
    return d.AutoencoderOobleck(
        encoder_hidden_size=6, downsampling_ratios=[4, 8], decoder_channels=3, decoder_input_channels=channels,
        audio_channels=2, channel_multiples=[2, 4], sampling_rate=rate,
    )  # fmt: skip


def _stable_audio() -> Any:
    return d.StableAudioPipeline(
        transformer=d.StableAudioDiTModel(
            sample_size=256, in_channels=3, num_layers=1, attention_head_dim=4, num_key_value_attention_heads=2,
            num_attention_heads=2, out_channels=3, cross_attention_dim=4, time_proj_dim=8,
            global_states_input_dim=8, cross_attention_input_dim=4,
        ),
        scheduler=d.EDMDPMSolverMultistepScheduler(
            solver_order=2, prediction_type="v_prediction", sigma_data=1.0, sigma_schedule="exponential"
        ),
        vae=_oobleck(3), text_encoder=t5(), tokenizer=tiny._t5_tokenizer(),
        projection_model=StableAudioProjectionModel(
            text_encoder_dim=32, conditioning_dim=4, min_value=0, max_value=32
        ),
    )  # fmt: skip


def _ace_step() -> Any:
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "rope_theta": 1e4}
    return d.AceStepPipeline(
        transformer=d.AceStepTransformer1DModel(
            hidden_size=32, intermediate_size=64, num_hidden_layers=1, in_channels=24, audio_acoustic_hidden_dim=8,
            patch_size=2, sliding_window=16, **heads,
        ),
        condition_encoder=AceStepConditionEncoder(
            hidden_size=32, intermediate_size=64, text_hidden_dim=32, timbre_hidden_dim=8,
            num_lyric_encoder_hidden_layers=1, num_timbre_encoder_hidden_layers=1, sliding_window=16, **heads,
        ),
        vae=_oobleck(8, 1000), text_encoder=qwen3(t.Qwen3Model, 32), tokenizer=qwen_tokenizer(),
        scheduler=flow(num_train_timesteps=1, shift=1.0),
    )  # fmt: skip


def _roberta() -> Any:
    """By whose class the pipeline knows that it reads the prompt."""
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *string.ascii_lowercase, "Ġ"]
    vocabulary = {name: number for number, name in enumerate(names)}
    return t.RobertaTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def _t5_pieces() -> Any:
    """Likewise."""
    pieces = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", -2.0),
        *((letter, -3.0) for letter in string.ascii_lowercase),
    ]
    return t.T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=77)


def _audioldm2() -> Any:
    text = {
        "hidden_size": 8, "intermediate_size": 37, "num_attention_heads": 1, "num_hidden_layers": 1,
        "vocab_size": 64, "projection_dim": 8, "pad_token_id": 0,
    }  # fmt: skip
    sound = {
        "spec_size": 8, "window_size": 4, "num_mel_bins": 8, "intermediate_size": 37, "depths": [1, 1],
        "num_attention_heads": [1, 1], "num_hidden_layers": 1, "hidden_size": 192, "projection_dim": 8,
        "patch_size": 2, "patch_stride": 2, "patch_embed_input_channels": 4,
    }  # fmt: skip
    language = t.GPT2LMHeadModel(
        t.GPT2Config(n_embd=16, n_head=1, n_layer=1, vocab_size=64, n_positions=99)
    ).eval()
    language.config.max_new_tokens = 8
    vocoder = t.SpeechT5HifiGan(
        t.SpeechT5HifiGanConfig(
            model_in_dim=8, sampling_rate=16000, upsample_initial_channel=16, upsample_rates=[8, 20],
            upsample_kernel_sizes=[16, 40], resblock_kernel_sizes=[3, 7],
            resblock_dilation_sizes=[[1, 3, 5], [1, 3, 5]], normalize_before=False,
        )
    ).eval()  # fmt: skip
    with torch.no_grad():
        vocoder.conv_post.weight *= 1000  # as it was drawn, nobody would hear it
    return d.AudioLDM2Pipeline(
        unet=AudioLDM2UNet2DConditionModel(
            block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=8, sample_size=32, in_channels=4,
            out_channels=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=(8, 16),
        ),
        scheduler=d.DDIMScheduler(clip_sample=False, set_alpha_to_one=False),
        vae=d.AutoencoderKL(
            block_out_channels=[8, 16], in_channels=1, out_channels=1, norm_num_groups=8, latent_channels=4,
            down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
        ),
        text_encoder=t.ClapModel(t.ClapConfig(text_config=text, audio_config=sound, projection_dim=16)).eval(),
        tokenizer=_roberta(), feature_extractor=t.ClapFeatureExtractor(hop_length=7900), text_encoder_2=t5(),
        tokenizer_2=_t5_pieces(), language_model=language,
        projection_model=AudioLDM2ProjectionModel(
            text_encoder_dim=16, text_encoder_1_dim=32, langauge_model_dim=16
        ),
        vocoder=vocoder,
    )  # fmt: skip


MAKERS: dict[str, Callable[[], Any]] = {
    "StableAudioPipeline": _stable_audio,
    "AceStepPipeline": _ace_step,
    "AudioLDM2Pipeline": _audioldm2,
}
