"""Find what is wrong in one's own data before it lies about the search.

Nothing here opens a photo set or runs a search: `ilion.pipeline.jobs.audit` brings the evidence. See
docs/audit.md.
"""
