"""A tiny pipeline of every class in the catalogue: the real class with random weights, in a folder, without a network.

`build(name, folder)` makes the one for the pipeline class `name`; classes that share their parts share a folder's
contents. Pictures and films of 32 px, sounds of a second, a step in milliseconds.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import diffusers as d
import torch
import transformers as t
from diffusers.pipelines.ace_step import AceStepConditionEncoder
from diffusers.pipelines.audioldm2 import AudioLDM2ProjectionModel, AudioLDM2UNet2DConditionModel
from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder
from diffusers.pipelines.shap_e.renderer import ShapERenderer
from diffusers.pipelines.stable_audio import StableAudioProjectionModel
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


def build(name: str, folder: Path) -> Path:
    """The pipeline class `name` in `folder`."""
    torch.manual_seed(0)
    _MAKERS[name]().save_pretrained(folder)
    return folder


def _qwen_tokenizer() -> t.Qwen2Tokenizer:
    """Every byte a token."""
    vocabulary = {char: number for number, char in enumerate(bytes_to_unicode().values())}
    vocabulary |= {token: 256 + number for number, token in enumerate(QWEN_TOKENS)}
    made = t.Qwen2Tokenizer(vocab=vocabulary, merges=[], model_max_length=4096)
    made.add_special_tokens({"additional_special_tokens": list(QWEN_TOKENS[1:])})
    made.chat_template = CHAT
    return made


def _qwen3(kind: Any, size: int = 16, *, layers: int = 2) -> Any:
    return kind(
        t.Qwen3Config(
            hidden_size=size, intermediate_size=16, head_dim=8, vocab_size=QWEN_SIZE,
            max_position_embeddings=4096, **{**HEADS, "num_hidden_layers": layers},
        )
    ).eval()  # fmt: skip


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


def _words() -> Any:
    """Words, each text with a beginning, so that an empty one has a token too."""
    vocabulary = {word: n for n, word in enumerate(["<pad>", "</s>", "<unk>", "<bos>", *tiny.WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 3)])
    return t.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", bos_token="<bos>",
        model_max_length=64,
    )  # fmt: skip


def _clip(kind: Any = t.CLIPTextModelWithProjection, *, tokens: int = tiny.CLIP_TOKENS) -> Any:
    config = tiny._clip(tiny._clip_tokenizer()).config
    config.max_position_embeddings = tokens
    return kind(config).eval()


def _clip_tokenizer(tokens: int = tiny.CLIP_TOKENS) -> Any:
    made = tiny._clip_tokenizer()
    made.model_max_length = tokens
    return made


def _vision(size: int = 32) -> Any:
    return t.CLIPVisionConfig(
        hidden_size=32, projection_dim=32, num_hidden_layers=2, num_attention_heads=2, image_size=size,
        intermediate_size=16, patch_size=size // 4,
    )  # fmt: skip


def _vision_processor(size: int = 32) -> Any:
    return t.CLIPImageProcessor(crop_size=size, size=size)


def _vae(channels: int = 4) -> Any:
    return d.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=channels, norm_num_groups=4, sample_size=32,
        shift_factor=0.1,
    )  # fmt: skip


def _flow(**options: Any) -> Any:
    return d.FlowMatchEulerDiscreteScheduler(**options)


def _t5() -> Any:
    return tiny._t5().eval()


def _gemma(size: int = 8) -> Any:
    return t.Gemma2Model(
        t.Gemma2Config(
            hidden_size=size, intermediate_size=16, head_dim=4, vocab_size=64, sliding_window=64, **HEADS
        )
    ).eval()


def _unet(**options: Any) -> Any:
    return d.UNet2DConditionModel(
        sample_size=4, block_out_channels=(8, 16), layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=8, norm_num_groups=8, **options,
    )  # fmt: skip


def _sdxl() -> Any:
    return d.StableDiffusionXLPipeline(
        unet=_unet(
            cross_attention_dim=64, addition_embed_type="text_time", addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 32, use_linear_projection=True,
        ),
        vae=_vae(), text_encoder=tiny._clip(tiny._clip_tokenizer()).eval(), tokenizer=_clip_tokenizer(),
        text_encoder_2=_clip(), tokenizer_2=_clip_tokenizer(), scheduler=d.EulerDiscreteScheduler(),
        add_watermarker=False,
    )  # fmt: skip


def _sd3() -> Any:
    return d.StableDiffusion3Pipeline(
        transformer=d.SD3Transformer2DModel(
            sample_size=8, patch_size=2, in_channels=4, num_layers=1, attention_head_dim=8, num_attention_heads=4,
            caption_projection_dim=32, joint_attention_dim=64, pooled_projection_dim=64, out_channels=4,
        ),
        vae=_vae(), text_encoder=_clip(), tokenizer=_clip_tokenizer(), text_encoder_2=_clip(),
        tokenizer_2=_clip_tokenizer(), text_encoder_3=_t5_wide(), tokenizer_3=_words(), scheduler=_flow(),
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
        transformer=_flux_transformer(**(options or {"in_channels": 16})), vae=_vae(),
        text_encoder=tiny._clip(tokenizer).eval(), tokenizer=tokenizer, text_encoder_2=_t5(),
        tokenizer_2=tiny._t5_tokenizer(), scheduler=_flow(),
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
        text_encoder=_qwen3(t.Qwen3ForCausalLM, layers=28), tokenizer=_qwen_tokenizer(), scheduler=_flow(),
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
        text_encoder=_qwen_vl(), tokenizer=_qwen_tokenizer(), scheduler=_flow(), **parts,
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
        transformer=transformer, vae=_vae(), text_encoder=_qwen3(t.Qwen3Model), tokenizer=_qwen_tokenizer(),
        scheduler=_flow(),
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
        "tokenizer": _words(),
    }  # fmt: skip


def _sana() -> Any:
    return d.SanaPipeline(**_sana_parts(), scheduler=_flow(shift=7.0))


def _sana_sprint() -> Any:
    parts = _sana_parts(qk_norm="rms_norm_across_heads", guidance_embeds=True)
    return d.SanaSprintPipeline(**parts, scheduler=d.SCMScheduler())


def _pixart() -> Any:
    return d.PixArtSigmaPipeline(
        transformer=d.PixArtTransformer2DModel(
            sample_size=8, num_layers=1, patch_size=2, attention_head_dim=8, num_attention_heads=3,
            caption_channels=32, in_channels=4, cross_attention_dim=24, out_channels=8,
        ),
        vae=_vae(), text_encoder=_t5(), tokenizer=tiny._t5_tokenizer(), scheduler=d.DPMSolverMultistepScheduler(),
    )  # fmt: skip


def _aura_flow() -> Any:
    return d.AuraFlowPipeline(
        transformer=d.AuraFlowTransformer2DModel(
            sample_size=32, patch_size=2, in_channels=4, num_mmdit_layers=1, num_single_dit_layers=1,
            attention_head_dim=8, num_attention_heads=4, caption_projection_dim=32, joint_attention_dim=32,
            out_channels=4, pos_embed_max_size=256,
        ),
        vae=_vae(), scheduler=_flow(), tokenizer=tiny._t5_tokenizer(),
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
        vae=_vae(), text_encoder=_t5(), tokenizer=tiny._t5_tokenizer(), scheduler=_flow(),
    )  # fmt: skip


def _llama(kind: Any, size: int = 16) -> Any:
    config = t.LlamaConfig(hidden_size=size, intermediate_size=37, vocab_size=64, pad_token_id=0, **HEADS)
    return kind(config).eval()


def _lumina2() -> Any:
    return d.Lumina2Pipeline(
        transformer=d.Lumina2Transformer2DModel(
            sample_size=4, patch_size=2, in_channels=4, hidden_size=8, num_layers=1, num_attention_heads=1,
            num_kv_heads=1, multiple_of=16, norm_eps=1e-5, axes_dim_rope=[4, 2, 2], cap_feat_dim=8,
        ),
        vae=_vae(), scheduler=_flow(), text_encoder=_gemma(), tokenizer=_words(),
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
        vae=_vae(), text_encoder=t.GlmModel(config).eval(), tokenizer=_words(),
        scheduler=_flow(
            base_shift=0.25, max_shift=0.75, base_image_seq_len=256, use_dynamic_shifting=True,
            time_shift_type="linear",
        ),
    )  # fmt: skip


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
        text_encoder=_t5(), tokenizer=tiny._t5_tokenizer(), transformer=transformer or _wan_transformer(), **parts,
    )  # fmt: skip


def _wan_two() -> Any:
    """Wan 2.2: one transformer for the noisy steps, another one for the rest."""
    return _wan(transformer_2=_wan_transformer(), boundary_ratio=0.875)


def _wan_image() -> Any:
    return _wan(
        d.WanImageToVideoPipeline, _wan_transformer(36, image_dim=32),
        image_encoder=t.CLIPVisionModelWithProjection(_vision()).eval(), image_processor=_vision_processor(),
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
        text_encoder=_t5(), tokenizer=tiny._t5_tokenizer(), scheduler=_flow(),
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
        audio_vae=audio_vae, vocoder=vocoder, text_encoder=_gemma3(), tokenizer=_words(), scheduler=_flow(),
    )  # fmt: skip


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
        text_encoder=_llama(t.LlamaModel), tokenizer=_words(), text_encoder_2=_clip(t.CLIPTextModel, tokens=77),
        tokenizer_2=_clip_tokenizer(77), scheduler=_flow(shift=7.0),
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
        text_encoder=t.Qwen2_5_VLTextModel(text).eval(), tokenizer=_qwen_tokenizer(), text_encoder_2=_byt5(),
        tokenizer_2=t.ByT5Tokenizer(), scheduler=_flow(shift=7.0),
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
        text_encoder=_t5(), tokenizer=tiny._t5_tokenizer(), scheduler=d.CogVideoXDDIMScheduler(),
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
        transformer=transformer, text_encoder=_t5(), tokenizer=tiny._t5_tokenizer(), scheduler=_flow(),
        vae=d.AutoencoderKLMochi(
            latent_channels=12, out_channels=3, encoder_block_out_channels=(32, 32, 32, 32),
            decoder_block_out_channels=(32, 32, 32, 32), layers_per_block=(1, 1, 1, 1, 1),
        ),
    )  # fmt: skip


def _animatediff() -> Any:
    tokenizer = tiny._clip_tokenizer()
    return d.AnimateDiffPipeline(
        unet=_unet(cross_attention_dim=32), vae=_vae(), text_encoder=tiny._clip(tokenizer).eval(),
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
        image_encoder=t.CLIPVisionModelWithProjection(_vision(224)).eval(),
        feature_extractor=_vision_processor(224),
        scheduler=d.EulerDiscreteScheduler(
            prediction_type="v_prediction", sigma_max=700.0, sigma_min=0.002, timestep_spacing="leading",
            timestep_type="continuous", use_karras_sigmas=True,
        ),
    )  # fmt: skip


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
        vae=_oobleck(3), text_encoder=_t5(), tokenizer=tiny._t5_tokenizer(),
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
        vae=_oobleck(8, 1000), text_encoder=_qwen3(t.Qwen3Model, 32), tokenizer=_qwen_tokenizer(),
        scheduler=_flow(num_train_timesteps=1, shift=1.0),
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
        tokenizer=_roberta(), feature_extractor=t.ClapFeatureExtractor(hop_length=7900), text_encoder_2=_t5(),
        tokenizer_2=_t5_pieces(), language_model=language,
        projection_model=AudioLDM2ProjectionModel(
            text_encoder_dim=16, text_encoder_1_dim=32, langauge_model_dim=16
        ),
        vocoder=vocoder,
    )  # fmt: skip


def _fill_cubes(decoder: Any) -> None:
    """The table of marching cubes comes with the weights. This one has a fan over the edges that leave the solid:
    right for flat faces, which is what a box is made of."""
    corners = [(x, y, z) for z in (0, 1) for y in (0, 1) for x in (0, 1)]
    edges = [
        tuple((*corner[:axis], end, *corner[axis:]) for end in (0, 1))
        for axis in range(3)
        for corner in [(a, b) for b in (0, 1) for a in (0, 1)]
    ]
    for case in range(256):
        full = {corner for number, corner in enumerate(corners) if case >> number & 1}
        cut = [number for number, (one, other) in enumerate(edges) if (one in full) != (other in full)]
        if len(cut) == 4:  # a square around the cube, its corners in turn
            cut[2], cut[3] = cut[3], cut[2]
        for place, triangle in enumerate(pairwise(cut[1:])):
            if place < 5:
                decoder.cases[case, place] = torch.tensor([cut[0], *triangle])
                decoder.masks[case, place] = True


def _shap_e_parts() -> dict[str, Any]:
    renderer = ShapERenderer(
        param_shapes=((8, 93), (8, 8), (8, 8), (8, 8)), d_latent=16, d_hidden=8, n_output=12,
        background=(0.1, 0.1, 0.1),
    )  # fmt: skip
    with torch.no_grad():
        _fill_cubes(renderer.mesh_decoder)
        renderer.mlp.mlp[-1].weight[0] = 0.0
        renderer.mlp.mlp[-1].bias[0] = 1.0  # full everywhere: a mesh is the box around it
    return {
        "prior": d.PriorTransformer(
            num_attention_heads=2, attention_head_dim=16, embedding_dim=16, num_embeddings=32, embedding_proj_dim=32,
            time_embed_dim=64, num_layers=1, clip_embed_dim=32, additional_embeddings=0, time_embed_act_fn="gelu",
            norm_in_type="layer", encoder_hid_proj_type=None, added_emb_type=None, embedding_proj_norm_type="layer",
        ),
        "shap_e_renderer": renderer,
        "scheduler": d.HeunDiscreteScheduler(
            beta_schedule="exp", num_train_timesteps=1024, prediction_type="sample", use_karras_sigmas=True,
            clip_sample=True, clip_sample_range=1.0,
        ),
    }  # fmt: skip


def _shap_e() -> Any:
    return d.ShapEPipeline(**_shap_e_parts(), text_encoder=_clip(), tokenizer=_clip_tokenizer())


def _shap_e_image() -> Any:
    return d.ShapEImg2ImgPipeline(
        **_shap_e_parts(),
        image_encoder=t.CLIPVisionModel(_vision()).eval(),
        image_processor=_vision_processor(),
    )


_MAKERS: dict[str, Callable[[], Any]] = {
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
    "StableAudioPipeline": _stable_audio,
    "AceStepPipeline": _ace_step,
    "AudioLDM2Pipeline": _audioldm2,
    "ShapEPipeline": _shap_e,
    "ShapEImg2ImgPipeline": _shap_e_image,
}
