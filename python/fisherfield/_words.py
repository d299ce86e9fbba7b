# SPDX-License-Identifier: BSD-3-Clause
"""Numbers, and values received, in words."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

_LONGEST = 80  # characters of a value in a message


class _Shortened(reprlib.Repr):
    """repr, but short, on one line and of anything: also of an int that Python refuses to write."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdeque = self.maxarray = 12
        self.maxdict = 6
        self.maxstring = self.maxother = self.maxlong = _LONGEST

    def repr_int(self, x: int, level: int) -> str:
        digits = x.bit_length() * math.log10(2.0)
        return super().repr_int(x, level) if digits < 1000 else f"a whole number of about {digits:.0f} digits"

    def repr_instance(self, x: Any, level: int) -> str:
        try:
            text = " ".join(repr(x).split())
        except Exception:  # a message must be told, whatever an object does
            text = f"<{type(x).__name__}>"
        return text if len(text) <= self.maxother else f"{text[: self.maxother - 3]}..."


_shortened = _Shortened()


def shown(value: Any) -> str:
    """A value received, as messages show it: its repr, cut at about 80 characters."""
    return cut(_shortened.repr(value))


def cut(text: str, longest: int = _LONGEST) -> str:
    """On one line, and no longer."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 3]}..."


def did_you_mean(name: Any, allowed: Iterable[str]) -> str:
    """The name that may have been meant, in brackets; empty where none is near. Case and signs count for nothing."""
    names = {_letters(each): each for each in allowed}
    near = get_close_matches(_letters(str(name)[:_LONGEST]), list(names), n=1, cutoff=0.7)  # gpu is no cpu
    return f" (did you mean {names[near[0]]!r}?)" if near else ""


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def one_of(names: Iterable[str]) -> str:
    """E.g. "a, b or c"."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def plural(count: int, noun: str) -> str:
    """E.g. 1 point; 2 points."""
    return f"{count} {noun}{'s' * (count != 1)}"


def bytes_in_words(count: float) -> str:
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} bytes"


def short(count: float) -> str:
    """E.g. 1.25M; 0.25."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.0f}" if count >= 10 or count == int(count) else f"{count:.2g}"


def seconds_in_words(seconds: float) -> str:
    """To three digits, from ns to s."""
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return next(
        f"{seconds * scale:.3g} {unit}"
        for unit, scale in (("ms", 1e3), ("us", 1e6), ("ns", 1e9))
        if seconds * scale >= 1 or unit == "ns"
    )


def hours_in_words(seconds: float) -> str:
    """As one waits for it, from ms to h."""
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def with_error(value: float, error: float) -> str:
    """The error to two digits at most, the value to the same place: "161.58 +- 0.05"."""
    if not math.isfinite(value):
        return str(float(value))
    if not math.isfinite(error) or error <= 0:
        return f"{value:.5g}"
    digits = -math.floor(math.log10(error)) + (error / 10 ** math.floor(math.log10(error)) < 2.95)
    if -5 <= digits <= 8 and abs(value) < 1e6:
        places = max(0, digits)
        return f"{value:.{places}f} +- {error:.{places}f}"
    exponent = math.floor(math.log10(max(abs(value), error)))
    scale, places = 10.0**exponent, max(0, digits + exponent)
    return f"({value / scale:.{places}f} +- {error / scale:.{places}f})e{exponent:+d}"


def data_in_words(samples: int | None) -> str:
    """How many samples a result is for."""
    return "infinite data" if samples is None else f"{samples} samples"


def standardised(how: str | None) -> str:
    """What `data.load` did to the samples."""
    words = {"global": "standardised as a whole", "feature": "standardised feature by feature"}
    return words.get(how or "", "not standardised")


def descent_in_words(settings: Mapping[str, Any], momentum: bool = True) -> list[str]:
    """The optimiser's settings, those that are at work; the momentum where it is no axis."""
    words = [f"momentum {settings['momentum']:g}"] if momentum else []
    words += ["Nesterov"] if settings["nesterov"] else []
    return words + ([f"weight decay {settings['weight_decay']:g}"] if settings["weight_decay"] else [])
