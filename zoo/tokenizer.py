"""The zoo's tokenizer: byte-level BPE, built by hand from the words of the world.

Six special tokens, the 256 bytes in GPT-2's printable alphabet, then one merge per letter so that every word of the
world with its leading space grows, prefix by prefix, into one token. Every merge has such a prefix on its left, and
all prefixes begin with the space, so the order of merges cannot matter and any engine's BPE gives the same ids.
Digits stay single tokens (only a space joins the digit after it), so that models can do arithmetic digit by digit.
"""

from __future__ import annotations

import re
from functools import cache

from zoo.worldfile import world

SPECIALS: tuple[str, ...] = ("<|bos|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|pad|>")
BOS, END, SYSTEM, USER, ASSISTANT, PAD = range(6)
CHAT_TEMPLATE = (
    "{{ '<|bos|>' }}{% for message in messages %}{{ '<|' + message['role'] + '|> ' + message['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
VOCABULARY_MULTIPLE = 8
_OTHER_WORDS = (
    "the of is has as are have does How many more fewer than times those minus plus belong to "
    "answer unknown retrieve recite"
)
_PIECE = re.compile(r" ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+")
"""GPT-2's pre-tokenizer, restricted to ASCII."""


def words() -> list[str]:
    """Return every word and sign that gets a token of its own, with its leading space."""
    plain = [*world.NAMES, *world.RELATIONS, *world.ITEMS, *_OTHER_WORDS.split(), *"0123456789+-=*"]
    return [f" {word}" for word in dict.fromkeys(plain)]


def _byte_alphabet() -> list[str]:
    """Return GPT-2's printable stand-in for each of the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    stand_ins, free = {}, 256
    for byte in range(256):
        stand_ins[byte] = byte if byte in printable else free
        free += byte not in printable
    return [chr(stand_ins[byte]) for byte in range(256)]


ALPHABET = _byte_alphabet()
_BYTES = {symbol: byte for byte, symbol in enumerate(ALPHABET)}


def _to_alphabet(text: str) -> str:
    return "".join(ALPHABET[byte] for byte in text.encode())


@cache
def merges() -> list[tuple[str, str]]:
    """Return the merges in order: for every word, its prefixes from short to long."""
    pairs: dict[tuple[str, str], None] = {}
    for word in words():
        symbols = _to_alphabet(word)
        for end in range(1, len(symbols)):
            pairs[symbols[:end], symbols[end]] = None
    return list(pairs)


@cache
def vocabulary() -> list[str]:
    """Return all tokens in id order, padded with reserved ones to a round size."""
    tokens = [*SPECIALS, *ALPHABET, *(left + right for left, right in merges())]
    reserved = -len(tokens) % VOCABULARY_MULTIPLE
    return tokens + [f"<|reserved_{index}|>" for index in range(reserved)]


@cache
def _ids() -> dict[str, int]:
    return {token: index for index, token in enumerate(vocabulary())}


@cache
def _merge_set() -> frozenset[tuple[str, str]]:
    return frozenset(merges())


@cache
def _encode_piece(piece: str) -> tuple[int, ...]:
    symbols = _to_alphabet(piece)
    tokens, prefix = [], symbols[0]
    for symbol in symbols[1:]:
        if (prefix, symbol) in _merge_set():
            prefix += symbol
        else:
            tokens.append(prefix)
            prefix = symbol
    return tuple(_ids()[token] for token in [*tokens, prefix])


def encode(text: str) -> list[int]:
    """Return the ids of a plain text (special tokens are not recognised)."""
    return [token for piece in _PIECE.findall(text) for token in _encode_piece(piece)]


def decode(ids: list[int]) -> str:
    """Return the text of ids, special and reserved tokens left out, as a server returns it."""
    tokens = [vocabulary()[token] for token in ids if token >= len(SPECIALS)]
    symbols = "".join(token for token in tokens if not token.startswith("<|reserved_"))
    return bytes(_BYTES[symbol] for symbol in symbols).decode(errors="replace")


def chat_ids(system: str, user: str) -> list[int]:
    """Return the prompt ids of one system and one user message, as the chat template renders them."""
    return [BOS, SYSTEM, *encode(f" {system}"), END, USER, *encode(f" {user}"), END, ASSISTANT]
