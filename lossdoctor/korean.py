"""Korean particles after a name or a number: `{series}은(는)` becomes 손실은 or LoRA는, by the sound before it.

A catalogue writes both forms in the way that Koreans do where they cannot know: 은(는), 이(가), 을(를), 과(와), (으)로.
"""

from __future__ import annotations

import re

#: As written in the catalogue: the form after a consonant, and the one after a vowel.
FORMS = {
    "은(는)": ("은", "는"),
    "이(가)": ("이", "가"),
    "을(를)": ("을", "를"),
    "과(와)": ("과", "와"),
    "(으)로": ("으로", "로"),
    "(이)라": ("이라", "라"),
    "(이)나": ("이나", "나"),
    "(이)며": ("이며", "며"),
    "(이)고": ("이고", "고"),
    "(이)면": ("이면", "면"),
    "(이)었": ("이었", "였"),
    "(이)므로": ("이므로", "므로"),
    "(이)지만": ("이지만", "지만"),
    "(이)든": ("이든", "든"),
    "(이)던": ("이던", "던"),
    "(이)어": ("이어", "여"),
}
MARK = re.compile("|".join(map(re.escape, sorted(FORMS, key=len, reverse=True))))
#: What a reader skips: quotes, brackets, and what they hold behind a word.
_SILENT = re.compile(r"(?:\s*\([^()]*\)|[\s\"'`*”’»」』)\]}…]|[.,:;!?]+$)+$")
_LAST = re.compile(r"[가-힣]$|[0-9][0-9,]*(?:\.[0-9]+)?$|[A-Za-z]+$|[%‰°×√²³]$")
#: Digits that end in a consonant when they are read; zeros are read as 십, 백, 천, 만 behind others, as 영 alone.
_DIGITS = "013678"
#: How Latin words end whose last sound is written as a final consonant: scale 스케일, norm 놈, name 네임, step 스텝, block 블록.
_CLOSED = re.compile(r"(?:[lmn]|ng|le|[aeiou][mn]e|[aeiou](?:p|ck)|oo[kt])$")
#: Words of this field that end otherwise than these rules say: 에폭, 드롭아웃, 셋, 그래드.
_CLOSED_WORDS = frozenset(("epoch", "dropout", "output", "input", "set", "dataset"))
#: Letters whose names end in a consonant: 엘, 엠, 엔, 알.
_CLOSED_LETTERS = "LMNR"
_LIQUID_LETTERS = "LR"


def particles(words: str) -> str:
    """The text with one form of each particle: the one that fits what stands before it."""
    if "(" not in words:
        return words
    parts: list[str] = []
    end = 0
    for found in MARK.finditer(words):
        parts.append(words[end : found.start()])
        closed, liquid = sound("".join(parts)[-80:])
        after_consonant, after_vowel = FORMS[found[0]]
        parts.append(after_vowel if not closed or (liquid and found[0] == "(으)로") else after_consonant)
        end = found.end()
    return "".join(parts) + words[end:]


def sound(before: str) -> tuple[bool, bool]:
    """Whether what ends here ends in a consonant when it is read, and whether that is ㄹ, which (으)로 takes for a vowel."""
    found = _LAST.search(before) or _LAST.search(_SILENT.sub("", before))
    if found is None:
        return False, False
    last = found[0]
    if "가" <= last <= "힣":
        final = (ord(last) - ord("가")) % 28
        return final > 0, final == 8
    if last[0].isdigit():
        return _number(last)
    return _letters(last) if last.isalpha() and last.isascii() else (False, False)


def _number(digits: str) -> tuple[bool, bool]:
    """As read: 0.001 digit by digit, 20,000 as 이만."""
    whole = digits.replace(",", "")
    return whole[-1] in _DIGITS, whole[-1] in "178"


def _letters(word: str) -> tuple[bool, bool]:
    if word.isupper() and (len(word) < 4 or not re.search("[AEIOU]", word)):  # letter by letter
        return word[-1] in _CLOSED_LETTERS, word[-1] in _LIQUID_LETTERS
    word = word.lower()
    liquid = bool(re.search(r"(?:l|[a-z]le)$", word))
    return word in _CLOSED_WORDS or liquid or bool(_CLOSED.search(word)), liquid
