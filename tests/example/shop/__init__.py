"""A shop: what a user's project looks like."""
