"""Image data sets of Hugging Face's `datasets`, as a domain (extra `hf`)."""
