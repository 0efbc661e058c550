"""The citizens' pages to try: one process, a small cast of administrations at work beside them, nobody real."""
