"""One map for a fleet: its tiles on a Milvus server and in a store, and copies on the robots."""
