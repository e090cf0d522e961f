"""Tiny models that make pictures, of 32 px."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers as d
import torch
import transformers as t

from tests.engine import tiny
from tests.engine.zoo.parts import (
    HEADS,
    QWEN_SIZE,
    QWEN_TOKENS,
    clip,
    clip_tokenizer,
    flow,
    qwen3,
    qwen_tokenizer,
    t5,
    unet,
    vae,
    words,
)


def _qwen_vl() -> Any:
    rope = {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default", "rope_theta": 1e6}
    ids = {token: 256 + number for number, token in enumerate(QWEN_TOKENS)}
    return t.Qwen2_5_VLForConditionalGeneration(
        t.Qwen2_5_VLConfig(
            text_config={
                "hidden_size": 16, "intermediate_size": 16, "rope_scaling": rope, "vocab_size": QWEN_SIZE,
                "bos_token_id": 256, "eos_token_id": 258, "pad_token_id": 256, **HEADS,
            },
            vision_config={
                "depth": 2, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16,
            },
            image_token_id=ids["<|image_pad|>"],
            video_token_id=ids["<|video_pad|>"],
            vision_start_token_id=ids["<|vision_start|>"],
            vision_end_token_id=ids["<|vision_end|>"],
        )
    ).eval()  # fmt: skip


def _gemma(size: int = 8) -> Any:
    return t.Gemma2Model(
        t.Gemma2Config(
            hidden_size=size, intermediate_size=16, head_dim=4, vocab_size=64, sliding_window=64, **HEADS
        )
    ).eval()


def _sdxl() -> Any:
    return d.StableDiffusionXLPipeline(
        unet=unet(
            cross_attention_dim=64, addition_embed_type="text_time", addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 32, use_linear_projection=True,
        ),
        vae=vae(), text_encoder=tiny._clip(tiny._clip_tokenizer()).eval(), tokenizer=clip_tokenizer(),
        text_encoder_2=clip(), tokenizer_2=clip_tokenizer(), scheduler=d.EulerDiscreteScheduler(),
        add_watermarker=False,
    )  # fmt: skip


def _sd3() -> Any:
    return d.StableDiffusion3Pipeline(
        transformer=d.SD3Transformer2DModel(
            sample_size=8, patch_size=2, in_channels=4, num_layers=1, attention_head_dim=8, num_attention_heads=4,
            caption_projection_dim=32, joint_attention_dim=64, pooled_projection_dim=64, out_channels=4,
        ),
        vae=vae(), text_encoder=clip(), tokenizer=clip_tokenizer(), text_encoder_2=clip(),
        tokenizer_2=clip_tokenizer(), text_encoder_3=_t5_wide(), tokenizer_3=words(), scheduler=flow(),
    )  # fmt: skip


def _t5_wide() -> Any:
    """As wide as two CLIPs side by side."""
    return t.T5EncoderModel(
        t.T5Config(vocab_size=32, d_model=64, d_kv=8, d_ff=37, num_layers=1, num_heads=4)
    ).eval()


def _flux_transformer(**options: Any) -> Any:
    return d.FluxTransformer2DModel(
        patch_size=1, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=[4, 4, 8], guidance_embeds=True, **options,
    )  # fmt: skip


def _flux(kind: Any = d.FluxPipeline, **options: Any) -> Any:
    tokenizer = tiny._clip_tokenizer()
    return kind(
        transformer=_flux_transformer(**(options or {"in_channels": 16})), vae=vae(),
        text_encoder=tiny._clip(tokenizer).eval(), tokenizer=tokenizer, text_encoder_2=t5(),
        tokenizer_2=tiny._t5_tokenizer(), scheduler=flow(),
    )  # fmt: skip


def _flux_fill() -> Any:
    # Latents, the latents of what is kept, and the mask, whose pixels lie 8 x 8 in each latent.
    return _flux(d.FluxFillPipeline, in_channels=16 + 16 + 4 * 64, out_channels=16)


def _flux2_klein() -> Any:
    return d.Flux2KleinPipeline(
        transformer=d.Flux2Transformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=48, axes_dims_rope=[4, 4, 4, 4], guidance_embeds=False,
        ),
        vae=d.AutoencoderKLFlux2(
            block_out_channels=(8, 8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, norm_num_groups=4, sample_size=32,
        ),
        text_encoder=qwen3(t.Qwen3ForCausalLM, layers=28), tokenizer=qwen_tokenizer(), scheduler=flow(),
        is_distilled=True,
    )  # fmt: skip


def _qwen_image(kind: Any = d.QwenImagePipeline, **parts: Any) -> Any:
    return kind(
        transformer=d.QwenImageTransformer2DModel(
            patch_size=2, in_channels=16, out_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=3,
            joint_attention_dim=16, guidance_embeds=False, axes_dims_rope=(8, 4, 4),
        ),
        vae=d.AutoencoderKLQwenImage(
            base_dim=8, z_dim=4, dim_mult=[1, 2, 4, 4], num_res_blocks=1, temperal_downsample=[False, True, True],
            latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
        ),
        text_encoder=_qwen_vl(), tokenizer=qwen_tokenizer(), scheduler=flow(), **parts,
    )  # fmt: skip


def _z_image() -> Any:
    transformer = d.ZImageTransformer2DModel(
        all_patch_size=(2,), all_f_patch_size=(1,), in_channels=4, dim=32, n_layers=1, n_refiner_layers=1, n_heads=2,
        n_kv_heads=2, norm_eps=1e-5, qk_norm=True, cap_feat_dim=16, rope_theta=256.0, t_scale=1000.0,
        axes_dims=[8, 4, 4], axes_lens=[256, 32, 32],
    )  # fmt: skip
    with torch.no_grad():  # which the library leaves as the memory was
        transformer.x_pad_token.fill_(1.0)
        transformer.cap_pad_token.fill_(1.0)
    return d.ZImagePipeline(
        transformer=transformer, vae=vae(), text_encoder=qwen3(t.Qwen3Model), tokenizer=qwen_tokenizer(),
        scheduler=flow(),
    )  # fmt: skip


def _sana_parts(**options: Any) -> dict[str, Any]:
    return {
        "transformer": d.SanaTransformer2DModel(
            patch_size=1, in_channels=4, out_channels=4, num_layers=1, num_attention_heads=2, attention_head_dim=4,
            num_cross_attention_heads=2, cross_attention_head_dim=4, cross_attention_dim=8, caption_channels=8,
            sample_size=8, **options,
        ),
        "vae": d.AutoencoderDC(
            in_channels=3, latent_channels=4, attention_head_dim=2, encoder_block_types=("ResBlock",) * 3,
            decoder_block_types=("ResBlock",) * 3, encoder_block_out_channels=(8, 8, 8),
            decoder_block_out_channels=(8, 8, 8), encoder_qkv_multiscales=((), (), ()),
            decoder_qkv_multiscales=((), (), ()), encoder_layers_per_block=(1, 1, 1),
            decoder_layers_per_block=(1, 1, 1), downsample_block_type="conv", upsample_block_type="interpolate",
            decoder_norm_types="rms_norm", decoder_act_fns="silu", scaling_factor=0.41407,
        ),
        "text_encoder": _gemma(),
        "tokenizer": words(),
    }  # fmt: skip


def _sana() -> Any:
    return d.SanaPipeline(**_sana_parts(), scheduler=flow(shift=7.0))


def _sana_sprint() -> Any:
    parts = _sana_parts(qk_norm="rms_norm_across_heads", guidance_embeds=True)
    return d.SanaSprintPipeline(**parts, scheduler=d.SCMScheduler())


def _pixart() -> Any:
    return d.PixArtSigmaPipeline(
        transformer=d.PixArtTransformer2DModel(
            sample_size=8, num_layers=1, patch_size=2, attention_head_dim=8, num_attention_heads=3,
            caption_channels=32, in_channels=4, cross_attention_dim=24, out_channels=8,
        ),
        vae=vae(), text_encoder=t5(), tokenizer=tiny._t5_tokenizer(), scheduler=d.DPMSolverMultistepScheduler(),
    )  # fmt: skip


def _aura_flow() -> Any:
    return d.AuraFlowPipeline(
        transformer=d.AuraFlowTransformer2DModel(
            sample_size=32, patch_size=2, in_channels=4, num_mmdit_layers=1, num_single_dit_layers=1,
            attention_head_dim=8, num_attention_heads=4, caption_projection_dim=32, joint_attention_dim=32,
            out_channels=4, pos_embed_max_size=256,
        ),
        vae=vae(), scheduler=flow(), tokenizer=tiny._t5_tokenizer(),
        text_encoder=t.UMT5EncoderModel(
            t.UMT5Config(vocab_size=32, d_model=32, d_kv=8, d_ff=37, num_layers=1, num_heads=4)
        ).eval(),
    )  # fmt: skip


def _chroma() -> Any:
    return d.ChromaPipeline(
        transformer=d.ChromaTransformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=32, axes_dims_rope=[4, 4, 8], approximator_hidden_dim=32,
            approximator_layers=1, approximator_num_channels=16,
        ),
        vae=vae(), text_encoder=t5(), tokenizer=tiny._t5_tokenizer(), scheduler=flow(),
    )  # fmt: skip


def _lumina2() -> Any:
    return d.Lumina2Pipeline(
        transformer=d.Lumina2Transformer2DModel(
            sample_size=4, patch_size=2, in_channels=4, hidden_size=8, num_layers=1, num_attention_heads=1,
            num_kv_heads=1, multiple_of=16, norm_eps=1e-5, axes_dim_rope=[4, 2, 2], cap_feat_dim=8,
        ),
        vae=vae(), scheduler=flow(), text_encoder=_gemma(), tokenizer=words(),
    )  # fmt: skip


def _cogview4() -> Any:
    config = t.GlmConfig(
        hidden_size=32, intermediate_size=8, head_dim=8, vocab_size=64, pad_token_id=0, **HEADS
    )
    return d.CogView4Pipeline(
        transformer=d.CogView4Transformer2DModel(
            patch_size=2, in_channels=4, num_layers=1, attention_head_dim=4, num_attention_heads=4, out_channels=4,
            text_embed_dim=32, time_embed_dim=8, condition_dim=4,
        ),
        vae=vae(), text_encoder=t.GlmModel(config).eval(), tokenizer=words(),
        scheduler=flow(
            base_shift=0.25, max_shift=0.75, base_image_seq_len=256, use_dynamic_shifting=True,
            time_shift_type="linear",
        ),
    )  # fmt: skip


MAKERS: dict[str, Callable[[], Any]] = {
    "StableDiffusionXLPipeline": _sdxl,
    "StableDiffusionXLImg2ImgPipeline": _sdxl,
    "StableDiffusionXLInpaintPipeline": _sdxl,
    "StableDiffusion3Pipeline": _sd3,
    "FluxPipeline": _flux,
    "FluxImg2ImgPipeline": _flux,
    "FluxKontextPipeline": lambda: _flux(d.FluxKontextPipeline),
    "FluxFillPipeline": _flux_fill,
    "Flux2KleinPipeline": _flux2_klein,
    "QwenImagePipeline": _qwen_image,
    "ZImagePipeline": _z_image,
    "SanaPipeline": _sana,
    "SanaSprintPipeline": _sana_sprint,
    "PixArtSigmaPipeline": _pixart,
    "AuraFlowPipeline": _aura_flow,
    "ChromaPipeline": _chroma,
    "Lumina2Pipeline": _lumina2,
    "CogView4Pipeline": _cogview4,
}
