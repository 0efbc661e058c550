"""The agency side: verified deliveries into systems that agencies really have. Knows only `schemas`."""
