# Both stages are Debian bookworm: a program does not start on an older glibc than it was linked against. The slim image
# has the C compiler that ring and mimalloc need; protoc is not needed.
FROM rust:1.95-slim-bookworm AS builder
WORKDIR /build
COPY Cargo.toml Cargo.lock build.rs ./
COPY proto proto
COPY src src
# Cargo wants every target that Cargo.toml names; the benchmarks are not compiled.
COPY benches benches
RUN cargo build --release --locked

# glibc, libgcc and the CA certificates that the API's certificate is checked against; no shell.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=builder /build/target/release/reset-gateway /reset-gateway

# The program listens on loopback by default, which nobody outside a container can reach.
ENV RESET_GATEWAY_LISTEN=0.0.0.0:50051 \
    RESET_GATEWAY_ADMIN_LISTEN=0.0.0.0:9464
EXPOSE 50051 9464

# By number: Kubernetes' runAsNonRoot cannot tell from a name that a user is not root.
USER 65532:65532

# The probe reads the variables of the gateway: the addresses, and whether gRPC calls need TLS.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/reset-gateway", "probe"]

# In exec form, so that SIGTERM reaches the gateway. It drains for up to 25 s: `docker stop --time 30`.
ENTRYPOINT ["/reset-gateway"]
