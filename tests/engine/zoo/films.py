"""Tiny models that make films, of 32 px, and of their sound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers as d
import transformers as t
from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder

from tests.engine import tiny
from tests.engine.zoo.parts import (
    HEADS,
    QWEN_SIZE,
    clip,
    clip_tokenizer,
    flow,
    qwen_tokenizer,
    t5,
    unet,
    vae,
    vision,
    vision_processor,
    words,
)


def _wan_transformer(channels: int = 16, **options: Any) -> Any:
    return d.WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=channels, out_channels=16,
        text_dim=32, freq_dim=256, ffn_dim=32, num_layers=1, cross_attn_norm=True, qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32, **options,
    )  # fmt: skip


def _wan(kind: Any = d.WanPipeline, transformer: Any = None, **parts: Any) -> Any:
    return kind(
        vae=d.AutoencoderKLWan(
            base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
        ),
        scheduler=d.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
        text_encoder=t5(), tokenizer=tiny._t5_tokenizer(), transformer=transformer or _wan_transformer(), **parts,
    )  # fmt: skip


def _wan_two() -> Any:
    """Wan 2.2: one transformer for the noisy steps, another one for the rest."""
    return _wan(transformer_2=_wan_transformer(), boundary_ratio=0.875)


def _wan_image() -> Any:
    return _wan(
        d.WanImageToVideoPipeline, _wan_transformer(36, image_dim=32),
        image_encoder=t.CLIPVisionModelWithProjection(vision()).eval(), image_processor=vision_processor(),
    )  # fmt: skip


def _ltx() -> Any:
    return d.LTXPipeline(
        transformer=d.LTXVideoTransformer3DModel(
            in_channels=8, out_channels=8, patch_size=1, patch_size_t=1, num_attention_heads=4, attention_head_dim=8,
            cross_attention_dim=32, num_layers=1, caption_channels=32,
        ),
        vae=d.AutoencoderKLLTXVideo(
            latent_channels=8, block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(8, 8, 8, 8),
            layers_per_block=(1, 1, 1, 1, 1), decoder_layers_per_block=(1, 1, 1, 1, 1),
            spatio_temporal_scaling=(True, True, False, False),
            decoder_spatio_temporal_scaling=(True, True, False, False),
            decoder_inject_noise=(False, False, False, False, False), upsample_residual=(False,) * 4,
            upsample_factor=(1, 1, 1, 1), timestep_conditioning=False, patch_size=1, patch_size_t=1,
            encoder_causal=True, decoder_causal=False,
        ),
        text_encoder=t5(), tokenizer=tiny._t5_tokenizer(), scheduler=flow(),
    )  # fmt: skip


def _gemma3() -> Any:
    text = {
        "hidden_size": 32, "intermediate_size": 16, "head_dim": 8, "vocab_size": 64, "sliding_window": 64, **HEADS,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 28, "patch_size": 14,
    }  # fmt: skip
    return t.Gemma3ForConditionalGeneration(
        t.Gemma3Config(
            text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=60,
            boi_token_index=61, eoi_token_index=62,
        )
    ).eval()  # fmt: skip


def _ltx2() -> Any:
    """A film and its sound, from two halves of one transformer."""
    connector = {
        f"{half}_connector_{name}": value
        for half in ("video", "audio")
        for name, value in (
            ("num_attention_heads", 4), ("attention_head_dim", 8), ("num_layers", 1),
            ("num_learnable_registers", None),
        )
    }  # fmt: skip
    audio_vae = d.AutoencoderKLLTX2Audio(
        base_channels=4, output_channels=2, ch_mult=(1,), num_res_blocks=1, attn_resolutions=None, in_channels=2,
        resolution=32, latent_channels=2, norm_type="pixel", causality_axis="height", dropout=0.0,
        mid_block_add_attention=False, sample_rate=16000, mel_hop_length=160, is_causal=True, mel_bins=8,
    )  # fmt: skip
    vocoder = LTX2Vocoder(
        in_channels=16, hidden_channels=32, out_channels=2, upsample_kernel_sizes=[16, 40], upsample_factors=[8, 20],
        resnet_kernel_sizes=[3], resnet_dilations=[[1, 3, 5]], leaky_relu_negative_slope=0.1,
        output_sampling_rate=16000,
    )  # fmt: skip
    return d.LTX2Pipeline(
        transformer=d.LTX2VideoTransformer3DModel(
            in_channels=4, out_channels=4, patch_size=1, patch_size_t=1, num_attention_heads=2, attention_head_dim=8,
            cross_attention_dim=16, audio_in_channels=4, audio_out_channels=4, audio_num_attention_heads=2,
            audio_attention_head_dim=4, audio_cross_attention_dim=8, num_layers=1, qk_norm="rms_norm_across_heads",
            caption_channels=32, rope_double_precision=False, rope_type="split",
        ),
        connectors=LTX2TextConnectors(
            caption_channels=32, text_proj_in_factor=3, connector_rope_base_seq_len=32, rope_theta=10000.0,
            rope_double_precision=False, causal_temporal_positioning=False, rope_type="split", **connector,
        ),
        vae=d.AutoencoderKLLTX2Video(
            latent_channels=4, block_out_channels=(8,), decoder_block_out_channels=(8,), layers_per_block=(1,),
            decoder_layers_per_block=(1, 1), spatio_temporal_scaling=(True,), decoder_spatio_temporal_scaling=(True,),
            decoder_inject_noise=(False, False), downsample_type=("spatial",), upsample_residual=(False,),
            upsample_factor=(1,), timestep_conditioning=False, patch_size=1, patch_size_t=1, encoder_causal=True,
            decoder_causal=False,
        ),
        audio_vae=audio_vae, vocoder=vocoder, text_encoder=_gemma3(), tokenizer=words(), scheduler=flow(),
    )  # fmt: skip


def _llama(kind: Any, size: int = 16) -> Any:
    config = t.LlamaConfig(hidden_size=size, intermediate_size=37, vocab_size=64, pad_token_id=0, **HEADS)
    return kind(config).eval()


def _hunyuan_video() -> Any:
    return d.HunyuanVideoPipeline(
        transformer=d.HunyuanVideoTransformer3DModel(
            in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=10, num_layers=1,
            num_single_layers=1, num_refiner_layers=1, patch_size=1, patch_size_t=1, guidance_embeds=True,
            text_embed_dim=16, pooled_projection_dim=32, rope_axes_dim=(2, 4, 4),
        ),
        vae=d.AutoencoderKLHunyuanVideo(
            latent_channels=4, down_block_types=("HunyuanVideoDownBlock3D",) * 4,
            up_block_types=("HunyuanVideoUpBlock3D",) * 4, block_out_channels=(8, 8, 8, 8), layers_per_block=1,
            norm_num_groups=4, spatial_compression_ratio=8, temporal_compression_ratio=4,
        ),
        text_encoder=_llama(t.LlamaModel), tokenizer=words(), text_encoder_2=clip(t.CLIPTextModel, tokens=77),
        tokenizer_2=clip_tokenizer(77), scheduler=flow(shift=7.0),
    )  # fmt: skip


def _hunyuan_video_15() -> Any:
    rope = {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default", "rope_theta": 1e6}
    text = t.Qwen2_5_VLTextConfig(
        hidden_size=16, intermediate_size=16, rope_scaling=rope, vocab_size=QWEN_SIZE, **HEADS
    )
    return d.HunyuanVideo15Pipeline(
        transformer=d.HunyuanVideo15Transformer3DModel(
            in_channels=9, out_channels=4, num_attention_heads=2, attention_head_dim=8, num_layers=1,
            num_refiner_layers=1, mlp_ratio=2.0, patch_size=1, patch_size_t=1, text_embed_dim=16, text_embed_2_dim=32,
            image_embed_dim=12, rope_axes_dim=(2, 2, 4), target_size=16, task_type="t2v",
        ).eval(),
        vae=d.AutoencoderKLHunyuanVideo15(
            latent_channels=4, block_out_channels=(16, 16), layers_per_block=1, spatial_compression_ratio=4,
            temporal_compression_ratio=2, downsample_match_channel=False, upsample_match_channel=False,
        ).eval(),
        text_encoder=t.Qwen2_5_VLTextModel(text).eval(), tokenizer=qwen_tokenizer(), text_encoder_2=_byt5(),
        tokenizer_2=t.ByT5Tokenizer(), scheduler=flow(shift=7.0),
        guider=d.ClassifierFreeGuidance(guidance_scale=1.0),
    )  # fmt: skip


def _byt5() -> Any:
    return t.T5EncoderModel(
        t.T5Config(vocab_size=400, d_model=32, d_kv=8, d_ff=37, num_layers=1, num_heads=4)
    ).eval()


def _cogvideox(kind: Any = d.CogVideoXPipeline, **options: Any) -> Any:
    return kind(
        transformer=d.CogVideoXTransformer3DModel(
            num_attention_heads=2, attention_head_dim=16, out_channels=4, time_embed_dim=2, text_embed_dim=32,
            num_layers=1, sample_width=4, sample_height=4, sample_frames=9, patch_size=2,
            temporal_compression_ratio=4, max_text_seq_length=226, **(options or {"in_channels": 4}),
        ),
        vae=d.AutoencoderKLCogVideoX(
            down_block_types=("CogVideoXDownBlock3D",) * 4, up_block_types=("CogVideoXUpBlock3D",) * 4,
            block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=2,
            temporal_compression_ratio=4,
        ),
        text_encoder=t5(), tokenizer=tiny._t5_tokenizer(), scheduler=d.CogVideoXDDIMScheduler(),
    )  # fmt: skip


def _cogvideox_image() -> Any:
    return _cogvideox(
        d.CogVideoXImageToVideoPipeline, in_channels=8, use_rotary_positional_embeddings=True,
        use_learned_positional_embeddings=True,
    )  # fmt: skip


def _mochi() -> Any:
    transformer = d.MochiTransformer3DModel(
        patch_size=2, num_attention_heads=2, attention_head_dim=8, num_layers=1, pooled_projection_dim=16,
        in_channels=12, qk_norm="rms_norm", text_embed_dim=32, time_embed_dim=4, activation_fn="swiglu",
        max_sequence_length=16,
    )  # fmt: skip
    transformer.pos_frequencies.data.zero_()
    return d.MochiPipeline(
        transformer=transformer, text_encoder=t5(), tokenizer=tiny._t5_tokenizer(), scheduler=flow(),
        vae=d.AutoencoderKLMochi(
            latent_channels=12, out_channels=3, encoder_block_out_channels=(32, 32, 32, 32),
            decoder_block_out_channels=(32, 32, 32, 32), layers_per_block=(1, 1, 1, 1, 1),
        ),
    )  # fmt: skip


def _animatediff() -> Any:
    tokenizer = tiny._clip_tokenizer()
    return d.AnimateDiffPipeline(
        unet=unet(cross_attention_dim=32), vae=vae(), text_encoder=tiny._clip(tokenizer).eval(),
        tokenizer=tokenizer, scheduler=d.DDIMScheduler(clip_sample=False, beta_schedule="linear"),
        motion_adapter=d.MotionAdapter(
            block_out_channels=(8, 16), motion_layers_per_block=1, motion_norm_num_groups=2,
            motion_num_attention_heads=4,
        ),
    )  # fmt: skip


def _svd() -> Any:
    return d.StableVideoDiffusionPipeline(
        unet=d.UNetSpatioTemporalConditionModel(
            block_out_channels=(32, 64), layers_per_block=1, sample_size=8, in_channels=8, out_channels=4,
            down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
            up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"), cross_attention_dim=32,
            num_attention_heads=8, projection_class_embeddings_input_dim=96, addition_time_embed_dim=32,
            num_frames=2,
        ),
        vae=d.AutoencoderKLTemporalDecoder(
            block_out_channels=(32, 32, 32, 32), down_block_types=("DownEncoderBlock2D",) * 4, latent_channels=4
        ),
        image_encoder=t.CLIPVisionModelWithProjection(vision(224)).eval(),
        feature_extractor=vision_processor(224),
        scheduler=d.EulerDiscreteScheduler(
            prediction_type="v_prediction", sigma_max=700.0, sigma_min=0.002, timestep_spacing="leading",
            timestep_type="continuous", use_karras_sigmas=True,
        ),
    )  # fmt: skip


MAKERS: dict[str, Callable[[], Any]] = {
    "WanPipeline": _wan_two,
    "WanImageToVideoPipeline": _wan_image,
    "WanVideoToVideoPipeline": _wan,
    "LTXPipeline": _ltx,
    "LTXImageToVideoPipeline": _ltx,
    "LTX2Pipeline": _ltx2,
    "HunyuanVideoPipeline": _hunyuan_video,
    "HunyuanVideo15Pipeline": _hunyuan_video_15,
    "CogVideoXPipeline": _cogvideox,
    "CogVideoXImageToVideoPipeline": _cogvideox_image,
    "MochiPipeline": _mochi,
    "AnimateDiffPipeline": _animatediff,
    "StableVideoDiffusionPipeline": _svd,
}
