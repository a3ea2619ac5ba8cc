"""The sections of a report as data, which report.md and report.html both show.

Takes rows of metrics, picks and answers, gives tables and sentences. Must not know how
either file is written.
"""
