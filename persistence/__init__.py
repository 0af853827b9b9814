"""SQLAlchemy Core tables and intention-named queries behind the domain's ports."""
