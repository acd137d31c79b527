# slsfgr in a container, on the CPU by default (docs/user/cluster.md):
#   docker build --tag slsfgr .
#   docker build --tag slsfgr --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .    for CUDA
#   docker build --tag slsfgr-test --target test . && docker run --rm slsfgr-test                 all tests

FROM debian:bookworm-slim AS slsfgr
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/slsfgr
ENV PATH=/opt/slsfgr/bin:$PATH
# The build of PyTorch that we develop with; any from 2.1 on works.
ARG TORCH=torch==2.13.0
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" "$TORCH"
COPY . /usr/src/slsfgr
RUN pip install --no-cache-dir "/usr/src/slsfgr[cluster,train]"
WORKDIR /data
ENTRYPOINT ["slsfgr"]

FROM slsfgr AS test
# Qt's libraries are for the panel's tests, cmake and a compiler for that of the extension's build, which asks git for the
# repository's files.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends cmake g++ git make \
        libdbus-1-3 libegl1 libfontconfig1 libgl1 libglib2.0-0 libxkbcommon0 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /usr/src/slsfgr
RUN git init --quiet
RUN pip install --no-cache-dir --editable ".[test]" && touch /opt/slsfgr/test.installed
ENTRYPOINT []
CMD ["make", "VENV=/opt/slsfgr", "test"]

# Without a name of a target, the image is that of the command.
FROM slsfgr
