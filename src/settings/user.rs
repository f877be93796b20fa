//! `config.toml`: the user's settings.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::{FIRST_PORT, LAST_PORT};

/// The user's settings; every one has a default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserSettings {
    /// Of a server's output, up to twice as many bytes are kept.
    pub log_bytes: u64,
    /// The first port that is given out. The range lies below Linux's ephemeral ports (32768 to 60999).
    pub first_port: u16,
    /// The last port that is given out.
    pub last_port: u16,
    /// The TCP port of discovery; 0 switches it off. Read when the daemon starts.
    pub discovery_port: u16,
    /// Where servers have their environment from.
    pub environment: Environment,
    /// How long the login shell may take to tell its environment.
    #[serde(deserialize_with = "duration")]
    pub environment_timeout: Duration,
    /// What becomes of the worktrees of registered repos.
    pub worktrees: Worktrees,
}

/// Where servers have their environment from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Environment {
    /// As in a terminal: what the user's login shell makes of it.
    #[default]
    LoginShell,
    /// The daemon's own.
    Daemon,
}

/// What becomes of the worktrees of registered repos.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Worktrees {
    /// They are named, for the user to register.
    #[default]
    Offer,
    /// They are registered by themselves.
    Register,
    /// Nothing.
    Off,
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(serde::de::Error::custom)
}

impl Default for UserSettings {
    fn default() -> Self {
        Self {
            log_bytes: 5 * 1024 * 1024,
            first_port: FIRST_PORT,
            last_port: LAST_PORT,
            discovery_port: 3913,
            environment: Environment::default(),
            environment_timeout: Duration::from_secs(5),
            worktrees: Worktrees::default(),
        }
    }
}

impl UserSettings {
    /// Reads `config.toml`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let settings: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        if settings.first_port == 0 || settings.first_port > settings.last_port {
            return Err("`first_port` must be at least 1 and at most `last_port`".to_owned());
        }
        if settings.log_bytes < 64 * 1024 {
            return Err("`log_bytes` must be at least 65536".to_owned());
        }
        if settings.environment_timeout.is_zero() || settings.environment_timeout > Duration::from_mins(2) {
            return Err("`environment_timeout` must be more than nothing and at most 2m".to_owned());
        }
        Ok(settings)
    }
}
