# Thin on purpose: each target is one script or a few cargo calls.
.PHONY: test torture lint cross tauri demo screenshots bench setup manual licences dist dist-test dist-reproducible zoo

# More tests at once than there are processors: most of them wait for something.
test: export RUST_TEST_THREADS ?= 6
test: setup lint
	if cargo nextest --version >/dev/null 2>&1; then cargo test --doc && cargo nextest run --no-fail-fast; \
	else cargo test --no-fail-fast; fi

# The same with long laps: more seeds of the simulation, more rounds of each fault, and faults put into the supervisor.
torture: setup
	cargo build --examples
	PIERHEAD_SIM_SEEDS=80000 cargo test --release --test sim -- --nocapture
	tests/sim/mutations/run
	PIERHEAD_TORTURE=1 cargo test --test it -- faults:: --nocapture

lint:
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cargo clippy --no-default-features --lib -- -D warnings
	cargo clippy --no-default-features --features launch --lib --example launch -- -D warnings

cross:
	.ci/cross

# The Tauri app of examples/tauri, under a display of its own.
tauri:
	.ci/tauri

# Real servers, about eighty of them, each installed, found, started and stopped; writes docs/zoo.md.
zoo:
	.ci/setup zoo
	cargo test --test zoo -- --ignored --nocapture

demo:
	.ci/setup demo
	cargo build --release
	assets/demo "$${CARGO_TARGET_DIR:-target}/release/pierhead"

screenshots:
	.ci/setup screenshots
	cargo build --release
	assets/make-screenshots "$${CARGO_TARGET_DIR:-target}/release"

bench:
	cargo bench

# The manual as pages, in target/manual.
manual: setup
	$${PIERHEAD_ZOO_CACHE:-target/zoo}/cargo/bin/mdbook build docs

# The licences of everything that is linked into the binaries, to be handed on with them.
licences:
	mkdir -p target
	.ci/licences target/THIRD-PARTY-LICENSES

# Everything that is handed on with a release, in target/dist; then it is installed, upgraded and removed.
dist:
	.ci/setup dist all
	installer/dist --test

# The same with the programs that the tests use, those for Windows as `make cross` has left them: tried in minutes, and not
# handed on.
dist-test:
	.ci/setup dist
	cargo build
	DIST_QUICK=1 installer/dist --test --from "$${CARGO_TARGET_DIR:-target}/debug"

# The release from this commit, built twice in two places: the same bytes.
dist-reproducible:
	.ci/setup dist
	.ci/reproducible

setup:
	.ci/setup
