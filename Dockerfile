# The page as a service: docker compose up (compose.yaml), or
#   docker build -t image-search .
#   docker run -p 127.0.0.1:8417:8417 -v image-search:/data -v ~/Pictures:/pictures:ro image-search
# docs/http.md tells the rest.

FROM python:3.11-slim AS build
WORKDIR /build
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY src ./src
RUN python -m venv /opt/image-search \
    && /opt/image-search/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.11-slim
COPY --from=build /opt/image-search /opt/image-search
# Not root. The library, its key and the pictures that are given lie in /data, and nothing else is written to but /tmp.
RUN groupadd --gid 1000 search \
    && useradd --uid 1000 --gid search --home-dir /data --no-create-home --shell /usr/sbin/nologin search \
    && install --directory --owner search --group search --mode 700 /data \
    && install --directory /pictures
ENV PATH=/opt/image-search/bin:$PATH \
    HOME=/data \
    XDG_DATA_HOME=/data/share \
    XDG_CACHE_HOME=/data/cache \
    IMAGE_SEARCH_LIBRARY=/data/library \
    PYTHONUNBUFFERED=1
USER 1000:1000
VOLUME ["/data"]
EXPOSE 8417
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8417/api/health', timeout=4)"]
ENTRYPOINT ["image-search"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8417", "--no-browser", "--allow", "/pictures", "--key-file", "/data/keys.txt"]
