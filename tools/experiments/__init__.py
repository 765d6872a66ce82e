"""Many training runs from one plan: run once each, their scores kept in a table, tables and plots made of it.

Imported by the tools only.
"""
