"""Who may ask, with what, of which service: access check, one service call, return."""
