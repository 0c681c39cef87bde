"""Campaigns that look for one fault among many inputs; each module has a function ``run``."""
