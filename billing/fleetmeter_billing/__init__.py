"""Money from exact rollups: rate cards, plans, period close, corrections, invoices that show what is behind each line.

Sums are made by ClickHouse and are integers; money is Decimal, and is rounded once, at the invoice's line.
"""
