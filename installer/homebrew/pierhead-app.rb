cask "pierhead-app" do
  version "@VERSION@"

  # @if Pierhead-@VERSION@-aarch64.dmg
  on_arm do
    url "@URL@/Pierhead-@VERSION@-aarch64.dmg"
    sha256 "@SHA256:Pierhead-@VERSION@-aarch64.dmg@"
  end
  # @end
  # @if Pierhead-@VERSION@-x86_64.dmg
  on_intel do
    url "@URL@/Pierhead-@VERSION@-x86_64.dmg"
    sha256 "@SHA256:Pierhead-@VERSION@-x86_64.dmg@"
  end
  # @end

  name "Pierhead"
  desc "Keeps every repo's dev servers findable"
  homepage "@HOMEPAGE@"

  conflicts_with formula: "pierhead"
  depends_on macos: ">= :big_sur"

  app "Pierhead.app"
  binary "#{appdir}/Pierhead.app/Contents/MacOS/pierhead"

  # Servers that run are left alone.
  uninstall quit: "pierhead.tray"

  zap trash: [
    "~/Library/Application Support/pierhead",
    "~/Library/LaunchAgents/pierhead.daemon.plist",
  ]
end
