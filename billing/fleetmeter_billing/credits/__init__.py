"""Prepaid credits: what was bought, what usage drew down, and what is left, as a log per account."""
