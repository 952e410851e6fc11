"""Invoices: one an account and period, each a pure function of what winning closes froze and of published cards."""
