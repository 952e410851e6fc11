"""Deciding with exact usage: what another card, another way to generate, or another place to compute would mean.

Nothing here changes a bill. Usage comes from frozen rows, so that an answer about a closed period stays the same.
"""
