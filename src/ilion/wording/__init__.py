"""What people read, in every language: catalogues of strings, numbers, dates and money, and the glossary."""

from ilion.wording.catalogue import Words, languages, load_words, rooms
from ilion.wording.glossary import Term, load_glossary, unwanted

__all__ = ["Term", "Words", "languages", "load_glossary", "load_words", "rooms", "unwanted"]
