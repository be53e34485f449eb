"""What a study says: its posterior, evidence, curves, history and comparison with others. Values, not yet shown."""
