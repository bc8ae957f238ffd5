"""One execution, from start to end. Knows stores, values and runners only through ``core.ports``."""
