"""A protocol as small as one can be, for what all protocols have in common."""
