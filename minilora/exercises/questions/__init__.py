"""The chapter's six questions, one file each; registry.py puts them in order."""
