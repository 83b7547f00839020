"""Re-ranking of shortlists: matching, verification, scorers."""
