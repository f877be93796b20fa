//! Between the app, which decides, and everything that does: the same for every event loop.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use pierhead::model::Timestamp;
use pierhead::paths::Places;
use pierhead::view::menu::{Lamp, Manner};

use crate::app::{Action, App, Ending, Event};
use crate::deeds::Deeds;
use crate::face::Face;
use crate::link::Link;
use crate::memory::Memory;
use crate::post::{Input, Post};
use crate::programs;

/// The tray without its event loop.
pub(crate) struct Shell {
    app: App,
    face: Option<Face>,
    lamp: Lamp,
    link: Link,
    deeds: Deeds,
    memory: PathBuf,
    post: Post,
}

impl Shell {
    /// Begins to follow the daemon; shows nothing yet.
    pub(crate) fn new(places: &Places, post: &Post) -> std::io::Result<Self> {
        let manner = if cfg!(target_os = "macos") { Manner::Title } else { Manner::Sentence };
        let memory = Memory::path(&places.state);
        let app = App::new(Memory::load(&memory), manner, places.servers());
        let pierhead = programs::pierhead();
        let deeds = Deeds::new(pierhead.clone(), post.clone());
        deeds.read_at_login();
        let link = Link::new(places, pierhead, post.clone())?;
        Ok(Self { app, face: None, lamp: Lamp::Off, link, deeds, memory, post: post.clone() })
    }

    /// Shows the icon, as it is to be by now. A panel that refuses it now may take it later.
    pub(crate) fn appear(&mut self) {
        match Face::new(self.app.shown(), self.lamp, self.app.tip(), &self.post) {
            Ok(face) => self.face = Some(face),
            Err(error) => {
                eprintln!("pierhead-tray: the icon cannot be shown: {error}; trying again when a panel comes");
            }
        }
    }

    /// Does what follows from what reached the loop; breaks with the exit code at the end.
    pub(crate) fn take(&mut self, inputs: impl IntoIterator<Item = Input>) -> ControlFlow<ExitCode> {
        let mut events = Vec::new();
        for input in inputs {
            match input {
                Input::Happened(event) => {
                    if let (Event::Clicked(id), Some(face)) = (&event, &self.face) {
                        face.clicked(id);
                    }
                    events.push(event);
                }
                Input::Trouble(title, text) => Deeds::explain(title, text),
                #[cfg(target_os = "linux")]
                Input::PanelCame if self.face.is_none() => self.appear(),
                #[cfg(target_os = "linux")]
                Input::PanelCame => {}
                #[cfg(target_os = "linux")]
                Input::BusEnded => {
                    eprintln!("pierhead-tray: the session bus has ended");
                    return ControlFlow::Break(ExitCode::FAILURE);
                }
                Input::End => return ControlFlow::Break(ExitCode::SUCCESS),
            }
        }
        let actions = self.app.on_all(events, Timestamp::now());
        actions.into_iter().try_for_each(|action| self.perform(action))
    }

    fn perform(&mut self, action: Action) -> ControlFlow<ExitCode> {
        match action {
            Action::Show(menu) => self.face.iter_mut().for_each(|face| face.show(&menu)),
            Action::Change(patches) => {
                if let Some(face) = &mut self.face {
                    face.change(patches);
                }
            }
            Action::Light(lamp) => {
                self.lamp = lamp;
                self.face.iter().for_each(|face| face.light(lamp));
            }
            Action::Tip(text) => {
                if let Some(face) = &self.face {
                    face.tip(text);
                }
            }
            Action::Ask(verb, request) => self.link.ask(verb, request),
            Action::Do(command, deed) => self.deeds.begin(command, deed),
            Action::Notify(notice) => self.deeds.notify(notice),
            Action::Remember(memory) => {
                if let Err(error) = memory.save(&self.memory) {
                    eprintln!("pierhead-tray: `{}` cannot be written: {error}", self.memory.display());
                }
            }
            Action::Quit(Ending::StopServers) => self.link.stop_servers_and_end(),
            Action::Quit(Ending::LeaveServers | Ending::Stay) => return ControlFlow::Break(ExitCode::SUCCESS),
        }
        ControlFlow::Continue(())
    }
}
