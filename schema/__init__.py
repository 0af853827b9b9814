"""What clients see: Strawberry types, roots, transport views, error mapping and limits."""
