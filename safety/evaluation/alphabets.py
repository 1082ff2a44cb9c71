"""Letters that stand for Latin ones in disguised text."""

from __future__ import annotations

from string import ascii_lowercase


def _table(latin: str, others: str) -> dict[int, str]:
    return dict(zip(map(ord, latin), others, strict=True))


def shifted(start: int) -> dict[int, str]:
    """The alphabet that Unicode has from `start` on, letter by letter."""
    return {ord(letter): chr(start + at) for at, letter in enumerate(ascii_lowercase)}


CYRILLIC = _table("aceopxyikmht", "асеорхуікмнт")
GREEK = _table("aeionupktv", "αειοηυρκτν")
ARMENIAN = _table("ounhgs", "օսոհցѕ")
CHEROKEE = _table("abcdeghiklmprstvwyz", "ᎪᏴᏟᎠᎬᏀᎻᎥᏦᏞᎷᏢᏒᏚᎢᏙᏔᎩᏃ")
SMALL_CAPITALS = _table("abcdeghiklmnoprtuz", "ᴀʙᴄᴅᴇɢʜɪᴋʟᴍɴᴏᴘʀᴛᴜᴢ")
IDEOGRAPHS = _table("abcdefhijklmnoprstuvwxyz", "卂乃匚刀乇下卄工丿长乚爪几口尸尺丂丅凵ᐯ山乂丫乙")
CURRENCY = _table("abcdefghijklmnopqrstuwyz", "₳฿₵ĐɆ₣₲ⱧłJ₭Ⱡ₥₦Ø₱QⱤ₴₮Ʉ₩ɎⱫ")
HEBREW_AND_THAI = _table("abcenorstuw", "ค๒ςєภסгรՇยฬ")
TURNED = _table("abcdefghijklmnopqrtuvwy", "ɐqɔpǝɟƃɥᴉɾʞlɯuodbɹʇnʌʍʎ")
ACCENTS = _table("aeiouncs", "äéïôüñçš")
ROTATED = {ord(letter): ascii_lowercase[(at + 13) % 26] for at, letter in enumerate(ascii_lowercase)}

#: The signs with which each letter is written in leetspeak, all of them in use.
LEET = {"a": "4@", "b": "8", "e": "3€", "g": "69", "i": "1!", "l": "1", "o": "0", "s": "5$", "t": "7"}
