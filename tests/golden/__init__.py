"""Files that must stay readable, with the answers they gave when they were made."""
