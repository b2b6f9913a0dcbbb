"""The program under its first name: the same as `image-search` and `python -m image_search`."""

try:
    from image_search.__main__ import main
except KeyboardInterrupt:
    import os

    os.write(2, b"interrupted\n")
    os._exit(130)

if __name__ == "__main__":
    main()
