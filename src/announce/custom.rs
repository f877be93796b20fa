//! `announce = { format = …, path = … }` of `pierhead.toml`: where a server of one's own says its port.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::{port_of_digits, url_parts};
use super::{Unreadable, UserPlace, venvs};

/// Where a server says its port, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announce {
    /// How.
    pub format: Format,
    /// The file, relative to the repo; `{venv}`, `{home}` and `{temp}` are replaced. `None` for the server's own output.
    pub path: Option<String>,
}

/// How a port is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// JSON with the port at this pointer (RFC 6901): a number, a text of digits, or a URL.
    Json(String),
    /// The whole file is the port: digits, `host:port` or a URL.
    Text,
    /// The line of this number, from 1 on, is: as [`Format::Text`].
    Line(u32),
    /// The last match of this regular expression; its group `port`, or its first one, is the port.
    Log(String),
}

impl Announce {
    /// Checks what a person wrote.
    ///
    /// # Errors
    /// In words, when it cannot be meant.
    pub fn new(
        format: &str,
        path: Option<String>,
        pointer: Option<&str>,
        line: Option<u32>,
        pattern: Option<&str>,
    ) -> Result<Self, String> {
        let stray = |name: &str, is_there: bool, of: &str| {
            if is_there { Err(format!("`announce`: `{name}` is of the format `{of}`")) } else { Ok(()) }
        };
        let stray_ones = |json: bool, of_line: bool, log: bool| {
            stray("pointer", pointer.is_some() && !json, "json")?;
            stray("line", line.is_some() && !of_line, "line")?;
            stray("pattern", pattern.is_some() && !log, "log")
        };
        let format = match format {
            "json" => {
                stray_ones(true, false, false)?;
                let pointer = pointer.unwrap_or("/port");
                if !pointer.starts_with('/') {
                    return Err(format!("`announce`: the pointer `{pointer}` does not begin with `/`"));
                }
                Format::Json(pointer.to_owned())
            }
            // A text of which one line counts may be called either.
            "text" | "line" => {
                stray_ones(false, true, false)?;
                match (format, line) {
                    ("text", None) => Format::Text,
                    (_, Some(line)) if line > 0 => Format::Line(line),
                    (_, Some(_)) => return Err("`announce`: lines are counted from 1".to_owned()),
                    (_, None) => return Err("`announce`: the format `line` needs `line = N`".to_owned()),
                }
            }
            "log" => {
                stray_ones(false, false, true)?;
                let pattern = pattern.ok_or("`announce`: the format `log` needs a `pattern`")?;
                let regex = regex::Regex::new(pattern).map_err(|error| format!("`announce`: {error}"))?;
                if regex.captures_len() < 2 {
                    return Err(format!("`announce`: `{pattern}` has no group in parentheses that is the port"));
                }
                Format::Log(pattern.to_owned())
            }
            other => return Err(format!("`announce`: `{other}` is none of `json`, `text`, `line` and `log`")),
        };
        let path = path.filter(|path| !path.trim().is_empty());
        if path.is_none() && !matches!(format, Format::Log(_)) {
            return Err("`announce` needs a `path`".to_owned());
        }
        Ok(Self { format, path })
    }

    /// The files it may be in, in a repo; none for the server's own output.
    pub fn files(&self, repo: &Path, user: &UserPlace) -> Vec<PathBuf> {
        let Some(path) = &self.path else { return Vec::new() };
        let path =
            path.replace("{home}", &user.home().to_string_lossy()).replace("{temp}", &user.temp().to_string_lossy());
        if !path.contains("{venv}") {
            return vec![repo.join(path)];
        }
        let venvs = venvs(&[repo], user.venv());
        venvs.iter().map(|venv| repo.join(path.replace("{venv}", &venv.to_string_lossy()))).collect()
    }

    /// Where it is said, for messages.
    pub fn place(&self) -> String {
        self.path.as_ref().map_or_else(|| "its output".to_owned(), |path| format!("`{path}`"))
    }

    /// The port that a text names.
    pub fn port_in(&self, text: &str) -> Result<u16, Unreadable> {
        if text.trim().is_empty() {
            return Err(Unreadable::Empty);
        }
        match &self.format {
            Format::Json(pointer) => {
                let value: Value = serde_json::from_str(text).map_err(|_| Unreadable::Malformed("it is no JSON"))?;
                match value.pointer(pointer).ok_or(Unreadable::Malformed("nothing is at its pointer"))? {
                    Value::String(text) => port_of_text(text),
                    Value::Number(number) => {
                        let port = number.as_u64().and_then(|number| u16::try_from(number).ok());
                        port.filter(|port| *port != 0).ok_or(Unreadable::Port)
                    }
                    _ => Err(Unreadable::Port),
                }
            }
            Format::Text => port_of_text(text),
            Format::Line(line) => {
                let index = usize::try_from(*line).unwrap_or(usize::MAX) - 1;
                // Only a line with its end is whole.
                let whole = text.rfind('\n').map_or("", |end| &text[..end]);
                let found = whole.lines().nth(index).or_else(|| text.lines().nth(index).filter(|_| index == 0));
                port_of_text(found.ok_or(Unreadable::Malformed("it has fewer lines"))?)
            }
            Format::Log(pattern) => {
                let regex = regex::Regex::new(pattern).map_err(|_| Unreadable::Malformed("its pattern"))?;
                let last =
                    regex.captures_iter(text).last().ok_or(Unreadable::Malformed("nothing matches its pattern"))?;
                let group = last.name("port").or_else(|| last.get(1)).ok_or(Unreadable::Port)?;
                port_of_text(group.as_str())
            }
        }
    }
}

/// Digits, `host:port` or a URL.
fn port_of_text(text: &str) -> Result<u16, Unreadable> {
    let text = text.trim();
    if text.contains("://") {
        return url_parts(text).map(|(_, port)| port).ok_or(Unreadable::Port);
    }
    port_of_digits(text.rsplit_once(':').map_or(text, |(_, port)| port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announce(format: &str, extra: &str) -> Announce {
        let [pointer, line, pattern] = ["pointer", "line", "pattern"]
            .map(|key| extra.strip_prefix(key).and_then(|rest| rest.strip_prefix('=')).map(str::to_owned));
        let line = line.map(|line| line.parse().unwrap());
        Announce::new(format, Some("f".to_owned()), pointer.as_deref(), line, pattern.as_deref()).unwrap()
    }

    #[test]
    fn each_form_names_its_port() {
        let check = |format: &str, extra: &str, text: &str, expected: Option<u16>| {
            assert_eq!(announce(format, extra).port_in(text).ok(), expected, "{format} {extra}: {text}");
        };
        check("json", "", r#"{"port": 8080}"#, Some(8080));
        check("json", "pointer=/servers/0/url", r#"{"servers":[{"url":"http://127.0.0.1:81/x"}]}"#, Some(81));
        check("json", "pointer=/p", r#"{"p":"82"}"#, Some(82));
        check("json", "", r#"{"port": 0}"#, None);
        check("json", "", r#"{"port": 80"#, None);
        check("json", "", r#"{"other": 80}"#, None);
        check("text", "", "8080\n", Some(8080));
        check("text", "", "127.0.0.1:8080", Some(8080));
        check("text", "", "http://[::1]:8080/", Some(8080));
        check("text", "", "", None);
        check("text", "", "soon", None);
        check("text", "line=2", "a\n81\n", Some(81));
        check("line", "line=4", "1\n/d\n3\n5432\n/s\n", Some(5432));
        check("line", "line=4", "1\n/d\n3\n54", None);
        check("line", "line=1", "54", Some(54));
        check("log", r"pattern=on port (\d+)", "on port 80\nagain on port 81\n", Some(81));
        check("log", r"pattern=(http)s?://\S+:(?P<port>\d+)", "at https://h:8443/", Some(8443));
        check("log", r"pattern=on (\S+)", "on http://localhost:7/", Some(7));
        check("log", r"pattern=on port (\d+)", "off", None);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let refused = |format: &str, path: Option<&str>, pointer: Option<&str>, line, pattern: Option<&str>| {
            Announce::new(format, path.map(str::to_owned), pointer, line, pattern).unwrap_err()
        };
        assert!(refused("yaml", Some("f"), None, None, None).contains("none of"));
        assert!(refused("text", None, None, None, None).contains("`path`"));
        assert!(refused("json", Some("f"), Some("port"), None, None).contains("begin with"));
        assert!(refused("json", Some("f"), None, Some(1), None).contains("`line`"));
        assert!(refused("line", Some("f"), None, None, None).contains("line = N"));
        assert!(refused("line", Some("f"), None, Some(0), None).contains("from 1"));
        assert!(refused("log", None, None, None, None).contains("pattern"));
        assert!(refused("log", None, None, None, Some("port")).contains("group"));
        assert!(refused("log", None, None, None, Some("(")).contains("announce"));
        assert!(refused("text", Some("f"), None, None, Some("(x)")).contains("`pattern`"));
    }

    #[test]
    fn places_are_filled_in() {
        let user = UserPlace::from_env(|_| None, Path::new("/home/ann"), Path::new("/tmp"));
        let at = |path: &str| {
            let announce = Announce { format: Format::Text, path: Some(path.to_owned()) };
            announce.files(Path::new("/src/shop"), &user)
        };
        assert_eq!(at("port.txt"), [Path::new("/src/shop/port.txt")]);
        assert_eq!(at("{temp}/x/port"), [Path::new("/tmp/x/port")]);
        assert_eq!(at("{home}/.x"), [Path::new("/home/ann/.x")]);
        let venvs = at("{venv}/cache/finecode/wm_port");
        assert!(venvs.contains(&PathBuf::from("/src/shop/.venv/cache/finecode/wm_port")), "{venvs:?}");
    }
}
