# Image of the trainer, the only one that has torch.
#
#   docker build -f deploy/images/trainer.Dockerfile -t REGISTRY/shardmill-trainer:0.1.0 .
#   docker build -f deploy/images/trainer.Dockerfile --build-arg TORCH_INDEX=URL -t REGISTRY/shardmill-trainer:0.1.0-cpu .
#
# The first has the CUDA libraries that torch's wheel brings along; of the machine it needs the driver, and for /dev/nvidia*
# NVIDIA's container toolkit. In the second, URL is the index of torch's CPU builds: gigabytes smaller, for machines
# without a GPU. Both have the version of torch that deploy/constraints.txt pins.
FROM python:3.11-slim-bookworm AS build
COPY pyproject.toml README.md LICENSE /source/
COPY pipelines /source/pipelines
COPY corpora /source/corpora
COPY bpe /source/bpe
COPY trainer /source/trainer
COPY inspection /source/inspection
COPY deploy/constraints.txt /constraints.txt
RUN PIP_CONSTRAINT=/constraints.txt pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:3.11-slim-bookworm
ARG TORCH_INDEX=
# --compile needs a C++ compiler, on GPUs and without.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
COPY deploy/constraints.txt /opt/shardmill/constraints.txt
COPY --from=build /wheels /opt/shardmill/wheels
# Of 2.15.0+cpu and 2.15.0 pip takes the first, and the pin allows both.
RUN PIP_EXTRA_INDEX_URL="${TORCH_INDEX}" pip install --no-cache-dir -c /opt/shardmill/constraints.txt \
        "$(ls /opt/shardmill/wheels/*.whl)[trainer]" \
    && pip check \
    && useradd --uid 10001 --create-home shardmill
# A process per GPU, each with a thread that reads ahead.
ENV OMP_NUM_THREADS=1
USER 10001
WORKDIR /tmp
ENTRYPOINT ["torchrun"]
CMD ["--standalone", "--nproc-per-node=gpu", "-m", "trainer.pretrain", "--help"]
