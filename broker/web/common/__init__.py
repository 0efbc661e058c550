"""Common: what every address needs: its frame, limits, proxies, problems, strict bodies."""
