//! Shows: the icon and its menu, changed in place. Decides nothing. One interface, a file for each way to do it.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod native;

#[cfg(target_os = "linux")]
pub(crate) use linux::Face;
#[cfg(not(target_os = "linux"))]
pub(crate) use native::Face;

/// What did not work while something was shown.
pub(crate) type Error = Box<dyn std::error::Error>;
