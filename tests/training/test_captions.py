"""Captions say what the picture shows, and the word list holds every word of them."""

from __future__ import annotations

import numpy as np

from workers.training.daylight.captions import EXAMPLES, caption, phrase, with_article, word_list
from workers.training.daylight.ceramics import Ceramic, choose_ceramic
from workers.training.daylight.dataset import choose
from workers.training.daylight.landscapes import Landscape, choose_landscape
from workers.training.daylight.text import LENGTH, build_tokenizer, read_tokenizer, tokenizer_text


def test_full_captions():
    vase = Ceramic(
        vessel="amphora", glaze="teal", finish="glossy", plinth="white", wall="ivory", light="left"
    )
    assert caption(vase) == "a glossy teal amphora on a white plinth, light from the left, ivory wall"
    lake = Landscape(scene="lake", time="dawn", mist="misty", disc="sun", place="right")
    assert caption(lake) == "misty mountains over a lake at dawn, sun on the right"


def test_articles():
    assert with_article("amphora") == "an amphora"
    assert with_article("jug") == "a jug"


def test_phrases_vary_and_keep_the_essential_words():
    rng = np.random.default_rng(0)
    pot, land = choose_ceramic(rng), choose_landscape(rng)
    said = {phrase(pot, rng) for _ in range(60)}
    assert len(said) > 30
    assert all(pot.vessel in words and pot.glaze in words for words in said)
    assert all(land.time in phrase(land, rng) for _ in range(60))


def test_word_list_covers_every_phrase_and_example():
    rng = np.random.default_rng(5)
    listed = word_list()
    understood = set(listed["understood"])
    told = [phrase(choose(rng, index), rng) for index in range(400)] + list(EXAMPLES)
    assert {word for words in told for word in words.replace(",", " ").split()} <= understood
    assert len(EXAMPLES) == 8


def test_captions_fit_the_text_encoder_and_known_words_are_whole():
    rng = np.random.default_rng(0)
    told = [phrase(choose(rng, index), rng) for index in range(3000)]
    tokenizer = build_tokenizer(told)
    assert max(len(ids) for ids in tokenizer(told)["input_ids"]) <= LENGTH
    assert tokenizer.tokenize("amphora mountains") == ["amphora</w>", "mountains</w>"]
    assert tokenizer.unk_token_id not in tokenizer("żółw 🏺")["input_ids"][1:-1]
    again = read_tokenizer(tokenizer_text(tokenizer))
    assert again(told[:50])["input_ids"] == tokenizer(told[:50])["input_ids"]
