//! Lines as they are in a terminal in which the repo's environment is active: people activate a virtual environment, and
//! who hosts Node programs puts `node_modules/.bin` on the path.

use super::ground::Ground;
use super::line::assignment;

/// The line with its first program by its path, where it is one that was installed into the repo.
pub(super) fn activated(line: &str, ground: &Ground) -> String {
    let Some((before, program, after)) = around_program(line) else { return line.to_owned() };
    installed(program, ground).map_or_else(|| line.to_owned(), |path| format!("{before}{path}{after}"))
}

/// Where a program is that was installed into the repo, as seen from the folder it is run in.
pub(super) fn installed(program: &str, ground: &Ground) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if program.is_empty() || !program.chars().all(is_plain) {
        return None;
    }
    let depth = if ground.is_top() { 0 } else { ground.cwd().components().count() };
    let top = (depth > 0).then(|| in_folder(program, &ground.top(), &"../".repeat(depth)));
    in_folder(program, ground, "").or_else(|| top.flatten())
}

fn in_folder(program: &str, ground: &Ground, up: &str) -> Option<String> {
    const FOLDERS: [&str; 4] = [".venv", "venv", "env", "node_modules"];
    FOLDERS.into_iter().filter(|folder| ground.has_folder(folder)).find_map(|folder| {
        let bin = match (folder, cfg!(windows)) {
            ("node_modules", _) => ".bin",
            (_, true) => "Scripts",
            (_, false) => "bin",
        };
        let files = [program.to_owned(), format!("{program}.exe"), format!("{program}.cmd")];
        // That folder alone is listed, not the thousand packages beside it.
        let below = ground.at(format!("{folder}/{bin}"))?;
        let path = format!("{up}{folder}/{bin}/{program}");
        // The shell there takes the other slash for an option.
        let path = if cfg!(windows) { path.replace('/', "\\") } else { path };
        files[..if cfg!(windows) { 3 } else { 1 }].iter().any(|file| below.has(file)).then_some(path)
    })
}

/// What stands before a line's program, the program, and the rest; `None` where there is none to be seen.
fn around_program(line: &str) -> Option<(&str, &str, &str)> {
    let mut at = 0;
    loop {
        let rest = &line[at..];
        let begin = at + (rest.len() - rest.trim_start().len());
        let end = line[begin..].find(char::is_whitespace).map_or(line.len(), |length| begin + length);
        let word = &line[begin..end];
        if word.contains(['\'', '"', '$', '`', '\\', '(']) && assignment(word).is_some() {
            return None;
        }
        if assignment(word).is_some() || word == "exec" {
            at = end;
        } else {
            return Some((&line[..begin], word, &line[end..]));
        }
    }
}
