"""The story of a run: up, load, hurt, heal, drain, judge, report."""
