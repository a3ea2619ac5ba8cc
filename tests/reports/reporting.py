"""report.md of a folder, as a run writes it."""

from dact_jax.reports import record, report


def write(folder, title, **options):
    return report.put(record.gather(folder, title, **options))
