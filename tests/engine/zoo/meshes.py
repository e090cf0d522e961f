"""Tiny models that make meshes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import diffusers as d
import torch
import transformers as t
from diffusers.pipelines.shap_e.renderer import ShapERenderer

from tests.engine.zoo.parts import clip, clip_tokenizer, vision, vision_processor


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
    return d.ShapEPipeline(**_shap_e_parts(), text_encoder=clip(), tokenizer=clip_tokenizer())


def _shap_e_image() -> Any:
    return d.ShapEImg2ImgPipeline(
        **_shap_e_parts(),
        image_encoder=t.CLIPVisionModel(vision()).eval(),
        image_processor=vision_processor(),
    )


MAKERS: dict[str, Callable[[], Any]] = {
    "ShapEPipeline": _shap_e,
    "ShapEImg2ImgPipeline": _shap_e_image,
}
