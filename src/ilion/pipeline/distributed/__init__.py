"""Stages shared out among processes and machines."""
