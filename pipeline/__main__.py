"""python -m pipeline: the same as the command allocsim."""

from pipeline.cli import main

main()
