# syntax=docker/dockerfile:1

# One image with every program; which one runs is the container's command.

FROM rust:1.95-bookworm AS build
# librdkafka and SQLite are compiled from source.
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ make pkg-config libssl-dev zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The caches outlive the build, so the programs are copied out of theirs. `service/tls` lets them speak TLS to Kafka.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --workspace --exclude e2e --bins -F service/tls \
    && mkdir /out \
    && for program in grpc-server data-collector alert-system alert-notifier quote-recorder stockalert; do \
           cp "target/release/$program" /out/ || exit 1; \
       done

FROM debian:bookworm-slim
# curl is for health checks.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl libssl3 zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin stockalert
COPY --from=build /out/ /usr/local/bin/
USER 10001:10001
CMD ["stockalert", "--help"]
