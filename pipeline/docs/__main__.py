"""``python -m pipeline.docs``: the pages under docs/ made anew."""

from pipeline.docs.pages import main

main()
