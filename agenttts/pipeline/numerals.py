"""How models write numbers: the one place that reads them.

A comma groups thousands where groups of three follow it, or of two and at last of three (12,34,567), and otherwise
parts a list; a point is the decimal point. The forms of other countries that cannot be misread are read too: groups by
points, then a comma (1.234,5), a comma before a 0 that no item of a list has (0,05; 1,00) or before two digits of a
price (9,99 €), and groups by spaces, unless they may as well be a list, all of three digits and none beginning with 0
(123 456). A power of a number is its value (2^10, 10³); another exponent (m^2) and an uncertainty (5 ± 2) are part of
what they follow, and no number. Roots, products and other formulas are not worked out. What is no number by that
(1.2.3, the digits in H2O or 0x1F) is none, and nothing is guessed.
"""

from __future__ import annotations

import math
import re
import unicodedata
from decimal import Decimal
from functools import cache

_SAME = str.maketrans(
    {
        **dict.fromkeys("−－﹣‐‑‒–", "-"),
        **dict.fromkeys("＋﹢", "+"),
        **dict.fromkeys("．﹒٫", "."),
        **dict.fromkeys("，﹐٬", ","),
        **dict.fromkeys("／⁄∕", "/"),
        **dict.fromkeys("：﹕", ":"),
        **dict.fromkeys("％﹪", "%"),
        **dict.fromkeys("＊﹡", "*"),
        **dict.fromkeys("［【〔", "["),
        **dict.fromkeys("］】〕", "]"),
        **dict.fromkeys("‘’＇", "'"),
        **dict.fromkeys("\u00a0\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f", "\u00a0"),
    }
)
_WORD = "A-Za-z_0-9"
_SIGN = rf"(?P<sign>(?<![{_WORD}.)\]}}%$€£¥])[-+])?"
_PART = r"(?:[0-9]{1,3}(?:[,'_\u00a0][0-9]{3}){1,9}|[0-9]{1,30})(?:\.[0-9]{1,30})?"
_NUMBER = re.compile(
    rf"{_SIGN}(?<![{_WORD}./])(?:(?P<whole>[0-9]{{1,9}}) )?"
    rf"(?P<over>{_PART}) ?/ ?(?P<under>{_PART})(?![{_WORD}]|\.[0-9]| ?/)"
    rf"|{_SIGN.replace('sign', 'outer')}(?:[$€£¥] ?(?P<inner>[-+])?)?"
    rf"(?:(?<![{_WORD}])(?=\.[0-9])|(?<![{_WORD}])(?<![0-9]\.)(?=[0-9])(?!0[xX][0-9A-Fa-f]|0[bB][01]|0[oO][0-7]))"
    rf"(?P<run>\.?[0-9](?:[0-9.,'_\u00a0]*[0-9])?)(?:\.(?=[eE][-+]?[0-9]))?(?P<exponent>[eE][-+]?[0-9]+(?![{_WORD}]))?"
)
_GROUPED = re.compile(
    r"(?:[0-9]{1,3}(?P<by>[,'_\u00a0])[0-9]{3}(?:(?P=by)[0-9]{3})*|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3})(?:\.[0-9]+)?"
)
_PLAIN = re.compile(r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+")
_BY_COMMA = re.compile(r"[0-9]{1,9},0[0-9](?:[0-9]{2,30})?|0,[0-9]{3}")
_CENTS = re.compile("[0-9]{1,9},[0-9]{2}")
_CURRENCIES = "$€£¥"
_BY_POINTS = re.compile(r"[0-9]{1,3}(?P<by>[.'\u00a0])[0-9]{3}(?:(?P=by)[0-9]{3})*,[0-9]+")
_LAST_GROUPED = re.compile(r"(?<![0-9])[1-9][0-9]{0,2}(?:,0[0-9]{2})+$")
"""The last of a list where it cannot be a group alone: 1,000,2,000."""
_PARTING = re.compile(r"[,'_\u00a0]+")
_LATEX_FRACTION = re.compile(
    rf"\\[cdt]?frac\s*(?:\{{\s*(?P<sign>[-+]?)(?P<over>{_PART})\s*\}}|(?P<one>[0-9]))"
    rf"\s*(?:\{{\s*(?P<under>{_PART})\s*\}}|(?P<other>[0-9]))"
)
_BEFORE_FRACTION = re.compile("(?<=[0-9]) ?(?=[¼-¾⅐-⅞↉])")
"""Between the whole part and a fraction that is one character."""
_SMALL_FRACTION = re.compile("([⁰¹²³⁴⁵⁶⁷⁸⁹]+)[⁄∕／/]([₀₁₂₃₄₅₆₇₈₉]+)")
_ELLIPSIS = re.compile(r"\.{2,}")
_APART_SIGN = re.compile(r"(?<=[=≈({\[])( ?[-+])[ \u00a0](?=[$€£¥]?\.?[0-9])|([-+])\u00a0(?=[0-9])")
"""A sign that cannot be a dash or join two numbers, though a space parts it from its number."""
_LATEX_SPACE = re.compile(r"(?<=[0-9])\{?(?:(,)|\\[,; ])\}?(?=[0-9]{3})")
_SPACED = re.compile(
    rf"(?<![{_WORD}.,:/'\u00a0])[1-9][0-9]{{0,2}}(?:(?: | ?, ?)[0-9]{{3}})+(?![{_WORD}'\u00a0])(,[0-9]+)?"
)
_OVER = re.compile(" ?/")
_BEFORE_GROUP = re.compile(r"[ ,]+")
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_SUPERSCRIPT = re.compile("[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_EXPONENT = r"(?: ?\^ ?|\*\*)(?:\{ ?([-+]?[0-9]{1,9}) ?\}|([-+]?[0-9]{1,9}))(?![0-9])"
_TIMES_POWER = re.compile(rf"(?<=[0-9])[ \u00a0]*(?:×|\*|[xX]|·|\\times|\\cdot)[ \u00a0]*10{_EXPONENT}")
_POWER = re.compile(rf"(?<![{_WORD}.,^])([0-9][0-9,'_\u00a0]{{0,40}}(?:\.[0-9]{{1,30}})?){_EXPONENT}")
_OTHER_EXPONENT = re.compile(r"\^ ?(?:\{[^{}]{0,60}\}|\([^()]{0,60}\)|[-+]?[0-9]+)")
_LATEX_RELATION = re.compile(
    r"\\(?:times|cdot|div|approx|simeq|sim|cong|equiv|leq?|geq?|neq?|to|implies|iff|[rR]ightarrow|in|q?quad|boxed)"
    r"(?=[-+]?\.?[0-9])"
)
"""What stands before a number without a blank, and is no part of it."""
_UNCERTAINTY = re.compile(r"(?<=[0-9%])[ \u00a0]*(?:±|\+ ?/ ?-|\\pm)[ \u00a0]*[0-9][0-9.,]*")
_LONGEST_EXPONENT = 2


def plain(text: str) -> str:
    """The text with the digits, signs, brackets and colons that every script has written as ASCII has them.

    A superscript is an exponent: 10³ is 10^3, and not 103. What shows nothing (a zero-width space) is left out.
    """
    if text.isascii():
        return text
    text = _SMALL_FRACTION.sub(_small_fraction, text)
    text = _SUPERSCRIPT.sub(lambda found: f"^{found[0].translate(_RAISED)}", text)
    text = _BEFORE_FRACTION.sub(" ", text)
    return "".join(c if c.isascii() else _ascii(c) for c in text.translate(_SAME))


def last_number(text: str) -> float | None:
    """The last number in a text, infinite where it is too large for one; None where there is none.

    A fraction (3/4, 1 1/2) is its quotient, a percentage the number before its sign.
    """
    text = _LATEX_RELATION.sub(" ", _LATEX_FRACTION.sub(_latex_fraction, joined(plain(text))))
    text = _APART_SIGN.sub(lambda found: found[1] or found[2], _ELLIPSIS.sub("…", text))
    text = _POWER.sub(_power, _TIMES_POWER.sub(lambda found: f"e{found[1] or found[2]}", text))
    text = _OTHER_EXPONENT.sub(" ", _UNCERTAINTY.sub("", text))
    last = None
    for match in _NUMBER.finditer(text):
        value = _fraction(match) if match["over"] else _decimal(match)
        last = last if value is None else value
    return last


def number_text(text: str) -> str | None:
    """One spelling for all of one number's (+1,000.50 is 1000.5); None where the text is no number alone.

    Leading zeros stay: 007 is a name.
    """
    match = _NUMBER.fullmatch(text)
    digits = _digits(match["run"]) if match and match["run"] else None
    if match is None or digits is None:
        return None
    written = _expanded(digits, match["exponent"])
    negative = "-" in (match["outer"], match["inner"]) and written.strip("0.") != ""
    return f"-{written}" if negative else written


def joined(text: str) -> str:
    """The text (`plain`) with numbers of groups that spaces part written as one: 1 000 is 1000."""
    text = _LATEX_SPACE.sub(lambda found: found[1] or "\u00a0", text.replace("\\$", "$"))
    return _SPACED.sub(_as_one, text)


def _as_one(found: re.Match[str]) -> str:
    groups = found[0].removesuffix(found[1] or "")
    if " " not in groups:
        return found[0]
    first, *others = _BEFORE_GROUP.split(groups)
    fraction = _OVER.match(found.string, found.end()) is not None  # 1 100/200
    sure = any(group.startswith("0") for group in others) or (len(first) < 3 and "," not in groups and not fraction)
    return "".join((first, *others, (found[1] or "").replace(",", "."))) if sure else found[0]


def _latex_fraction(found: re.Match[str]) -> str:
    """As it is written elsewhere: what stands before it is its whole part, or its sign."""
    apart = "" if found.string[found.start() - 1 : found.start()] in ("-", "+") else " "
    return f"{apart}{found['sign'] or ''}{found['over'] or found['one']}/{found['under'] or found['other']} "


def _small_fraction(found: re.Match[str]) -> str:
    apart = " " if found.string[found.start() - 1 : found.start()].isdecimal() else ""
    return f"{apart}{found[1].translate(_RAISED)}/{found[2].translate(_LOWERED)}"


def _power(found: re.Match[str]) -> str:
    digits = _digits(found[1])
    if digits is None:
        return found[0]
    try:
        return repr(float(digits) ** int(found[2] or found[3]))
    except (OverflowError, ZeroDivisionError):
        return "1e999"


@cache
def _ascii(character: str) -> str:
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    if unicodedata.category(character) == "No" and "\u2044" in (parts := unicodedata.normalize("NFKC", character)):
        return parts.replace("\u2044", "/")
    return "" if unicodedata.category(character) == "Cf" else character


def _fraction(match: re.Match[str]) -> float:
    over, under = (float(_PARTING.sub("", match[name])) for name in ("over", "under"))
    value = float(match["whole"] or 0) + over / under if under else math.inf
    return -value if match["sign"] == "-" else value


def _decimal(match: re.Match[str]) -> float | None:
    run = match["run"]
    if _CENTS.fullmatch(run) and _is_price(match):
        run = run.replace(",", ".")
    grouped = _LAST_GROUPED.search(run)
    digits = _digits(run) or _digits(grouped[0] if grouped else _PARTING.split(run)[-1])  # a list: its last
    if digits is None:
        return None
    value = float(digits + (match["exponent"] or ""))
    return -value if "-" in (match["outer"], match["inner"]) and _digits(run) else value


def _is_price(match: re.Match[str]) -> bool:
    return any(sign in _CURRENCIES for sign in (*match[0], *match.string[match.end() : match.end() + 2].strip()[:1]))


def _digits(run: str) -> str | None:
    """A number's digits and decimal point alone."""
    if _PLAIN.fullmatch(run):
        return run
    if _BY_COMMA.fullmatch(run):
        return run.replace(",", ".")
    if _GROUPED.fullmatch(run):
        return _PARTING.sub("", run)
    by_points = _BY_POINTS.fullmatch(run)
    return run.replace(by_points["by"], "").replace(",", ".") if by_points else None


def _expanded(digits: str, exponent: str | None) -> str:
    """Without an exponent of ordinary size, and without zeros that say nothing."""
    if exponent and len(exponent.strip("eE+-")) <= _LONGEST_EXPONENT:
        digits, exponent = format(Decimal(digits + exponent), "f"), None
    whole, _, rest = digits.partition(".")
    rest = rest.rstrip("0")
    return (whole or "0") + (f".{rest}" if rest else "") + (exponent or "").lower()
