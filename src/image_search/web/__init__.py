"""The page and its HTTP interface: drop an image, see what is similar.

    serve.py      the command's way through the next two
    start.py      the socket, the library's lock, the keys, the address: what is light
    server.py     the application behind that socket, and its end
    protocol.py   deadlines of a connection
    security.py   who may ask at all: Host, Origin, key, role, size and time of a request, headers of every answer
    keys.py       the library's own key, and those of a key file
    hosts.py      under which names the page may be reached
    app.py        the application: routes, errors, life
    door.py       the small page for whoever is not let in, or is at a wrong address
    routes/       HTTP in, `service` asked, HTTP out: search, images, originals, library, tidy, health, the page's own files
    asking.py     what requests say of files, and what all of them are made of
    schemas.py    what requests and answers look like (the OpenAPI document is made from them)
    problems.py   an error as the page gets it
    service.py    one library behind the page: what there is, the index run
    opened.py     that library, open
    browsing.py   looking through it
    walls.py      all of it as one wall: order, shapes, classes
    pictures.py   what is shown: its pictures, and those that were given
    searching.py  asking it
    jobs.py       the one index run in the background
    watching.py   index runs of its own, for serve --watch
    looks.py      the one long look in the background: for copies, at labels, for the map
    tidying.py    what it found, and what is decided of copies
    tidy_schemas.py  what that looks like
    uploads.py    the pictures that were sent, for a while
    kept.py       the same as files in the user's cache folder
    recent.py     what was used last, up to a weight
    limiter.py    how many may work and wait at once
    archive.py    copies of chosen files as a zip, streamed
    originals.py  one file: taken along, opened, shown in its folder
    static/       the page: HTML, CSS, ES modules, as they are served
    pages/        the door, and the document of the interface (/api/docs)

Each limit is in `config.py`. Imported by the command `serve` only: FastAPI and uvicorn cost half a second.
"""
