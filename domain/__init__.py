"""What the product means: values, rules, services, and the ports they need; the standard library only."""
