//! Placeholders in commands and variables: `{port}`, `{host}`, `{port_file}` and `{url:NAME}`.

use std::collections::BTreeMap;

/// What the placeholders stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placeholders {
    /// `{port}`.
    pub port: u16,
    /// `{host}`.
    pub host: String,
    /// `{port_file}`.
    pub port_file: String,
    /// `{url:NAME}`: the URLs of the repo's servers that are ready, without a closing slash.
    pub urls: BTreeMap<String, String>,
}

/// A `{url:NAME}` of a server that has no URL now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{{url:{0}}}` is not known: `{0}` is not ready; add it to `depends_on`")]
pub struct UnknownUrl(pub String);

/// Replaces the placeholders in `text`. Other braces stay as they are.
pub fn fill(text: &str, placeholders: &Placeholders) -> Result<String, UnknownUrl> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        filled.push_str(&rest[..open]);
        rest = &rest[open..];
        match rest.find('}').map(|close| &rest[1..close]) {
            Some(word) => {
                if let Some(value) = value_of(word, placeholders)? {
                    filled.push_str(&value);
                    rest = &rest[word.len() + 2..];
                } else {
                    filled.push('{');
                    rest = &rest[1..];
                }
            }
            None => break,
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

fn value_of(word: &str, placeholders: &Placeholders) -> Result<Option<String>, UnknownUrl> {
    Ok(match word {
        "port" => Some(placeholders.port.to_string()),
        "host" => Some(placeholders.host.clone()),
        "port_file" => Some(placeholders.port_file.clone()),
        _ => match word.strip_prefix("url:") {
            Some(name) => Some(placeholders.urls.get(name).cloned().ok_or_else(|| UnknownUrl(name.to_owned()))?),
            None => None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, UnknownUrl>) {
        let placeholders = Placeholders {
            port: 80,
            host: "127.0.0.1".to_owned(),
            port_file: "/r/.pm/server.json".to_owned(),
            urls: BTreeMap::from([("api".to_owned(), "http://127.0.0.1:81".to_owned())]),
        };
        assert_eq!(fill(text, &placeholders), expected.map(str::to_owned), "{text}");
    }

    #[test]
    fn known_words_are_replaced_and_other_braces_stay() {
        check("serve -p {port} -h {host}", Ok("serve -p 80 -h 127.0.0.1"));
        check("{port}{port}", Ok("8080"));
        check("a ${HOME} {x} {", Ok("a ${HOME} {x} {"));
        check("awk '{print {port}}'", Ok("awk '{print 80}'"));
        check("{url:api}/v1", Ok("http://127.0.0.1:81/v1"));
        check("{url:db}", Err(UnknownUrl("db".to_owned())));
    }
}
