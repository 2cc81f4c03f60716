"""Whether a tuned model may replace its base: comparison, promotion and deployment."""
