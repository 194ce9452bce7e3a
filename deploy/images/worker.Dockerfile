# Image of Beam's Python workers, for Dataflow (--sdk_container_image) and as worker pool beside Flink's TaskManagers.
#
#   docker build -f deploy/images/worker.Dockerfile -t REGISTRY/shardmill-worker:0.1.0 .
#
# The version of Beam here, in deploy/constraints.txt and where jobs are submitted is one and the same (a test).
FROM apache/beam_python3.11_sdk:2.77.0 AS build
COPY pyproject.toml README.md LICENSE /source/
COPY pipelines /source/pipelines
COPY corpora /source/corpora
COPY bpe /source/bpe
COPY trainer /source/trainer
COPY inspection /source/inspection
COPY deploy/constraints.txt /constraints.txt
RUN PIP_CONSTRAINT=/constraints.txt pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM apache/beam_python3.11_sdk:2.77.0
COPY deploy/constraints.txt /opt/shardmill/constraints.txt
COPY --from=build /wheels /opt/shardmill/wheels
RUN pip install --no-cache-dir -c /opt/shardmill/constraints.txt \
        "$(ls /opt/shardmill/wheels/*.whl)[pipelines,gcp,aws]" \
    && pip check \
    && useradd --uid 10001 --create-home shardmill
# All is installed already: no environment of its own for each start of a worker.
ENV RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1 \
    OMP_NUM_THREADS=1
# Dataflow mounts folders that only root may write, so the image does not change the user itself. Elsewhere run it as
# 10001 (`runAsUser: 10001`): all that workers write locally goes to /tmp.
