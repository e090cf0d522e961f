"""The form of an endpoint, drawn from a pipeline's call."""

from __future__ import annotations

import pytest

from marketplace import schema
from workers.engine import EngineError
from workers.engine.families.diffusers.drawing import draw


def names(pipeline: str, **named: object) -> list[str]:
    return list(draw(pipeline, **named).input["properties"])  # type: ignore[arg-type]


def test_the_form_says_what_the_call_takes_in_the_order_that_people_read() -> None:
    drawn = draw("StableDiffusionXLPipeline")
    schema.check(drawn.input)
    assert list(drawn.input["properties"]) == [
        "prompt",
        "negative_prompt",
        "num_images",
        "width",
        "height",
        "num_inference_steps",
        "guidance_scale",
        "seed",
        "output_format",
    ]
    assert drawn.input["required"] == ["prompt"]
    assert drawn.input["properties"]["num_inference_steps"]["default"] == 50  # as the signature has it
    assert drawn.batch_on == ["guidance_scale", "height", "num_inference_steps", "width"]
    assert (drawn.granularity, drawn.max_batch) == ("step", 8)
    counted = schema.quantities(
        drawn.input,
        schema.clean(drawn.input, {"prompt": "x", "num_images": 2, "width": 1000, "height": 1000}),
    )
    assert (counted["image"], counted["megapixel"], counted["step"]) == (2, 2, 100)


def test_guidance_is_called_what_the_class_calls_it() -> None:
    assert "true_cfg_scale" in names("QwenImagePipeline")
    assert {"min_guidance_scale", "max_guidance_scale"} <= set(names("StableVideoDiffusionPipeline"))
    assert "guidance_scale" not in names("HunyuanVideo15Pipeline")
    assert "negative_prompt" not in names("FluxFillPipeline")
    assert "prompt" not in names("StableVideoDiffusionPipeline")


def test_files_are_file_fields_of_the_right_kind() -> None:
    fill = draw("FluxFillPipeline").input
    assert fill["required"] == ["prompt", "image", "mask_image"]
    assert schema.media_taken(fill) == ["image"]
    edit = draw("Flux2KleinPipeline").input["properties"]["image"]
    assert (edit["type"], edit["minItems"], edit["items"]["x-media"][0]) == ("array", 0, "image/png")
    assert schema.media_taken(draw("WanVideoToVideoPipeline").input) == ["video"]
    assert schema.media_taken(draw("AceStepPipeline").input) == ["audio"]


def test_a_film_is_counted_in_seconds_and_has_only_lengths_that_can_be_made() -> None:
    drawn = draw("WanPipeline").input
    schema.check(drawn)
    frames = drawn["properties"]["num_frames"]
    assert frames["enum"] == [17, 33, 49, 65, 81]
    cleaned = schema.clean(drawn, {"prompt": "x"})
    assert str(schema.quantities(drawn, cleaned)["second"]) == "5.063"
    assert cleaned["fps"] == drawn["properties"]["fps"]["maximum"] == 16


def test_a_sound_is_counted_in_seconds() -> None:
    drawn = draw(
        "StableAudioPipeline", defaults={"audio_end_in_s": 10}, fields={"audio_end_in_s": {"maximum": 47}}
    )
    cleaned = schema.clean(drawn.input, {"prompt": "x", "audio_end_in_s": 47})
    assert schema.quantities(drawn.input, cleaned)["second"] == 47
    assert list(drawn.output["properties"]) == ["audios", "seed"]
    assert schema.media_property(drawn.output) == "audios"


def test_a_manifest_says_what_differs() -> None:
    drawn = draw(
        "FluxPipeline",
        defaults={"num_inference_steps": 4},
        fields={"num_inference_steps": {"maximum": 12, "description": None}},
        hide=["guidance_scale"],
    ).input["properties"]
    steps = drawn["num_inference_steps"]
    assert (steps["default"], steps["maximum"]) == (4, 12)
    assert "description" not in steps
    assert "guidance_scale" not in drawn
    with pytest.raises(EngineError, match="nonsense"):
        draw("FluxPipeline", fields={"nonsense": {"maximum": 1}})
    for unknown in (
        "NoSuchPipeline",
        "AutoencoderKL",
        "KolorsPipeline",
    ):  # the last needs a package that is not here
        with pytest.raises(EngineError, match=unknown):
            draw(unknown)


@pytest.mark.parametrize(
    ("pipeline", "makes", "has"),
    [
        ("AllegroPipeline", "video", "num_frames"),
        ("MusicLDMPipeline", "audio", "audio_length_in_s"),
        ("HunyuanDiTPipeline", "image", "width"),
    ],
)
def test_a_class_that_the_table_does_not_know_is_drawn_by_its_parameters(
    pipeline: str, makes: str, has: str
) -> None:
    drawn = draw(pipeline)
    schema.check(drawn.input)
    assert drawn.makes == makes
    assert has in drawn.input["properties"]
