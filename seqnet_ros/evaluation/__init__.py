"""How good results are, given the truth."""
