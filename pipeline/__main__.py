"""python -m pipeline: the same as the command allocsim."""

from pipeline.cli import main

if __name__ == "__main__":  # not in the processes of a sweep
    main()
