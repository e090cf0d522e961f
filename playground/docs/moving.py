"""The guide for who moves here: what is called how, what is better, what is said aloud, and what is not there.

`code` in backticks. Each line names the tests that show it, from `tests/` on; `tests/test_docs.py` looks for them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Said:
    """One thing: whose (empty: everybody's), what it is there, what it is here."""

    whose: str
    there: str
    here: str
    proofs: tuple[str, ...]


_REPLICATE = "clients/replicate/test_http.py::test_"
_REPLICATE_EDGE = "clients/replicate/test_edge.py::test_"
_REPLICATE_CLIENTS = tuple(
    f"clients/replicate/test_clients.py::test_{name}"
    for name in ("version_1_for_python", "version_2_for_python", "javascript")
)
_FAL = "clients/fal/test_runs.py::test_"
_FAL_CLIENTS = (
    "clients/fal/test_clients.py::test_python_with_its_constants_pointed_here",
    "clients/fal/test_clients.py::test_javascript",
)
_PLATFORM = "clients/fal/platform/test_platform.py::test_"
_OPENAI = "clients/openai/test_clients.py::test_"
_OPENAI_VIEWS = "clients/openai/test_views.py::test_"
_HF = "clients/huggingface/test_shapes.py::test_"
_WORDS = "facades/test_words.py::test_"
_SPOKEN = "facades/test_spoken.py::test_"

MAPS = (
    Said(
        "Replicate",
        "`owner/name`, with a version or as a version’s id alone",
        "`publisher/name` and its versions; `:latest` is the one that the model has by default.",
        (f"{_REPLICATE}every_way_to_name_what_runs",),
    ),
    Said(
        "Replicate",
        "`num_outputs`, `go_fast` …",
        "The model’s own fields, also by the names that models there give them (`num_outputs` is `num_images`).",
        (f"{_REPLICATE}what_a_client_sends_as_a_habit_is_said_in_the_log",),
    ),
    Said(
        "Replicate",
        "`Cancel-After`",
        "From 5 s to 24 h; what has not ended by then is canceled.",
        (f"{_REPLICATE}a_run_that_is_given_a_time", f"{_REPLICATE}a_time_that_cannot_be_given"),
    ),
    Said(
        "Replicate",
        "files",
        "Uploads of your workspace, which expire; the address of a file is an input for yourself alone.",
        (
            f"{_REPLICATE}a_file_of_ones_own_is_an_input",
            f"{_REPLICATE}files_are_listed_described_and_deleted",
            f"{_REPLICATE}nobody_sees_the_runs_and_files_of_others",
        ),
    ),
    Said(
        "Replicate",
        "`urls.stream`",
        "The log as it grows, and the files when they are there; whoever has the address may follow. `Last-Event-ID` "
        "goes on where a connection ended, and nothing is told twice.",
        (
            f"{_REPLICATE_EDGE}a_run_is_followed_without_a_key",
            f"{_REPLICATE_EDGE}who_comes_back_to_a_stream_misses_nothing",
        ),
    ),
    Said(
        "Replicate",
        "collections, hardware",
        "A collection for each task; as hardware the lanes that engines serve at present.",
        (f"{_REPLICATE}what_lies_around", *_REPLICATE_CLIENTS),
    ),
    Said("fal", "app", "`publisher/name`.", (f"{_FAL}a_run_is_answered_with_what_it_made", *_FAL_CLIENTS)),
    Said(
        "fal",
        "`image_size`, `loras`",
        "`width` and `height` of the model, and its adapters.",
        (f"{_WORDS}pictures",),
    ),
    Said(
        "fal",
        "priority, start timeout",
        "`low` is one here too; what does not start in time ends with 504 and `request_timeout`.",
        (f"{_FAL}what_beside_the_input_is_wished_for_is_done", *_FAL_CLIENTS),
    ),
    Said(
        "fal",
        "`X-Fal-Store-IO: 0`, lifecycle",
        "The input is forgotten when the run ends; its media expire when you say.",
        (f"{_FAL}what_beside_the_input_is_wished_for_is_done",),
    ),
    Said(
        "fal",
        "`X-Fal-Billable-Units`",
        "How many units of the model’s price a run was charged for; 0 for one that failed.",
        (
            f"{_FAL}a_request_of_the_queue_from_its_start_to_its_result",
            "clients/fal/test_shapes.py::test_a_result_says_how_many_units_were_charged",
        ),
    ),
    Said(
        "fal",
        "realtime",
        "Each message is a run, answered in the order of the messages.",
        ("clients/fal/test_realtime.py::test_each_message_is_one_run_answered_in_order",),
    ),
    Said(
        "fal",
        "`api.fal.ai/v1`",
        "At `/fal/v1`: models with their OpenAPI, prices, estimates, usage, analytics, requests, also by the words of "
        "their prompts, keys, and signed addresses of files.",
        (
            f"{_PLATFORM}models_are_listed_page_by_page",
            f"{_PLATFORM}the_document_of_an_app_keeps_to_openapi_and_orders_its_fields",
            f"{_PLATFORM}prices_and_estimates",
            f"{_PLATFORM}usage_says_what_was_charged_and_to_whom",
            f"{_PLATFORM}analytics_count_and_measure",
            f"{_PLATFORM}requests_by_endpoint",
            f"{_PLATFORM}requests_are_found_by_their_words_or_all_of_them",
            f"{_PLATFORM}keys_are_made_listed_and_ended",
            f"{_PLATFORM}a_file_is_open_to_its_address_and_may_have_one_that_ends_sooner",
        ),
    ),
    Said("OpenAI", "`model`", "`publisher/name`, as `models.list()` has it.", (f"{_OPENAI}models",)),
    Said(
        "OpenAI",
        "`n`, `size`",
        "The model’s own; whatever else it takes goes into `extra_body`.",
        (f"{_OPENAI}pictures",),
    ),
    Said(
        "OpenAI",
        "`response_format`",
        "Without it an answer has both, `b64_json` and `url`.",
        ("clients/openai/test_shapes.py::test_pictures_are_there_in_both_forms_unless_one_is_asked_for",),
    ),
    Said(
        "OpenAI",
        "`mask`",
        "As there: what is transparent is drawn anew.",
        (f"{_OPENAI}edits", f"{_OPENAI_VIEWS}a_hole_is_a_mask"),
    ),
    Said(
        "OpenAI",
        "videos",
        "Jobs, as there. A remix is the same film, its seed too, with another prompt. An edit is made by a model that "
        "takes films, an extension by one whose task is `video-extension`: the one that made the film, or another, "
        "named as `model` in `extra_body`.",
        (
            f"{_OPENAI}films",
            f"{_OPENAI_VIEWS}a_remix_is_the_film_but_for_the_words",
            f"{_OPENAI_VIEWS}a_film_is_made_of_a_film_by_a_model_that_takes_one",
            f"{_OPENAI_VIEWS}a_film_is_extended_by_a_model_that_is_for_it",
        ),
    ),
    Said(
        "Hugging Face",
        "provider, model",
        "The address of one model; or its name, and one of the providers whose protocols are spoken here: "
        "`hf-inference`, `fal-ai`, `replicate`.",
        (
            "clients/huggingface/test_clients.py::test_python",
            "clients/huggingface/test_clients.py::test_javascript",
            "clients/huggingface/test_clients.py::test_python_by_provider",
            "clients/huggingface/test_clients.py::test_javascript_by_provider",
            f"{_HF}the_hub_says_which_providers_have_a_model",
        ),
    ),
    Said(
        "Hugging Face",
        "`inputs`, `parameters`",
        "The prompt or the file, and the model’s own fields.",
        (f"{_HF}words_become_a_run", f"{_HF}a_picture_becomes_a_run_however_it_is_sent"),
    ),
)

BETTER = (
    Said(
        "",
        "",
        "Each run is one of yours like any other: `X-Vitrine-Prediction` in the answer is its id, on its page and in "
        "`/api/v1`.",
        (
            f"{_SPOKEN}a_run_is_taken_in_translated_and_shown",
            f"{_OPENAI_VIEWS}a_request_is_a_run_of_ours",
        ),
    ),
    Said(
        "",
        "",
        "What a client sends again by itself, because it heard nothing, is one run and one charge; the same words "
        "asked for twice are two.",
        (
            f"{_FAL}what_a_client_sends_again_because_it_heard_nothing_makes_one_run",
            f"{_OPENAI_VIEWS}what_a_client_sends_again_is_one_run",
            f"{_REPLICATE_EDGE}a_client_that_sends_its_request_again_gets_the_first_run",
        ),
    ),
    Said(
        "",
        "",
        "An answer is on its way before a client of Replicate’s or OpenAI’s stops listening, or a `run` of fal’s. "
        "What takes longer goes on, and its result is there for who asks again.",
        (
            f"{_REPLICATE_EDGE}a_wait_ends_before_the_client_stops_listening",
            "clients/test_waiting.py::test_who_cannot_be_held_longer_is_asked_to_come_again",
            f"{_FAL}a_run_that_takes_too_long_goes_on_and_says_where",
        ),
    ),
    Said(
        "",
        "",
        "fal’s `stream` and OpenAI’s `partial_images` show the picture as it forms.",
        (*_FAL_CLIENTS, f"{_OPENAI}a_picture_that_grows"),
    ),
    Said(
        "",
        "",
        "What is wrong with an input is told by the names that you sent, all of it at once, in the error classes of "
        "your client.",
        (
            f"{_SPOKEN}what_is_wrong_is_told_in_the_callers_words_and_the_protocols_shape",
            *_FAL_CLIENTS,
            *_REPLICATE_CLIENTS,
            f"{_OPENAI}errors",
            f"{_FAL}what_cannot_be_run_is_refused_in_fals_words",
        ),
    ),
)

IGNORED = Said(
    "",
    "",
    "What clients send as a habit and what changes nothing is ignored, and never in silence: `X-Vitrine-Ignored` of "
    "the answer names it, and the log of the run, where the protocol has one, says why. So it is with `user` (OpenAI), "
    "`go_fast` (Replicate), `enable_safety_checker` and `X-Fal-No-Retry` (fal), a `negative_prompt` that the model "
    "does not have, and with fields that it does not know at all. A preset such as `square_hd` that is larger than the "
    "model draws becomes a smaller one of the same shape, and is named too.",
    (
        f"{_OPENAI}pictures",
        f"{_REPLICATE}what_a_client_sends_as_a_habit_is_said_in_the_log",
        *_FAL_CLIENTS,
        f"{_FAL}what_beside_the_input_is_wished_for_is_done",
        f"{_HF}words_become_a_run",
        f"{_SPOKEN}a_run_is_taken_in_translated_and_shown",
        f"{_WORDS}a_presets_smaller_size_is_told",
    ),
)

REFUSED = Said(
    "",
    "",
    "What would make something else than you asked for is refused before anything is made: more pictures than the "
    "model makes, a size that it does not draw (the error has those that it does), `background: transparent`, "
    "`style: natural`, `quality: high`, a file or LoRAs for a model that takes none, a voice or a format that it does "
    "not have, and two words for one field that say different things.",
    (
        f"{_WORDS}what_cannot_be_honoured_is_refused_with_what_can",
        f"{_WORDS}what_matters_is_not_ignored_where_the_model_lacks_it",
        f"{_WORDS}two_words_for_one_field_must_say_the_same",
        f"{_OPENAI}errors",
        f"{_OPENAI}speech",
        f"{_OPENAI_VIEWS}what_cannot_be_is_refused_by_its_name",
        f"{_REPLICATE}what_cannot_be_is_refused_in_the_callers_words",
    ),
)

ABSENT = (
    Said(
        "Replicate",
        "deployments, trainings",
        "Lists are empty, one of a name is 404, making one is 501.",
        (f"{_REPLICATE}what_is_not_there_says_so_in_shape", *_REPLICATE_CLIENTS),
    ),
    Said(
        "Replicate",
        "making and deleting models",
        "Making one is 501: models come by manifest. Deleting one, or a version, is 403. Of what is said of one, "
        "`description` and `readme` can be set.",
        (f"{_REPLICATE}an_owner_says_what_its_model_is",),
    ),
    Said(
        "Replicate",
        "collections by others",
        "404: there are those of the tasks, and no more.",
        (f"{_REPLICATE}what_lies_around",),
    ),
    Said(
        "fal",
        "workflows, comfy, paths below an app",
        "404. Below an app there is only its endpoint, by the name of its task: `publisher/name/text-to-image`.",
        (
            f"{_FAL}what_cannot_be_run_is_refused_in_fals_words",
            f"{_FAL}an_endpoint_is_below_its_app_by_its_name_and_its_requests_are_not",
            _FAL_CLIENTS[0],
        ),
    ),
    Said(
        "fal",
        "of the platform API",
        "Workflows, collections of assets, search by likeness, organizations, serverless, compute and changing the "
        "settings of storage are 501, each with what is there in its place.",
        (f"{_PLATFORM}what_is_asked_wrongly_is_told_in_its_own_shape",),
    ),
    Said(
        "fal",
        "`initial_acl`",
        "`hide` and rules are 422: whoever has the address of a file can read it.",
        (
            "clients/fal/test_storage.py::test_a_life_that_cannot_be_had_is_refused_or_told",
            "clients/fal/test_beside.py::test_javascript_through_the_proxy",
        ),
    ),
    Said(
        "OpenAI",
        "chat, assistants and the like",
        "404 with `unknown_url`: images, videos, speech, models and files are all there is.",
        (f"{_OPENAI}errors", f"{_OPENAI_VIEWS}what_is_no_json"),
    ),
    Said(
        "OpenAI",
        "characters, transcriptions, voices of one’s own, uploads in parts",
        "501.",
        (f"{_OPENAI}what_is_not_here", f"{_OPENAI_VIEWS}what_is_not_here_is_said_once"),
    ),
    Said(
        "OpenAI",
        "sprite sheets, files to fine-tune with",
        "400.",
        (f"{_OPENAI}films", f"{_OPENAI_VIEWS}files_of_others_are_none"),
    ),
    Said(
        "Hugging Face",
        "several files in one answer",
        "422.",
        (f"{_HF}what_cannot_be_is_said_in_one_sentence",),
    ),
    Said(
        "All",
        "large bodies",
        "413 above `MAX_BODY_BYTES` (10 MiB); a form with files, or a file that is the body, may have a quarter of "
        "`BODY_ROOM_BYTES` (64 MiB).",
        (
            f"{_SPOKEN}what_is_wrong_is_told_in_the_callers_words_and_the_protocols_shape",
            "edge/test_gate.py::test_a_form_with_files_may_be_as_large_as_a_callers_share",
        ),
    ),
)

WEBHOOKS = (
    Said(
        "Replicate",
        "`webhooks.validate`, `validateWebhook`",
        "The address that a request names is told as there, and signed with the key of "
        "`GET /v1/webhooks/default/secret`, which the client’s `webhooks.default.secret` reads with an API key that "
        "has `webhooks:write`. Python: `replicate.webhooks.validate(headers=headers, body=body, secret=secret)`; "
        "JavaScript: `validateWebhook({ id, timestamp, signature, body, secret: key })`. Any library of Standard "
        "Webhooks takes the same key.",
        (
            _REPLICATE_CLIENTS[0],
            _REPLICATE_CLIENTS[2],
            f"{_REPLICATE}whoever_is_named_is_told",
            f"{_REPLICATE}what_a_key_needs",
        ),
    ),
    Said(
        "Replicate",
        "`webhook_events_filter`",
        "`start`, `completed`, and `logs` at most twice a second while the run goes on. Files are there when it has "
        "ended, so that `output` and `completed` are one delivery. What is not taken with 2xx is tried again: the end "
        "for more than a day (there: for about a minute) and under the same `webhook-id`, `start` as long as the run "
        "goes on, `logs` never, and nothing after 410. Redirects are not followed, as there.",
        (
            f"{_REPLICATE}whoever_wants_the_log_is_told_as_it_grows",
            f"{_REPLICATE}a_start_is_news_until_the_end",
            f"{_REPLICATE}only_what_was_asked_for_is_told",
            "webhooks/test_delivery.py::test_tried_again_under_the_same_id_until_it_is_taken",
        ),
    ),
    Said(
        "fal",
        "JWKS",
        "`fal_webhook` is told of the end, signed with Ed25519 anew at each attempt. Receivers look the key up at "
        "`/fal/rest/.well-known/jwks.json`, in place of fal’s address; nothing else of them changes.",
        (
            *_FAL_CLIENTS,
            "clients/fal/test_letters.py::test_an_end_is_told_in_fals_words_and_signed",
            "clients/fal/test_letters.py::test_each_attempt_is_signed_at_its_own_time",
            "clients/fal/test_shapes.py::test_wishes_are_read_as_both_clients_write_them",
            "clients/fal/test_shapes.py::test_the_keys_that_sign_can_be_looked_up",
        ),
    ),
    Said(
        "All",
        "the workspace’s own",
        "Hear of runs whichever client asked for them, in our words.",
        ("clients/fal/test_letters.py::test_an_end_is_told_in_fals_words_and_signed",),
    ),
)


def every() -> tuple[Said, ...]:
    """All that is said."""
    return (*MAPS, *BETTER, IGNORED, REFUSED, *ABSENT, *WEBHOOKS)
