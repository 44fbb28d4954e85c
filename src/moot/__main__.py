"""`python -m moot` and the `moot` console script."""

from moot.agent.cli import main

if __name__ == "__main__":
    main()
