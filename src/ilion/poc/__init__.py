"""A small proof of concept: which photos it needs, what they cover, and what may be decided from them."""
