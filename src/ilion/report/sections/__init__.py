"""Sections of the report; one function and one template each."""
