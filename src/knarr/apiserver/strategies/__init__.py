"""What the server does to the objects of each kind: a literal table of strategies."""
