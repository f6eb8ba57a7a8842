"""Collections: many maps, the tiles, searched as one."""
