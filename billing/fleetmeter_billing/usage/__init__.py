"""From meters to quantities: what prices are applied to, read from what closes froze."""
