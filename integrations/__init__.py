"""One file per foreign system, each translating its errors at the door."""
