"""What people read, in every language: catalogues of strings, numbers, dates and money, and the glossary."""

from ilion.wording.catalogue import Words, languages, load_words, rooms
from ilion.wording.counting import agree, counted
from ilion.wording.glossary import Term, load_glossary, unwanted
from ilion.wording.reword import entry_of, reword

__all__ = [
    "Term",
    "Words",
    "agree",
    "counted",
    "entry_of",
    "languages",
    "load_glossary",
    "load_words",
    "reword",
    "rooms",
    "unwanted",
]
