"""Rate cards and what they make of usage: prices are data, rating is a pure function."""
