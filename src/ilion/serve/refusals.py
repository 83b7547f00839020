"""What a service says when it refuses a request: a sentence in English, a code, and a sentence for a person.

Programs read ``error`` and ``code``. A page shows ``said``, which is in the language that the request asks
for by ``Accept-Language``; pages send the one that a person chose there.
"""

from __future__ import annotations

from ilion.wording import entry_of, languages, load_words, reword

ROOM = "serve"
OTHER = "other"
"""Code of what no entry of the catalogue says."""


def body_of(reason: str, accepted: str = "") -> dict[str, str]:
    """Return the body of a refusal.

    Args:
        reason: The English sentence.
        accepted: Header ``Accept-Language`` of the request.

    >>> body_of("name one photo", "ja,en;q=0.5")
    {'error': 'name one photo', 'code': 'name_one', 'said': '写真を1枚だけ指定してください'}
    """
    words = load_words(ROOM, spoken(accepted))
    code = entry_of(reason, "refusal", ROOM)
    if code:
        return {"error": reason, "code": code, "said": reword(reason, "refusal", words, ROOM)}
    if entry_of(reason, "unreadable", ROOM):
        return {"error": reason, "code": "unreadable", "said": reword(reason, "unreadable", words, ROOM)}
    said = reason if words.language == "en" else words(f"refusal.{OTHER}", reason=reason)
    return {"error": reason, "code": OTHER, "said": said}


def spoken(accepted: str) -> str:
    """Return the language of a request that people read here; English where it asks for none of them.

    Args:
        accepted: Header ``Accept-Language``, of which at most 20 languages are looked at.

    >>> spoken("de, ja-JP;q=0.9, en;q=0.8"), spoken("en;q=0.2, ja;q=0.9"), spoken("fr"), spoken("")
    ('ja', 'ja', 'en', 'en')
    """
    wanted = []
    for place, part in enumerate(accepted.split(",")[:20]):
        name, _, rest = part.partition(";")
        try:
            share = float(rest.strip().removeprefix("q=")) if rest else 1.0
        except ValueError:
            share = 0.0
        wanted.append((-share, place, name.strip().lower().partition("-")[0]))
    return next((name for share, _, name in sorted(wanted) if share < 0 and name in languages(ROOM)), "en")
