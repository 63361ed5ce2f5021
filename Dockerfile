# Bookworm in both stages: a binary does not start on a glibc older than the one it was linked against. The slim image
# has the C compiler that ring and mimalloc ask for; protoc is not needed.
FROM rust:1.95-slim-bookworm AS builder
RUN rustup component add llvm-tools
WORKDIR /build

COPY Cargo.toml Cargo.lock build.rs ./
COPY proto proto
COPY src src
COPY benches benches
COPY deploy/build deploy/fetch deploy/
# What is downloaded and compiled lasts from one build of the image to the next, dependencies with the counts of then. A
# copied file keeps its time, which may be before what was compiled last, and cargo would then take that for fresh.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target,sharing=locked \
    find build.rs proto src benches -type f -exec touch {} + \
    && deploy/build \
    && cp target/reset-gateway /reset-gateway

# glibc, libgcc and the CA certificates that the API's certificate is checked against. No shell.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=builder /reset-gateway /reset-gateway

# The program's own default is loopback, which in a container nobody else can reach.
ENV RESET_GATEWAY_LISTEN=0.0.0.0:50051 \
    RESET_GATEWAY_ADMIN_LISTEN=0.0.0.0:9464
EXPOSE 50051 9464

# By number, since Kubernetes cannot tell from a name that a user is not root (runAsNonRoot).
USER 65532:65532

# There is no shell to run a curl; the address is the one in RESET_GATEWAY_LISTEN.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/reset-gateway", "probe"]

# Exec form: the signal to stop has to reach the gateway itself. It drains for up to 25 s, so stop it with
# `docker stop --time 30`.
ENTRYPOINT ["/reset-gateway"]
