//! The loop on Windows and macOS: tao's, on the main thread, as icons and dialogs want it there.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pierhead::paths::Places;
use tao::event::{Event as LoopEvent, StartCause};
use tao::event_loop::{ControlFlow as Flow, EventLoopBuilder};

use crate::app::Event;
use crate::post::{Input, Post};
use crate::shell::Shell;

/// An age in the menu is told in minutes.
const TICK: Duration = Duration::from_mins(1);

/// Says whether a panel shows icons here: there always is one.
pub(crate) const fn check() -> ExitCode {
    ExitCode::SUCCESS
}

/// Runs the tray to its end.
pub(crate) fn run(places: &Places) -> ExitCode {
    let mut builder = EventLoopBuilder::<Input>::with_user_event();
    let mut events = builder.build();
    #[cfg(target_os = "macos")]
    {
        use tao::platform::macos::{ActivationPolicy, EventLoopExtMacOS};
        // No icon in the dock: the one in the menu bar is all there is.
        events.set_activation_policy(ActivationPolicy::Accessory);
    }
    let proxy = std::sync::Mutex::new(events.create_proxy());
    let post: Post = Arc::new(move |input| {
        let proxy = proxy.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        drop(proxy.send_event(input));
    });
    let mut shell = match Shell::new(places, &post) {
        Ok(shell) => shell,
        Err(error) => {
            eprintln!("pierhead-tray: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut code = ExitCode::SUCCESS;
    let mut next_tick = Instant::now() + TICK;
    let ended = run_return(&mut events, |event, flow| {
        let input = match event {
            // Not before the loop runs: macOS shows nothing then.
            LoopEvent::NewEvents(StartCause::Init) => {
                shell.appear();
                None
            }
            LoopEvent::NewEvents(StartCause::ResumeTimeReached { .. }) => {
                next_tick = Instant::now() + TICK;
                Some(Input::Happened(Event::Tick))
            }
            LoopEvent::UserEvent(input) => Some(input),
            _ => None,
        };
        *flow = Flow::WaitUntil(next_tick);
        if let Some(ControlFlow::Break(how)) = input.map(|input| shell.take([input])) {
            code = how;
            *flow = Flow::Exit;
        }
    });
    if ended == 0 { code } else { ExitCode::FAILURE }
}

fn run_return(
    events: &mut tao::event_loop::EventLoop<Input>,
    mut handle: impl FnMut(LoopEvent<'_, Input>, &mut Flow),
) -> i32 {
    use tao::platform::run_return::EventLoopExtRunReturn;
    events.run_return(|event, _, flow| handle(event, flow))
}
