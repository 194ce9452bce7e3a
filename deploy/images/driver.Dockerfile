# Image that submits jobs to Flink: the worker image, Java for Beam's job server, and the job server itself.
#
#   docker build -f deploy/images/worker.Dockerfile -t REGISTRY/shardmill-worker:0.1.0 .
#   docker build -f deploy/images/driver.Dockerfile --build-arg WORKER=REGISTRY/shardmill-worker:0.1.0 \
#       -t REGISTRY/shardmill-driver:0.1.0 .
#
# The worker's code and the driver's are one and the same, since the one image is made from the other.
ARG WORKER=shardmill-worker:0.1.0
FROM eclipse-temurin:17-jre AS java

FROM ${WORKER}
COPY --from=java /opt/java/openjdk /opt/java/openjdk
ENV JAVA_HOME=/opt/java/openjdk \
    PATH=/opt/java/openjdk/bin:${PATH}
USER 10001
# Put into Beam's own cache, below the home of the user that runs jobs: a pod then needs no way out of the cluster.
RUN python -c "from pipelines.flink import check_jar; check_jar('', flink_version='2.2')"
WORKDIR /tmp
ENTRYPOINT ["beam"]
