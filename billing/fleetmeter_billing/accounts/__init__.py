"""Accounts and their subscriptions: from a YAML file to rows that are only added, and from those to the parts of a
billing period in which one card version and plan hold."""
