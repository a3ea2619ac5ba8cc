"""`python -m dact_jax <command> ...`: the same as `dact-jax <command> ...`."""

from dact_jax import cli

if __name__ == "__main__":
    cli.main()
