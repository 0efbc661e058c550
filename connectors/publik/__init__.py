"""Publik both ways: forms of a w.c.s. that are submitted and moved forward, and its workflows that declare here."""
