"""Running it: configuration, logging, metrics, health, life cycle, embedded PostgreSQL."""
