"""The program under its first name: the same as `image-search` and `python -m image_search`."""

from image_search.cli import main

if __name__ == "__main__":
    main()
