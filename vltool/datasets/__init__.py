"""Readers of the official files of datasets, each record checked where it is read. No torch here."""
