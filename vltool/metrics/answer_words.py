"""How the official VQA evaluator rewrites an answer before it compares: punctuation, digits, articles, contractions.

Rules and tables: PythonEvaluationTools/vqaEvaluation/vqaEval.py of GT-Vision-Lab/VQA at a013f004, oddities included.
"""

from __future__ import annotations

import re

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_DIGIT_GROUP = re.compile(r"(\d)(,)(\d)")
_PERIOD = re.compile(r"(?!<=\d)(\.)(?!\d)")  # `(?!<=` looks ahead for "<=": in effect a period before no digit
_MOST_PERIODS = 32  # the official call passes re.UNICODE, which is 32, where the number of replacements stands
_NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {"none": "0", **{word: str(value) for value, word in enumerate(_NUMBER_WORDS)}}
_ARTICLES = frozenset({"a", "an", "the"})

# Words that get their apostrophes back. Where two are missing, every form that lacks one or both is corrected;
# where only one form is listed officially, the word stands among _AS_LISTED with the form before it.
_ONE_APOSTROPHE = (
    "ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's "
    "isn't it'd it'll ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't shan't should've "
    "shouldn't somebody'll somebody's someone'd someone'll someone's something'd something'll that's there'd there're "
    "there's they'd they'll they're they've 'twas wasn't we've weren't what'll what're what's what've when's where'd "
    "where's where've who'd who'll who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're "
    "you've"
)
_TWO_APOSTROPHES = (
    "hadn't've he'd've it'd've mightn't've she'd've shouldn't've somebody'd've someone'd've something'd've there'd've "
    "they'd've we'd've who'd've wouldn't've y'all'll you'd've"
)
_AS_LISTED = {
    "couldn'tve": "couldn't've",
    "couldnt've": "couldn't've",
    "ow's'at": "'ow's'at",
    "'ows'at": "'ow's'at",
    "'ow'sat": "'ow's'at",
    "somebody'd": "somebodyd",
    "yall'd've": "y'all'd've",
    "y'alld've": "y'all'd've",
    "y'all'dve": "y'all'd've",
}


def _contractions() -> dict[str, str]:
    table = {word.replace("'", ""): word for word in _ONE_APOSTROPHE.split()}
    for word in _TWO_APOSTROPHES.split():
        first = word.index("'")
        second = word.index("'", first + 1)
        table[word[:first] + word[first + 1 :]] = word
        table[word[:second] + word[second + 1 :]] = word
    return table | _AS_LISTED


CONTRACTIONS = _contractions()


def strip_answer(text: str) -> str:
    """The answer without line ends and tabs, and without white space around it: done to every answer."""
    return text.replace("\n", " ").replace("\t", " ").strip()


def normalize_answer(text: str) -> str:
    """The answer as the official evaluator compares it when the annotators do not all agree."""
    return plain_words(plain_punctuation(strip_answer(text)))


def plain_punctuation(text: str) -> str:
    """`text` without most punctuation.

    A mark is deleted if it stands beside a space anywhere in the text, or if the text holds digits grouped by a
    comma (then all marks are); otherwise it becomes a space. ' : & % $ # . * stay, but a period goes before no digit.
    """
    grouped = _DIGIT_GROUP.search(text) is not None
    plain = text
    for mark in _PUNCTUATION:
        if mark in text:
            beside_space = mark + " " in text or " " + mark in text
            plain = plain.replace(mark, "" if grouped or beside_space else " ")
    return _PERIOD.sub("", plain, count=_MOST_PERIODS)


def plain_words(text: str) -> str:
    """`text` in lower case, numbers to ten as digits, without articles, contractions with their apostrophes."""
    words = (_NUMBERS.get(word, word) for word in text.lower().split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)
