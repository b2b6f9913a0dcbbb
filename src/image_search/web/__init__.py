"""The page and its HTTP interface: drop an image, see what is similar.

    server.py    the socket, the address, the browser; starts and ends everything
    protocol.py  deadlines of a connection
    guard.py     who may ask at all: Host, Origin, token, size and time of a request, headers of every answer
    app.py       the routes: HTTP in, `service` asked, HTTP out
    shapes.py    what requests and answers look like (the OpenAPI document is made from them)
    service.py   one library behind the page: searching, browsing, pictures
    uploads.py   the pictures that were sent, for a while
    jobs.py      the one index run in the background
    gate.py      how many may work and wait at once
    archive.py   copies of chosen files as a zip, streamed
    static/      the page: HTML, CSS, ES modules, as they are served

Imported by the command `serve` only: FastAPI and uvicorn cost half a second.
"""
