"""What the commands of `tune.py` do: here, and nowhere else, the search, the tracking and the reports are joined."""
