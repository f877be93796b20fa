//! A shell line as the commands in it: enough to see which program serves, and whether words may be put at its end.

/// What a shell makes of a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// The commands as words, quotes taken off.
    pub(super) commands: Vec<Vec<String>>,
    /// True when they run one after the other, so that words at the line's end go to the last.
    pub(super) is_sequence: bool,
}

/// Splits a line. Substitutions stay in their words as they are.
pub(super) fn split(text: &str) -> Line {
    let mut scan = Scan { is_sequence: true, ..Scan::default() };
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => scan.quoted(c, &mut chars),
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some(next) => scan.push(next),
            },
            '`' | '(' | ')' if !scan.word.ends_with('$') => scan.is_sequence = false,
            '$' if chars.peek() == Some(&'(') => {
                scan.push('$');
                scan.is_sequence = false;
            }
            '#' if scan.word.is_empty() && !scan.in_word => {
                scan.is_sequence = false;
                chars.by_ref().take_while(|c| *c != '\n').for_each(drop);
            }
            // `2>&1` and `&>log` send no command into the background.
            '>' => {
                scan.push(c);
                chars.next_if(|c| matches!(c, '&' | '>')).into_iter().for_each(|c| scan.push(c));
            }
            '&' if chars.peek() == Some(&'>') => scan.push(c),
            '&' if chars.next_if_eq(&'&').is_some() => scan.end_command(),
            '|' if chars.next_if_eq(&'|').is_some() => scan.end_command(),
            '&' | '|' => {
                scan.is_sequence = false;
                scan.end_command();
            }
            ';' | '\n' => scan.end_command(),
            _ if c.is_whitespace() => scan.end_word(),
            _ => scan.push(c),
        }
    }
    let ends_open = text.trim_end().ends_with(';');
    scan.end_command();
    let is_redirection = |word: &String| word.starts_with(['>', '<']) || word.contains(">&");
    let commands = scan.commands.into_iter().map(|words| words.into_iter().filter(|w| !is_redirection(w)).collect());
    Line { commands: commands.collect(), is_sequence: scan.is_sequence && !ends_open }
}

#[derive(Default)]
struct Scan {
    commands: Vec<Vec<String>>,
    words: Vec<String>,
    word: String,
    in_word: bool,
    is_sequence: bool,
}

impl Scan {
    fn push(&mut self, c: char) {
        self.word.push(c);
        self.in_word = true;
    }

    fn quoted(&mut self, quote: char, chars: &mut impl Iterator<Item = char>) {
        self.in_word = true;
        while let Some(c) = chars.next().filter(|c| *c != quote) {
            let literal = if c == '\\' && quote == '"' { chars.next() } else { Some(c) };
            self.word.extend(literal);
        }
    }

    fn end_word(&mut self) {
        if std::mem::take(&mut self.in_word) {
            self.words.push(std::mem::take(&mut self.word));
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        if !self.words.is_empty() {
            self.commands.push(std::mem::take(&mut self.words));
        }
    }
}

/// A command without what stands before its program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Call {
    /// Variables that are set for it.
    pub(super) set: Vec<(String, String)>,
    /// The program, without its folder, and its arguments.
    pub(super) words: Vec<String>,
}

/// Programs that run another one, given behind them: by first words, and whether the other comes after `--`.
const WRAPPERS: [(&[&str], bool); 44] = [
    (&["cross-env"], false),
    (&["cross-env-shell"], false),
    (&["env"], false),
    (&["exec"], false),
    (&["nohup"], false),
    (&["time"], false),
    (&["nice"], false),
    (&["command"], false),
    (&["npx"], false),
    (&["bunx"], false),
    (&["uvx"], false),
    (&["npm", "exec"], false),
    (&["pnpm", "exec"], false),
    (&["pnpm", "dlx"], false),
    (&["yarn", "exec"], false),
    (&["yarn", "dlx"], false),
    (&["yarn", "node"], false),
    (&["bun", "x"], false),
    (&["bun", "--bun"], false),
    (&["bundle", "exec"], false),
    (&["poetry", "run"], false),
    (&["pipenv", "run"], false),
    (&["pdm", "run"], false),
    (&["uv", "run"], false),
    (&["rye", "run"], false),
    (&["hatch", "run"], false),
    (&["pixi", "run"], false),
    (&["dotenv"], true),
    (&["dotenvx", "run"], true),
    (&["env-cmd"], false),
    (&["doppler", "run"], true),
    (&["infisical", "run"], true),
    (&["op", "run"], true),
    (&["varlock", "run"], true),
    (&["mise", "exec"], true),
    (&["mise", "x"], true),
    (&["asdf", "exec"], false),
    (&["volta", "run"], false),
    (&["corepack"], false),
    (&["tini"], true),
    (&["dumb-init"], false),
    (&["winpty"], false),
    (&["watchexec"], true),
    (&["direnv", "exec", "."], false),
];
/// Their options that are followed by a value.
const VALUED: [&str; 22] = [
    "-f",
    "-e",
    "-p",
    "--package",
    "--with",
    "--env-file",
    "--python",
    "--extra",
    "--group",
    "-C",
    "--directory",
    "--project",
    "-n",
    "--file",
    "-c",
    "--environments",
    "--only-group",
    "--with-requirements",
    "-w",
    "-u",
    "--env",
    "--from",
];

/// Takes off variables, launchers and folders.
pub(super) fn call_of(words: &[String]) -> Call {
    let mut call = Call::default();
    let mut rest = words;
    loop {
        while let Some((key, value)) = rest.first().and_then(|word| assignment(word)) {
            call.set.push((key.to_owned(), value.to_owned()));
            rest = &rest[1..];
        }
        match unwrapped(rest) {
            Some(inner) if !inner.is_empty() && inner.len() < rest.len() => rest = inner,
            _ => break,
        }
    }
    call.words = rest.to_vec();
    if let Some(program) = call.words.first_mut() {
        *program = base_name(program).to_owned();
    }
    call.words = behind_interpreter(std::mem::take(&mut call.words));
    call
}

pub(super) fn assignment(word: &str) -> Option<(&str, &str)> {
    let (key, value) = word.split_once('=')?;
    let is_name = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then_some((key, value))
}

fn unwrapped(words: &[String]) -> Option<&[String]> {
    let is_at_head =
        |head: &[&str]| words.len() > head.len() && head.iter().zip(words).all(|(head, word)| base_name(word) == *head);
    let (head, has_dashes) = WRAPPERS.iter().find(|(head, _)| is_at_head(head))?;
    let mut rest = &words[head.len()..];
    if *has_dashes && let Some(at) = rest.iter().position(|word| word == "--") {
        return Some(&rest[at + 1..]);
    }
    while let Some(word) = rest.first().filter(|word| word.starts_with('-')) {
        let has_value = VALUED.contains(&word.as_str()) && rest.len() > 2;
        rest = &rest[if has_value { 2 } else { 1 }..];
    }
    Some(rest)
}

/// The name of a program without its folder and the endings of other systems.
pub(super) fn base_name(program: &str) -> &str {
    let name = program.rsplit(['/', '\\']).next().unwrap_or(program);
    [".exe", ".cmd", ".bat", ".ps1"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// `python -m flask run` is `flask run`, `node node_modules/vite/bin/vite.js` is `vite`, `php artisan serve` is
/// `artisan serve`.
fn behind_interpreter(words: Vec<String>) -> Vec<String> {
    let Some(program) = words.first() else { return words };
    let is_python = program.starts_with("python") || program == "py";
    let first = words.iter().skip(1).position(|word| !word.starts_with('-')).map(|at| at + 1);
    match first {
        _ if is_python && words.iter().any(|word| word == "-m") => {
            words.iter().skip_while(|word| *word != "-m").skip(1).cloned().collect()
        }
        Some(at) if is_python && base_name(&words[at]) == "manage.py" => from(&words, at),
        _ if program == "php" => {
            let at = words.iter().position(|word| ["artisan", "spark", "yii"].contains(&word.as_str()));
            at.map_or_else(|| words.clone(), |at| from(&words, at))
        }
        Some(at) if program == "ruby" && ["rails", "puma", "rackup"].contains(&base_name(&words[at])) => {
            from(&words, at)
        }
        Some(at) if ["node", "bun", "tsx"].contains(&program.as_str()) && words[at].contains("node_modules/") => {
            from(&words, at)
        }
        _ => words,
    }
}

fn from(words: &[String], at: usize) -> Vec<String> {
    let name = base_name(&words[at]);
    let name = [".js", ".mjs", ".cjs"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    std::iter::once(name.to_owned()).chain(words[at + 1..].iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, commands: &[&[&str]], is_sequence: bool) {
        let line = split(text);
        assert_eq!(line.commands, commands, "{text}");
        assert_eq!(line.is_sequence, is_sequence, "{text}");
    }

    #[test]
    fn a_line_is_split_as_a_shell_does() {
        check("vite", &[&["vite"]], true);
        check("tsc -b && vite --host", &[&["tsc", "-b"], &["vite", "--host"]], true);
        check("a 'b c' \"d && e\" f\\ g", &[&["a", "b c", "d && e", "f g"]], true);
        check("a & b", &[&["a"], &["b"]], false);
        check("a | b", &[&["a"], &["b"]], false);
        check("node x 2>&1", &[&["node", "x"]], true);
        check("(cd a && b)", &[&["cd", "a"], &["b"]], false);
        check("vite # here", &[&["vite"]], false);
        check("a;", &[&["a"]], false);
        check("", &[], true);
        check("a '' b", &[&["a", "", "b"]], true);
    }

    #[test]
    fn the_program_is_found_behind_what_stands_before_it() {
        let cases = [
            ("cross-env NODE_ENV=dev vite --host", "vite --host"),
            ("PORT=3001 next dev", "next dev"),
            ("npx --yes vite", "vite"),
            ("dotenv -e .env.local -- next dev", "next dev"),
            ("dotenv -e .env.local next dev", "next dev"),
            ("bundle exec rails s", "rails s"),
            ("poetry run python -m uvicorn app:app", "uvicorn app:app"),
            ("uv run --with x flask run", "flask run"),
            ("./node_modules/.bin/vite dev", "vite dev"),
            ("node --inspect node_modules/vite/bin/vite.js", "vite"),
            (".venv/bin/python manage.py runserver", "manage.py runserver"),
            ("php -d x=1 artisan serve", "artisan serve"),
            ("exec bin/rails server", "rails server"),
            ("node server.js", "node server.js"),
            ("python3 -m http.server 8000", "http.server 8000"),
            ("npx", "npx"),
        ];
        for (text, expected) in cases {
            assert_eq!(call_of(&split(text).commands[0]).words.join(" "), expected, "{text}");
        }
    }
}
