"""What every method that proposes shares: the dialogue with an LLM, checking what it proposes, initial designs."""
