"""Localization: search, acceptance, and the engine shared by live and offline use."""
