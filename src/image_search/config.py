"""Every setting with its default, its unit and its reason, in one place. An argument beats the environment, which beats the default."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .advice import Advice, Setting
from .errors import UsageError

__all__ = ["LIBRARY_ENV", "Limits", "available_cpus", "default_library"]

LIBRARY_ENV = "IMAGE_SEARCH_LIBRARY"

MIB = 1024 * 1024


# --- images -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limits:
    """What one picture may cost. Evidence: a 34-byte WebP takes 2.7 GB, a 280 KB JPEG 6.5 CPU seconds in bare Pillow."""

    megapixels: float = 200.0  # phones make 200 MP JPEGs; more is skipped, listed, and can be allowed
    file_bytes: int = 800 * MIB  # 200 MP of 24 bits without compression are 600 MB
    memory_bytes: int = 1024 * MIB  # address space of one decode over the worker's base
    cpu_seconds: int = 10  # of one decode, and CPU_SECONDS_PER_MEGAPIXEL more
    wall_seconds: float = 20.0  # of one decode: a stalled disk or network folder
    frames: int = 6  # first frame that is not flat is sought among these
    files_per_worker: int = 500  # then the worker is replaced: leaks in foreign decoders stay bounded

    def __post_init__(self) -> None:
        if not self.megapixels > 0:  # also what is no number
            raise UsageError(
                "the largest picture must have more than 0 megapixels", hint=Advice("for example ", Setting("max_megapixels", "50"))
            )


BYTES_PER_PIXEL = 16  # memory a decoder may need at worst (lossless WebP, measured 15.4)
CPU_SECONDS_PER_MEGAPIXEL = 0.1  # the slowest, JPEG XL, was measured at .04
LARGE_MEMORY_SHARE = 0.75  # of the memory that is free: for one picture at a time that needs more than `Limits.memory_bytes`

LIBRARY_LIMITS = Limits()
# A picture that comes over a network or a pipe: nobody chose to keep it, so it gets less unless more is asked for.
UPLOAD_LIMITS = Limits(megapixels=50.0, file_bytes=20 * MIB)
# What somebody sends to a program of their own, through a pipe or to the page on this machine: as large as what lies on the disk.
OWN_MEGAPIXELS = 200.0
OWN_MEGABYTES = 200.0

THUMBNAIL_QUALITY = 75  # of WebP, 0 to 100

EXCLUDED_FOLDERS = frozenset(  # of copies that programs make of a person's pictures: Synology, macOS archives, thumbnails, bins
    {"@eadir", "thumbnails", ".thumbnails", "thumbs", ".thumbs", "__macosx"}
    | {"#recycle", "$recycle.bin", "lost+found", "system volume information"}
)

MOST_JOBS = 10_000  # beyond it a number of workers is a slip
MOST_SIDE = 65_535  # pixels of a picture for showing: no JPEG is wider
PASSED_BY_ENTRIES = (
    10_000  # of a folder that is passed by, looked through to count its pictures: .05 s on a disk, some seconds on a network
)

DECODER_PAYS_SECONDS = 0.2  # of waiting for pictures, before another process decodes, too: what one costs to start (.1 CPU s), and a little
PREFETCH = 64  # decoded pictures that may wait for the model: ~10 MB, more than one model call uses up
WORKER_START_SECONDS = 60.0  # a worker needs 0.1 CPU s to start; a busy machine much longer
WORKER_CLOSE_SECONDS = 1.0  # an idle worker leaves within milliseconds of its input's end
WORKER_BASE_BYTES = 128 * MIB  # what a worker holds before it decodes, at most
WORKER_GROWN_BYTES = 256 * MIB  # address space left behind by earlier decodes: then a fresh worker is cheaper than a smaller cap
GRACE_FACTOR = 9  # times longer for a worker that computes: on a busy machine the clock says little, and CPU time has its own limit
WATCH_SECONDS = 0.2  # how often the clock of a decode is looked at
WATCH_MEMORY_SECONDS = 0.5  # where its memory is watched, too: asking costs milliseconds

URL_SECONDS = 10.0  # for everything together
URL_REDIRECTS = 3
URL_ADDRESSES = 4  # of one host that are tried


# --- models -----------------------------------------------------------------------------------------------------------------

SAME_COSINE = 0.9999  # two float32 runtimes of one model agree to > .99999; bf16 on OpenVINO, the loosest we want, to .99995
PHRASES_KEPT = 1000  # text vectors a model remembers, 3 KB each
LEAST_WEIGHT, MOST_WEIGHT = 0.001, 1000  # of one part of a question beside the others' 1: beyond them nothing changes any more
PHRASE_LENGTH = 2000  # letters of one phrase; the longest that a model reads is 77 tokens
MODEL_DIM = 65536  # numbers in a vector; far above any ViT, and eight of them are read before a library is
MODEL_SIDE = 4096  # pixels a model's recipe may ask for; far above any ViT, far below what would fill the memory
HUB_LISTING_SECONDS = 10.0  # for a list of a few names
# Pictures a run on torch. One on the CPU: a batch gains 12 to 18 % and makes the bits depend on the neighbours. On an accelerator always
# so many, the last ones black if need be: another batch size may choose another kernel, and other bits. A query pays for a whole batch.
TORCH_BATCH = {"cpu": 1, "mps": 16, "cuda": 64}


# --- embedding --------------------------------------------------------------------------------------------------------------

MODEL_CALL_SECONDS = 0.3  # one call to the model; short, so that an interrupt and the progress bar are prompt
MAX_BATCH = 128  # pictures in one call
EMBED_PATHS = 1024  # that are embedded in one run, in order: what is ready waits behind one that is slow
EMBED_ENCODED = 128  # the same for pictures in memory, which wait with all their bytes
LONGEST_WAIT_SECONDS = 0.5  # that a decoded picture waits for others: slow decoding must not delay what can be committed


# --- library ----------------------------------------------------------------------------------------------------------------

THUMBNAIL_SIDE = 256  # pixels, longer side: sharp in a grid, ~8 KB as WebP
THUMBNAILS_BYTES = 2 * 1024**3  # ~250,000 thumbnails; then the oldest go
THUMBNAILS_WAIT_SECONDS = 1.0  # for another program that writes them; a thumbnail less is no harm
BUSY_SECONDS = 5.0  # that a catalog held by another program is waited for; then an error, never a hang
FORK_WAIT_SECONDS = 5.0  # for threads in the middle of a search, when the process forks; then the child cannot use that library
VECTORS_SPARE = 0.125  # room for later rows, as a share: memory that is not touched is not taken, and a full matrix has to be copied
TIMELINE_BINS = 60  # days, months or years of a histogram of dates: bars that can be told apart in 250 pixels
SIEVE_MASKS = 16  # filters whose files are remembered, a byte for each file of the library
CODES_FROM = 5_000  # contents: below it vectors are read and compared in a few milliseconds
CODES_RENEW_SHARE = 0.01  # of the files changed since the codes were written: reading these one by one costs less than writing all anew
CODES_LOOK_AT = 2_000  # vectors that are read one by one (10 us each) before all are; at least this many, or
CODES_LOOK_AT_SHARE = 0.02  # this share of all
REREAD_SHARE = 0.3  # of the files changed: above it all vectors are read again, which is no slower and takes no room twice


# --- data sets --------------------------------------------------------------------------------------------------------------

# Pictures of a block, about: at least half of it, never more than five times. 2,000 vectors of 384 numbers are 3 MB; what a kill loses
# at most is one block of each worker.
BLOCK_IMAGES = 2000
LIST_BLOCKS = 200  # of one file of a list: some 40 MB while it is written
MANIFEST_BLOCKS = 1000  # of one manifest, and of what is given to a cluster at once: its driver's memory stays flat
DATASET_LISTERS = 32  # requests at once that list a bucket, or ask for objects' sizes: they wait for the network, not for a processor
OBJECT_READERS = 16  # objects that a worker reads at once, beyond one for each decoder: 30 ms of latency each are then no limit
LARGE_OBJECT_BYTES = 8 * MIB  # of which a worker reads ...
LARGE_OBJECTS = 4  # ... so many at once: 16 of 200 MB would be 3 GB
OBJECT_TRIES_SECONDS = (2.0, 8.0)  # between tries where the network is down; each try of S3's client is several
CLUSTER_SECONDS = 30.0  # to reach a cluster
CLUSTER_ROOM_SECONDS = 60.0  # for a cluster to start a worker's first task
CLUSTER_CPUS = 4  # of one worker without a GPU: one copy of the model for so many, or for all of a smaller machine
CLUSTER_STORE_BYTES = 1024 * MIB  # of a cluster that we start on this machine: with .2 GB Ray has been seen to stand still


# --- stores -----------------------------------------------------------------------------------------------------------------

DEFAULT_STORE = "chroma"  # of a new library: the kind that any of Chroma's own clients can read

STORE_BATCH = 1000  # records a call: a batch of one costs 24 times as much
STORE_MAX_CHANGED = 0.3  # share of a library's files; where more have changed, a rebuild is cheaper and leaves no dead records behind
STORE_MAX_DEAD = 0.3  # share of a store's records that were deleted or replaced and still take room in its index; then it is rebuilt

STORE_WRITER_SECONDS = 10.0  # a writer waits for readers that are making their copy
STORE_READER_SECONDS = 0.25  # a reader waits for another reader; a writer takes longer, and then exact search answers

STORE_SPARE_BYTES = 32 * MIB  # of the disk that are left to others
STORE_GROWTH = 3  # a batch takes up to this many times its vectors' bytes: index, database, its journal

STORE_PROBE_SECONDS = 5.0  # to find out whether a server is there at all
STORE_ANSWER_SECONDS = 60.0  # for one answer of a server: Chroma's own client would wait for ever


# --- search -----------------------------------------------------------------------------------------------------------------

MILVUS_BATCH = 1000  # rows a call: 8 MB at 2,048 dimensions, and a call may have 64
MILVUS_TOP = 16_384  # neighbours that it gives at most
MILVUS_EXACT_ROWS = 1_000_000  # that pass a filter are compared one by one; of more the index is asked
MILVUS_PIECES = 20  # of a filtered search: its HNSW compares one by one where less than 7 % of a segment's rows are left
COLLECTION_CLASSES = 300  # whose pictures are counted for people, the most frequent: 2 ms of a server each
COLLECTION_WALL = 5000  # rows of a collection that stands alone which the page shows at a time
COLLECTION_KEPT_BYTES = 256 * MIB  # of pictures that were fetched for showing
LOAD_BATCH = 1000  # pictures on their way into a collection
COLLECTION_SAMPLED = 100_000  # pictures up to which the sample of closeness is the exact one: they are read once
MILVUS_LOOK_SECONDS = 1.0  # between two looks whether the index is ready
MILVUS_DELETED_SECONDS = 60.0  # after a deletion every question waits until the server has seen it (.2 s)
MILVUS_STEP_SECONDS = 0.1  # between two looks whether a collection is in the server's memory
MILVUS_READY_SECONDS = 60.0  # until it is: a server that was killed counts itself as alive until its session ends
MILVUS_FLUSH_SECONDS = 300.0  # until the rows that came last are on its disk
MILVUS_QUIET_LOOKS = 3  # at which no row is pending, until the index is believed to be ready
MILVUS_BUILD_SECONDS = 3600.0  # an index that makes no step for so long is given up: a segment of 600,000 vectors is one step
STORE_PAYS_FROM = 100_000  # images: an exact search takes 2.7 CPU ms there, Chroma 2.5 and 290 MB more; below it none is kept unless named
STORE_ASK_AGAIN_SECONDS = 10.0  # after a store said no: verifying it reads all of it (.2 s at 100,000 images)
EACH_BATCH = 64  # queries that are compared with the library at once: 26 MB of scores at 100,000 images
EACH_SECONDS = 0.5  # that the first of them waits for others
COPY_BLOCK_BYTES = 1024 * 1024  # of a file that is copied: all that is in memory of it
PICTURE_SIDE = 640  # pixels of a picture in the comparison: more than it is printed with, and a 12 MP JPEG decodes to it in 30 ms
MIN_CLOSENESS_IMAGES = 50  # below it a percentile says nothing
VOTE_CLOSENESS = 0.05  # of the nearest match: below it the query is like nothing here, and a vote on its class misleads
FITS_BADLY = 0.02  # probability: where no match has more, the words fit nothing here, and that is said; true ones begin at some .05
VOTE_LEAST = 3  # matches of one class: two of three are right in .60 to .93 of all cases, three of three in .84 to .98
VOTE_NEAREST = 10  # matches that have a vote
CLOSENESS_SAMPLE = 1000  # images; sampling error of a percentile is then under .02


# --- tidy -------------------------------------------------------------------------------------------------------------------

# That vote on a picture's class. Of 5 % wrong labels among the first tenth of all pictures (mini; grocery, clothing, scenes, tinyimagenet):
# 10 find 1.00, .58, .96, .45; 20 find 1.00, .68, .96, .54; 30 find .99, .72, .97, .61, and call more right labels wrong.
LABEL_NEIGHBOURS = 20
MOST_NEIGHBOURS = 1000  # that anybody asks about: their numbers and similarities are kept for every picture
# Pictures that the map's layout itself moves; more are placed between them. Of 20,000: 55 CPU s and a trustworthiness of .984, in place of
# 119 s and .986.
MAP_LAID_OUT = 10_000
MAP_FEW_LAID_OUT = 0.5  # share of a map below which it is said that a fresh layout would serve better


# --- index ------------------------------------------------------------------------------------------------------------------

MOVED_LOOKED_FOR = 100  # images of a folder that are looked for in its new place
MOVED_HASHED_FILES = 16  # the smallest of them, compared to the last byte ...
MOVED_HASHED_BYTES = 256 * MIB  # ... up to so many bytes together, but one at least: a second or so of a disk
COMMIT_SECONDS = 1.0  # what a kill may cost at most, and how often the bar moves; a commit costs some 10 ms


REEMBED_TURN_SECONDS = 60.0  # that somebody who writes is waited for when all is embedded; then it is said, and nothing is lost

WATCH_QUIET_SECONDS = 2.0  # after the last change: a camera's card is copied before it is looked through
WATCH_GATHER_SECONDS = 30.0  # after the first one, where it does not become quiet
WATCH_REST = 4  # times as long as a look took there is none: a folder where something always happens costs a fifth of one core
WATCH_REST_SECONDS = 60.0  # at most
WATCH_LOOK_SECONDS = 600.0  # between looks through everything: network disks tell of no changes; 3 CPU s at 100,000 images
WATCH_SIGNS_SECONDS = 5.0  # between looks whether the folders are there
WATCH_TICK_SECONDS = 0.5  # within which it hears that it is to stop
WATCH_AGAIN_SECONDS = 10.0  # after the library was busy or its disk full


# --- present ----------------------------------------------------------------------------------------------------------------

COMPARISON_PIXELS = 16_000_000  # of the whole picture: 50 results take 3 million; above it everything is drawn smaller
COMPARISON_BYTES = 64 * MIB  # no saved comparison is larger, so a larger file is none and is not replaced
HTML_BYTES = 256 * MIB  # no page that is saved is larger, so a larger file is none and is not replaced
CHECK_LISTED = 20  # lines of each kind that a look at labels prints; JSON, CSV and the page have more
CHECK_PICTURES = 500  # of each kind on the page that is saved: two pictures of some 8 KB each
SKIPPED_EXAMPLES = 3  # files named per reason in an index run's summary
GROUP_ROWS = 20  # files of one group of copies in the table; JSON and CSV have all
REPORT_PICTURES = 3000  # in the page of copies that is saved: some 8 KB each, and what a browser scrolls through without stopping
REPORT_BYTES = 256 * MIB  # no such page is larger, so a larger file is none and is not replaced


# --- evaluate ---------------------------------------------------------------------------------------------------------------

EVALUATE_COPIES = 500  # pictures that are changed and searched for; sampling error of R@1 is then under .02
EVALUATE_COPY_SIDE = 640  # pixels of the picture that is changed, longer side
EVALUATE_STORE_DEPTH = 10  # nearest images that the store is asked for


# --- export ------------------------------------------------------------------------------------------------------------------

EXPORT_ROWS = 10_000  # images of one row group: 10 MB at 256 numbers a vector, 40 MB at 1,024
SPRITE_IMAGES = 10_000  # the projector itself draws no more with pictures; each then has 40 pixels
SPRITE_SIDE = 4096  # pixels of the whole sprite: 48 MB while it is made; graphics cards take 8,192
SPRITE_PIXELS = 100  # of one thumbnail's side at most


# --- web --------------------------------------------------------------------------------------------------------------------

PAGE_PORT = 8417  # if it is taken and none was asked for, any free one
PAGE_MAX_CONNECTIONS = 512  # half of the file handles that a process usually has
PAGE_BACKLOG = 256  # connections that wait to be taken
PAGE_HEADER_SECONDS = 10.0  # from the first byte (or the connection) to the end of the headers
PAGE_BODY_SECONDS = 30.0  # for 20 MB: 5.6 Mbit/s
PAGE_WRITE_SECONDS = 30.0  # a reader that takes nothing for so long is dropped
PAGE_IDLE_SECONDS = 10  # an open connection without a request; browsers open a new one at once
PAGE_ENDING_SECONDS = 3  # for requests in work when it is told to stop
PAGE_DRAIN_SECONDS = 1.0  # for the body of a request that is refused anyway

PAGE_JSON_BYTES = 64 * 1024  # of any body but an upload: a search with 16 pictures in 100 classes takes some 4 KB
PAGE_BUFFERED_BYTES = 256 * MIB  # of all bodies together that are being received
PAGE_UPLOADS = 200  # pictures kept, so that filters and regions cost no second upload
PAGE_UPLOADS_BYTES = 128 * MIB  # of them, encoded: six of the largest, thousands of usual ones
PAGE_UPLOADS_SECONDS = 7 * 24 * 3600  # after which one that nobody looked at is taken from the user's cache folder
PAGE_SWEEP_SECONDS = 3600  # between looks for such
PAGE_KEYS = 100  # in a key file
PAGE_KEY_CHARACTERS = 32  # of a key at least: 192 bits if it was drawn well
PAGE_TICKET_SECONDS = 300.0  # for the browser to open the page: a cold start on a busy machine takes some 20
PAGE_BATCH = 64  # searches in one request; each takes its own turn
PAGE_BATCH_RESULTS = 5_000  # matches of them together: some 2 MB

PAGE_WAITING = 64  # for a turn to decode, embed or search; on many CPUs four for each
PAGE_LOOKUPS = 4  # look-ups at the same time: SQLite and the disk, little of the CPU
PAGE_LOOKUPS_WAITING = 512  # as many as connections
PAGE_FETCHES = 4  # pictures fetched by address at the same time
PAGE_FETCHES_WAITING = 8
PAGE_PATIENCE_SECONDS = 20.0  # a turn is waited for; then the answer is "come again"
PAGE_STREAMS = 32  # pages that watch the progress
PAGE_TICK_SECONDS = 0.25  # between looks at the progress
PAGE_BEAT_SECONDS = 10.0  # after which a silent stream says that it lives
PAGE_RATE_SECONDS = 10.0  # over which the rate of an index run is taken
PAGE_RUN_END_SECONDS = 30.0  # for an index run to come to its next commit when the page ends

PAGE_WARM_SECONDS = 0.8  # after the start, for the page to be there before the model is loaded
PAGE_RESULTS = 5000  # matches of one search: more than anybody looks through, 300 KB on the wire
PAGE_COMPARED = 60  # pairs of them whose pixels are compared for being the same picture: .6 CPU s at most
PAGE_FULL = 500  # of them with all that is known; the others in columns, to be asked for as they are scrolled to
PAGE_ROWS = 500  # rows of the library asked for at once: four screens of small pictures
PAGE_GROUPS = 50  # groups of copies asked for at once
PAGE_GROUP_FILES = 24  # files of each that come with it, and pictures of a decision; the others are asked for
PAGE_DECIDED = 2000  # pictures of one decision that are named by their ids: 30 KB
PAGE_CLASSES = 1000  # of the map, of a look at labels: more than anybody tells apart
PAGE_POINTS = 50_000  # of the map asked for at once: .7 MB
PAGE_ZIP_FILES = 2000  # files of one zip: its address may have 64 KB
PAGE_WALLS = 4  # orders of the whole library kept, 9 bytes an image: of now, and of before the commits of a run
PAGE_PARTS = 16  # pictures that one search combines
PAGE_VIEW_SIDE = 1600  # pixels, longer side: fills a large screen beside another picture
PAGE_VIEW_QUALITY = 88  # of its JPEG
PAGE_FULL_PIXELS = 24_000_000  # of a picture shown pixel by pixel: 72 MB while it is encoded; a larger one is made smaller
PAGE_FULL_QUALITY = 92  # of its JPEG: it is looked at closely
PAGE_VIEWS_BYTES = 32 * MIB  # views kept: going through the matches and back makes none twice
PAGE_QUERIES = 256  # vectors of questions kept, 1.5 KB each
PAGE_MOMENTS = 8  # answers about the whole library kept until it changes
PAGE_OPEN_SECONDS = 2.0  # for the desktop to say that it cannot open a file; then the viewer is taken to run
PAGE_ZIP_BLOCK_BYTES = 256 * 1024  # of a file on its way into a zip: all that is in memory of it


# --- the machine and the library's place ------------------------------------------------------------------------------------


def available_cpus() -> int:
    """CPUs this process may use (affinity, not the machine's number: containers and taskset count)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def default_library(argument: str | os.PathLike[str] | None = None) -> Path:
    """The library folder: the argument, else $IMAGE_SEARCH_LIBRARY, else the per-user data folder."""
    given = os.fspath(argument) if argument is not None else os.environ.get(LIBRARY_ENV)
    if given is not None:
        if not given:
            raise UsageError("the library's name is empty", hint=Advice("give ", Setting("library", "FOLDER"), f" or unset {LIBRARY_ENV}"))
        return Path(os.path.expanduser(given)).absolute()
    import platformdirs

    return Path(platformdirs.user_data_dir("image-search", appauthor=False)) / "library"
