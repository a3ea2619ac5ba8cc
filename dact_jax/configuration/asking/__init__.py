"""Who gives the labels that are bought, and what a person is told who does."""
