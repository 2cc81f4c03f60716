"""What else the pairs teach: attributes by rules, traits by system prompts."""
