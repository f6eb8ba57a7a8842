"""The loops over recordings: map one, find one in a map, find the loops of one."""
