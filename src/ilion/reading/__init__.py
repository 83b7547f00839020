"""Reading: the text in images, and finding images by it.

`base` holds the protocol of a reader, `paddle` the one that there is; `regions` and `lines` are its pure
parts. `words` turns text into tokens, `index` finds images by them, `extract` reads whole databases.
"""
