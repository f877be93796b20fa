class Pierhead < Formula
  desc "Keeps every repo's dev servers findable"
  homepage "@HOMEPAGE@"
  version "@VERSION@"
  license any_of: ["MIT", "Apache-2.0"]

  on_macos do
    # @if pierhead-@VERSION@-aarch64-apple-darwin.tar.gz
    on_arm do
      url "@URL@/pierhead-@VERSION@-aarch64-apple-darwin.tar.gz"
      sha256 "@SHA256:pierhead-@VERSION@-aarch64-apple-darwin.tar.gz@"
    end
    # @end
    # @if pierhead-@VERSION@-x86_64-apple-darwin.tar.gz
    on_intel do
      url "@URL@/pierhead-@VERSION@-x86_64-apple-darwin.tar.gz"
      sha256 "@SHA256:pierhead-@VERSION@-x86_64-apple-darwin.tar.gz@"
    end
    # @end
  end

  on_linux do
    # @if pierhead-@VERSION@-aarch64-@LINUX@.tar.gz
    on_arm do
      url "@URL@/pierhead-@VERSION@-aarch64-@LINUX@.tar.gz"
      sha256 "@SHA256:pierhead-@VERSION@-aarch64-@LINUX@.tar.gz@"
    end
    # @end
    # @if pierhead-@VERSION@-x86_64-@LINUX@.tar.gz
    on_intel do
      url "@URL@/pierhead-@VERSION@-x86_64-@LINUX@.tar.gz"
      sha256 "@SHA256:pierhead-@VERSION@-x86_64-@LINUX@.tar.gz@"
    end
    # @end
  end

  def install
    bin.install Dir["bin/*"]
    man1.install Dir["share/man/man1/*"]
    bash_completion.install Dir["share/bash-completion/completions/*"]
    zsh_completion.install Dir["share/zsh/site-functions/*"]
    fish_completion.install Dir["share/fish/vendor_completions.d/*"]
    doc.install Dir["share/doc/pierhead/*"]
  end

  # Off until `brew services start pierhead`. Servers outlive it.
  service do
    run [opt_bin/"pierhead", "daemon", "run"]
    keep_alive crashed: true
  end

  test do
    assert_equal "pierhead #{version}", shell_output("#{bin}/pierhead --version").strip
    (testpath/"index.html").write "<!doctype html><title>a page</title>"
    assert_match "static", shell_output("#{bin}/pierhead add --yes #{testpath} 2>&1")
  end
end
