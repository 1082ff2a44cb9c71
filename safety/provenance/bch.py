"""BCH codes over GF(2^7): payloads of watermarks that survive a few bits read wrongly.

Bose and Ray-Chaudhuri (1960), decoded after Berlekamp (1968) and Massey (1969), roots after Chien (1964).
Words are integers, the highest bit first sent.
"""

from __future__ import annotations

from functools import cache

#: x^7 + x^3 + 1, primitive; its root is called a below.
FIELD_POLYNOMIAL, FIELD_BITS = 0b10001001, 7
ORDER = (1 << FIELD_BITS) - 1


def encode(data: int, data_bits: int, corrects: int) -> int:
    """The parity bits of `data`: `parity_bits(corrects)` of them."""
    bits, word = parity_bits(corrects), data << parity_bits(corrects)
    for at in range(data_bits + bits - 1, bits - 1, -1):
        if word >> at & 1:
            word ^= generator(corrects) << (at - bits)
    return word


def decode(data: int, parity: int, data_bits: int, corrects: int) -> int | None:
    """The data with up to `corrects` wrong bits set right, in data and parity together; None when there are more."""
    bits = parity_bits(corrects)
    length, word = data_bits + bits, data << bits | parity
    syndromes = _syndromes(word, length, corrects)
    if not any(syndromes):
        return data
    locator = _locator(syndromes)
    # The error at position p shows as the root a^-p.
    wrong = [at for at in range(length) if _value(locator, -at) == 0]
    if len(locator) - 1 > corrects or len(wrong) != len(locator) - 1:
        return None
    for at in wrong:
        word ^= 1 << at
    return word >> bits


@cache
def generator(corrects: int) -> int:
    """The least common multiple of the minimal polynomials of a, a^3, ..., a^(2 corrects - 1)."""
    product = 1
    for conjugates in {_conjugates(power) for power in range(1, 2 * corrects, 2)}:
        product = _times(product, _minimal_polynomial(conjugates))
    return product


def parity_bits(corrects: int) -> int:
    return generator(corrects).bit_length() - 1


@cache
def _tables() -> tuple[tuple[int, ...], dict[int, int]]:
    """Powers of a, and their logarithms."""
    powers = [1]
    for _ in range(ORDER - 1):
        doubled = powers[-1] << 1
        powers.append(doubled ^ FIELD_POLYNOMIAL if doubled >> FIELD_BITS else doubled)
    return tuple(powers), {value: power for power, value in enumerate(powers)}


def _power(exponent: int) -> int:
    return _tables()[0][exponent % ORDER]


def _multiply(left: int, right: int) -> int:
    logarithms = _tables()[1]
    return _power(logarithms[left] + logarithms[right]) if left and right else 0


def _inverse(value: int) -> int:
    return _power(-_tables()[1][value])


def _conjugates(power: int) -> frozenset[int]:
    """The exponents of the roots that share a minimal polynomial with a^power."""
    return frozenset((power << i) % ORDER for i in range(FIELD_BITS))


def _minimal_polynomial(conjugates: frozenset[int]) -> int:
    """The product of (x - a^c), as bits."""
    product = [1]
    for exponent in conjugates:
        root = _power(exponent)
        shifted, scaled = [0, *product], [*(_multiply(one, root) for one in product), 0]
        product = [left ^ right for left, right in zip(shifted, scaled, strict=True)]
    return sum(coefficient << at for at, coefficient in enumerate(product))


def _times(left: int, right: int) -> int:
    """Product of polynomials over GF(2)."""
    product = 0
    while right:
        product ^= left if right & 1 else 0
        left, right = left << 1, right >> 1
    return product


def _syndromes(word: int, length: int, corrects: int) -> list[int]:
    """The received polynomial at a, a^2, ..., a^(2 corrects)."""
    ones = [at for at in range(length) if word >> at & 1]
    found = []
    for root in range(1, 2 * corrects + 1):
        value = 0
        for at in ones:
            value ^= _power(root * at)
        found.append(value)
    return found


def _locator(syndromes: list[int]) -> list[int]:
    """The shortest feedback register that makes the syndromes (Massey), lowest coefficient first."""
    current, before, length, gap, last = [1], [1], 0, 1, 1
    for at, syndrome in enumerate(syndromes):
        discrepancy = syndrome
        for i in range(1, length + 1):
            discrepancy ^= _multiply(current[i] if i < len(current) else 0, syndromes[at - i])
        if discrepancy == 0:
            gap += 1
            continue
        scale = _multiply(discrepancy, _inverse(last))
        shifted = [0] * gap + [_multiply(scale, one) for one in before]
        updated = [
            (current[i] if i < len(current) else 0) ^ (shifted[i] if i < len(shifted) else 0)
            for i in range(max(len(current), len(shifted)))
        ]
        if 2 * length <= at:
            length, before, last, gap = at + 1 - length, current, discrepancy, 1
        else:
            gap += 1
        current = updated
    while len(current) > 1 and current[-1] == 0:
        current.pop()
    return current


def _value(polynomial: list[int], exponent: int) -> int:
    """The polynomial at a^exponent."""
    value = 0
    for power, coefficient in enumerate(polynomial):
        value ^= _multiply(coefficient, _power(exponent * power))
    return value
