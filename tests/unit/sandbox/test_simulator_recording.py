"""Sentences and words as the vendor spaces and punctuates them."""

from hypothesis import given
from hypothesis import strategies as st

from sandbox.simulator.recording import Token, Word, sentences_of, split_mark

WORDS = st.text("abcXYZ019-'.,!?é好", min_size=1, max_size=8)


def _tokens(text: str) -> list[Token]:
    return [Token(word, 100 * index, 100 * index + 80) for index, word in enumerate(text.split())]


def test_a_mark_moves_from_the_word_into_its_punctuation_and_takes_the_space_along() -> None:
    first, second = sentences_of(_tokens("Morning, team. Ready when you are."))
    assert (first.text, second.text) == ("Morning, team. ", "Ready when you are.")
    assert first.words == (Word("Morning", ", ", 0, 80), Word("team", ". ", 100, 180))
    assert [(word.text, word.punctuation) for word in second.words] == [
        ("Ready", ""),
        (" when", ""),
        (" you", ""),
        (" are", "."),
    ]
    assert (second.begin_ms, second.end_ms) == (200, 580)


@given(st.lists(WORDS, max_size=30))
def test_sentences_hold_every_word_once_and_join_to_the_text(words: list[str]) -> None:
    text = " ".join(words)
    sentences = sentences_of(_tokens(text))
    assert "".join(sentence.text for sentence in sentences) == text
    rebuilt = [
        "".join(word.text + word.punctuation for word in sentence.words).strip() for sentence in sentences
    ]
    assert rebuilt == [sentence.text.strip() for sentence in sentences]


@given(WORDS)
def test_splitting_a_mark_loses_nothing_and_leaves_a_word(word: str) -> None:
    text, mark = split_mark(word)
    assert text + mark == word
    assert text
    assert set(mark) <= set(".,!?;:…")
