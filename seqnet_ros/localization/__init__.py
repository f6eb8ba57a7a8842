"""Where am I: search, decision, and the engine that live and offline use share."""
