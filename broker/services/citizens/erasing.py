"""Erasing: what can go of what is held about a citizen goes on their own word; what stays is told, with why.

Refuses: while anything about them is on its way (`rights.under-way`).
Keeps: as `broker.services.person_erase`, which does it; the session that asks ends with it, as every other of theirs.
Source: Regulation (EU) 2016/679 (GDPR), article 17.
"""

from hashlib import sha256
from typing import Final

from broker.citizens import levels
from broker.citizens.citizen import Citizen
from broker.citizens.levels import Act
from broker.services import person_erase
from broker.services.person_erase import Erasure
from broker.setup.wiring import Home
from schemas.messages import Language

TEXT: Final[dict[Language, str]] = {
    "fr": "J'efface ce qui peut l'être. Tout ce que j'autorise prend fin.",
    "en": "I erase what can be erased. Everything that I allow ends.",
}
"""Under which words the consents end."""


async def look(home: Home, citizen: Citizen) -> Erasure:
    """What would go, and what would stay. Raises Unavailable."""
    return await person_erase.look(home, citizen.subject, own=True)


async def erase(home: Home, citizen: Citizen) -> Erasure:
    """Let it go. Raises Refused `citizens.level-too-low`, `rights.under-way`; Unavailable: the same call goes on."""
    levels.check(citizen, Act.ERASE)
    voice = citizen.voice(sha256(TEXT[citizen.language].encode()).digest())
    return await person_erase.erase(home, citizen.subject, voice)
