//! Copying a URL, with the clipboard of a real display and where there is none.

use crate::bus::{Bus, Panel};
use crate::desk::{Screen, Tray};
use crate::sandbox::Sandbox;
use crate::zenity::Person;

/// What any other program pastes.
fn pasted(sandbox: &Sandbox) -> String {
    sandbox.finish(sandbox.program("xclip").args(["-selection", "clipboard", "-out"])).stdout.trim_end().to_owned()
}

#[test]
fn a_url_is_copied_for_any_other_program() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    let _screen = Screen::start(&sandbox);
    let shop = sandbox.repo("shop").server("web", "").add();
    let blog = sandbox.repo("blog").server("web", "").add();
    sandbox.run(["up", "shop", "blog"]).ok();
    let (_tray, icon) = Tray::on(&sandbox, &bus, &panel);
    for (name, repo) in [("shop", &shop), ("blog", &blog), ("shop", &shop)] {
        let url = format!("http://127.0.0.1:{}/", repo.port());
        icon.click(&[name, "Copy URL"]);
        // The entry is disabled until it is done, which is seen on the bus.
        icon.wait("the URL on the clipboard", || (pasted(&sandbox) == url).then_some(()));
    }
}

#[test]
fn without_a_clipboard_the_url_is_shown() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    let mut person = Person::sits_down(&sandbox);
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    let (_tray, icon) = Tray::on(&sandbox, &bus, &panel);
    icon.click(&["shop", "Copy URL"]);
    let told = person.sees();
    let url = format!("http://127.0.0.1:{}/", repo.port());
    assert!(told.contains(&url) && told.contains("The clipboard cannot be used"), "{told}");
    person.says_yes();
    icon.wait_row(&["shop", "Copy URL"], |row| row.is_enabled);
}
