# Thin on purpose: each target is one script or a few cargo calls.
.PHONY: test lint cross demo bench setup

test: setup lint
	if cargo nextest --version >/dev/null 2>&1; then cargo test --doc && cargo nextest run --no-fail-fast; \
	else cargo test --no-fail-fast; fi

lint:
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cargo clippy --no-default-features --lib -- -D warnings

cross:
	.ci/cross

demo:
	.ci/setup demo
	cargo build --release
	assets/demo target/release/pierhead

bench:
	cargo bench

setup:
	.ci/setup
