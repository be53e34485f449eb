"""Text from outside, made fit to be shown and fit to be kept.

Whatever a server, a planner, a file or a user's function wrote passes through `printable` before a terminal sees it,
and through `storable` before a database does. Both leave ordinary text as it is, in every language, and write what
they cannot let through as its escape (`\\x1b`, `\\u202e`): two different texts stay different, and a reader sees what
was there. `scrubbed` takes secrets out of what others wrote, by what they were told.
"""

from __future__ import annotations

import base64
import html
import operator
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote, unquote_plus

MOST_KEPT = 64 * 1024
"""Characters of one text from outside that are kept and quoted."""
_KEPT = "\n\t"
_BLANKS = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
"""Characters that Unicode calls letters, marks or symbols and that show nothing at all."""
_ODD_BLANK = re.compile(f"[{_BLANKS}]")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_SHORT = 4
LEAST_SECRET = 12
"""Characters of a key or a password that is no word."""
_OF_A_SECRET = re.compile(r"(^|_)(key|token|secret|password|credentials?)s?(_|$)", re.IGNORECASE)
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def printable(text: str) -> str:
    """The text as a terminal may have it: lines and tabs stay, nothing in it can steer, hide or reorder.

    Controls (C0, C1, DEL), bidirectional and other format characters, line and paragraph separators, half surrogate
    pairs and code points without a character become escapes.
    """
    if text.isprintable() and _ODD_BLANK.search(text) is None:
        return text
    return "".join(c if _is_shown(c) else _escaped(c) for c in text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """The text on one line, printable."""
    return printable(" ".join(text.split()))


def bounded(text: str, most: int = MOST_KEPT) -> str:
    """The text, cut off where it is longer than anything that somebody reads, with a word of that at its end."""
    if len(text) <= most:
        return text
    end = f" [cut off: {len(text):,} characters]"
    return text[: max(most - len(end), 0)] + end


def storable(text: str) -> str:
    """The text as every database takes it: without NUL, and without half a surrogate pair, which no encoding has."""
    if _UNSTORABLE.search(text) is None:
        return text
    whole = _PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)
    return _UNSTORABLE.sub(lambda found: _escaped(found[0]), whole)


def storable_data(value: Any) -> Any:
    """Plain data with every text in it storable, keys included; the very same object where it is so already."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        keys, items = storable_data(list(value)), storable_data(list(value.values()))
        same = all(map(operator.is_, (*keys, *items), (*value, *value.values())))
        return value if same else dict(zip(keys, items, strict=True))
    if type(value) in (list, tuple):
        items = [storable_data(item) for item in value]
        return value if all(map(operator.is_, items, value)) else type(value)(items)
    return value


def _is_shown(character: str) -> bool:
    if character in _KEPT:
        return True
    if character in _BLANKS:
        return False
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _escaped(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def scrubbed(text: str, secrets: Iterable[str]) -> str:
    """The text with `***` for every one of these secrets, in whatever form it is quoted.

    A form is the secret itself, percent-encoded or decoded in whole or in part, in base64, or as JSON and HTML write
    it. One of fewer than four characters is replaced only where it stands alone, since it is a part of many words.
    """
    forms = {form for secret in secrets for form in _forms(secret)}
    for form in sorted(forms, key=lambda each: (-len(each), each)):
        pattern = "".join(map(_written, form))
        text = re.sub(rf"(?<!\w){pattern}(?!\w)" if len(form) < _SHORT else pattern, "***", text, flags=re.IGNORECASE)
    return text


def without_keys(text: str, variables: Iterable[str] = ()) -> str:
    """What other people's code says, without the values of environment variables that are named like secrets.

    A short value (`LEAST_SECRET`) stays: it may be a word.

    Args:
        text: Of an error, as of a client that quotes the key it was refused with.
        variables: Others that hold secrets.
    """
    named = {*filter(_OF_A_SECRET.search, os.environ), *variables}
    values = [value for name in named if len(value := os.environ.get(name, "").strip()) >= LEAST_SECRET]
    return scrubbed(text, values) if any(values) else text


def _forms(secret: str) -> Iterator[str]:
    for plain in {secret, unquote(secret), unquote_plus(secret)} - {""}:
        yield plain
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            coded = encode(plain.encode("utf-8", "replace")).decode().rstrip("=")
            if len(coded) >= _SHORT:
                yield coded


def _written(character: str) -> str:
    """A pattern of every way in which one character of a secret may be written."""
    hexadecimal = "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "replace"))
    ways = [character, hexadecimal, f"\\u{ord(character):04x}", f"&#{ord(character)};", f"&#x{ord(character):x};"]
    if not character.isalnum():
        ways += [f"\\{character}", html.escape(character), {" ": "+", "+": " "}.get(character, character)]
    return f"(?:{'|'.join(map(re.escape, dict.fromkeys(ways)))})"
