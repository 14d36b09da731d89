# The server without torch, as a user without rights, on a root that may be read-only:
#
#     docker build -t maskdepth .
#     docker run --read-only --cap-drop ALL -p 127.0.0.1:8000:8000 -v plates:/var/lib/maskdepth \
#         -v "$PWD/tokens:/run/secrets/maskdepth-tokens:ro" maskdepth
#
# The container listens on all of its addresses, so it needs a file of tokens (docs/serve.md).
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY src src
RUN python -m venv /opt/maskdepth \
    && /opt/maskdepth/bin/pip install --no-cache-dir -c constraints.txt '.[serve]' \
    && /opt/maskdepth/bin/pip uninstall --yes pip

FROM python:3.11-slim
COPY --from=build /opt/maskdepth /opt/maskdepth
RUN mkdir /var/lib/maskdepth && chown 10001:10001 /var/lib/maskdepth
VOLUME /var/lib/maskdepth
USER 10001:10001
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /var/lib/maskdepth
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s CMD ["/opt/maskdepth/bin/python", "-c", \
    "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/maskdepth/bin/maskdepth"]
CMD ["serve", "--host", "0.0.0.0", "--token-file", "/run/secrets/maskdepth-tokens", \
     "--store", "/var/lib/maskdepth"]
