"""Tunes image regularizers under one budget and says honestly which one won."""
